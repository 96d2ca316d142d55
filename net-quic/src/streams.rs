//! Tagged streams: bytes between two nodes, in both directions, with QUIC's own flow control.
//!
//! They have connections of their own, opened on demand: the core closes a link that it does not need, and must not cut
//! anybody's bytes with it. Such a connection is closed when no stream has been open on it for a minute.

use crate::cluster::{Cluster, Error};
use crate::endpoint::Gate;
use crate::handshake::Broken;
use crate::hello::Purpose;
use crate::node_ref::NodeRef;
use crate::trust::Refusal;
use quinn::{Connection, RecvStream, SendStream, VarInt};
use rumormill_core::{Dialer, NodeId};
use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// Bytes of a tag at most.
pub const TAG_LEN_MAX: usize = 255;
/// Streams that have come and that nobody has taken yet, for each tag.
const WAITING: usize = 64;
/// Connections for streams that one peer may have dialled. A guess: a node dials one, and more only in a race with itself.
const CONNECTIONS_MAX: usize = 16;
/// How long a stream may take to say its tag.
const TAG_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection without streams stays open.
const IDLE: Duration = Duration::from_secs(60);
/// The version of what stands before a stream's first byte.
const VERSION: u8 = 1;
/// The code of a stream that nobody takes.
const UNKNOWN_TAG: VarInt = VarInt::from_u32(3);
/// The code of a stream for which there is no room.
const BUSY: VarInt = VarInt::from_u32(4);
/// The code of a stream that its user dropped unfinished.
const DROPPED: VarInt = VarInt::from_u32(5);

/// The code of a connection that leads where its node was.
const MOVED: VarInt = VarInt::from_u32(6);

/// Bytes to and from another node.
///
/// Opened with [`Cluster::open_stream`], taken with [`Cluster::accept_streams`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use rumormill_net_quic::testing::TestCluster;
/// use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
///
/// let cluster = TestCluster::start(2).await?;
/// let mut acceptor = cluster.node(1).accept_streams("upload")?;
/// let mut ours = cluster.node(0).open_stream("node-1", "upload").await?;
/// ours.write_all(b"all of it").await?;
/// ours.shutdown().await?;
/// let mut theirs = acceptor.accept().await.expect("the node runs");
/// let mut text = String::new();
/// theirs.read_to_string(&mut text).await?;
/// assert_eq!((theirs.peer(), text.as_str()), (cluster.node(0).id(), "all of it"));
/// # Ok(()) }
/// ```
///
/// `shutdown` ends what this end sends, and the other end reads an end of file. Dropping a stream before that is a reset:
/// the other end reads an error, never an end that looks whole.
pub struct Stream {
    peer: NodeId,
    tag: Arc<[u8]>,
    send: SendStream,
    receive: RecvStream,
    is_finished: bool,
    /// Keeps its connection open.
    _connection: Arc<Connection>,
}

impl Stream {
    /// Tells who is at the other end.
    pub fn peer(&self) -> NodeId {
        self.peer
    }

