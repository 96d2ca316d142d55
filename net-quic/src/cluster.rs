//! The handle of a running node.

use crate::StoreError;
use crate::builder::Builder;
use crate::driver::Answer;
use crate::endpoint::Gate;
use crate::node_ref::NodeRef;
use crate::published::Published;
use crate::request::{Forgotten, Hearer, Request};
use crate::rotate::Keys;
use crate::trust::{Admission, Notices, Pin, Refusal, Refused, Revocation, Told, Trust};
use crate::watch::Watching;
use rumormill_core::{Command, CommandError, Contact, Event, Member, Node, NodeId, Reply, Watch};
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex as SyncMutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::sleep;

/// How soon seeds that did not answer are tried again, and how rarely at last.
const SEED_BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// How rarely at last a node that is in looks whether its seeds are members. A guess.
const SEED_LOOK: Duration = Duration::from_secs(60);

/// How long it is told as the reason that another process runs with the node's key, after somebody has said so: longer than
/// seeds are let alone.
const OTHER_PROCESS_FOR: Duration = Duration::from_secs(30);

/// Why something asked of a node was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The node has ended.
    #[error("the node has ended")]
    Ended,
    /// The node refused, and nothing has changed.
    #[error(transparent)]
    Refused(#[from] CommandError),
    /// A value has no form in bytes.
    #[error("the value has no form in bytes: {0}")]
    Encode(String),
    /// Bytes are no value of the type, as far as they tell: they name no types, and some are a value of several.
    #[error("the bytes are no value of this type: {0}")]
    Decode(String),
    /// None of the addresses could be joined through.
    #[error("no address let this node in: {}", list(reasons))]
    NobodyAnswered {
        /// Each address, and what came of it.
        reasons: Vec<(SocketAddr, String)>,
    },
    /// No other member is left, and not all of them have left by themselves: this node is cut off, or the others died.
    #[error("no other member answers any more{}", tried(reasons))]
    LostEverybody {
        /// Each seed, and what came of it when it was tried last.
        reasons: Vec<(SocketAddr, String)>,
    },
    /// Another process runs with the node's key: [`Refusal::Outlived`] or [`Refusal::Copied`].
    #[error(transparent)]
    OtherProcess(Refusal),
    /// The node is no member, as far as this node knows.
    #[error("{0} is no member of the cluster")]
    UnknownNode(NodeId),
    /// The node cannot be reached.
    #[error("the node cannot be reached: {0}")]
    Unreachable(String),
    /// Somebody takes the streams of this tag already.
    #[error("somebody on this node takes the streams of this tag already")]
    TagTaken,
    /// The tag is too long.
    #[error("a tag of {len} bytes is too long, at most {max} are allowed")]
    TagTooLong {
        /// Its length in bytes.
        len: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// No node is called so, among those that were met or could be.
    #[error("no node called {0} is known")]
    NoSuchNode(String),
    /// A revocation is not signed by one who may revoke that key, in this cluster.
    #[error(
        "neither the key itself nor the authority that this node trusts signed the revocation, for this cluster"
    )]
    NotEntitled,
    /// Something is at its bound.
    #[error("no room for {0}")]
    NoRoom(&'static str),
    /// The store failed: what was asked holds until the node ends, and may be forgotten then.
    #[error("it holds until the node ends, but cannot be written: {0}")]
    Store(String),
}

fn list(reasons: &[(SocketAddr, String)]) -> String {
    reasons.iter().map(|(addr, reason)| format!("{addr}: {reason}")).collect::<Vec<_>>().join("; ")
}

fn tried(reasons: &[(SocketAddr, String)]) -> String {
    if reasons.is_empty() { String::new() } else { format!(", nor does a seed: {}", list(reasons)) }
}

/// Tells whether an address is where a node listens, or says that it is reached.
fn is_one_of((local, told): &(SocketAddr, Vec<SocketAddr>), addr: &SocketAddr) -> bool {
    addr == local || told.contains(addr)
}

