//! Laws over arbitrary runs: three machines on a network that loses links on one side or both, settles crossings,
//! closes what is idle, restarts nodes, and takes its time.

use super::*;
use crate::config::Canary;
use crate::hlc::{Hlc, Stamp};
use crate::machine::Event as Told;
use crate::rng::{Purpose, Rng};
use crate::stats::Stats;
use crate::time::{Now, Wall};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const NODES: usize = 3;

/// What was asked, and what came of it.
#[derive(Default)]
struct Ledger {
    tokens: u64,
    done: BTreeMap<u64, Vec<Result<Reply, CommandError>>>,
    /// Which life of which node was given each command.
    by: BTreeMap<u64, (usize, u64)>,
    /// Every message: between which mailboxes, and how often it came.
    sent: BTreeMap<u64, (Address, Address, u32)>,
    lost: BTreeMap<u64, Vec<MailLoss>>,
    /// The last message that came, for each pair of mailboxes.
    last: BTreeMap<(Address, Address), u64>,
    monitors: BTreeMap<u64, (Address, Address, u32)>,
    open: Vec<Address>,
    closed: BTreeSet<Address>,
    asked: Vec<(usize, Question)>,
}

struct Net {
    config: Arc<Config>,
    nodes: Vec<Mailboxes>,
    lives: [u64; NODES],
    now_ms: u64,
    /// What each node believes of its link to each other one.
    up: [[bool; NODES]; NODES],
    cut: [[bool; NODES]; NODES],
    dials: BTreeSet<(usize, usize)>,
    /// Two connections for each direction, as after crossing dials; the second number says which carries frames.
    lanes: BTreeMap<(usize, usize, usize), VecDeque<Box<Mail>>>,
    lane: [[usize; NODES]; NODES],
    ledger: Ledger,
    fault: Option<String>,
}

fn id(at: usize) -> NodeId {
    node(at as u8 + 1)
}

fn at(id: &NodeId) -> usize {
    usize::from(id.0[0]) - 1
}

impl Net {
    fn new(canary: Option<Canary>) -> Self {
        let config = Arc::new(Config { canary, link_queue_max: 4, mail_early_max: 6, ..config() });
        let boot = |at| Mailboxes::new(config.clone(), id(at), Incarnation(1));
        let nodes = (0..NODES).map(boot).collect();
        Self {
            config,
            nodes,
            lives: [1; NODES],
            now_ms: 0,
            up: Default::default(),
            cut: Default::default(),
            dials: BTreeSet::new(),
            lanes: BTreeMap::new(),
            lane: Default::default(),
            ledger: Ledger::default(),
            fault: None,
        }
    }

