//! Members: who is in the cluster, kept by leases that compare no two clocks.
//!
//! One row for each life. Every node raises its own heartbeat counter with the last exchange before H is over, and
//! exchanges rises of all counters with its neighbours in batches; each row says how old it is, so a receiver knows on
//! its own monotonic clock when a member showed itself alive last. What a neighbour has already, and what a later rise has overtaken, is not sent: queues
//! never grow, and a slow link loses nothing. Records travel only to who lacks them.
//!
//! What a node hears is bounded in the number of members N, by slowing down, and leases grow alike:
//!
//! ```text
//! H(N)     = max(heartbeat_ms, 1000 N / heartbeat_rows_per_s)
//! lease(N) = ttl_ms * H(N) / heartbeat_ms
//! e(N)     = min(exchange_ms, 2 ttl_ms / 5 (floor(log2 N) - 1))
//! ```
//!
//! Every e a node tells one of its n neighbours what that lacks, in turn, and is answered at once with what lacks here:
//! two frames every e, whatever n is. The last of e's terms lets a rise cross a cluster within a lease, hop by hop. Two
//! signs tell of a neighbour that is gone, and each means no more than a doubt: it does not answer within
//! `quiet_after_ms`, or it breaks its promise. With each question goes when the asker will ask again, n e later, so it is
//! missed by whoever's turn is next, and not only by whoever happens to ask it: within e and `quiet_after_ms`.
//!
//! What it hears is that rate times those neighbours that have the same news for it, two to three of five. Idle, with
//! the overlay below, a node sends 2.2 kB and 6 frames a second among 100, 4.8 kB and 8 among 1,000, 4.6 kB and 9 among
//! 3,000 (125, 336 and 323 rows heard in a second; the bound is `active_size * heartbeat_rows_per_s`). Somebody's coming
//! costs every node one record from each of some three neighbours, about 0.3 kB. A row takes about 0.2 kB of the
//! simulator's memory; there are at most `members_max` in a node.
//!
//! N falls slowly where many go at once, so that a lease never shrinks before heartbeats have sped up. Leases only back
//! up what neighbours find first. Who doubts a member (a neighbour whose link is lost or that does not answer, a lease
//! that has run out) tries to reach it, directly and through others (SWIM: Das, Gupta, Motivala, DSN 2002, section 3.1);
//! if nobody can, it tells everybody to suspect the member (section 4.2), from neighbour to neighbour (`news`). A
//! suspected member shows that it is alive by a higher counter; if none comes in time, each node for itself takes it for
//! dead. A node that is itself slow doubts itself first and waits longer (Lifeguard: Dadgar, Phillips, Currey, DSN-W 2018).
//!
//! Death is no end of a life: a member that was only cut off comes back when its counter rises. A greater incarnation
//! ends the older life at once, and leaving ends it for good.

mod confirm;
mod heartbeat;
mod news;
mod records;
mod suspicion;
mod table;

use crate::config::{Canary, Config};
use crate::frame::{Beat, Channel, Frame, MemberEntry, MembersFrame};
use crate::hash::{FixedState, Fold, hash_bytes};
use crate::id::{Contact, Incarnation, NodeId};
use crate::machine::{Cx, Machine, NeighborLoss, ServiceLoss};
use crate::member::{ClusterNumbers, Life, Member, MemberRecord, MemberState};
use crate::observation::MembersStatus;
use crate::time::Instant;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use indexmap::IndexMap;
use news::Subject;
use table::{Row, Table};

/// The place of this node in its own table.
const ME: u32 = 0;

/// Neighbours at most: the slots in a set of those that have a heartbeat. Above any `active_size`.
const NEIGHBORS_MAX: usize = 32;

/// Lives that were refused, or asked for a moment ago, remembered at most. A guess.
const LIVES_REMEMBERED_MAX: usize = 1_024;

