//! The first words on a connection: who is there, whether it may come in, and in which version to go on.

use crate::hello::{Cookie, EXPORT_LABEL, EXPORTED_LEN, Hello, LEN_MAX, Purpose, Role, Session};
use crate::tls::key_of;
use crate::trust::{Admission, Refusal};
use quinn::{Connection, ConnectionError, RecvStream, SendStream, VarInt};
use rumormill_core::links::{VERSION, VERSION_MIN};
use rumormill_core::{Contact, Incarnation, NodeId};
use rustls::pki_types::CertificateDer;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::timeout;

/// How long a HELLO may take, from the first packet on.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);
/// The one code that a refused peer sees.
pub(crate) const REFUSED: VarInt = VarInt::from_u32(1);
/// What each end sends when it has let the other in.
const ACK: u8 = 1;

/// What a node needs to say HELLO.
pub(crate) struct Greeter {
    /// How the node introduces itself; the driver keeps it true.
    pub(crate) contact: Arc<Mutex<Contact>>,
    pub(crate) name: String,
    pub(crate) cookie: Cookie,
    pub(crate) admission: Arc<Admission>,
}

/// A peer that was let in.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) id: NodeId,
    pub(crate) name: String,
    pub(crate) incarnation: Incarnation,
    pub(crate) version: u16,
    pub(crate) purpose: Purpose,
    /// Where it says that it is reached.
    pub(crate) addrs: Vec<SocketAddr>,
}

/// Why a connection did not come to a good end.
#[derive(Debug)]
pub(crate) enum Broken {
    /// One end refused the other.
    Refused(Refusal),
    /// The connection ended.
    Lost(ConnectionError),
}