    fn with(&mut self, n: usize, act: impl FnOnce(&mut Mailboxes, &mut Cx<'_>)) {
        let now = Now { mono: Instant::from_millis(self.now_ms), wall: Wall(self.now_ms) };
        let (mut rng, mut clock) = (Rng::new([1; 32]), Hlc::new(Stamp::ZERO, 1_000));
        let (mut stats, mut effects) = (Stats::default(), Vec::new());
        let mut cx = Cx { now, rng: &mut rng, clock: &mut clock, stats: &mut stats, effects: &mut effects };
        act(&mut self.nodes[n], &mut cx);
        self.nodes[n].audit();
        while let Some(event) = self.nodes[n].poll_event() {
            self.on_event(n, event);
        }
    }

    fn input(&mut self, n: usize, input: Input) {
        self.with(n, |machine, cx| machine.handle(input, cx));
    }

    fn on_event(&mut self, n: usize, event: Event) {
        match event {
            Event::Reach { node, .. } => {
                let to = at(&node);
                self.dials.insert((n, to));
                self.input(n, Input::Reaching { node });
            }
            Event::Frame { to, frame: Frame::Mail(mail) } => {
                let to = at(&to);
                if self.up[n][to] {
                    self.lanes.entry((n, to, self.lane[n][to])).or_default().push_back(mail);
                }
            }
            Event::Frame { .. } => panic!("no mail"),
            Event::User(told) => self.on_told(n, told),
        }
    }

    fn fail(&mut self, fault: String) {
        self.fault.get_or_insert(fault);
    }

    fn on_told(&mut self, n: usize, told: Told) {
        match told {
            Told::Done { token, result } => {
                if let Ok(Reply::Opened { address }) = &result {
                    self.ledger.open.push(*address);
                }
                self.ledger.done.entry(token.0).or_default().push(result);
            }
            Told::Mail { mailbox, from, payload } => {
                let here = self.nodes[n].address(mailbox);
                let token = u64::from_le_bytes(payload[..].try_into().expect("eight bytes"));
                let (meant_from, meant_to, count) = self.ledger.sent.get_mut(&token).expect("it was sent");
                *count += 1;
                if *count > 1 || (*meant_from, *meant_to) != (from, here) {
                    let meant = *meant_to;
                    self.fail(format!("message {token} for {} came to {}", name(meant), name(here)));
                }
                let last = self.ledger.last.insert((from, here), token);
                if last.is_some_and(|last| last > token) {
                    self.fail(format!("message {token} came after {last:?}"));
                }
            }
            Told::Asked { question, .. } => self.ledger.asked.push((n, question)),
            Told::MailLost { token, reason, .. } => self.ledger.lost.entry(token.0).or_default().push(reason),
            Told::MailboxDown { monitor, .. } => {
                let Some((.., fired)) = self.ledger.monitors.get_mut(&monitor.0) else { return };
                *fired += 1;
            }
            Told::MailboxClosed { mailbox, .. } => {
                let address = self.nodes[n].address(mailbox);
                self.ledger.closed.insert(address);
            }
            other => panic!("{other:?}"),
        }
    }

    fn command(&mut self, n: usize, command: Command) -> u64 {
        self.ledger.tokens += 1;
        let token = self.ledger.tokens;
        self.ledger.done.insert(token, Vec::new());
        self.ledger.by.insert(token, (n, self.lives[n]));
        self.input(n, Input::Command { token: Token(token), command });
        token
    }

    fn pick(&self, byte: u8) -> Option<Address> {
        let open = &self.ledger.open;
        (!open.is_empty()).then(|| open[usize::from(byte) % open.len()])
    }

    /// A mailbox that is open on a node that lives.
    fn pick_alive(&self, byte: u8) -> Option<(usize, Address)> {
        let address = self.pick(byte)?;
        let n = at(&address.node);
        let is_alive = self.lives[n] == address.incarnation.0 && !self.ledger.closed.contains(&address);
        is_alive.then_some((n, address))
    }

    /// One step of a run, from four arbitrary bytes.
    fn step(&mut self, [what, a, b, c]: [u8; 4]) {
        let (m, n) = (usize::from(a) % NODES, usize::from(b) % NODES);
        match what % 24 {
            0..=1 => drop(self.command(m, Command::OpenMailbox)),
            2..=6 => self.send(a, b),
            7 => self.call(a, b, c),
            8 => self.answer(c),
            9..=10 => self.monitor(a, b),
            11 => {
                let (Some((n, from)), Some(with)) = (self.pick_alive(a), self.pick(b)) else { return };
                self.command(n, Command::Link { mailbox: from.mailbox, with });
            }
            12 => {
                let Some((n, address)) = self.pick_alive(a) else { return };
                self.command(n, Command::CloseMailbox { mailbox: address.mailbox });
                self.ledger.closed.insert(address);
            }
            13 => self.lose(m, n, c),
            14 => self.close_idle(m, n),
            15 => self.restart(m, c),
            16 => (self.cut[m][n], self.cut[n][m]) = (c & 1 == 0, c & 1 == 0),
            17 => self.cross(a, b),
            18..=19 => self.dial_all(),
            20 => self.pass(u64::from(c) * 20),
            _ => drop(self.deliver(m, n, usize::from(c & 1))),
        }
    }

    /// A crossing is settled between two messages: the second goes over the other connection and may overtake.
    fn cross(&mut self, a: u8, b: u8) {
        let (Some((n, _)), Some(to)) = (self.pick_alive(a), self.pick(b)) else { return };
        self.send(a, b);
        self.lane[n][at(&to.node)] ^= 1;
        self.send(a, b);
    }

    fn send(&mut self, a: u8, b: u8) {
        let (Some((n, from)), Some(to)) = (self.pick_alive(a), self.pick(b)) else { return };
        let token = self.ledger.tokens + 1;
        self.ledger.sent.insert(token, (from, to, 0));
        let payload = Bytes::from(token.to_le_bytes().to_vec());
        self.command(n, Command::Send { from: from.mailbox, to, payload });
    }

    fn call(&mut self, a: u8, b: u8, c: u8) {
        let (Some((n, from)), Some(to)) = (self.pick_alive(a), self.pick(b)) else { return };
        let (from, payload, timeout_ms) = (from.mailbox, Bytes::new(), u64::from(c) * 50);
        self.command(n, Command::Call { from, to, payload, timeout_ms });
    }

    fn answer(&mut self, c: u8) {
        if self.ledger.asked.is_empty() {
            return;
        }
        let (n, question) = self.ledger.asked.remove(usize::from(c) % self.ledger.asked.len());
        self.command(n, Command::Answer { question, payload: Bytes::new() });
    }

    fn monitor(&mut self, a: u8, b: u8) {
        let (Some((n, from)), Some(of)) = (self.pick_alive(a), self.pick(b)) else { return };
        let token = self.ledger.tokens + 1;
        self.ledger.monitors.insert(token, (from, of, 0));
        self.command(n, Command::Monitor { mailbox: from.mailbox, of });
    }

    fn drop_lanes(&mut self, from: usize, to: usize) {
        self.lanes.remove(&(from, to, 0));
        self.lanes.remove(&(from, to, 1));
    }

    /// One end loses the link, or both: what is under way to an end that has lost it never comes.
    fn lose(&mut self, m: usize, n: usize, c: u8) {
        for (x, y) in [(m, n), (n, m)].into_iter().take(1 + usize::from(c & 1)) {
            if x != y && self.up[x][y] {
                self.up[x][y] = false;
                self.drop_lanes(y, x);
                self.input(x, Input::LinkDown { peer: id(y), is_lost: true });
            }
        }
    }

    /// One end closes the link in good order: what it has sent arrives first.
    fn close_idle(&mut self, m: usize, n: usize) {
        if m == n || !self.up[m][n] {
            return;
        }
        self.up[m][n] = false;
        self.drop_lanes(n, m);
        self.input(m, Input::LinkDown { peer: id(n), is_lost: false });
        for lane in [0, 1] {
            while self.deliver(m, n, lane) {}
        }
        if self.up[n][m] {
            self.up[n][m] = false;
            self.input(n, Input::LinkDown { peer: id(m), is_lost: false });
        }
    }

    fn restart(&mut self, m: usize, c: u8) {
        if c > 60 {
            return;
        }
        self.lives[m] += 1;
        self.nodes[m] = Mailboxes::new(self.config.clone(), id(m), Incarnation(self.lives[m]));
        self.dials.retain(|(from, _)| *from != m);
        self.ledger.asked.retain(|(n, _)| *n != m);
        for n in (0..NODES).filter(|n| *n != m) {
            self.up[m][n] = false;
            self.drop_lanes(n, m);
            self.drop_lanes(m, n);
        }
    }

    /// Ends every dial, and tells those who hold a link to an earlier life of its end.
    fn dial_all(&mut self) {
        for (m, n) in core::mem::take(&mut self.dials) {
            if self.up[m][n] {
                continue;
            }
            if self.cut[m][n] {
                self.input(m, Input::Unreached { node: id(n) });
                continue;
            }
            self.connect(m, n);
            self.connect(n, m);
        }
    }

    fn connect(&mut self, m: usize, n: usize) {
        let incarnation = Incarnation(self.lives[n]);
        let known = self.nodes[m].links.get(&id(n)).map(|link| link.life);
        if known == Some(incarnation) {
            return;
        }
        if known.is_some() {
            self.input(m, Input::LinkDown { peer: id(n), is_lost: false });
        }
        self.up[m][n] = true;
        self.input(m, Input::LinkUp { peer: id(n), incarnation });
    }

    fn deliver(&mut self, from: usize, to: usize, lane: usize) -> bool {
        let mail = self.lanes.get_mut(&(from, to, lane)).and_then(VecDeque::pop_front);
        let Some(mail) = mail else { return false };
        if self.up[to][from] {
            self.input(to, Input::Frame { from: id(from), mail });
        }
        true
    }

    fn pass(&mut self, ms: u64) {
        let end = self.now_ms + ms;
        loop {
            let due = (0..NODES).filter_map(|n| Some((self.nodes[n].poll_timeout()?, n))).min();
            let Some((due, n)) = due.filter(|(due, _)| *due <= Instant::from_millis(end)) else { break };
            self.now_ms = self.now_ms.max(due.0.div_ceil(1_000_000));
            self.with(n, |machine, cx| machine.handle_timeout(cx));
        }
        self.now_ms = end;
    }

    /// Calm: whoever is gone is known to be, every link is made that is asked for, and everything arrives.
    fn settle(&mut self) {
        self.cut = Default::default();
        for m in 0..NODES {
            for n in (0..NODES).filter(|n| *n != m) {
                let stale = self.nodes[m].links.get(&id(n)).is_some_and(|link| link.life.0 < self.lives[n]);
                if stale || (self.up[m][n] && !self.up[n][m]) {
                    self.up[m][n] = false;
                    self.input(m, Input::LinkDown { peer: id(n), is_lost: true });
                }
                let incarnation = Incarnation(self.lives[n] - 1);
                let reason = MailLoss::Gone;
                self.input(m, Input::LifeGone { node: id(n), incarnation, reason });
            }
        }
        for _ in 0..40 {
            self.dial_all();
            for round in 0..2_000 {
                let arrived =
                    (0..NODES * NODES * 2).filter(|k| self.deliver(k / 2 / NODES, k / 2 % NODES, k % 2));
                if arrived.count() == 0 {
                    break;
                }
                assert!(round < 1_999, "mail goes round and round");
            }
            self.pass(5_000);
        }
    }

    fn judge(mut self) -> Option<String> {
        self.settle();
        let Ledger { done, by, sent, lost, monitors, closed, .. } = &self.ledger;
        let is_current = |of: &Address| self.lives[at(&of.node)] == of.incarnation.0;
        let mut faults: Vec<String> = self.fault.take().into_iter().collect();
        for (token, results) in done {
            let (n, life) = by[token];
            if results.len() > 1 || (results.is_empty() && self.lives[n] == life) {
                faults.push(format!("command {token} was answered {results:?}"));
            }
        }
        for (token, (_, to, came)) in sent {
            let results = done.get(token).map_or(&[][..], Vec::as_slice);
            let lost = lost.get(token).map_or(&[][..], Vec::as_slice);
            // What a peer was not known to have heard may have come; what it refused has not.
            let is_refused = results.iter().any(Result::is_err)
                || lost.contains(&MailLoss::Gone) && is_current(to) && !closed.contains(to);
            if is_refused && *came > 0 || lost.len() > 1 {
                faults.push(format!(
                    "message {token} to {} came {came} times and was lost: {lost:?}",
                    name(*to)
                ));
            }
            let (n, life) = by[token];
            let is_accepted = results.iter().any(Result::is_ok) && self.lives[n] == life;
            if is_accepted && *came == 0 && lost.is_empty() {
                faults.push(format!("message {token} to {} vanished", name(*to)));
            }
        }
        for (token, (watcher, of, fired)) in monitors {
            let is_down = closed.contains(of) || !is_current(of);
            let waits = is_current(watcher) && !closed.contains(watcher);
            let was_begun = done.get(token).is_some_and(|results| results == &[Ok(Reply::Ok)]);
            if *fired > 1 || (is_down && waits && was_begun && *fired == 0) {
                faults.push(format!("monitor {token} of {} fired {fired} times", name(*of)));
            }
        }
        faults.into_iter().next()
    }
}

/// Runs steps and tells the first law that was broken.
fn broken(steps: impl IntoIterator<Item = [u8; 4]>, canary: Option<Canary>) -> Option<String> {
    let mut net = Net::new(canary);
    for n in 0..NODES {
        net.command(n, Command::OpenMailbox);
    }
    steps.into_iter().for_each(|step| net.step(step));
    net.judge()
}

fn seeded(seed: u8) -> Vec<[u8; 4]> {
    let mut rng = Rng::new([seed; 32]);
    (0..400).map(|_| (rng.draw(Purpose::App).bits() as u32).to_le_bytes()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn mail_comes_at_most_once_in_order_and_whatever_ends_is_told_once(
        steps in prop::collection::vec(any::<[u8; 4]>(), 0..400),
    ) {
        prop_assert_eq!(broken(steps, None), None);
    }
}

#[test]
fn long_seeded_runs_break_no_law() {
    for seed in 0..=u8::MAX {
        assert_eq!(broken(seeded(seed), None), None, "seed {seed}");
    }
}

#[cfg(rumormill_canary)]
mod canaries {
    use super::*;

    fn seeds_until_found(canary: Canary) -> Option<(u8, String)> {
        (0..=u8::MAX).find_map(|seed| Some((seed, broken(seeded(seed), Some(canary))?)))
    }

    #[test]
    fn every_planted_bug_is_found() {
        for (canary, word) in [
            (Canary::LaterLife, "message"),
            (Canary::Redeliver, "message"),
            (Canary::ForgetfulMonitor, "monitor"),
            (Canary::LateAnswer, "command"),
            (Canary::OutOfOrder, "message"),
        ] {
            let found = seeds_until_found(canary);
            std::println!("{canary:?}: {found:?}");
            assert!(found.is_some_and(|(_, fault)| fault.starts_with(word)), "{canary:?} hides");
        }
    }
}
