//! What must hold of each application: asked of all its nodes at once.

use super::Hosted;
use super::cache::Cache;
use super::rooms::Rooms;
use super::worker_pool::{Jobs, WorkerPool};
use rumormill_core::{Address, MailboxId, Nodes};
use rumormill_sim::{Questions, World};
use std::collections::BTreeSet;

type Answer = Result<(), String>;
type Asks = &'static [(&'static str, &'static str, &'static str)];

/// Work that may wait for one worker and not for another, in milliseconds: less than a caller's patience. Measured on 12
/// seeds: up to 2.7 s, when a worker comes back from behind a cut and all callers know it as idle.
const SPREAD_MS_MAX: u32 = 4_000;

pub(super) const ROOMS: Asks = &[
    ("always", "messages-in-order", "each message comes once, and none overtakes another of the same person"),
    ("eventually", "rooms-exact", "everybody is told of exactly the rooms that are there"),
    ("eventually", "no-dead-members", "no room has a member whose mailbox is gone"),
    ("eventually", "members-agree", "rooms and members agree on who is in"),
    ("eventually", "somebody-heard", "somebody is in a room, and has heard something"),
];

pub(super) fn rooms() -> Questions<'static, Hosted> {
    Questions::default()
        .always("messages-in-order", messages_in_order)
        .eventually("rooms-exact", rooms_exact)
        .eventually("no-dead-members", no_dead_members)
        .eventually("members-agree", members_agree)
        .eventually("somebody-heard", somebody_heard)
}

pub(super) const CACHE: Asks = &[
    ("eventually", "no-dead-entries", "no cache holds an entry of a service that is gone"),
    ("eventually", "sources-exact", "everybody is told of exactly the sources that are there"),
    ("eventually", "cache-is-used", "caches have answered, and have dropped entries"),
];

pub(super) fn cache() -> Questions<'static, Hosted> {
    Questions::default()
        .eventually("no-dead-entries", no_dead_entries)
        .eventually("sources-exact", sources_exact)
        .eventually("cache-is-used", cache_is_used)
}

pub(super) const WORKER_POOL: Asks = &[
    ("always", "no-job-answered-twice", "no job is answered after it has ended"),
    ("always", "load-spread", "no worker has 4 s of work more before it than another"),
    ("eventually", "every-job-answered", "every job was answered, or its caller told that it will not be"),
    ("eventually", "jobs-done", "nine of ten jobs that were given out were done"),
];

pub(super) fn worker_pool() -> Questions<'static, Hosted> {
    Questions::default()
        .always("no-job-answered-twice", no_job_answered_twice)
        .always("load-spread", load_spread)
        .eventually("every-job-answered", every_job_answered)
        .eventually("jobs-done", jobs_done)
}

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Answer {
    if holds { Ok(()) } else { Err(what()) }
}

/// Names the mailbox of a node in its present life.
fn address(world: &World<Hosted>, node: u32, mailbox: MailboxId) -> Option<Address> {
    let contact = world.process(node)?.contact();
    Some(Address { node: contact.id(), incarnation: contact.incarnation(), mailbox })
}

/// Tells whether a node is in the cluster: others cannot know what one offers that has left, nor it what they do.
fn is_member(world: &World<Hosted>, node: u32) -> bool {
    world.status(node).is_some_and(|status| status.joined && !status.left)
}