/// What happens to members.
#[derive(Clone, Debug)]
pub enum Input {
    /// The user joins.
    Join {
        /// How this node introduces itself from now on.
        contact: Contact,
        /// Whether there is nobody to join.
        is_first: bool,
    },
    /// This node is reached elsewhere from now on.
    Move {
        /// How it introduces itself now.
        contact: Contact,
    },
    /// Others know of this life of the node, or a later one, what it has not said and cannot contradict.
    Outlived {
        /// The life that they know.
        incarnation: Incarnation,
    },
    /// The user leaves: everybody must hear of it before links close.
    Leave,
    /// A peer came into the active view.
    NeighborUp {
        /// The peer.
        peer: NodeId,
    },
    /// A peer went out of the active view.
    NeighborDown {
        /// The peer.
        peer: NodeId,
        /// Why.
        loss: NeighborLoss,
    },
    /// A neighbour has not answered a probe for a while.
    Quiet {
        /// The neighbour.
        peer: NodeId,
    },
    /// A frame of members arrived.
    Frame {
        /// From whom.
        from: NodeId,
        /// The frame.
        frame: MembersFrame,
    },
    /// A channel to a peer holds more than its high-water mark.
    LinkFull {
        /// The peer.
        peer: NodeId,
        /// The channel.
        channel: Channel,
    },
    /// A full channel has drained.
    LinkReady {
        /// The peer.
        peer: NodeId,
        /// The channel.
        channel: Channel,
    },
}

/// What members tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A member came, changed or went. A life that another one replaces is told to be dead first.
    Changed {
        /// The member as it is now.
        member: Member,
        /// Its state before; none when this life was not known.
        was: Option<MemberState>,
        /// Why it is no longer there, when it was until now.
        loss: Option<ServiceLoss>,
    },
    /// A node was refused as a member: it counts leases or partitions differently.
    Refused {
        /// The node.
        peer: NodeId,
        /// The key of the configuration that differs.
        key: &'static str,
        /// What this node has.
        ours: u64,
        /// What that node has.
        theirs: u64,
    },
    /// Others know of a later life of this node than it lives: nobody will believe this one any more.
    Outlived {
        /// The life that they know.
        incarnation: Incarnation,
    },
    /// A member answers for itself, though no neighbour has brought word of it for a whole lease.
    Apart {
        /// How it is reached.
        contact: Contact,
    },
    /// A neighbour was asked for a sign of life.
    Asked {
        /// The neighbour.
        peer: NodeId,
    },
    /// A neighbour was taken for dead.
    Dead {
        /// The neighbour.
        peer: NodeId,
    },
    /// A node takes this one for its neighbour, and is none.
    Strange {
        /// The node.
        peer: NodeId,
    },
    /// A frame for a node that need not be a neighbour: links must reach it.
    Reach {
        /// The node.
        contact: Contact,
        /// The frame.
        frame: MembersFrame,
    },
}

/// One neighbour, and how far it has been told of heartbeats.
#[derive(Clone, Debug)]
struct Neighbor {
    peer: NodeId,
    /// Its bit in [`Row::known_by`].
    bit: u32,
    /// Rises before this one were sent, or are known there.
    cursor: u64,
    /// When it was asked for heartbeats last.
    asked_at: Instant,
    /// When it should have answered the question that is open.
    answer_by: Instant,
    /// When it should have shown itself, as it has promised.
    expected_at: Instant,
    is_lazy_full: bool,
    is_sync_full: bool,
    is_control_full: bool,
    allowance: Allowance,
}

impl Neighbor {
    /// Tells when its silence is a reason to doubt it.
    fn silent_at(&self) -> Instant {
        self.answer_by.min(self.expected_at)
    }
}

/// How many records somebody may still ask for.
#[derive(Clone, Copy, Debug, Default)]
struct Allowance {
    spent: u64,
    at: Instant,
}

impl Allowance {
    /// Takes out so many, at most `whole` at once and `per_s` a second from then on; tells whether they were there.
    fn take(&mut self, count: u64, whole: u64, per_s: u64, now: Instant) -> bool {
        let regained = now.millis_since(self.at).saturating_mul(per_s) / 1_000;
        if regained > 0 {
            (self.spent, self.at) = (self.spent.saturating_sub(regained), now);
        }
        let has_room = self.spent.saturating_add(count) <= whole;
        self.spent += if has_room { count } else { 0 };
        has_room
    }
}

/// How slow this node is itself (Lifeguard, section 4.1): zero is well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Health(u8);

impl Health {
    /// The worst. Lifeguard's measurements use 8.
    const WORST: u8 = 8;

    fn worsen(&mut self) {
        self.0 = Self::WORST.min(self.0 + 1);
    }

    fn improve(&mut self) {
        self.0 = self.0.saturating_sub(1);
    }