impl From<Refusal> for Broken {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Greeter {
    fn contact(&self) -> Contact {
        self.contact.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says HELLO as the end that dialled, to the node that was meant or, when none was, to whoever listens there.
    pub(crate) async fn greet(
        &self,
        connection: &Connection,
        meant: Option<NodeId>,
        purpose: Purpose,
    ) -> Result<Peer, Broken> {
        finish(connection, timeout(TIMEOUT, self.try_greet(connection, meant, purpose)).await)
    }

    async fn try_greet(
        &self,
        connection: &Connection,
        meant: Option<NodeId>,
        purpose: Purpose,
    ) -> Result<Peer, Broken> {
        let key = proven_key(connection)?;
        if let Some(expected) = meant.filter(|meant| *meant != key) {
            return Err(Refusal::WrongKey { expected, shown: key }.into());
        }
        let (mut send, mut receive) = connection.open_bi().await.map_err(Broken::Lost)?;
        self.send_hello(connection, &key, Role::Dialler, purpose, &mut send).await?;
        let (hello, version) = self.receive_hello(connection, &key, Role::Acceptor, &mut receive).await?;
        self.admission.admit(&key, &hello)?;
        send_all(connection, &mut send, &[ACK]).await?;
        receive_ack(connection, &mut receive).await?;
        Ok(peer(key, hello, version, purpose))
    }

    /// Says HELLO as the end that was dialled.
    pub(crate) async fn answer(&self, connection: &Connection) -> Result<Peer, Broken> {
        finish(connection, timeout(TIMEOUT, self.try_answer(connection)).await)
    }

    async fn try_answer(&self, connection: &Connection) -> Result<Peer, Broken> {
        let key = proven_key(connection)?;
        let (mut send, mut receive) = connection.accept_bi().await.map_err(Broken::Lost)?;
        let (hello, version) = self.receive_hello(connection, &key, Role::Dialler, &mut receive).await?;
        self.send_hello(connection, &key, Role::Acceptor, hello.purpose, &mut send).await?;
        receive_ack(connection, &mut receive).await?;
        self.admission.admit(&key, &hello)?;
        send_all(connection, &mut send, &[ACK]).await?;
        let purpose = hello.purpose;
        Ok(peer(key, hello, version, purpose))
    }

    async fn send_hello(
        &self,
        connection: &Connection,
        to: &NodeId,
        role: Role,
        purpose: Purpose,
        stream: &mut SendStream,
    ) -> Result<(), Broken> {
        let contact = self.contact();
        let mut hello = Hello {
            versions: (VERSION_MIN, VERSION),
            purpose,
            name: self.name.clone(),
            incarnation: contact.incarnation().0,
            addrs: contact.addrs().to_vec(),
            features: 0,
            tag: [0; 32],
        };
        let exported = exported(connection)?;
        let session = Session { exported: &exported, sender: &contact.id(), receiver: to, role };
        self.cookie.seal(session, &mut hello);
        let body = postcard::to_allocvec(&hello).expect("a HELLO has a form");
        let len = (body.len() as u32).to_le_bytes();
        send_all(connection, stream, &[&len[..], &body].concat()).await
    }

    /// Takes the other end's HELLO and judges it.
    async fn receive_hello(
        &self,
        connection: &Connection,
        from: &NodeId,
        role: Role,
        stream: &mut RecvStream,
    ) -> Result<(Hello, u16), Broken> {
        let mut len = [0; 4];
        receive_all(connection, stream, &mut len).await?;
        let len = u32::from_le_bytes(len) as usize;
        if len > LEN_MAX {
            return Err(Refusal::Malformed.into());
        }
        let mut body = vec![0; len];
        receive_all(connection, stream, &mut body).await?;
        let hello: Hello = postcard::from_bytes(&body).map_err(|_| Refusal::Malformed)?;
        let exported = exported(connection)?;
        let session = Session { exported: &exported, sender: from, receiver: &self.contact().id(), role };
        if !self.cookie.is_sealed(session, &hello) {
            return Err(Refusal::WrongSecret.into());
        }
        if !hello.is_well_formed() {
            return Err(Refusal::Malformed.into());
        }
        self.admission.judge(from, &hello)?;
        let version = hello.common_version((VERSION_MIN, VERSION));
        let version = version.ok_or(Refusal::Version { versions: hello.versions })?;
        Ok((hello, version))
    }
}

fn peer(id: NodeId, hello: Hello, version: u16, purpose: Purpose) -> Peer {
    let incarnation = hello.incarnation();
    Peer { id, name: hello.name, incarnation, version, purpose, addrs: hello.addrs }
}

/// Closes the connection of a peer that was refused, with the one code that says nothing.
fn finish(
    connection: &Connection,
    outcome: Result<Result<Peer, Broken>, tokio::time::error::Elapsed>,
) -> Result<Peer, Broken> {
    let outcome = outcome.unwrap_or_else(|_| Err(Refusal::TimedOut.into()));
    if let Err(Broken::Refused(_)) = &outcome {
        connection.close(REFUSED, b"");
    }
    match outcome {
        Err(Broken::Lost(ConnectionError::ApplicationClosed(closed))) if closed.error_code == REFUSED => {
            Err(Refusal::ByPeer.into())
        }
        outcome => outcome,
    }
}

/// The key that TLS has proven.
fn proven_key(connection: &Connection) -> Result<NodeId, Broken> {
    let identity = connection.peer_identity();
    let shown = identity.and_then(|shown| shown.downcast::<Vec<CertificateDer<'static>>>().ok());
    let key = shown.as_deref().and_then(|shown| shown.first()).and_then(key_of);
    Ok(key.ok_or(Refusal::Malformed)?)
}

fn exported(connection: &Connection) -> Result<[u8; EXPORTED_LEN], Broken> {
    let mut exported = [0; EXPORTED_LEN];
    let done = connection.export_keying_material(&mut exported, EXPORT_LABEL, b"");
    done.map(|()| exported).map_err(|_| Refusal::Malformed.into())
}

async fn send_all(connection: &Connection, stream: &mut SendStream, bytes: &[u8]) -> Result<(), Broken> {
    stream.write_all(bytes).await.map_err(|_| broken(connection))
}

async fn receive_all(
    connection: &Connection,
    stream: &mut RecvStream,
    into: &mut [u8],
) -> Result<(), Broken> {
    stream.read_exact(into).await.map_err(|_| broken(connection))
}

async fn receive_ack(connection: &Connection, stream: &mut RecvStream) -> Result<(), Broken> {
    let mut ack = [0];
    receive_all(connection, stream, &mut ack).await?;
    if ack == [ACK] { Ok(()) } else { Err(Refusal::Malformed.into()) }
}

/// A stream broke: because the connection did, or because the peer does not keep to the protocol.
fn broken(connection: &Connection) -> Broken {
    connection.close_reason().map_or(Broken::Refused(Refusal::Malformed), Broken::Lost)
}
