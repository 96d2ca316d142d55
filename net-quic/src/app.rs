//! Applications on a real node: the very same [`App`] that the simulator hosts by the thousand.
//!
//! The task that owns the node calls the application between two inputs, and hands its commands in as if they were a
//! user's. What is addressed to somebody else's handle (a mailbox, a watch, a monitor) does not reach it.

use crate::cluster::{Cluster, Error};
use crate::request::Request;
use rumormill_core::{App, AppCx, Command, CommandError, Event, Instant, Node, Now, Rng, Token};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{oneshot, watch};

/// An application that a node hosts. From [`Cluster::host`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use rumormill_net_quic::core::{App, AppCx, Event};
/// use rumormill_net_quic::testing::TestCluster;
///
/// #[derive(Clone, Default)]
/// struct Parrot(Vec<String>);
///
/// impl App for Parrot {
///     fn on_event(&mut self, _event: &Event, _cx: &mut AppCx<'_>) {}
///     fn on_request(&mut self, line: &str, _cx: &mut AppCx<'_>) {
///         self.0.push(line.repeat(2));
///     }
/// }
///
/// let cluster = TestCluster::start(1).await?;
/// let mut parrot = cluster.node(0).host(Parrot::default()).await?;
/// parrot.say("hi").await?;
/// while parrot.with(|parrot| parrot.0.is_empty()) {
///     parrot.moved().await?;
/// }
/// assert_eq!(parrot.with(|parrot| parrot.0.join("")), "hihi");
/// # Ok(()) }
/// ```
pub struct Hosted<A> {
    cluster: Cluster,
    app: Arc<Mutex<A>>,
    moved: watch::Receiver<u64>,
}

/// What an application reacts to.
pub(crate) enum Stimulus<'a> {
    Start,
    Event(&'a Event),
    Line(&'a str),
    Timeout,
}

/// An application of whatever type, as the driver sees it.
pub(crate) trait AnyApp: Send {
    fn react(&mut self, to: Stimulus<'_>, cx: &mut AppCx<'_>);
    fn poll_timeout(&self) -> Option<Instant>;
}

/// The driver's end of an application.
struct Shared<A> {
    app: Arc<Mutex<A>>,
    moved: watch::Sender<u64>,
}

fn lock<A>(app: &Mutex<A>) -> MutexGuard<'_, A> {
    app.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<A: App + Send> AnyApp for Shared<A> {
    fn react(&mut self, to: Stimulus<'_>, cx: &mut AppCx<'_>) {
        let mut app = lock(&self.app);
        match to {
            Stimulus::Start => app.on_start(cx),
            Stimulus::Event(event) => app.on_event(event, cx),
            Stimulus::Line(line) => app.on_request(line, cx),
            Stimulus::Timeout => app.on_timeout(cx),
        }
        drop(app);
        self.moved.send_modify(|count| *count += 1);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        lock(&self.app).poll_timeout()
    }
}

/// An application beside the node that it reads, with draws of its own.
pub(crate) struct AppHost {
    host: Box<dyn AnyApp>,
    rng: Rng,
}

impl AppHost {
    pub(crate) fn new(host: Box<dyn AnyApp>, seed: [u8; 32]) -> Self {
        Self { host, rng: Rng::new(seed) }
    }

    /// Lets the application react; gives back its commands. The first of them bears the token after `last`.
    pub(crate) fn react(&mut self, to: Stimulus<'_>, now: Now, node: &Node, last: u64) -> Vec<Command> {
        let mut commands = Vec::new();
        let id = node.contact().id();
        let first_token = Token(last + 1);
        let Self { host, rng } = self;
        host.react(to, &mut AppCx { now, id, node, rng, commands: &mut commands, first_token });
        commands
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.host.poll_timeout()
    }
}

impl Cluster {
    /// Hosts an application on this node from now on: the same that the simulator hosts. A node hosts one.
    ///
    /// # Errors
    /// [`Error::Refused`] with `Full` when the node hosts one already, or [`Error::Ended`].
    pub async fn host<A: App + Send + 'static>(&self, app: A) -> Result<Hosted<A>, Error> {
        let app = Arc::new(Mutex::new(app));
        let (moves, moved) = watch::channel(0);
        let host = Box::new(Shared { app: app.clone(), moved: moves });
        let (began, begun) = oneshot::channel();
        self.request(Request::Host { host, began }).await?;
        match begun.await {
            Ok(true) => Ok(Hosted { cluster: self.clone(), app, moved }),
            Ok(false) => Err(Error::Refused(CommandError::Full { max: 1 })),
            Err(_) => Err(Error::Ended),
        }
    }
}

impl<A> Hosted<A> {
    /// Says a line to the application, as somebody at this node would.
    ///
    /// # Errors
    /// [`Error::Ended`].
    pub async fn say(&self, line: impl Into<String>) -> Result<(), Error> {
        self.cluster.request(Request::Say { line: line.into() }).await
    }

    /// Looks at the application, between two of its steps. The node stands still meanwhile: be quick.
    pub fn with<T>(&self, look: impl FnOnce(&mut A) -> T) -> T {
        look(&mut lock(&self.app))
    }

    /// Waits until the application has reacted to something since this was asked last.
    ///
    /// # Errors
    /// [`Error::Ended`].
    pub async fn moved(&mut self) -> Result<(), Error> {
        self.moved.changed().await.map_err(|_| Error::Ended)
    }
}
