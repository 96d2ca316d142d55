//! Connections between hosts: their two sides, the streams of each side, and the table that holds them.

use super::Parcel;
use rumormill_core::{Channel, Dialer};

/// The side that dialled. Seen from its own node, a side's number is that of its [`Dialer`].
pub(crate) const DIALER: usize = Dialer::Local as usize;
/// The side that was dialled.
pub(crate) const ACCEPTOR: usize = Dialer::Remote as usize;
/// A time that never comes.
pub(crate) const NEVER: u64 = u64::MAX;

/// Tells who dialled, seen from the node of a side.
pub(crate) fn dialer_of(side: usize) -> Dialer {
    if side == DIALER { Dialer::Local } else { Dialer::Remote }
}

/// One connection, once and for all: the place in the table is used again, under another generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConnectionId {
    pub(crate) index: u32,
    generation: u32,
}

/// What a side of a connection is to its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// In handshake: the node has not been told that it is up.
    Opening,
    /// Up.
    Up,
    /// Closed by its node; the other side is being told.
    Closed,
    /// Gone without a word: crashed, timed out or reset.
    Lost,
}

/// A frame that waits behind a cut.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) since_ns: u64,
    /// The fault that holds it.
    pub(crate) fault: u32,
    pub(crate) parcel: Parcel,
}

/// What one side sends: five ordered streams, and datagrams.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lane {
    /// When the last frame sent on each channel arrives.
    pub(crate) arrivals_ns: [u64; Channel::COUNT],
    /// Bytes sent on each channel that the receiver has not taken yet.
    pub(crate) under_way: [u64; Channel::COUNT],
    /// One bit for each channel whose sender was told that it is full.
    full: u8,
    /// One bit for each full channel whose sender is being told that it has drained.
    draining: u8,
    /// Frames that wait behind a cut, in the order sent.
    pub(crate) held: Vec<Held>,
}

impl Lane {
    /// Tells whether a channel has just risen above its high-water mark.
    #[inline]
    pub(crate) fn is_now_full(&mut self, channel: Channel, high_water: u64) -> bool {
        let bit = 1 << channel as u8;
        let is_new = high_water > 0 && self.under_way[channel as usize] > high_water && self.full & bit == 0;
        self.full |= if is_new { bit } else { 0 };
        is_new
    }

    /// Counts bytes as taken by the receiver, and tells whether a full channel has just drained to half its mark.
    #[inline]
    pub(crate) fn settle(&mut self, channel: Channel, len: u32, high_water: u64) -> bool {
        let under_way = &mut self.under_way[channel as usize];
        *under_way -= u64::from(len);
        let bit = 1 << channel as u8;
        let is_new = self.full & bit != 0 && self.draining & bit == 0 && *under_way <= high_water / 2;
        self.draining |= if is_new { bit } else { 0 };
        is_new
    }

    /// Takes the news that a channel has drained, unless it has filled up again meanwhile.
    pub(crate) fn is_ready(&mut self, channel: Channel, high_water: u64) -> bool {
        let bit = 1 << channel as u8;
        self.draining &= !bit;
        let is_ready = self.under_way[channel as usize] <= high_water;
        self.full &= if is_ready { !bit } else { u8::MAX };
        is_ready
    }
}

/// One side of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Side {
    pub(crate) node: u32,
    pub(crate) state: State,
    /// When the node crashed with this side: what it would have sent again later was never sent.
    pub(crate) crashed_ns: u64,
    /// When the idle timeout strikes; [`NEVER`] while the other side is heard.
    pub(crate) deaf_until_ns: u64,
    pub(crate) lane: Lane,
}

impl Side {
    fn new(node: u32) -> Self {
        Self { node, state: State::Opening, crashed_ns: NEVER, deaf_until_ns: NEVER, lane: Lane::default() }
    }
}

/// A connection.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) id: ConnectionId,
    pub(crate) sides: [Side; 2],
    /// One way, in nanoseconds.
    pub(crate) latency_ns: u64,
    /// The life of the acceptor that answered the dial.
    pub(crate) acceptor_life: u32,
}

