//! Two nodes with mailboxes, for tests and benchmarks.

use bytes::Bytes;
use rumormill_core::{
    Address, Boot, Command, Config, Dialer, Effect, Event, Frame, Incarnation, Input, Instant, Node, NodeId,
    Now, Output, Reply, Token, Wall,
};
use std::net::SocketAddr;
use std::sync::Arc;

const NOW: Now = Now { mono: Instant(1), wall: Wall(1_800_000_000_000) };

/// Two nodes with mailboxes and a link between them.
pub(crate) struct Pair {
    nodes: [Node; 2],
    addresses: [Address; 2],
    out: Output,
    /// What comes of being told that mail was heard: nothing.
    quiet: Output,
    tokens: u64,
}

fn id(at: usize) -> NodeId {
    NodeId([at as u8 + 1; 32])
}

impl Pair {
    pub(crate) fn new() -> Self {
        let config = Arc::new(Config { members: true, mailboxes: true, ..Config::default() });
        let addr = SocketAddr::from(([127, 0, 0, 1], 9000));
        let boot = |at| {
            let (config, seed) = (config.clone(), [at as u8; 32]);
            Node::new(Boot { id: id(at), addrs: vec![addr], config, seed, recovered: vec![] }, NOW)
        };
        let mut nodes = [boot(0), boot(1)];
        let mut out = Output::default();
        let lives: [Incarnation; 2] = [nodes[0].incarnation(), nodes[1].incarnation()];
        let addresses = [0, 1].map(|at| {
            let (peer, incarnation, dialer) = (id(1 - at), lives[1 - at], Dialer::Remote);
            nodes[at].handle(NOW, Input::LinkUp { peer, incarnation, version: 1, addr, dialer }, &mut out);
            out.events.clear();
            nodes[at].handle(
                NOW,
                Input::Command { token: Token(0), command: Command::OpenMailbox },
                &mut out,
            );
            match out.events[..] {
                [Event::Done { result: Ok(Reply::Opened { address }), .. }] => address,
                ref other => panic!("{other:?}"),
            }
        });
        let mut pair = Self { nodes, addresses, out, quiet: Output::default(), tokens: 0 };
        for _ in 0..1_000 {
            pair.local();
            pair.remote();
            pair.call();
        }
        pair
    }

    fn handle(&mut self, at: usize, input: Input) {
        self.out.effects.clear();
        self.out.events.clear();
        self.nodes[at].handle(NOW, input, &mut self.out);
    }

    fn command(&mut self, at: usize, command: Command) {
        self.tokens += 1;
        self.handle(at, Input::Command { token: Token(self.tokens), command });
    }

    /// Carries the one frame that was just sent to the other node.
    fn carry(&mut self, from: usize) {
        let Some(Effect::Send { channel, frame, .. }) = self.out.effects.pop() else {
            panic!("nothing sent")
        };
        assert!(matches!(frame, Frame::Mail(_)));
        self.handle(1 - from, Input::Frame { from: id(from), channel, frame });
        // Now and then it says what it has heard.
        if let Some(Effect::Send { channel, frame, .. }) = self.out.effects.pop() {
            let input = Input::Frame { from: id(1 - from), channel, frame };
            self.nodes[from].handle(NOW, input, &mut self.quiet);
            assert!(self.quiet.effects.is_empty() && self.quiet.events.is_empty());
        }
    }

    fn send(&mut self, to: usize) {
        let (from, to) = (self.addresses[0].mailbox, self.addresses[to]);
        self.command(0, Command::Send { from, to, payload: Bytes::from_static(b"a message") });
    }

    pub(crate) fn local(&mut self) {
        self.send(0);
        assert!(matches!(self.out.events[..], [Event::Mail { .. }, Event::Done { result: Ok(_), .. }]));
    }

    pub(crate) fn remote(&mut self) {
        self.send(1);
        self.carry(0);
        assert!(matches!(self.out.events[..], [Event::Mail { .. }]));
    }

    pub(crate) fn call(&mut self) {
        let (from, to) = (self.addresses[0].mailbox, self.addresses[1]);
        let payload = Bytes::from_static(b"why");
        self.command(0, Command::Call { from, to, payload: payload.clone(), timeout_ms: 1_000 });
        self.carry(0);
        let [Event::Asked { question, .. }] = self.out.events[..] else { panic!("{:?}", self.out.events) };
        self.command(1, Command::Answer { question, payload });
        self.carry(1);
        assert!(matches!(self.out.events[..], [Event::Done { result: Ok(Reply::Answer { .. }), .. }]));
    }
}