/// Learns who listens at these addresses; an error when nobody does.
async fn identify(gate: &Gate, addrs: Vec<SocketAddr>, told: Told) -> Result<Vec<Contact>, Error> {
    let (mut contacts, mut reasons) = (Vec::new(), Vec::new());
    for addr in addrs {
        match gate.identify(addr, told).await {
            Ok(contact) => contacts.push(contact),
            Err(broken) => reasons.push((addr, Gate::why(&broken))),
        }
    }
    if contacts.is_empty() && !reasons.is_empty() {
        return Err(Error::NobodyAnswered { reasons });
    }
    Ok(contacts)
}

/// A running node of a cluster. Clones are the same node; it ends with the last of them, a moment later: its address and its
/// folder are free for another one when [`Cluster::shutdown`] has returned.
///
/// What is read *at once* (maps, services, the ring) takes no lock and waits for nobody; everything else is asked of the task
/// that owns the node, and is a future.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use rumormill_net_quic::Cluster;
///
/// let listen = "127.0.0.1:0".parse()?;
/// let ann = Cluster::builder("demo").secret("known to all of us").name("ann").listen(listen).start().await?;
/// let bob = Cluster::builder("demo").secret("known to all of us").name("bob").listen(listen).start().await?;
/// bob.join(&[ann.local_addr()]).await?;
/// assert_eq!(bob.active_view().await?, [ann.id()]);
///
/// // A join that fails says why.
/// let eve = Cluster::builder("demo").secret("something else").listen(listen).start().await?;
/// let refused = eve.join(&[ann.local_addr()]).await.unwrap_err();
/// assert!(refused.to_string().starts_with("no address let this node in: 127.0.0.1:"));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Cluster {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) requests: mpsc::Sender<Request>,
    /// What nobody waits for any more. Unbounded, for a drop cannot wait: each comes once, of what had a bound.
    pub(crate) forgotten: mpsc::UnboundedSender<Forgotten>,
    pub(crate) published: Arc<Published>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) admission: Arc<Admission>,
    /// What came of the seeds when they were tried last.
    pub(crate) seeds: SyncMutex<Tried>,
    /// Held by who moves the node.
    pub(crate) moving: Mutex<()>,
    /// Held by who changes its key.
    pub(crate) keys: Mutex<Keys>,
    /// Bytes of a mail at most.
    pub(crate) mail_len_max: usize,
    pub(crate) id: NodeId,
    pub(crate) name: String,
}

/// What came of the seeds when they were tried last.
#[derive(Default)]
pub(crate) struct Tried {
    /// Whether the node has come in.
    is_in: bool,
    error: Option<Error>,
}

impl Inner {
    fn seeds(&self) -> MutexGuard<'_, Tried> {
        self.seeds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps in mind what came of trying the seeds.
    fn note_join(&self, joined: &Result<(), Error>, was_in: bool) {
        *self.seeds() = Tried { is_in: was_in || joined.is_ok(), error: joined.as_ref().err().cloned() };
    }

    /// Finds whether somebody has lately ended a connection because another process runs with this node's key.
    fn other_process(&self) -> Option<Error> {
        let lately = self.admission.board().last().into_iter().filter(|it| it.ago < OTHER_PROCESS_FOR);
        let mut reasons = lately.map(|it| it.reason);
        reasons.find(|it| matches!(it, Refusal::Outlived | Refusal::Copied)).map(Error::OtherProcess)
    }
}

/// Writes a value as everybody reads it.
pub(crate) fn encode<T: Serialize + ?Sized>(value: &T) -> Result<bytes::Bytes, Error> {
    let mut room = [0; VALUE_ROOM];
    match postcard::to_slice(value, &mut room) {
        Ok(bytes) => Ok(bytes::Bytes::copy_from_slice(bytes)),
        Err(_) => postcard::to_allocvec(value).map(Into::into).map_err(in_encoding),
    }
}

fn in_encoding(error: postcard::Error) -> Error {
    Error::Encode(error.to_string())
}

