//! Nodes by id or by name.

use crate::cluster::{Cluster, Error};
use crate::trust::Told;
use rumormill_core::{Contact, Member, MemberState, NodeId};
use std::fmt;
use tokio::task::JoinSet;

/// Members that are asked at the same time who they are.
const ASKED: usize = 16;

/// A node, by its id or by its name: every call that names a node takes either.
///
/// ```
/// use rumormill_net_quic::{NodeId, NodeRef};
///
/// let by_name: NodeRef = "ann".into();
/// let by_id: NodeRef = NodeId([7; 32]).into();
/// assert_ne!(by_name, by_id);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeRef {
    /// The node of this id.
    Id(NodeId),
    /// The node of this name.
    Name(String),
}

impl fmt::Display for NodeRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl From<NodeId> for NodeRef {
    fn from(id: NodeId) -> Self {
        Self::Id(id)
    }
}

impl From<&NodeId> for NodeRef {
    fn from(id: &NodeId) -> Self {
        Self::Id(*id)
    }
}

impl From<&Member> for NodeRef {
    fn from(member: &Member) -> Self {
        Self::Id(member.id())
    }
}

impl From<&str> for NodeRef {
    fn from(name: &str) -> Self {
        Self::Name(name.into())
    }
}

impl From<String> for NodeRef {
    fn from(name: String) -> Self {
        Self::Name(name)
    }
}

impl Cluster {
    /// Finds the id of a node. A name that this node has not met is looked for among the members that it has not met:
    /// they are asked who they are, and prove it, unless trust is off. What they say is remembered.
    ///
    /// # Errors
    /// [`Error::NoSuchNode`] when none of the members that could be reached is called so, or [`Error::Ended`].
    pub async fn node_id(&self, node: impl Into<NodeRef>) -> Result<NodeId, Error> {
        let name = match node.into() {
            NodeRef::Id(id) => return Ok(id),
            NodeRef::Name(name) => name,
        };
        if let Ok(id) = self.node_called(&name) {
            return Ok(id);
        }
        let is_met = |id: &NodeId| self.name_of(id).is_some();
        let members = self.members().await?.into_iter();
        let present = members.filter(|it| it.state < MemberState::Left && !is_met(&it.id()));
        let (mut asking, mut unmet) = (JoinSet::new(), present.map(|it| it.contact));
        unmet.by_ref().take(ASKED).for_each(|contact| drop(asking.spawn(ask(self.clone(), contact))));
        while asking.join_next().await.is_some() {
            if let Ok(id) = self.node_called(&name) {
                return Ok(id);
            }
            unmet.next().map(|contact| asking.spawn(ask(self.clone(), contact)));
        }
        Err(Error::NoSuchNode(name))
    }

    /// Shows a member: this node, or any other that it knows of.
    ///
    /// # Errors
    /// [`Error::NoSuchNode`] for a name, or [`Error::Ended`].
    pub async fn member(&self, node: impl Into<NodeRef>) -> Result<Option<Member>, Error> {
        let id = self.node_id(node).await?;
        self.read(move |it| it.members().and_then(|members| members.get(&id))).await
    }
}

/// Meets a member: its HELLO pins its name.
async fn ask(cluster: Cluster, contact: Contact) {
    for addr in contact.addrs() {
        if cluster.inner.gate.identify(*addr, Told::Here).await.is_ok() {
            return;
        }
    }
}
