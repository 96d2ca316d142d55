//! Services: what nodes offer, under names that are any serialisable value.

use crate::cluster::{Cluster, Error, decode, encode, with_encoded};
use crate::watch::Watching;
use bytes::Bytes;
use rumormill_core::{Address, Command, CommandError, MailboxId, NodeId, Service, Watch};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;
use tokio::time::sleep;

/// How long [`Cluster::whereis_within`] waits before it looks again, at first and at last.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// What a node says of a service when it registers one: see [`Cluster::register`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use rumormill_net_quic::testing::TestCluster;
/// use rumormill_net_quic::{Found, Offer, ServiceExt as _};
/// use std::time::Duration;
///
/// let cluster = TestCluster::start(2).await?;
/// let (here, there) = (cluster.node(0), cluster.node(1));
/// // Names are whatever serde writes: tuples too, which are listed by how they begin.
/// there.register(&("printer", "hall"), Offer::new().meta("two sides")?).await?;
/// let found = here.whereis_within(&("printer", "hall"), Duration::from_secs(10)).await?;
/// let Found::Remote(node, service) = found else { panic!("it is on the other node") };
/// assert_eq!((node, service.meta_as::<String>()?.as_str()), (there.id(), "two sides"));
/// assert_eq!(here.list("printer")?.len(), 1);
/// assert_eq!(here.lookup(&("printer", "attic"))?, []);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    instance: u64,
    at: Option<Address>,
    meta: Bytes,
    is_unique: bool,
}

impl Offer {
    /// An offer that says nothing of itself.
    pub fn new() -> Self {
        Self::default()
    }

    /// Which instance of the service on this node; otherwise zero.
    #[must_use]
    pub fn instance(mut self, instance: u64) -> Self {
        self.instance = instance;
        self
    }

    /// Where the service is reached: a mailbox of the node that offers it. Whoever closes the mailbox unregisters the
    /// service too, or those who find it are told `Gone`.
    #[must_use]
    pub fn at(mut self, mailbox: Address) -> Self {
        self.at = Some(mailbox);
        self
    }

    /// What the service says of itself; register again to change it.
    ///
    /// # Errors
    /// [`Error::Encode`].
    pub fn meta<M: Serialize + ?Sized>(mut self, meta: &M) -> Result<Self, Error> {
        self.meta = encode(meta)?;
        Ok(self)
    }

    /// The name shall have one instance in the whole cluster: the oldest registration wins.
    #[must_use]
    pub fn unique(mut self) -> Self {
        self.is_unique = true;
        self
    }
}

/// A service's own words about itself, and where it is.
pub trait ServiceExt {
    /// Reads its name.
    ///
    /// # Errors
    /// [`Error::Decode`] when it is of another type.
    fn name_as<N: DeserializeOwned>(&self) -> Result<N, Error>;
    /// Reads what it says of itself.
    ///
    /// # Errors
    /// [`Error::Decode`] when it is of another type.
    fn meta_as<M: DeserializeOwned>(&self) -> Result<M, Error>;
}

impl ServiceExt for Service {
    fn name_as<N: DeserializeOwned>(&self) -> Result<N, Error> {
        decode(&self.name)
    }

    fn meta_as<M: DeserializeOwned>(&self) -> Result<M, Error> {
        decode(&self.meta)
    }
}

/// Where a service was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// On this node.
    Local(Service),
    /// On another node.
    Remote(NodeId, Service),
    /// Nowhere.
    NotFound,
}

impl Found {
    /// Tells where the service is reached, if it was found and has a mailbox.
    pub fn address(&self) -> Option<Address> {
        match self {
            Self::Local(service) | Self::Remote(_, service) => service.address(),
            Self::NotFound => None,
        }
    }

    /// Tells where the service is reached, believing that it takes messages of type `M`.
    pub fn typed<M>(&self) -> Option<crate::Address<M>> {
        self.address().map(crate::Address::new)
    }
}