/// Writes a value for as long as it is looked at.
pub(crate) fn with_written<T: Serialize, R>(value: &T, look: impl FnOnce(&[u8]) -> R) -> Result<R, Error> {
    let mut room = [0; VALUE_ROOM];
    match postcard::to_slice(value, &mut room) {
        Ok(bytes) => Ok(look(bytes)),
        Err(_) => postcard::to_allocvec(value).map(|bytes| look(&bytes)).map_err(in_encoding),
    }
}

/// Bytes of a value that is written without growing what it is written to.
const VALUE_ROOM: usize = 512;

/// Bytes of a key that is looked up without allocating for it.
const KEY_ROOM: usize = 128;

/// Writes a key for as long as it is looked up.
pub(crate) fn with_encoded<K: Serialize + ?Sized, T>(
    key: &K,
    look_up: impl FnOnce(&[u8]) -> T,
) -> Result<T, Error> {
    let mut room = [0; KEY_ROOM];
    match postcard::to_slice(key, &mut room) {
        Ok(bytes) => Ok(look_up(bytes)),
        Err(_) => Ok(look_up(&encode(key)?)),
    }
}

/// Reads a value.
pub(crate) fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(Error::Decode(format!("{} bytes are left over", rest.len()))),
        Err(error) => Err(Error::Decode(error.to_string())),
    }
}

/// Itself.
impl Cluster {
    /// Begins to describe a node of the cluster of this name.
    pub fn builder(cluster: &str) -> Builder {
        Builder::new(cluster)
    }

    pub(crate) fn new(inner: Inner) -> Self {
        Self { inner: Arc::new(inner) }
    }

    /// Tells the node's id: its first public key, also after that was rotated.
    pub fn id(&self) -> NodeId {
        self.inner.id
    }

    /// Tells the node's name.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Tells where the node listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.inner.gate.addrs().0
    }

    /// Tells where others are told to reach the node.
    pub fn addrs(&self) -> Vec<SocketAddr> {
        self.inner.gate.addrs().1
    }

    /// Gives a command, and waits for its answer.
    pub(crate) async fn ask(&self, command: Command) -> Result<Reply, Error> {
        let (answer, answered) = oneshot::channel::<Answer>();
        self.request(Request::Command { command, hearer: Hearer::Answer(answer) }).await?;
        Ok(answered.await.map_err(|_| Error::Ended)??)
    }

    pub(crate) async fn request(&self, request: Request) -> Result<(), Error> {
        self.inner.requests.send(request).await.map_err(|_| Error::Ended)
    }

    /// Looks something up in the node, between two of its steps.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Node) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (found, finding) = oneshot::channel();
        let reading = move |node: &Node| drop(found.send(read(node)));
        self.request(Request::Read(Box::new(reading))).await?;
        finding.await.map_err(|_| Error::Ended)
    }

    /// Ends the node without leaving: the others take it for one that comes back, or find it dead. What was put, published or
    /// sent just before has a second to get out; what peers that are behind have not taken by then is lost, as in a crash.
    pub async fn shutdown(&self) {
        let (end, ended) = oneshot::channel();
        if self.request(Request::End(end)).await.is_ok() {
            let _ = ended.await;
        }
    }
}

/// Coming and going.
impl Cluster {
    /// Comes into the cluster through any of these addresses.
    ///
    /// # Errors
    /// [`Error::NobodyAnswered`] tells what came of each address; [`Error::Refused`] when those who answered did not let
    /// the node in.
    pub async fn join(&self, addrs: &[SocketAddr]) -> Result<(), Error> {
        let own = self.inner.gate.addrs();
        let others = addrs.iter().filter(|addr| !is_one_of(&own, addr)).copied().collect();
        let contacts = identify(&self.inner.gate, others, Told::ByCaller).await?;
        self.ask(Command::Join { contacts }).await.map(drop)
    }