    /// Stretches a delay.
    fn stretch(self, delay_ms: u64) -> u64 {
        delay_ms.saturating_mul(u64::from(self.0) + 1)
    }
}

/// The members machine of one node.
#[derive(Clone, Debug)]
pub struct Members {
    config: Arc<Config>,
    cluster: ClusterNumbers,
    table: Table,
    neighbors: Vec<Neighbor>,
    news: news::News,
    /// Rises of counters that some neighbour may lack: the number of the rise, and the place of the member.
    log: Vec<(u64, u32)>,
    /// Rises so far.
    rises: u64,
    /// Members that heartbeats are paced for: falls slowly.
    pace: u64,
    /// Whether the node is among others, or is the first of them.
    is_running: bool,
    beat_at: Instant,
    exchange_at: Instant,
    /// Where the search for leases that have run out goes on.
    sweep: u32,
    /// No lease is judged before: this node was paused.
    leases_from: Instant,
    paging: Option<records::Paging>,
    /// What all who are no neighbours may ask for, together.
    strangers: Allowance,
    /// A later life of this node that others know.
    outlived: Option<Incarnation>,
    /// It ends this life no earlier: whoever makes up lives does not drive a node from one to the next.
    outlived_from: Instant,
    /// When a page is asked for again, or another peer is.
    pull_at: Instant,
    synced_at: Instant,
    /// Lives whose records were asked for lately.
    asked: IndexMap<Life, Instant, FixedState>,
    /// Lives that are not taken in, and until when their records are not asked for.
    refused: IndexMap<Life, Instant, FixedState>,
    /// Lives that are over, of nodes that the table has forgotten.
    epitaphs: IndexMap<NodeId, Incarnation, FixedState>,
    confirmations: Vec<confirm::Confirmation>,
    helps: Vec<confirm::Help>,
    nonce: u32,
    /// When the time of suspected members runs out.
    suspects: BTreeSet<(Instant, u32)>,
    health: Health,
    /// No deadline is earlier.
    due: Instant,
    events: VecDeque<Event>,
}

impl Members {
    /// Starts outside of any cluster, knowing nobody but itself.
    pub fn new(config: Arc<Config>, me: Contact) -> Self {
        let cluster = ClusterNumbers {
            heartbeat_ms: config.heartbeat_ms,
            ttl_ms: config.ttl_ms,
            ring_size: config.ring_size,
        };
        let zone = if config.zone.is_empty() { 0 } else { hash_bytes(config.zone.as_bytes()).max(1) };
        let (revision, state, weight) = (0, MemberState::Joining, config.weight);
        let record = MemberRecord { contact: me, revision, state, weight, zone, cluster };
        let mut table = Table::default();
        table.insert(Row::new(Arc::new(record), 0, Instant::default()));
        Self {
            config,
            cluster,
            table,
            neighbors: Vec::new(),
            news: news::News::default(),
            log: Vec::new(),
            rises: 0,
            pace: 1,
            is_running: false,
            beat_at: Instant::NEVER,
            exchange_at: Instant::NEVER,
            sweep: 0,
            leases_from: Instant::default(),
            paging: None,
            strangers: Allowance::default(),
            outlived: None,
            outlived_from: Instant::default(),
            pull_at: Instant::NEVER,
            synced_at: Instant::NEVER,
            asked: IndexMap::default(),
            refused: IndexMap::default(),
            epitaphs: IndexMap::default(),
            confirmations: Vec::new(),
            helps: Vec::new(),
            nonce: 0,
            suspects: BTreeSet::new(),
            health: Health::default(),
            due: Instant::NEVER,
            events: VecDeque::new(),
        }
    }

    /// Shows a member, this node itself too, and for a while those that have gone.
    pub fn get(&self, id: &NodeId) -> Option<Member> {
        self.table.place(id).map(|place| self.table.row(place).member())
    }

    /// Lists the members that are there, this node first.
    pub fn iter(&self) -> impl Iterator<Item = Member> {
        self.table.iter().map(|(_, row)| row).filter(|row| row.state.is_present()).map(Row::member)
    }

    /// Lists the members that take part.
    pub fn active(&self) -> impl Iterator<Item = Member> {
        self.iter().filter(|member| member.state == MemberState::Active)
    }

    /// Tells how a member is reached.
    pub fn contact(&self, id: &NodeId) -> Option<&Contact> {
        self.table.place(id).map(|place| &self.table.row(place).record.contact)
    }

