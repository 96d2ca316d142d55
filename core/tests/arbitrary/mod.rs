//! Strategies for everything that crosses a node's boundary.
#![allow(dead_code)] // each test file uses its part

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use rumormill_core::frame::{
    Aged, Announcement, Answered, Beat, DisconnectReason, Gossip, Mail, MailKind, MemberEntry, MembersFrame,
    NeighborAnswer, NeighborPriority, OrderKind, Rumor, SyncChunk, SyncEnd, SyncHello, SyncOutcome,
    SyncVector, Verdict, Wanted,
};
use rumormill_core::registry::{Batch, Hello, Relayed, Row, Rows, Told, Update, Word};
use rumormill_core::{
    Address, Bundle, Bundler, Channel, Class, ClusterNumbers, Command, Contact, Dialer, DownReason, Frame,
    Incarnation, Input, Instant, Life, MailboxId, MapId, MemberRecord, MemberState, MessageId, NodeId, Now,
    Question, Stamp, Token, Topic, Wall, Watch, Writer,
};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Numbers of every length on the wire, not mostly of the longest.
pub(crate) fn number() -> impl Strategy<Value = u64> {
    (any::<u64>(), 0..64_u32).prop_map(|(bits, shift)| bits >> shift)
}

fn number32() -> impl Strategy<Value = u32> {
    (any::<u32>(), 0..32_u32).prop_map(|(bits, shift)| bits >> shift)
}

pub(crate) fn bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

/// Messages as they travel together.
fn bundle() -> impl Strategy<Value = Bundle> {
    vec(bytes(), 1..6).prop_map(|messages| {
        let mut bundler = Bundler::default();
        assert!(messages.iter().all(|message| bundler.push(message, usize::MAX)));
        bundler.take().expect("there are messages")
    })
}

pub(crate) fn node_id() -> impl Strategy<Value = NodeId> {
    any::<[u8; 32]>().prop_map(NodeId)
}

pub(crate) fn addr() -> impl Strategy<Value = SocketAddr> {
    (any::<IpAddr>(), any::<u16>()).prop_map(SocketAddr::from)
}

pub(crate) fn contact() -> impl Strategy<Value = Contact> {
    (node_id(), number(), vec(addr(), 0..=4))
        .prop_map(|(id, incarnation, addrs)| Contact::new(id, Incarnation(incarnation), &addrs))
}

fn message_id() -> impl Strategy<Value = MessageId> {
    (number(), number()).prop_map(|(origin, seq)| MessageId { origin, seq })
}

fn class() -> impl Strategy<Value = Class> {
    prop_oneof![Just(Class::Urgent), Just(Class::Normal), Just(Class::Bulk)]
}

pub(crate) fn channel() -> impl Strategy<Value = Channel> {
    (0..Channel::COUNT).prop_map(|i| Channel::ALL[i])
}

fn aged() -> impl Strategy<Value = Vec<Aged>> {
    vec((contact(), number32()).prop_map(|(contact, age_ms)| Aged { contact, age_ms }), 0..5)
}

fn membership_frame() -> impl Strategy<Value = Frame> {
    let priority = prop_oneof![Just(NeighborPriority::Low), Just(NeighborPriority::High)];
    let answer = prop_oneof![Just(NeighborAnswer::Accepted), Just(NeighborAnswer::Full)];
    let reason = prop_oneof![Just(DisconnectReason::Evicted), Just(DisconnectReason::NotNeighbor)];
    prop_oneof![
        contact().prop_map(Frame::Join),
        (any::<bool>(), vec(contact(), 0..5))
            .prop_map(|(accepted, contacts)| Frame::JoinReply { accepted, contacts }),
        (contact(), any::<u8>()).prop_map(|(contact, ttl)| Frame::ForwardJoin { contact, ttl }),
        (contact(), priority).prop_map(|(contact, priority)| Frame::Neighbor { contact, priority }),
        answer.prop_map(Frame::NeighborReply),
        reason.prop_map(Frame::Disconnect),
        number().prop_map(|incarnation| Frame::Leave(Incarnation(incarnation))),
        (contact(), any::<u8>(), aged()).prop_map(|(origin, ttl, entries)| Frame::Shuffle {
            origin,
            ttl,
            entries
        }),
        aged().prop_map(|entries| Frame::ShuffleReply { entries }),
        number32().prop_map(|nonce| Frame::Probe { nonce }),
        number32().prop_map(|nonce| Frame::ProbeAck { nonce }),
    ]
}

