//! Any bytes are read as things that happen to a node: nothing panics, every invariant holds after each, and the node
//! comes to rest.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use rumormill_core::{
    Boot, Channel, Class, Command, Config, Contact, Dialer, DownReason, Frame, Incarnation, Input, Instant,
    MapConfig, MapId, Node, NodeId, Now, Output, Token, Topic, Wall, frame,
};
use std::net::SocketAddr;
use std::sync::Arc;

const WALL_MS: u64 = 1_800_000_000_000;
/// Deadlines that may follow one another at one instant.
const TURNS_MAX: usize = 8;

/// The bytes of a run, zeros when they are used up.
struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// One of sixteen nodes, this one among them, so that what happens meets.
    fn peer(&mut self) -> NodeId {
        NodeId([self.byte() % 16; 32])
    }

    fn dialer(&mut self) -> Dialer {
        if self.byte() % 2 == 0 { Dialer::Local } else { Dialer::Remote }
    }

    fn channel(&mut self) -> Channel {
        Channel::ALL[usize::from(self.byte()) % Channel::COUNT]
    }

    fn incarnation(&mut self) -> Incarnation {
        Incarnation(u64::from(self.byte() % 4))
    }

    fn contact(&mut self) -> Contact {
        Contact::new(self.peer(), self.incarnation(), &[addr()])
    }

    fn bytes(&mut self) -> Bytes {
        let len = usize::from(self.byte());
        let (bytes, rest) = self.0.split_at(len.min(self.0.len()));
        let bytes = Bytes::copy_from_slice(bytes);
        self.0 = rest;
        bytes
    }

    /// A frame: its type and its body as they would stand on the wire.
    fn frame(&mut self) -> Option<Frame> {
        let (kind, body) = (u16::from(self.byte() % 32), self.bytes());
        let mut wire = (body.len() as u32 + 2).to_le_bytes().to_vec();
        wire.extend(kind.to_le_bytes());
        wire.extend(body);
        frame::decode(&mut Bytes::from(wire)).ok().flatten()
    }

    fn command(&mut self) -> Command {
        let map = MapId::named("flags");
        match self.byte() % 8 {
            0 => Command::Join { contacts: (0..self.byte() % 4).map(|_| self.contact()).collect() },
            1 => Command::Leave,
            2 => Command::Subscribe { topic: Topic(u32::from(self.byte() % 4)) },
            3 => Command::Unsubscribe { topic: Topic(u32::from(self.byte() % 4)) },
            4 => {
                let (topic, class) = (Topic(u32::from(self.byte() % 4)), Class::Normal);
                Command::Publish { topic, class, payload: self.bytes() }
            }
            5 => Command::Put { map, key: self.bytes(), value: self.bytes(), expires: None },
            6 => Command::Remove { map, key: self.bytes() },
            _ => Command::Cycle,
        }
    }

    fn input(&mut self) -> Option<Input> {
        Some(match self.byte() % 12 {
            0 => Input::Command { token: Token(0), command: self.command() },
            1 => {
                let (peer, incarnation, dialer) = (self.peer(), self.incarnation(), self.dialer());
                let version = u16::from(self.byte() != 7);
                Input::LinkUp { peer, incarnation, version, addr: addr(), dialer }
            }
            2 => Input::LinkDown { peer: self.peer(), dialer: self.dialer(), reason: DownReason::Closed },
            3 => Input::LinkFull { peer: self.peer(), channel: self.channel() },
            4 => Input::LinkReady { peer: self.peer(), channel: self.channel() },
            5 => Input::Malformed { from: self.peer() },
            6 => Input::Persisted { token: Token(u64::from(self.byte())) },
            7 => Input::PersistFailed { token: Token(u64::from(self.byte())) },
            8 => {
                // A request of the sender's own, which few bytes make.
                let (from, incarnation, kind) = (self.peer(), self.incarnation(), self.byte());
                let contact = Contact::new(from, incarnation, &[addr()]);
                let priority = frame::NeighborPriority::High;
                let frame =
                    if kind % 2 == 0 { Frame::Join(contact) } else { Frame::Neighbor { contact, priority } };
                Input::Frame { from, channel: Channel::Control, frame }
            }
            _ => {
                let (from, frame) = (self.peer(), self.frame()?);
                Input::Frame { from, channel: frame.channel(), frame }
            }
        })
    }
}

fn addr() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 9000))
}

fuzz_target!(|data: &[u8]| {
    let maps = vec![MapConfig { name: "flags".into(), schema: 0 }];
    let config = Config { active_size: 3, passive_size: 6, links_max: 12, maps, ..Config::default() };
    let boot = Boot {
        id: NodeId([0; 32]),
        addrs: vec![addr()],
        config: Arc::new(config),
        seed: [7; 32],
        recovered: vec![],
    };
    let (mut now_ms, mut script, mut out) = (0, Script(data), Output::default());
    let at = |ms: u64| Now { mono: Instant::from_millis(ms), wall: Wall(WALL_MS + ms) };
    let mut node = Node::new(boot, at(0));
    while !script.0.is_empty() {
        now_ms += u64::from(script.byte()).pow(2) / 4; // up to 16 s
        for turn in 0.. {
            if node.poll_timeout().is_none_or(|due| due > at(now_ms).mono) {
                break;
            }
            assert!(turn < TURNS_MAX, "the node spins at {now_ms} ms");
            node.handle(at(now_ms), Input::Timeout, &mut out);
        }
        if let Some(input) = script.input() {
            node.handle(at(now_ms), input, &mut out);
        }
        node.check();
        out.effects.clear();
        out.events.clear();
    }
});