impl Connection {
    /// Tells from whom to whom a side sends.
    #[inline]
    pub(crate) fn path(&self, sender: usize) -> (u32, u32) {
        (self.sides[sender].node, self.sides[1 - sender].node)
    }

    /// Tells whether a side exists for its node: the acceptor's does once it is up, the dialer's from the dial on.
    pub(crate) fn exists(&self, side: usize) -> bool {
        match self.sides[side].state {
            State::Up => true,
            State::Opening => side == DIALER,
            State::Closed | State::Lost => false,
        }
    }

    /// Tells the probe timeout of the connection (RFC 9002, section 6.2.1, with the variance at a half of the round
    /// trip and 25 ms for late acknowledgements).
    #[inline]
    pub(crate) fn probe_timeout_ns(&self) -> u64 {
        3 * self.latency_ns + 25_000_000
    }
}

/// All connections: a slab with a free list.
#[derive(Clone, Debug, Default)]
pub(crate) struct Connections {
    table: Vec<Connection>,
    free: Vec<u32>,
}

impl Connections {
    /// Opens a connection.
    pub(crate) fn open(&mut self, dialer: u32, acceptor: u32, latency_ns: u64) -> ConnectionId {
        let sides = [Side::new(dialer), Side::new(acceptor)];
        let Some(index) = self.free.pop() else {
            let id = ConnectionId { index: self.table.len() as u32, generation: 0 };
            self.table.push(Connection { id, sides, latency_ns, acceptor_life: 0 });
            return id;
        };
        let place = &mut self.table[index as usize];
        *place = Connection { id: place.id, sides, latency_ns, acceptor_life: 0 };
        place.id
    }

    /// Forgets a connection that exists for neither side any more.
    pub(crate) fn forget(&mut self, index: u32) {
        let place = &mut self.table[index as usize];
        place.id.generation = place.id.generation.wrapping_add(1);
        self.free.push(index);
    }

    /// Finds a connection that has not been forgotten.
    #[inline]
    pub(crate) fn get(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.table.get_mut(id.index as usize).filter(|connection| connection.id == id)
    }

    /// Shows the connection at a place that is in use.
    #[inline]
    pub(crate) fn at(&self, index: u32) -> &Connection {
        &self.table[index as usize]
    }

    /// Shows the connection at a place that is in use, to change it.
    #[inline]
    pub(crate) fn at_mut(&mut self, index: u32) -> &mut Connection {
        &mut self.table[index as usize]
    }

    /// Counts the connections that are in use.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.table.len() - self.free.len()
    }
}

/// What a host knows of one peer: the connection that each of the two dialled, if any, by [`Dialer`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) peer: u32,
    pub(crate) connections: [Option<u32>; 2],
}

/// The links of one host, sorted by peer: a few, so a sorted list beats any table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Links(Vec<Link>);

impl Links {
    #[inline]
    pub(crate) fn get(&self, peer: u32) -> Option<&Link> {
        let at = self.0.binary_search_by_key(&peer, |link| link.peer).ok()?;
        Some(&self.0[at])
    }

    pub(crate) fn set(&mut self, peer: u32, side: usize, index: u32) {
        let at = match self.0.binary_search_by_key(&peer, |link| link.peer) {
            Ok(at) => at,
            Err(at) => {
                self.0.insert(at, Link { peer, connections: [None; 2] });
                at
            }
        };
        self.0[at].connections[side] = Some(index);
    }

    /// Takes a connection out, unless a newer one stands in its place.
    pub(crate) fn clear(&mut self, peer: u32, side: usize, index: u32) {
        let Ok(at) = self.0.binary_search_by_key(&peer, |link| link.peer) else { return };
        let connections = &mut self.0[at].connections;
        if connections[side] == Some(index) {
            connections[side] = None;
        }
        if *connections == [None; 2] {
            self.0.remove(at);
        }
    }

    /// Lists every connection with the host's side of it, in the order of peers.
    pub(crate) fn all(&self) -> Vec<(u32, usize)> {
        let of = |link: &Link, side: usize| link.connections[side].map(|index| (index, side));
        self.0.iter().flat_map(|link| [of(link, DIALER), of(link, ACCEPTOR)]).flatten().collect()
    }
}