fn broadcast_frame() -> impl Strategy<Value = Frame> {
    let announcement = (message_id(), any::<u16>()).prop_map(|(id, hops)| Announcement { id, hops });
    prop_oneof![
        (message_id(), number32(), class(), any::<bool>(), any::<u16>(), number32(), bytes()).prop_map(
            |(id, topic, class, shapes_tree, hops, age_ms, payload)| {
                Frame::Gossip(Gossip { id, topic: Topic(topic), class, shapes_tree, hops, age_ms, payload })
            }
        ),
        vec(announcement, 0..9).prop_map(Frame::IHave),
        option::of(message_id()).prop_map(|id| Frame::Graft { id }),
        Just(Frame::Prune),
    ]
}

fn sync_hello() -> impl Strategy<Value = Frame> {
    let buckets = proptest::array::uniform16(number());
    (number(), number(), number32(), buckets, number(), number32()).prop_map(
        |(map, generation, session, buckets, fingerprint, count)| {
            let map = MapId(map);
            Frame::SyncHello(Box::new(SyncHello { map, generation, session, buckets, fingerprint, count }))
        },
    )
}

fn sync_vector() -> impl Strategy<Value = Frame> {
    let entry = (node_id(), number(), number())
        .prop_map(|(node, epoch, stamp)| (Writer { node, epoch }, Stamp(stamp)));
    (number(), number(), number32(), any::<u16>(), any::<bool>(), number32(), vec(entry, 0..5)).prop_map(
        |(map, generation, session, mask, last, sent, entries)| {
            let map = MapId(map);
            Frame::SyncVector(Box::new(SyncVector { map, generation, session, mask, last, sent, entries }))
        },
    )
}

fn sync_rest() -> impl Strategy<Value = Frame> {
    let outcome =
        prop_oneof![Just(SyncOutcome::Equal), Just(SyncOutcome::Busy), Just(SyncOutcome::NoSuchMap)];
    prop_oneof![
        (number(), number(), number32(), number32(), bytes()).prop_map(
            |(map, generation, session, count, ops)| {
                Frame::SyncChunk(Box::new(SyncChunk { map: MapId(map), generation, session, count, ops }))
            }
        ),
        (number(), number32(), outcome).prop_map(|(map, session, outcome)| Frame::SyncEnd(SyncEnd {
            map: MapId(map),
            session,
            outcome
        })),
    ]
}

fn beat() -> impl Strategy<Value = Beat> {
    (number(), number32(), number32(), number32()).prop_map(|(life, counter, revision, age_ms)| Beat {
        life: Life(life),
        counter,
        revision,
        age_ms,
    })
}

fn member_entry() -> impl Strategy<Value = MemberEntry> {
    use MemberState::{Active, Dead, Joining, Leaving, Left, Synced};
    let state = proptest::sample::select(vec![Joining, Synced, Active, Leaving, Left, Dead]);
    let cluster = (number(), number(), number32());
    let cluster = cluster.prop_map(|(heartbeat_ms, ttl_ms, ring_size)| ClusterNumbers {
        heartbeat_ms,
        ttl_ms,
        ring_size,
    });
    let record = (contact(), number32(), state, any::<u8>(), number(), cluster);
    let record = record.prop_map(|(contact, revision, state, weight, zone, cluster)| {
        Arc::new(MemberRecord { contact, revision, state, weight, zone, cluster })
    });
    (record, number32(), number32()).prop_map(|(record, counter, age_ms)| MemberEntry {
        record,
        counter,
        age_ms,
    })
}

fn members_frame() -> impl Strategy<Value = Frame> {
    let answered =
        prop_oneof![Just(Answered::Lives), number32().prop_map(Answered::Page), Just(Answered::LastPage)];
    let lives = vec(number().prop_map(Life), 0..5);
    let rumor = prop_oneof![
        member_entry().prop_map(Rumor::Record),
        (number(), number32()).prop_map(|(life, counter)| Rumor::Suspect { life: Life(life), counter }),
        beat().prop_map(Rumor::Alive),
    ];
    let frame = prop_oneof![
        (any::<bool>(), number32(), vec(beat(), 0..5))
            .prop_map(|(asks, again_ms, beats)| MembersFrame::Beats { asks, again_ms, beats }),
        number32().prop_map(|from| MembersFrame::Pull(Wanted::Page(from))),
        lives.prop_map(|lives| MembersFrame::Pull(Wanted::Lives(lives))),
        (answered, vec(member_entry(), 0..4))
            .prop_map(|(answered, entries)| MembersFrame::Push { answered, entries }),
        (number32(), contact()).prop_map(|(nonce, target)| MembersFrame::PingRequest { nonce, target }),
        number32().prop_map(|nonce| MembersFrame::Ping { nonce }),
        (number32(), beat()).prop_map(|(nonce, beat)| MembersFrame::Pong { nonce, beat }),
        (number32(), option::of(beat())).prop_map(|(nonce, beat)| MembersFrame::PingAnswer { nonce, beat }),
        vec(rumor, 0..4).prop_map(MembersFrame::News),
    ];
    frame.prop_map(Frame::Members)
}