    /// Tells what the stream is for.
    pub fn tag(&self) -> &[u8] {
        &self.tag
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !self.is_finished {
            let _ = self.send.reset(DROPPED);
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        AsyncRead::poll_read(Pin::new(&mut self.receive), cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(Pin::new(&mut self.send), cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_flush(Pin::new(&mut self.send), cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = AsyncWrite::poll_shutdown(Pin::new(&mut self.send), cx);
        self.is_finished |= matches!(done, Poll::Ready(Ok(())));
        done
    }
}

/// Takes the streams of one tag. Dropping it refuses them from then on.
pub struct Acceptor {
    tag: Arc<[u8]>,
    streams: mpsc::Receiver<Stream>,
    hub: Arc<Hub>,
}

impl Acceptor {
    /// Waits for the next stream; `None` when the node has ended.
    pub async fn accept(&mut self) -> Option<Stream> {
        self.streams.recv().await
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.hub.state().acceptors.remove(&self.tag);
    }
}

/// The streams of a node: who takes which, and over which connections they go.
#[derive(Default)]
pub(crate) struct Hub {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Held while a peer is dialled: whoever else wants a connection to it waits for that one.
    dials: BTreeMap<NodeId, Arc<tokio::sync::Mutex<()>>>,
    acceptors: BTreeMap<Arc<[u8]>, mpsc::Sender<Stream>>,
    connections: BTreeMap<NodeId, Arc<Connection>>,
    /// Those that peers have dialled.
    accepted: BTreeMap<NodeId, Vec<Connection>>,
}

impl Hub {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends everything: who waits for streams waits no longer.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.acceptors.clear();
        state.connections.clear();
        state.accepted.clear();
    }

    /// Finds a connection to a node that streams may go over.
    fn connection(&self, peer: &NodeId) -> Option<Arc<Connection>> {
        let mut state = self.state();
        let connection = state.connections.get(peer)?.clone();
        if connection.close_reason().is_none() {
            return Some(connection);
        }
        state.connections.remove(peer);
        None
    }

    /// Waits until nobody else dials a peer for streams.
    async fn dial_alone(&self, peer: NodeId) -> tokio::sync::OwnedMutexGuard<()> {
        let dial = {
            let mut state = self.state();
            state.dials.retain(|_, dial| Arc::strong_count(dial) > 1); // those that ended, or were given up
            state.dials.entry(peer).or_default().clone()
        };
        dial.lock_owned().await
    }

    /// Takes over a connection that this node has dialled for streams, and closes it when it is idle.
    fn keep(self: &Arc<Self>, peer: NodeId, connection: Connection) -> Arc<Connection> {
        let connection = Arc::new(connection);
        self.state().connections.insert(peer, connection.clone());
        tokio::spawn(close_when_idle(Arc::downgrade(self), peer, Arc::downgrade(&connection)));
        tokio::spawn(serve(self.clone(), peer, connection.clone()));
        connection
    }

    /// Takes over a connection that a peer has dialled for streams.
    pub(crate) fn accept(self: &Arc<Self>, peer: NodeId, connection: Connection) -> Result<(), Refusal> {
        let mut state = self.state();
        for connections in state.accepted.values_mut() {
            connections.retain(|connection| connection.close_reason().is_none());
        }
        state.accepted.retain(|_, connections| !connections.is_empty());
        let of_peer = state.accepted.entry(peer).or_default();
        if of_peer.len() >= CONNECTIONS_MAX {
            return Err(Refusal::NoRoom("another connection for streams"));
        }
        of_peer.push(connection.clone());
        drop(state);
        tokio::spawn(serve(self.clone(), peer, Arc::new(connection)));
        Ok(())
    }

    /// Lists the connections that streams go over: with whom, and who dialled.
    pub(crate) fn connections(&self) -> Vec<(NodeId, Dialer, Connection)> {
        let state = self.state();
        let dialled = state.connections.iter().map(|(peer, it)| (*peer, Dialer::Local, (**it).clone()));
        let accepted = state.accepted.iter().flat_map(|(peer, all)| all.iter().map(|it| (*peer, it.clone())));
        let accepted = accepted.map(|(peer, connection)| (peer, Dialer::Remote, connection));
        dialled.chain(accepted).filter(|(_, _, connection)| connection.close_reason().is_none()).collect()
    }

    /// Ends the connections that a peer dialled before this node moved: nothing comes over them any more.
    pub(crate) fn forget_accepted(&self) {
        let accepted = std::mem::take(&mut self.state().accepted);
        accepted.into_values().flatten().for_each(|connection| connection.close(MOVED, b""));
    }

    /// Ends the connection that this node dialled to a peer which has moved: it leads where nobody is.
    pub(crate) fn forget_dialled(&self, peer: &NodeId) {
        let dialled = self.state().connections.remove(peer);
        dialled.iter().for_each(|connection| connection.close(MOVED, b""));
    }

    /// Ends the connections of those who may not stay.
    pub(crate) fn expel(&self, gate: &Gate) {
        let state = self.state();
        let dialled = state.connections.iter().map(|(peer, connection)| (*peer, &**connection));
        let accepted = state.accepted.iter().flat_map(|(peer, all)| all.iter().map(|it| (*peer, it)));
        for (peer, connection) in dialled.chain(accepted) {
            let refusal = gate.is_barred(peer, connection).filter(|_| connection.close_reason().is_none());
            if let Some(refusal) = refusal {
                gate.expel(connection, &refusal);
            }
        }
    }

    /// Hands a stream to whoever takes its tag.
    async fn welcome(
        &self,
        peer: NodeId,
        connection: Arc<Connection>,
        mut send: SendStream,
        mut receive: RecvStream,
    ) {
        let Ok(Some(tag)) = timeout(TAG_TIMEOUT, read_tag(&mut receive)).await else {
            return refuse(&mut send, &mut receive, UNKNOWN_TAG);
        };
        let acceptor = self.state().acceptors.get(&tag).cloned();
        let Some(place) = acceptor.as_ref().map(mpsc::Sender::try_reserve) else {
            return refuse(&mut send, &mut receive, UNKNOWN_TAG);
        };
        match place {
            Ok(place) => {
                place.send(Stream { peer, tag, send, receive, is_finished: false, _connection: connection });
            }
            Err(_) => refuse(&mut send, &mut receive, BUSY),
        }
    }
}

fn refuse(send: &mut SendStream, receive: &mut RecvStream, code: VarInt) {
    let _ = send.reset(code);
    let _ = receive.stop(code);
}

async fn read_tag(receive: &mut RecvStream) -> Option<Arc<[u8]>> {
    let mut head = [0; 2];
    receive.read_exact(&mut head).await.ok()?;
    let mut tag = vec![0; usize::from(head[1])];
    receive.read_exact(&mut tag).await.ok()?;
    (head[0] == VERSION).then(|| tag.into())
}

/// Takes the streams that the other end opens.
async fn serve(hub: Arc<Hub>, peer: NodeId, connection: Arc<Connection>) {
    let weak = Arc::downgrade(&connection);
    let accepting = (*connection).clone();
    drop(connection); // who waits for streams does not keep the connection open
    while let Ok((send, receive)) = accepting.accept_bi().await {
        let (hub, connection) = (hub.clone(), weak.upgrade().unwrap_or_else(|| Arc::new(accepting.clone())));
        tokio::spawn(async move { hub.welcome(peer, connection, send, receive).await });
    }
}

/// Closes a connection once no stream has been open on it for a while.
async fn close_when_idle(hub: std::sync::Weak<Hub>, peer: NodeId, connection: std::sync::Weak<Connection>) {
    let mut idle_since = None;
    loop {
        sleep(IDLE / 4).await;
        let (Some(hub), Some(connection)) = (hub.upgrade(), connection.upgrade()) else { return };
        let mut state = hub.state(); // nobody begins to use it meanwhile
        let is_used = is_used(&state.connections, &peer, &connection);
        idle_since = if is_used { None } else { idle_since.or_else(|| Some(tokio::time::Instant::now())) };
        if connection.close_reason().is_some() || idle_since.is_some_and(|since| since.elapsed() >= IDLE) {
            if is_kept(&state.connections, &peer, &connection) {
                state.connections.remove(&peer);
            }
            return connection.close(VarInt::from_u32(0), b"");
        }
    }
}

/// Tells whether a connection is the one over which streams to a peer are opened.
fn is_kept<T>(connections: &BTreeMap<NodeId, Arc<T>>, peer: &NodeId, connection: &Arc<T>) -> bool {
    connections.get(peer).is_some_and(|kept| Arc::ptr_eq(kept, connection))
}

/// Tells whether anybody holds a connection but whoever asks and, where it is kept, the hub.
fn is_used<T>(connections: &BTreeMap<NodeId, Arc<T>>, peer: &NodeId, connection: &Arc<T>) -> bool {
    Arc::strong_count(connection) > 1 + usize::from(is_kept(connections, peer, connection))
}

impl Cluster {
    /// Takes the streams that other nodes open with this tag.
    ///
    /// # Errors
    /// [`Error::TagTaken`] when somebody takes them already; [`Error::TagTooLong`].
    pub fn accept_streams(&self, tag: impl AsRef<[u8]>) -> Result<Acceptor, Error> {
        let tag: Arc<[u8]> = tag.as_ref().into();
        check_len(&tag)?;
        let hub = self.inner.gate.hub().clone();
        let (sender, streams) = mpsc::channel(WAITING);
        let mut state = hub.state();
        if state.acceptors.contains_key(&tag) {
            return Err(Error::TagTaken);
        }
        state.acceptors.insert(tag.clone(), sender);
        drop(state);
        Ok(Acceptor { tag, streams, hub })
    }

    /// Opens a stream to another node, over a connection that is made where there is none.
    ///
    /// The other end hears of it with the first byte. Where nobody takes the tag, reading fails.
    ///
    /// # Errors
    /// [`Error::NoSuchNode`] or [`Error::UnknownNode`] when the node is no member; [`Error::Unreachable`];
    /// [`Error::TagTooLong`].
    pub async fn open_stream(
        &self,
        node: impl Into<NodeRef>,
        tag: impl AsRef<[u8]>,
    ) -> Result<Stream, Error> {
        let tag: Arc<[u8]> = tag.as_ref().into();
        check_len(&tag)?;
        let node = self.node_id(node).await?;
        let hub = self.inner.gate.hub().clone();
        let connection = match hub.connection(&node) {
            Some(connection) => connection,
            None => {
                let _alone = hub.dial_alone(node).await;
                self.connect_for_streams(node, &hub).await?
            }
        };
        let broken = |error: &dyn std::fmt::Display| Error::Unreachable(error.to_string());
        let (mut send, receive) = connection.open_bi().await.map_err(|error| broken(&error))?;
        let head = [&[VERSION, tag.len() as u8], &tag[..]].concat();
        send.write_all(&head).await.map_err(|error| broken(&error))?;
        Ok(Stream { peer: node, tag, send, receive, is_finished: false, _connection: connection })
    }

    /// Finds the connection that somebody else has made meanwhile, or makes one.
    async fn connect_for_streams(&self, node: NodeId, hub: &Arc<Hub>) -> Result<Arc<Connection>, Error> {
        if let Some(connection) = hub.connection(&node) {
            return Ok(connection);
        }
        let contact = self.contact(node).await?.ok_or(Error::UnknownNode(node))?;
        let dialled = self.inner.gate.dial_for(&contact, Purpose::Streams).await;
        let dialled = dialled.map_err(|broken| unreachable_because(&broken))?;
        let kept = hub.keep(node, dialled);
        if let Some(refusal) = self.inner.gate.is_barred(node, &kept) {
            self.inner.gate.expel(&kept, &refusal); // since it was let in
        }
        Ok(kept)
    }
}

fn check_len(tag: &[u8]) -> Result<(), Error> {
    if tag.len() <= TAG_LEN_MAX {
        Ok(())
    } else {
        Err(Error::TagTooLong { len: tag.len(), max: TAG_LEN_MAX })
    }
}

fn unreachable_because(broken: &Broken) -> Error {
    Error::Unreachable(Gate::why(broken))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_used_while_a_stream_holds_it_kept_or_not() {
        let (peer, connection) = (NodeId([1; 32]), Arc::new("one"));
        let mut kept = BTreeMap::from([(peer, connection.clone())]);
        assert!(!is_used(&kept, &peer, &connection), "the hub holds it, and who asks");
        let stream = connection.clone();
        assert!(is_used(&kept, &peer, &connection));
        kept.insert(peer, Arc::new("one")); // of a later dial
        assert!(is_used(&kept, &peer, &connection), "a stream holds it that the hub has forgotten");
        drop(stream);
        assert!(!is_used(&kept, &peer, &connection));
        assert!(!is_kept(&kept, &peer, &connection), "it would take the later one along");
    }
}