    /// Tells why the node is by itself: no seed has let it in yet, with what came of each of them when they were tried last;
    /// or it has lost everybody; or another process runs with its key, which is why. None while others are there, of a node
    /// whose seeds are still being tried for the first time, and of one that is alone because it is the first, because all
    /// others have left, or because it has left itself.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use rumormill_net_quic::{Cluster, Error};
    /// use std::time::Duration;
    ///
    /// let nobody = "127.0.0.1:9".parse()?;
    /// let node = Cluster::builder("demo").secret("words").listen("127.0.0.1:0".parse()?).seeds([nobody]);
    /// let node = node.handshake_timeout(Duration::from_millis(100)).start().await?;
    /// let why = loop {
    ///     match node.why_outside() {
    ///         Some(why) => break why,
    ///         None => tokio::task::yield_now().await,
    ///     }
    /// };
    /// assert!(matches!(why, Error::NobodyAnswered { reasons } if reasons[0].0 == nobody));
    /// # Ok(()) }
    /// ```
    pub fn why_outside(&self) -> Option<Error> {
        let Tried { is_in, error } = &*self.inner.seeds();
        let why = if *is_in {
            let reasons = match error {
                Some(Error::NobodyAnswered { reasons }) => reasons.clone(),
                _ => Vec::new(),
            };
            let has_lost_everybody = self.inner.published.has_lost_everybody();
            has_lost_everybody.then_some(Error::LostEverybody { reasons })
        } else {
            error.clone()
        };
        why.map(|why| self.inner.other_process().unwrap_or(why))
    }

    /// Comes in through seeds, and keeps looking at those that are no members, ever more rarely: when all nodes start at
    /// once, some find only each other, and neither half would ever hear of the other.
    pub(crate) fn join_seeds(&self, seeds: Vec<SocketAddr>) {
        let weak = Arc::downgrade(&self.inner);
        tokio::spawn(async move {
            let (mut pause, longest) = SEED_BACKOFF;
            let mut is_in = false;
            while let Some(inner) = weak.upgrade() {
                let joined = Cluster { inner }.join_strangers(&seeds, is_in).await;
                let Some(inner) = weak.upgrade() else { return };
                inner.note_join(&joined, is_in);
                let other_process = inner.other_process();
                drop(inner);
                match joined {
                    Ok(()) => is_in = true,
                    Err(Error::Ended) => return,
                    Err(error) if is_in => tracing::info!(%error, "a seed that is no member"),
                    // That was told already, and what came of the seeds follows from it.
                    Err(error) if other_process.is_some() => {
                        tracing::debug!(%error, "no seed lets this node in yet");
                    }
                    Err(error) => tracing::warn!(%error, "no seed lets this node in yet"),
                }
                sleep(pause).await;
                pause = (pause * 2).min(if is_in { SEED_LOOK } else { longest });
            }
        });
    }

    /// Comes in through seeds that are strangers. Nothing of the node is held meanwhile but its socket: it ends with its
    /// last handle, and this is none.
    async fn join_strangers(self, seeds: &[SocketAddr], is_in: bool) -> Result<(), Error> {
        let strangers = self.strangers(seeds, is_in).await;
        if is_in && strangers.is_empty() {
            return Ok(());
        }
        let (gate, weak) = (self.inner.gate.clone(), Arc::downgrade(&self.inner));
        drop(self);
        let told = if is_in { Told::Here } else { Told::ByCaller };
        let contacts = identify(&gate, strangers, told).await?;
        let inner = weak.upgrade().ok_or(Error::Ended)?;
        Cluster { inner }.ask(Command::Join { contacts }).await.map(drop)
    }