fn registry_frame() -> impl Strategy<Value = Frame> {
    let row = || {
        (node_id(), number(), number(), number()).prop_map(|(owner, life, seq, fingerprint)| Row {
            owner,
            incarnation: Incarnation(life),
            seq,
            fingerprint,
        })
    };
    let rows = (number32(), option::of(node_id()), any::<bool>(), vec(row(), 0..5));
    let word = prop_oneof![Just(Word::Have), Just(Word::Prune), Just(Word::Graft)];
    let told = (number(), number(), word).prop_map(|(tag, seq, word)| Told { tag, seq, word });
    let numbers = || (node_id(), number(), any::<bool>(), number(), number(), number32());
    let update = || {
        (numbers(), bytes()).prop_map(|((owner, life, is_whole, a, b, age_ms), changes)| {
            let (from, to, count) = ((!is_whole).then_some(a.min(b)), a.max(b), (changes.len() / 4) as u32);
            let batch = Arc::new(Batch::new(owner, Incarnation(life), from, to, count, changes));
            Update { batch, age_ms }
        })
    };
    let updates = || vec(update(), 0..4);
    prop_oneof![
        proptest::array::uniform32(number())
            .prop_map(|buckets| Frame::RegistryHello(Box::new(Hello { buckets }))),
        rows.prop_map(|(mask, after, is_last, rows)| {
            Frame::RegistryRows(Box::new(Rows { mask, after, is_last, rows }))
        }),
        vec(row(), 0..5).prop_map(Frame::RegistryPull),
        (any::<bool>(), updates()).prop_map(|(is_last, updates)| Frame::RegistryUpdates { is_last, updates }),
        (vec(told, 0..5), updates())
            .prop_map(|(told, rows)| Frame::RegistryRelay(Box::new(Relayed { told, rows }))),
    ]
}

fn mail_kind() -> impl Strategy<Value = MailKind> {
    let mailbox = || number().prop_map(MailboxId);
    let verdict = || {
        prop_oneof![
            Just(Verdict::Done),
            Just(Verdict::Gone),
            Just(Verdict::Full),
            Just(Verdict::NotUnderstood)
        ]
    };
    let order = prop_oneof![
        Just(OrderKind::Monitor),
        Just(OrderKind::Demonitor),
        Just(OrderKind::Link),
        Just(OrderKind::Unlink),
        Just(OrderKind::Down)
    ];
    prop_oneof![
        (mailbox(), mailbox(), number()).prop_map(|(from, to, token)| MailKind::Send { from, to, token }),
        (mailbox(), mailbox(), number(), number()).prop_map(|(from, to, number, timeout_ms)| MailKind::Ask {
            from,
            to,
            number,
            timeout_ms
        }),
        number().prop_map(|number| MailKind::Answer { number }),
        (any::<bool>(), number(), mailbox(), verdict()).prop_map(|(is_question, number, mailbox, why)| {
            MailKind::Refused { is_question, number, mailbox, why }
        }),
        (number(), number(), order, mailbox(), mailbox()).prop_map(|(number, after, what, ours, theirs)| {
            MailKind::Order { number, after, what, ours, theirs }
        }),
        (number(), verdict()).prop_map(|(number, verdict)| MailKind::Ack { number, verdict }),
        (mailbox(), mailbox(), number()).prop_map(|(from, to, token)| MailKind::Bundle { from, to, token }),
    ]
}

fn mail_frame() -> impl Strategy<Value = Frame> {
    (number(), number(), number(), number(), mail_kind(), bytes(), bundle()).prop_map(
        |(from, to, session, seq, what, payload, bundle)| {
            let (from, to) = (Incarnation(from), Incarnation(to));
            let payload = if what.has_payload() { payload } else { Bytes::new() };
            let is_bundle = matches!(what, MailKind::Bundle { .. });
            let payload = if is_bundle { bundle.bytes().clone() } else { payload };
            Frame::Mail(Box::new(Mail { from, to, session, seq, what, payload }))
        },
    )
}

pub(crate) fn frame() -> impl Strategy<Value = Frame> {
    prop_oneof![4 => mail_frame(), 6 => members_frame(), 4 => registry_frame(), 10 => membership_frame(), 4 => broadcast_frame(), 1 => sync_hello(), 1 => sync_vector(), 2 => sync_rest()]
}

fn command() -> impl Strategy<Value = Command> {
    let topic = || number32().prop_map(Topic);
    let map = || number().prop_map(MapId);
    prop_oneof![
        vec(contact(), 0..4).prop_map(|contacts| Command::Join { contacts }),
        Just(Command::Leave),
        topic().prop_map(|topic| Command::Subscribe { topic }),
        topic().prop_map(|topic| Command::Unsubscribe { topic }),
        (topic(), class(), bytes()).prop_map(|(topic, class, payload)| Command::Publish {
            topic,
            class,
            payload
        }),
        (".{0,9}", number32()).prop_map(|(name, schema)| Command::CreateMap { name, schema }),
        (map(), bytes(), bytes(), option::of(number().prop_map(Stamp)))
            .prop_map(|(map, key, value, expires)| Command::Put { map, key, value, expires }),
        (map(), bytes()).prop_map(|(map, key)| Command::Remove { map, key }),
        Just(Command::Cycle),
        service_command(),
        mail_command(),
    ]
}