fn each<'w, A: 'w>(
    world: &'w World<Hosted>,
    of: impl Fn(&'w Hosted) -> Option<&'w A>,
) -> impl Iterator<Item = (u32, &'w A)> {
    world
        .apps()
        .filter(|(node, _)| is_member(world, *node))
        .filter_map(move |(node, app)| Some((node, of(app)?)))
}

// --- rooms

fn each_rooms(world: &World<Hosted>) -> impl Iterator<Item = (u32, &Rooms)> {
    each(world, |app| match app {
        Hosted::Rooms(rooms) => Some(&**rooms),
        _ => None,
    })
}

fn messages_in_order(world: &World<Hosted>) -> Answer {
    for (node, rooms) in each_rooms(world) {
        ensure(rooms.disorders() == 0, || {
            format!("node {node} heard {} messages twice or late", rooms.disorders())
        })?;
    }
    Ok(())
}

fn rooms_exact(world: &World<Hosted>) -> Answer {
    let hosted = each_rooms(world).flat_map(|(node, rooms)| {
        rooms
            .hosted()
            .filter_map(move |(mailbox, room)| Some((room.name.clone(), address(world, node, mailbox)?)))
    });
    let hosted: BTreeSet<(String, Address)> = hosted.collect();
    for (node, rooms) in each_rooms(world) {
        let listed = rooms.listed();
        let odd = listed.symmetric_difference(&hosted).next();
        ensure(odd.is_none(), || {
            let (room, at) = odd.map(|(room, at)| (room.as_str(), at.node.to_string())).unwrap_or_default();
            let is_there = if listed.len() > hosted.len() { "lists" } else { "does not agree on" };
            format!("node {node} {is_there} {room} on {at}: {} listed, {} there", listed.len(), hosted.len())
        })?;
    }
    Ok(())
}

/// Lists the mailboxes by which living nodes are members of rooms, each with its node.
fn posts(world: &World<Hosted>) -> Vec<(Address, u32)> {
    each_rooms(world).filter_map(|(node, rooms)| Some((rooms.post()?, node))).collect()
}

fn no_dead_members(world: &World<Hosted>) -> Answer {
    let posts = posts(world);
    for (node, rooms) in each_rooms(world) {
        for (_, room) in rooms.hosted() {
            for member in room.members.keys() {
                ensure(posts.iter().any(|(post, _)| post == member), || {
                    format!("{} on node {node} keeps a member on {}, which is gone", room.name, member.node)
                })?;
            }
        }
    }
    Ok(())
}

fn members_agree(world: &World<Hosted>) -> Answer {
    let mut inside = BTreeSet::new();
    for (node, rooms) in each_rooms(world) {
        for (mailbox, room) in rooms.hosted() {
            let Some(at) = address(world, node, mailbox) else { continue };
            inside.extend(room.members.keys().map(|member| (at, *member)));
        }
    }
    for (node, rooms) in each_rooms(world) {
        let Some(post) = rooms.post() else { continue };
        for (at, room) in rooms.joined() {
            ensure(inside.contains(&(at, post)), || {
                format!("node {node} takes itself for a member of {room}, which does not know it")
            })?;
        }
        for (at, _) in inside.iter().filter(|(_, member)| *member == post) {
            ensure(rooms.stands_by(*at), || {
                format!("a room on {} takes node {node} for a member, which is none", at.node)
            })?;
        }
    }
    Ok(())
}

fn somebody_heard(world: &World<Hosted>) -> Answer {
    let messages: u64 = each_rooms(world).map(|(_, rooms)| rooms.messages()).sum();
    let members: usize =
        each_rooms(world).flat_map(|(_, rooms)| rooms.hosted()).map(|(_, room)| room.members.len()).sum();
    ensure(messages > 0 && members > 0, || {
        format!("{messages} messages came, {members} members are in rooms")
    })
}

// --- the cache

fn each_cache(world: &World<Hosted>) -> impl Iterator<Item = (u32, &Cache)> {
    each(world, |app| match app {
        Hosted::Cache(cache) => Some(&**cache),
        _ => None,
    })
}

/// Lists the sources that are there.
fn offered(world: &World<Hosted>) -> BTreeSet<Address> {
    each_cache(world).filter_map(|(node, cache)| address(world, node, cache.offered()?)).collect()
}

fn no_dead_entries(world: &World<Hosted>) -> Answer {
    let offered = offered(world);
    for (node, cache) in each_cache(world) {
        let dead = cache.kept().find(|source| !offered.contains(source));
        ensure(dead.is_none(), || {
            let source = dead.map_or(String::new(), |source| source.node.to_string());
            format!("node {node} keeps entries of a source on {source} that is gone")
        })?;
    }
    Ok(())
}

fn sources_exact(world: &World<Hosted>) -> Answer {
    let offered = offered(world);
    for (node, cache) in each_cache(world) {
        ensure(*cache.sources() == offered, || {
            format!("node {node} knows {} sources, {} are there", cache.sources().len(), offered.len())
        })?;
    }
    Ok(())
}

fn cache_is_used(world: &World<Hosted>) -> Answer {
    let counts = each_cache(world).map(|(_, cache)| cache.hits_and_dropped());
    let (hits, dropped) = counts.fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
    ensure(hits > 0 && dropped > 0, || {
        format!("{hits} answers came from caches, {dropped} entries were dropped")
    })
}

// --- the worker pool

fn each_pool(world: &World<Hosted>) -> impl Iterator<Item = (u32, &WorkerPool)> {
    each(world, |app| match app {
        Hosted::WorkerPool(pool) => Some(&**pool),
        _ => None,
    })
}

fn no_job_answered_twice(world: &World<Hosted>) -> Answer {
    for (node, pool) in each_pool(world) {
        let again = pool.jobs().again;
        ensure(again == 0, || format!("node {node} had {again} answers to jobs that had ended"))?;
    }
    Ok(())
}

fn load_spread(world: &World<Hosted>) -> Answer {
    let loads = || each_pool(world).filter_map(|(node, pool)| Some((pool.load_ms()?, node)));
    let (Some((most, busy)), Some((least, idle))) = (loads().max(), loads().min()) else { return Ok(()) };
    ensure(most - least <= SPREAD_MS_MAX, || {
        format!("node {busy} has {most} ms of work before it, node {idle} has {least} ms")
    })
}

fn every_job_answered(world: &World<Hosted>) -> Answer {
    for (node, pool) in each_pool(world) {
        ensure(pool.out() == 0, || format!("node {node} still waits for {} jobs", pool.out()))?;
    }
    Ok(())
}

fn jobs_done(world: &World<Hosted>) -> Answer {
    let mut sum = Jobs::default();
    for (_, pool) in each_pool(world) {
        let jobs = pool.jobs();
        sum = Jobs { given: sum.given + jobs.given, done: sum.done + jobs.done, ..sum };
    }
    ensure(sum.done > 0 && sum.done * 10 >= sum.given * 9, || {
        format!("of {} jobs that were given out {} were done", sum.given, sum.done)
    })
}