    /// Finds the seeds that are not this node; of a node that is in, those at whose addresses it knows no member; none
    /// when it has left.
    async fn strangers(&self, seeds: &[SocketAddr], is_in: bool) -> Vec<SocketAddr> {
        let own = self.id();
        let known = self.read(move |node| {
            let members = node.members()?;
            let is_here = members.get(&own).is_some_and(|member| member.state.is_present());
            let contacts = members.iter().filter_map(|member| members.contact(&member.id()).cloned());
            is_here.then(|| contacts.flat_map(|it| it.addrs().to_vec()).collect::<Vec<_>>())
        });
        let own_addrs = self.inner.gate.addrs();
        let others = seeds.iter().filter(|seed| !is_one_of(&own_addrs, seed)).copied();
        match known.await {
            Ok(Some(known)) if is_in => others.filter(|seed| !known.contains(seed)).collect(),
            _ if is_in => Vec::new(),
            _ => others.collect(),
        }
    }

    /// Leaves the cluster: everybody is told, and the node stays out until it joins again.
    ///
    /// Until then it goes on by itself: what is put and published is heard on this node alone, and what was put is told to the
    /// others when it is back.
    ///
    /// # Errors
    /// [`Error::Ended`].
    pub async fn leave(&self) -> Result<(), Error> {
        self.ask(Command::Leave).await.map(drop)
    }
}

/// Who is there. These are four different things, and **the active view is not the cluster**:
///
/// * [`members`](Cluster::members): everybody, by leases that are renewed from neighbour to neighbour. This is the cluster.
/// * [`active_view`](Cluster::active_view): this node's neighbours in the overlay. A handful, and which they are is chance.
/// * [`passive_view`](Cluster::passive_view): nodes that this one has heard of, and would try if it lost neighbours.
/// * [`connected`](Cluster::connected): those whom a connection stands with just now, neighbours or partners in talk.
impl Cluster {
    /// Lists the node's neighbours in the overlay: a handful, whatever the size of the cluster.
    ///
    /// # Errors
    /// [`Error::Ended`].
    pub async fn active_view(&self) -> Result<Vec<NodeId>, Error> {
        self.read(|node| node.active().collect()).await
    }

    /// Lists the nodes that would become neighbours if some were lost.
    ///
    /// # Errors
    /// [`Error::Ended`].
    pub async fn passive_view(&self) -> Result<Vec<NodeId>, Error> {
        self.read(|node| node.status().passive).await
    }

    /// Lists the nodes that a connection stands with, neighbours or not.
    ///
    /// # Errors
    /// [`Error::Ended`].
    pub async fn connected(&self) -> Result<Vec<NodeId>, Error> {
        self.read(|node| node.connected().collect()).await
    }

    /// Lists the members of the whole cluster, this node included.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use rumormill_net_quic::testing::TestCluster;
    ///
    /// let cluster = TestCluster::start(3).await?;
    /// let node = cluster.node(0);
    /// assert_eq!(node.members().await?.len(), 3);
    /// let member = node.member("node-2").await?.expect("it is there");
    /// assert_eq!(member.id(), cluster.node(2).id());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Ended`].
    pub async fn members(&self) -> Result<Vec<Member>, Error> {
        self.read(|node| node.members().map_or_else(Vec::new, |members| members.iter().collect())).await
    }

