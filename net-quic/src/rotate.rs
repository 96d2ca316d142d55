//! A node that changes its key while it runs.

use crate::cluster::Cluster;
use crate::endpoint::{Shown, Terms};
use crate::trust::Flaw;
use crate::{BuildError, Identity, IdentityError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::spawn_blocking;

/// The key that a node shows, and what it takes to show another.
pub(crate) struct Keys {
    pub(crate) identity: Identity,
    /// Where it is kept; none where the user keeps it, or nobody does.
    pub(crate) file: Option<PathBuf>,
    pub(crate) cluster: String,
    pub(crate) terms: Terms,
}

/// Why a node shows the key that it had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RotateError {
    /// There is no new key, or it cannot be kept.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The node's key file holds another node's key, or one that was not rotated from this node's.
    #[error("{}: holds a key that this node did not come to; put its own back", path.display())]
    OtherKey {
        /// The file.
        path: PathBuf,
    },
    /// The node's certificate would not hold for a later key: one for its first key is needed.
    #[error("the certificate does not hold for a key that follows: {0}; one for the node's first key does")]
    Certificate(Flaw),
    /// TLS takes no such configuration.
    #[error(transparent)]
    Tls(BuildError),
}

impl Cluster {
    /// Gives the node a new key, while it runs. Its id stays, and both keys sign that it does.
    ///
    /// Connections that begin from now on show the new key, with the proof; those that stand go on. Everybody is told:
    /// pins follow, wherever the node is known. The old key serves for as long as `overlap`, in case a backup must be put
    /// back, and is refused afterwards. To end what somebody else may do with it at once, revoke it
    /// ([`Identity::revoke`], [`Cluster::revoke`]) when all have followed.
    ///
    /// A key is rotated [`ROTATIONS_MAX`](crate::ROTATIONS_MAX) times at most: each proof travels in every greeting. After that
    /// it takes a new node, under a name of its own or once the old one's pins are removed. What the node advertises, where it
    /// listens, and its links stay as they are.
    ///
    /// Where the key is in the node's folder the file changes too, and the old one is kept beside it, as
    /// [`Identity::rotate`] does. Where it was given to the builder, the identity that this gives back is to be kept, and
    /// given next time.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use rumormill_net_quic::Notice;
    /// use rumormill_net_quic::testing::TestCluster;
    /// use std::time::Duration;
    ///
    /// let cluster = TestCluster::start(2).await?;
    /// let (here, there) = (cluster.node(0), cluster.node(1));
    /// let mut notices = there.watch_trust();
    /// let identity = here.rotate_identity(Duration::from_secs(3_600)).await?;
    /// assert_eq!(identity.node_id(), here.id()); // who it was, with another key
    /// let told = notices.recv().await.expect("the node runs");
    /// assert!(matches!(told, Notice::Rotated { key, .. } if key == identity.public_key()));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`RotateError`]; the node shows the key that it had.
    pub async fn rotate_identity(&self, overlap: Duration) -> Result<Identity, RotateError> {
        let mut keys = self.inner.keys.lock().await;
        let admission = &self.inner.admission;
        admission.check_rotation().map_err(RotateError::Certificate)?;
        let new = match &keys.file {
            Some(path) => {
                let (path, old) = (path.clone(), keys.identity.clone());
                let rotating = spawn_blocking(move || rotate_file(&path, &old, overlap));
                rotating.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?
            }
            None => keys.identity.rotated_for(overlap)?,
        };
        let own = Arc::new(admission.own().with(&new));
        let shown = Shown::new(&new, &keys.cluster, keys.terms, own.clone());
        self.inner.gate.show(shown.map_err(RotateError::Tls)?);
        admission.follow(&own);
        keys.identity = new.clone();
        Ok(new)
    }
}

fn rotate_file(path: &Path, old: &Identity, overlap: Duration) -> Result<Identity, RotateError> {
    if !Identity::load(path)?.goes_on_from(old) {
        return Err(RotateError::OtherKey { path: path.into() });
    }
    Ok(Identity::rotate(path, overlap)?)
}