    /// Counts the members that are there, this node included.
    pub fn len(&self) -> usize {
        self.table.present() as usize
    }

    /// Tells whether nobody is there: only after this node has left, and everybody else has gone.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tells where this node itself stands.
    pub fn state(&self) -> MemberState {
        self.me().state
    }

    /// Shows the table in short.
    pub fn status(&self) -> MembersStatus {
        self.table.status()
    }

    /// Folds what matters of the state, with times relative to `now`. The table counts by its sums.
    pub fn digest(&self, now: Instant, into: &mut Fold) {
        let span = |at: Instant| if at == Instant::NEVER { u64::MAX } else { (at - now).0 };
        self.table.digest(into);
        for neighbor in &self.neighbors {
            into.pair(neighbor.peer.prefix(), neighbor.cursor);
            into.pair(now.0.wrapping_sub(neighbor.asked_at.0), span(neighbor.expected_at));
        }
        let sizes = [self.log.len(), self.confirmations.len(), self.helps.len(), self.suspects.len()];
        sizes.into_iter().for_each(|size| into.word(size as u64));
        self.news.digest(span, into);
        into.word(self.rises);
        into.word(u64::from(self.health.0) | self.pace << 8);
        let timers = [self.beat_at, self.exchange_at, self.pull_at];
        timers.into_iter().for_each(|at| into.word(span(at)));
    }

    fn me(&self) -> &Row {
        self.table.row(ME)
    }

    fn my_id(&self) -> NodeId {
        self.me().record.contact.id()
    }

    fn neighbor(&mut self, peer: &NodeId) -> Option<&mut Neighbor> {
        self.neighbors.iter_mut().find(|neighbor| neighbor.peer == *peer)
    }

    /// Shows a member's row as it is handed on.
    fn entry(&self, place: u32, cx: &Cx<'_>) -> MemberEntry {
        let row = self.table.row(place);
        MemberEntry { record: row.record.clone(), counter: row.counter, age_ms: self.age_to_tell(row, cx) }
    }

    fn beat(&self, row: &Row, cx: &Cx<'_>) -> Beat {
        let (life, counter, revision) = (row.life, row.counter, row.revision());
        Beat { life, counter, revision, age_ms: self.age_to_tell(row, cx) }
    }

    // --- changes

    /// Changes a row, keeps the table's sums, and tells what is to be seen of it.
    fn change(&mut self, place: u32, change: impl FnOnce(&mut Row)) {
        let before = self.table.row(place).clone();
        self.table.change(place, change);
        let row = self.table.row(place);
        let is_other = row.state != before.state
            || row.is_suspected() != before.is_suspected()
            || !row.record.says_the_same(&before.record);
        if is_other && (row.state.is_present() || before.state.is_present()) {
            let is_lost = before.state.is_present() && !row.state.is_present();
            let loss = if row.state == MemberState::Left { ServiceLoss::Left } else { ServiceLoss::Dead };
            let (member, was) = (row.member(), Some(before.state));
            self.events.push_back(Event::Changed { member, was, loss: is_lost.then_some(loss) });
        }
    }

    /// Takes this node to another state, and tells everybody who shall know.
    fn become_state(&mut self, state: MemberState, is_told: bool, cx: &mut Cx<'_>) {
        let record = MemberRecord { state, ..(*self.me().record).clone() };
        self.renew(MemberRecord { revision: record.revision.saturating_add(1), ..record }, cx);
        if is_told {
            self.hand_on(ME, Subject::Record, 0, cx);
        }
    }

    /// Gives this node another record, and shows it alive.
    fn renew(&mut self, record: MemberRecord, cx: &mut Cx<'_>) {
        self.change(ME, |row| {
            row.state = record.state;
            row.hear(Arc::new(record));
        });
        self.show_alive(cx);
    }

    // --- coming and going

    fn on_join(&mut self, contact: Contact, is_first: bool, cx: &mut Cx<'_>) {
        if contact.incarnation() > self.me().record.contact.incarnation() {
            self.begin_life(contact, cx);
        }
        self.start(cx);
        if is_first || self.config.is_planted(Canary::EagerBooting) {
            self.take_part(cx);
        }
    }