    /// Watches the members: a snapshot first, then every change.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use rumormill_net_quic::testing::TestCluster;
    /// use rumormill_net_quic::{MemberState, News};
    ///
    /// let cluster = TestCluster::start(2).await?;
    /// let mut watching = cluster.node(0).watch_members().await?;
    /// assert!(matches!(watching.recv().await, Some(News::Members(members)) if members.len() == 2));
    /// cluster.node(1).leave().await?;
    /// while let Some(News::Member { member, .. }) = watching.recv().await {
    ///     if member.state == MemberState::Left {
    ///         break;
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Refused`] beyond the bound on watches, or [`Error::Ended`].
    pub async fn watch_members(&self) -> Result<Watching, Error> {
        Watching::begin(self, Watch::Members).await
    }

    /// Finds how a member is reached.
    ///
    /// # Errors
    /// [`Error::NoSuchNode`] for a name, or [`Error::Ended`].
    pub async fn contact(&self, node: impl Into<NodeRef>) -> Result<Option<Contact>, Error> {
        let node = self.node_id(node).await?;
        self.read(move |it| it.members().and_then(|members| members.contact(&node).cloned())).await
    }

    /// Finds the node of a name, among those that this node has met.
    ///
    /// # Errors
    /// [`Error::NoSuchNode`].
    pub fn node_called(&self, name: &str) -> Result<NodeId, Error> {
        self.inner.admission.node_called(name).ok_or_else(|| Error::NoSuchNode(name.into()))
    }

    /// Tells the name of a node that this node has met.
    pub fn name_of(&self, node: &NodeId) -> Option<String> {
        self.inner.admission.name_of(node)
    }

    /// Hears what the node says of itself: neighbours that come and go, refusals, a store that fails.
    ///
    /// # Errors
    /// [`Error::Ended`].
    pub async fn events(&self) -> Result<crate::watch::Feed<Event>, Error> {
        crate::watch::Feed::of_node(self).await
    }
}

/// Whom the node trusts.
impl Cluster {
    /// Tells whom the node lets in.
    pub fn trust(&self) -> &Trust {
        self.inner.admission.trust()
    }

    /// Lists every node that was believed, with its name and key; the node itself among them.
    pub fn pins(&self) -> Vec<Pin> {
        self.inner.admission.pins()
    }

    /// Pins a node to a name before it is met. Only its key and name are looked at.
    ///
    /// # Errors
    /// The [`Refusal`] that a node of this key and name would meet.
    pub fn add_pin(&self, pin: Pin) -> Result<(), Refusal> {
        self.inner.admission.add(&pin)
    }

    /// Forgets a pin: its node, and its name, may come as a stranger again; a frozen name thaws. Tells whether there was
    /// one. The node's own pin stays.
    ///
    /// # Errors
    /// [`StoreError`] when that cannot be written; the pin stays.
    pub fn remove_pin(&self, node: &NodeId) -> Result<bool, StoreError> {
        self.inner.admission.remove(node)
    }

    /// Revokes a key for the whole cluster and for ever: it is refused, connections with it end, and everybody is told,
    /// now or when they next meet somebody.
    ///
    /// Signed by the authority ([`Authority::revoke`](crate::Authority::revoke)) where nodes trust one, or by the key
    /// itself ([`Identity::revoke`](crate::Identity::revoke)).
    ///
    /// # Errors
    /// [`Error::NotEntitled`]; [`Error::NoRoom`]; [`Error::Store`].
    pub async fn revoke(&self, revocation: Revocation) -> Result<(), Error> {
        self.inner.admission.revoke(revocation)?;
        self.request(Request::Expel).await
    }

    /// Refuses a key on this node alone, for ever, and ends connections with it. Nobody is told.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn revoke_here(&self, key: NodeId) -> Result<(), Error> {
        self.inner.admission.revoke_here(key)?;
        self.request(Request::Expel).await
    }

    /// Counts what this node refused since it started.
    pub fn refused(&self) -> u64 {
        self.refusals().values().sum()
    }

    /// Counts what this node refused since it started, by reason: see [`Refusal::kind`].
    pub fn refusals(&self) -> BTreeMap<&'static str, u64> {
        let mut counts = self.inner.admission.board().counts();
        counts.remove(Refusal::ByPeer.kind()); // that it was refused itself, or outlived
        counts.remove(Refusal::Outlived.kind());
        counts.remove(Refusal::Copied.kind());
        counts
    }

    /// Lists the last refusals, the latest first: whom this node refused, and who refused it
    /// ([`Refusal::ByPeer`]). For people who wonder why somebody does not come in.
    pub fn last_refusals(&self) -> Vec<Refused> {
        self.inner.admission.board().last()
    }

    /// Counts the handshakes under way that others began: never above
    /// [`Builder::half_open_max`](crate::Builder::half_open_max).
    pub fn half_open(&self) -> usize {
        self.inner.gate.half_open()
    }

    /// Hears from now on whom the node refuses and why, and of keys that change, are stolen or revoked.
    pub fn watch_trust(&self) -> Notices {
        self.inner.admission.board().listen()
    }
}