fn service_command() -> impl Strategy<Value = Command> {
    let watch = prop_oneof![
        Just(Watch::Members),
        bytes().prop_map(|prefix| Watch::Services { prefix }),
        Just(Watch::Partitions),
    ];
    let mailbox = || number().prop_map(MailboxId);
    prop_oneof![
        watch.prop_map(|what| Command::Watch { what }),
        number().prop_map(|watch| Command::Unwatch { watch: Token(watch) }),
        (bytes(), number(), mailbox(), bytes(), any::<bool>()).prop_map(
            |(name, instance, mailbox, meta, is_unique)| Command::Register {
                name,
                instance,
                mailbox,
                meta,
                is_unique
            }
        ),
        (bytes(), number()).prop_map(|(name, instance)| Command::Unregister { name, instance }),
    ]
}

fn mail_command() -> impl Strategy<Value = Command> {
    let mailbox = || number().prop_map(MailboxId);
    let address = || {
        (node_id(), number(), mailbox()).prop_map(|(node, life, mailbox)| Address {
            node,
            incarnation: Incarnation(life),
            mailbox,
        })
    };
    let question = || (address(), number()).prop_map(|(from, number)| Question { from, number });
    prop_oneof![
        Just(Command::OpenMailbox),
        mailbox().prop_map(|mailbox| Command::CloseMailbox { mailbox }),
        (mailbox(), address(), bytes()).prop_map(|(from, to, payload)| Command::Send { from, to, payload }),
        (mailbox(), address(), bundle()).prop_map(|(from, to, messages)| Command::SendBundle {
            from,
            to,
            messages
        }),
        (mailbox(), address(), bytes(), number()).prop_map(|(from, to, payload, timeout_ms)| Command::Call {
            from,
            to,
            payload,
            timeout_ms
        }),
        (question(), bytes()).prop_map(|(question, payload)| Command::Answer { question, payload }),
        question().prop_map(|question| Command::Refuse { question }),
        (mailbox(), address()).prop_map(|(mailbox, of)| Command::Monitor { mailbox, of }),
        number().prop_map(|monitor| Command::Demonitor { monitor: Token(monitor) }),
        (mailbox(), address()).prop_map(|(mailbox, with)| Command::Link { mailbox, with }),
        (mailbox(), address()).prop_map(|(mailbox, with)| Command::Unlink { mailbox, with }),
        contact().prop_map(|contact| Command::Move { addrs: contact.addrs().to_vec() }),
    ]
}

fn link_input() -> impl Strategy<Value = Input> {
    let dialer = || prop_oneof![Just(Dialer::Local), Just(Dialer::Remote)];
    let reason = prop_oneof![
        Just(DownReason::Unreachable),
        Just(DownReason::Refused),
        Just(DownReason::IdleTimeout),
        Just(DownReason::Reset),
        Just(DownReason::Closed)
    ];
    prop_oneof![
        (node_id(), number().prop_map(Incarnation), any::<u16>(), addr(), dialer()).prop_map(
            |(peer, incarnation, version, addr, dialer)| {
                Input::LinkUp { peer, incarnation, version, addr, dialer }
            }
        ),
        (node_id(), dialer(), reason).prop_map(|(peer, dialer, reason)| Input::LinkDown {
            peer,
            dialer,
            reason
        }),
        (node_id(), channel()).prop_map(|(peer, channel)| Input::LinkFull { peer, channel }),
        (node_id(), channel()).prop_map(|(peer, channel)| Input::LinkReady { peer, channel }),
        node_id().prop_map(|from| Input::Malformed { from }),
    ]
}

pub(crate) fn input() -> impl Strategy<Value = Input> {
    let token = || number().prop_map(Token);
    prop_oneof![
        3 => (token(), command()).prop_map(|(token, command)| Input::Command { token, command }),
        3 => (node_id(), channel(), frame()).prop_map(|(from, channel, frame)| Input::Frame { from, channel, frame }),
        3 => link_input(),
        1 => token().prop_map(|token| Input::Persisted { token }),
        1 => token().prop_map(|token| Input::PersistFailed { token }),
        1 => Just(Input::Timeout),
    ]
}

pub(crate) fn now() -> impl Strategy<Value = Now> {
    (number(), number()).prop_map(|(mono, wall)| Now { mono: Instant(mono), wall: Wall(wall) })
}