    /// Says where this node is reached now: one word more of the life that it lives.
    fn on_move(&mut self, contact: Contact, cx: &mut Cx<'_>) {
        let mine = &self.me().record;
        let is_here = mine.state.is_present() && mine.life() == Life::of(&contact);
        if !is_here || mine.contact == contact {
            return; // the next life begins with it
        }
        let revision = mine.revision.saturating_add(1);
        let record = MemberRecord { contact, revision, ..(**mine).clone() };
        self.renew(record, cx);
        if self.is_running {
            self.hand_on(ME, Subject::Record, 0, cx);
        }
    }

    /// Begins another life, after this node had left: what it knows of others is as old as that.
    fn begin_life(&mut self, contact: Contact, cx: &mut Cx<'_>) {
        let now = cx.now.mono;
        self.table.rename(ME, Life::of(&contact));
        let (revision, state) = (0, MemberState::Joining);
        let record = MemberRecord { contact, revision, state, ..(*self.me().record).clone() };
        self.leases_from = now.plus_millis(self.lease_ms());
        self.outlived_from = now.plus_millis(self.config.ttl_ms);
        self.outlived = self.outlived.filter(|later| *later > record.contact.incarnation());
        self.renew(record, cx);
    }

    /// Begins to show itself alive.
    fn start(&mut self, cx: &mut Cx<'_>) {
        if self.is_running || !self.me().state.is_present() {
            return;
        }
        self.is_running = true;
        self.show_alive(cx);
        self.schedule_beat(cx);
        self.start_exchanges(cx);
        self.pull_at = cx.now.mono;
    }

    fn take_part(&mut self, cx: &mut Cx<'_>) {
        self.paging = None;
        self.pull_at = Instant::NEVER;
        if self.me().state < MemberState::Active {
            self.become_state(MemberState::Active, true, cx);
        }
    }

    /// Says good-bye, first that it is going and then that it has gone: to its neighbours, who hand it on.
    fn on_leave(&mut self, cx: &mut Cx<'_>) {
        if !self.me().state.is_present() {
            return;
        }
        let is_told = self.is_running && !self.config.is_planted(Canary::LeaveAsDeath);
        for state in [MemberState::Leaving, MemberState::Left] {
            self.become_state(state, false, cx);
            let entry = self.entry(ME, cx);
            let neighbors = self.neighbors.iter().filter(|_| is_told);
            neighbors.for_each(|neighbor| news::tell_record(neighbor.peer, entry.clone(), cx));
        }
        (self.is_running, self.outlived) = (false, None);
        (self.beat_at, self.exchange_at, self.pull_at) = (Instant::NEVER, Instant::NEVER, Instant::NEVER);
        self.paging = None;
        self.news = news::News::default();
        self.confirmations.clear();
        self.helps.clear();
        self.suspects.clear();
        for place in self.table.places() {
            self.change(place, Row::end_suspicion);
        }
    }

    fn on_neighbor_up(&mut self, peer: NodeId, cx: &mut Cx<'_>) {
        if self.neighbor(&peer).is_some() || self.neighbors.len() >= NEIGHBORS_MAX {
            return;
        }
        let taken = self.neighbors.iter().fold(0_u32, |taken, neighbor| taken | neighbor.bit);
        let bit = 1 << taken.trailing_ones();
        let cursor = self.rises;
        self.table.forget_neighbor(bit);
        self.neighbors.push(Neighbor {
            peer,
            bit,
            cursor,
            asked_at: cx.now.mono,
            answer_by: Instant::NEVER,
            expected_at: Instant::NEVER,
            is_lazy_full: false,
            is_sync_full: false,
            is_control_full: false,
            allowance: Allowance::default(),
        });
        self.news.offer(bit, cx.now.mono);
        self.start(cx);
        self.introduce(&peer, cx);
        if self.config.is_planted(Canary::EagerBooting) {
            self.take_part(cx);
        }
        if self.is_running && self.paging.is_none() && self.me().state < MemberState::Active {
            self.pull_at = cx.now.mono;
            self.on_pull_due(cx);
        }
    }