impl Cluster {
    /// Offers a service under a name; the same name and instance again changes what it says of itself.
    ///
    /// # Errors
    /// [`Error::Refused`]: a name or metadata too long, too many registrations, a unique name that is taken, or
    /// `NoSuchMailbox` when the mailbox is another node's.
    pub async fn register<N: Serialize + ?Sized>(&self, name: &N, offer: Offer) -> Result<(), Error> {
        let Offer { instance, at, meta, is_unique } = offer;
        if at.is_some_and(|address| address.node != self.id()) {
            return Err(Error::Refused(CommandError::NoSuchMailbox));
        }
        let mailbox = at.map_or(MailboxId::default(), |address| address.mailbox);
        let name = encode(name)?;
        self.ask(Command::Register { name, instance, mailbox, meta, is_unique }).await.map(drop)
    }

    /// Offers a service no longer.
    ///
    /// # Errors
    /// [`Error::Refused`] with `NoSuchService`.
    pub async fn unregister<N: Serialize + ?Sized>(&self, name: &N, instance: u64) -> Result<(), Error> {
        let name = encode(name)?;
        self.ask(Command::Unregister { name, instance }).await.map(drop)
    }

    /// Lists the instances of a service, everywhere: at once, without asking the node.
    ///
    /// # Errors
    /// [`Error::Encode`].
    pub fn lookup<N: Serialize + ?Sized>(&self, name: &N) -> Result<Vec<Service>, Error> {
        with_encoded(name, |name| self.inner.published.lookup(name))
    }

    /// Lists the instances of a service on this node, at once.
    ///
    /// # Errors
    /// [`Error::Encode`].
    pub fn lookup_local<N: Serialize + ?Sized>(&self, name: &N) -> Result<Vec<Service>, Error> {
        with_encoded(name, |name| self.inner.published.lookup_of(name, &self.inner.id))
    }

    /// Chooses one instance of a service: one on this node first, else always the same as long as it is there, and none
    /// that is suspected to be dead while another is not. At once, without asking the node.
    ///
    /// # Errors
    /// [`Error::Encode`].
    pub fn whereis<N: Serialize + ?Sized>(&self, name: &N) -> Result<Found, Error> {
        let found = with_encoded(name, |name| self.inner.published.whereis(name))?;
        Ok(match found {
            None => Found::NotFound,
            Some(service) if service.owner == self.id() => Found::Local(service),
            Some(service) => Found::Remote(service.owner, service),
        })
    }

    /// Chooses one instance of a service as [`Cluster::whereis`] does; while there is none, looks again, ever more
    /// rarely, until the time is over. A registration takes a moment to be known everywhere.
    ///
    /// # Errors
    /// [`Error::Encode`].
    pub async fn whereis_within<N: Serialize + ?Sized>(
        &self,
        name: &N,
        time: Duration,
    ) -> Result<Found, Error> {
        let (mut pause, longest) = LOOK_AGAIN;
        let end = tokio::time::Instant::now() + time;
        loop {
            let found = self.whereis(name)?;
            let left = end.saturating_duration_since(tokio::time::Instant::now());
            if found != Found::NotFound || left.is_zero() {
                return Ok(found);
            }
            sleep(pause.min(left)).await;
            pause = (pause * 2).min(longest);
        }
    }

    /// Lists every service whose name begins like a value, of tuples the first elements, `()` for all: in the order of
    /// names, as they are at one moment, without asking the node.
    ///
    /// # Errors
    /// [`Error::Encode`].
    pub fn list<P: Serialize + ?Sized>(&self, prefix: &P) -> Result<Vec<Service>, Error> {
        with_encoded(prefix, |prefix| self.inner.published.list(prefix))
    }

    /// Watches the services whose names begin like a value, `()` for all: a snapshot first, then every change once.
    ///
    /// # Errors
    /// [`Error::Refused`] beyond the bound on watches, or [`Error::Ended`].
    pub async fn watch_services<P: Serialize + ?Sized>(&self, prefix: &P) -> Result<Watching, Error> {
        Watching::begin(self, Watch::Services { prefix: encode(prefix)? }).await
    }
}