    fn on_neighbor_down(&mut self, peer: NodeId, loss: NeighborLoss, cx: &mut Cx<'_>) {
        if let Some(i) = self.neighbors.iter().position(|neighbor| neighbor.peer == peer) {
            let gone = self.neighbors.remove(i);
            self.news.forget_neighbor(gone.bit);
            self.promise_anew(gone.asked_at, cx); // whoever is behind it, sooner
        }
        if self.paging.as_ref().is_some_and(|paging| paging.peer == peer) {
            self.paging = None;
            self.pull_at = cx.now.mono;
        }
        if !self.is_running {
            return;
        }
        match loss {
            NeighborLoss::LinkLost | NeighborLoss::Silent => self.doubt_node(&peer, cx),
            NeighborLoss::Left if self.config.is_planted(Canary::LeaveAsDeath) => self.doubt_node(&peer, cx),
            NeighborLoss::Left => self.on_neighbor_left(&peer, cx),
            NeighborLoss::Replaced | NeighborLoss::WeLeft => {}
        }
    }

    /// A neighbour has said good-bye on its link, whether or not its news comes through.
    fn on_neighbor_left(&mut self, peer: &NodeId, cx: &Cx<'_>) {
        let now = cx.now.mono;
        let Some(place) = self.table.place(peer).filter(|place| *place != ME) else { return };
        let row = self.table.row(place);
        if row.state.is_present() {
            // What it says to everybody: it is leaving, and has left. Links may have closed before that went out.
            let goes = if row.record.state == MemberState::Leaving { 1 } else { 2 };
            let revision = row.record.revision.saturating_add(goes);
            let record = MemberRecord { revision, state: MemberState::Left, ..(*row.record).clone() };
            self.change(place, |row| {
                row.hear(Arc::new(record));
                row.go(MemberState::Left, now);
            });
            self.end_doubts_of_gone(place);
            self.hand_on(place, Subject::Record, 0, cx);
        }
    }

    // --- being late

    /// This node was paused, or is slow: what it has not heard meanwhile may lie behind this very deadline.
    fn on_late(&mut self, late_ms: u64, cx: &mut Cx<'_>) {
        let now = cx.now.mono;
        cx.stats.late += 1;
        self.health.worsen();
        self.leases_from = now.plus_millis(self.heartbeat_ms());
        self.put_off_verdicts(cx);
        self.put_off_confirmations(cx);
        if late_ms >= self.config.ttl_ms && self.me().state == MemberState::Active {
            self.become_state(MemberState::Joining, true, cx);
            (self.paging, self.pull_at) = (None, now);
        }
    }

    fn next_deadline(&self) -> Instant {
        let suspect = self.suspects.first().map_or(Instant::NEVER, |(at, _)| *at);
        let confirmation = self.confirmations.iter().map(|confirmation| confirmation.at).min();
        let help = self.helps.iter().map(|help| help.until).min();
        let is_outlived = self.outlived.is_some() && self.me().state.is_present();
        let outlived = if is_outlived { self.outlived_from } else { Instant::NEVER };
        let silence = self.neighbors.iter().map(Neighbor::silent_at).min().unwrap_or(Instant::NEVER);
        let timers = [self.exchange_at, silence, self.pull_at, suspect, outlived];
        let earliest = timers.into_iter().chain(self.news.due()).chain(confirmation).chain(help).min();
        earliest.unwrap_or(Instant::NEVER)
    }
}

impl Machine for Members {
    type Input = Input;
    type Event = Event;

    fn handle(&mut self, input: Input, cx: &mut Cx<'_>) {
        match input {
            Input::Join { contact, is_first } => self.on_join(contact, is_first, cx),
            Input::Move { contact } => self.on_move(contact, cx),
            Input::Outlived { incarnation } => self.note_outlived(incarnation, cx),
            Input::Leave => self.on_leave(cx),
            Input::NeighborUp { peer } => self.on_neighbor_up(peer, cx),
            Input::NeighborDown { peer, loss } => self.on_neighbor_down(peer, loss, cx),
            Input::Quiet { peer } => self.doubt_node(&peer, cx),
            Input::Frame { from, frame } => self.on_frame(from, frame, cx),
            Input::LinkFull { peer, channel } => self.on_pressure(&peer, channel, true, cx),
            Input::LinkReady { peer, channel } => self.on_pressure(&peer, channel, false, cx),
        }
        self.on_outlived_due(cx);
        self.on_news_due(cx);
        self.due = self.next_deadline();
    }

    fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now.mono;
        if now < self.due {
            return;
        }
        let late_ms = now.millis_since(self.due);
        if late_ms >= self.config.heartbeat_ms / 4 {
            self.on_late(late_ms, cx);
        }
        if late_ms >= self.config.quiet_after_ms {
            self.put_off_silence(cx);
        }
        self.on_suspicions_due(cx);
        self.on_confirmations_due(cx);
        self.on_helps_due(cx);
        self.on_pull_due(cx);
        self.on_silence_due(cx);
        self.on_exchange_due(cx);
        self.on_outlived_due(cx);
        self.on_news_due(cx);
        self.due = self.next_deadline();
    }

    fn poll_timeout(&self) -> Option<Instant> {
        (self.due != Instant::NEVER).then_some(self.due)
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn check(&self) {
        assert!(self.neighbors.len() <= NEIGHBORS_MAX, "more neighbours than slots");
        assert!(self.confirmations.len() <= self.config.confirmations_max, "more than confirmations_max");
        assert!(self.helps.len() <= self.config.confirmations_max, "more helps than confirmations_max");
        assert!(self.asked.len() <= LIVES_REMEMBERED_MAX, "more lives asked for than the bound");
        assert!(self.refused.len() <= LIVES_REMEMBERED_MAX, "more lives refused than the bound");
        assert!(self.epitaphs.len() <= self.config.epitaphs_max, "more epitaphs than epitaphs_max");
        assert!(self.table.len() <= self.config.members_max, "more members than members_max");
        self.news.check(&self.config);
        assert!(self.log.len() <= self.log_max(), "the log of rises is above its bound");
        assert!(!self.me().is_suspected() && self.me().state != MemberState::Dead, "a node doubts itself");
    }

    fn audit(&self) {
        self.check();
        assert!(self.due <= self.next_deadline(), "a deadline would be missed");
        self.table.audit();
        for (place, row) in self.table.iter() {
            let is_timed = self.suspects.contains(&(row.suspected_until(), place));
            assert!(is_timed == row.is_suspected(), "a suspicion has no end");
            assert!(!row.is_suspected() || row.state.is_present(), "a member that has gone is suspected");
        }
        let everybody = self.neighbors.iter().fold(0, |all, neighbor| all | neighbor.bit);
        assert!(self.news.awaited_by() & !everybody == 0, "news waits for nobody");
        let ids = self.neighbors.iter().map(|neighbor| neighbor.peer);
        assert!(!ids.into_iter().any(|peer| peer == self.my_id()), "the node is its own neighbour");
    }
}

impl Members {
    fn on_frame(&mut self, from: NodeId, frame: MembersFrame, cx: &mut Cx<'_>) {
        if !self.is_running {
            return; // it has left, and whoever writes will hear of that
        }
        if let Some(neighbor) = self.neighbor(&from) {
            neighbor.answer_by = Instant::NEVER;
        }
        match frame {
            MembersFrame::Beats { asks, again_ms, beats } => {
                self.on_promise(&from, again_ms, cx);
                self.on_beats(from, asks, &beats, cx);
            }
            MembersFrame::Pull(wanted) => self.on_pull(from, wanted, cx),
            MembersFrame::Push { answered, entries } => self.on_push(from, answered, &entries, cx),
            MembersFrame::PingRequest { nonce, target } => self.on_ping_request(from, nonce, target, cx),
            MembersFrame::Ping { nonce } => self.on_ping(from, nonce, cx),
            MembersFrame::Pong { nonce, beat } => self.on_pong(from, nonce, beat, cx),
            MembersFrame::PingAnswer { nonce, beat } => self.on_ping_answer(from, nonce, beat, cx),
            MembersFrame::News(rumors) => self.on_news(from, &rumors, cx),
        }
    }

    fn on_pressure(&mut self, peer: &NodeId, channel: Channel, is_full: bool, cx: &Cx<'_>) {
        let Some(neighbor) = self.neighbor(peer) else { return };
        match channel {
            Channel::Lazy => neighbor.is_lazy_full = is_full,
            Channel::Sync => neighbor.is_sync_full = is_full,
            Channel::Control => neighbor.is_control_full = is_full,
            Channel::Gossip | Channel::User | Channel::Datagram => {}
        }
        if channel == Channel::Control && !is_full {
            self.news.resume(cx.now.mono);
        }
    }
}

/// Sends a frame of members over a link that is there.
fn send(to: NodeId, frame: MembersFrame, cx: &mut Cx<'_>) {
    let frame = Frame::Members(frame);
    cx.send(to, frame.channel(), frame);
}

#[cfg(test)]
mod tests;
