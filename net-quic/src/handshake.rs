//! The first words on a connection: who is there, whether it may come in, and in which version to go on.

use crate::connection::{COPIED, OUTLIVED};
use crate::endpoint::Shown;
use crate::hello::{Cookie, EXPORT_LABEL, EXPORTED_LEN, Hello, LEN_MAX, Purpose, Role, Session, features};
use crate::tls::key_of;
use crate::trust::{Admission, Own, Proven, Refusal, SHEET_LEN_MAX, Sheet, Told};
use arc_swap::ArcSwap;
use quinn::{Connection, ConnectionError, RecvStream, SendStream, VarInt};
use rumormill_core::links::{VERSION, VERSION_MIN};
use rumormill_core::{Contact, Incarnation, NodeId};
use rustls::pki_types::CertificateDer;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

/// How long a HELLO may take, from the first packet on, where the builder says nothing else.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);
/// The one code that a refused peer sees.
pub(crate) const REFUSED: VarInt = VarInt::from_u32(1);
/// What each end sends when it has let the other in.
const ACK: u8 = 1;

/// What a node needs to say HELLO.
pub(crate) struct Greeter {
    /// How the node introduces itself; the driver keeps it true.
    pub(crate) contact: Arc<Mutex<Contact>>,
    pub(crate) cookie: Cookie,
    /// The number of this process.
    pub(crate) process: NonZeroU32,
    pub(crate) admission: Arc<Admission>,
    /// What new connections show; those that stand keep what they showed.
    pub(crate) shown: ArcSwap<Shown>,
    /// How long a HELLO may take, from the first packet on.
    pub(crate) timeout: Duration,
}

/// A connection, and what this end has shown on it.
#[derive(Clone, Copy)]
pub(crate) struct Meeting<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) own: &'a Own,
}

/// A peer that was let in.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) id: NodeId,
    pub(crate) name: String,
    pub(crate) incarnation: Incarnation,
    /// Which process of it this is, if it says so.
    pub(crate) process: Option<NonZeroU32>,
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
    /// Packets do not come there from where this node listens: why, and what would be right.
    NoWay(String),
}

impl From<Refusal> for Broken {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Greeter {
    pub(crate) fn contact(&self) -> Contact {
        self.contact.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says HELLO as the end that dialled, to the node that was meant or, when none was, to whoever listens there.
    pub(crate) async fn greet(
        &self,
        meeting: Meeting<'_>,
        meant: Option<NodeId>,
        purpose: Purpose,
        deadline: Instant,
        told: Told,
    ) -> Result<Peer, Broken> {
        let greeting = self.try_greet(meeting, meant, purpose);
        self.finish(meeting.connection, timeout_at(deadline, greeting).await, told)
    }

    async fn try_greet(
        &self,
        meeting: Meeting<'_>,
        meant: Option<NodeId>,
        purpose: Purpose,
    ) -> Result<Peer, Broken> {
        let connection = meeting.connection;
        let key = self.proven_key(connection)?;
        let (mut send, mut receive) = connection.open_bi().await.map_err(Broken::Lost)?;
        let said = self.send_hello(meeting, &key, Role::Dialler, purpose, &mut send).await?;
        let heard = self.receive_hello(meeting, key, meant, Role::Acceptor, &mut receive).await?;
        self.admission.admit(&heard.peer, &heard.hello)?;
        let ending = async {
            send_all(connection, &mut send, &[ACK]).await?;
            receive_ack(connection, &mut receive).await?;
            if said != heard.hello.revoked {
                self.send_sheet(connection, &mut send).await?;
                self.receive_sheet(connection, &mut receive).await?;
            }
            Ok(())
        };
        ending.await.map_err(as_peer_says)?;
        self.settle(heard, purpose)
    }

    /// Says HELLO as the end that was dialled.
    pub(crate) async fn answer(&self, meeting: Meeting<'_>, deadline: Instant) -> Result<Peer, Broken> {
        self.finish(meeting.connection, timeout_at(deadline, self.try_answer(meeting)).await, Told::Here)
    }

    async fn try_answer(&self, meeting: Meeting<'_>) -> Result<Peer, Broken> {
        let connection = meeting.connection;
        let key = self.proven_key(connection)?;
        let (mut send, mut receive) = connection.accept_bi().await.map_err(Broken::Lost)?;
        let heard = self.receive_hello(meeting, key, None, Role::Dialler, &mut receive).await?;
        let purpose = heard.hello.purpose;
        let said = self.send_hello(meeting, &key, Role::Acceptor, purpose, &mut send).await?;
        receive_ack(connection, &mut receive).await?;
        self.admission.admit(&heard.peer, &heard.hello)?;
        let ending = async {
            send_all(connection, &mut send, &[ACK]).await?;
            if said != heard.hello.revoked {
                self.receive_sheet(connection, &mut receive).await?; // the dialler's first: one of both has to read
                self.send_sheet(connection, &mut send).await?;
            }
            Ok(())
        };
        ending.await.map_err(as_peer_says)?;
        self.settle(heard, purpose)
    }

    /// Lets a peer in, unless what it told has revoked its own key.
    fn settle(&self, heard: Heard, purpose: Purpose) -> Result<Peer, Broken> {
        let Heard { hello, peer, version } = heard;
        if let Some(refusal) = self.admission.is_barred(&peer) {
            return Err(refusal.into());
        }
        let (incarnation, process) = (hello.incarnation(), hello.process());
        Ok(Peer {
            id: peer.node,
            name: hello.name,
            incarnation,
            process,
            version,
            purpose,
            addrs: hello.addrs,
        })
    }

    /// The key that TLS has proven, unless it proves nothing.
    fn proven_key(&self, connection: &Connection) -> Result<NodeId, Broken> {
        let key = shown_key(connection).ok_or(Refusal::Malformed)?;
        self.admission.judge_key(&key)?;
        Ok(key)
    }

    async fn send_hello(
        &self,
        Meeting { connection, own }: Meeting<'_>,
        to: &NodeId,
        role: Role,
        purpose: Purpose,
        stream: &mut SendStream,
    ) -> Result<[u8; 8], Broken> {
        let contact = self.contact();
        let mut hello = Hello {
            versions: (VERSION_MIN, VERSION),
            is_auth_on: self.admission.trust().is_on(),
            purpose,
            name: own.name.clone(),
            incarnation: contact.incarnation().0,
            addrs: contact.addrs().to_vec(),
            chain: own.chain.clone(),
            certificate: own.certificate.clone(),
            revoked: self.admission.sheet_digest(),
            features: features(self.process),
            tag: [0; 32],
        };
        let exported = exported(connection)?;
        self.cookie.seal(Session { exported: &exported, sender: &own.key, receiver: to, role }, &mut hello);
        send_framed(connection, stream, &hello).await?;
        Ok(hello.revoked)
    }

    /// Takes the other end's HELLO and judges it.
    async fn receive_hello(
        &self,
        meeting: Meeting<'_>,
        key: NodeId,
        meant: Option<NodeId>,
        role: Role,
        stream: &mut RecvStream,
    ) -> Result<Heard, Broken> {
        let hello: Hello = receive_framed(meeting.connection, stream, LEN_MAX).await?;
        self.judge_tag(meeting, &key, role, &hello)?;
        if !hello.is_well_formed() {
            return Err(Refusal::Malformed.into());
        }
        let peer = self.admission.prove(key, &hello)?;
        if let Some(expected) = meant.filter(|meant| *meant != peer.node) {
            return Err(Refusal::WrongKey { expected, shown: peer.node }.into());
        }
        self.admission.judge(&peer, &hello)?;
        let version = hello.common_version((VERSION_MIN, VERSION));
        let version = version.ok_or(Refusal::Version { versions: hello.versions })?;
        Ok(Heard { hello, peer, version })
    }

    /// Judges whether the sender of a HELLO knows the secret and said this in this very session.
    fn judge_tag(
        &self,
        Meeting { connection, own }: Meeting<'_>,
        from: &NodeId,
        role: Role,
        hello: &Hello,
    ) -> Result<(), Broken> {
        let is_on = self.admission.trust().is_on();
        if hello.is_auth_on != is_on {
            return Err(Refusal::Auth { is_on: hello.is_auth_on }.into());
        }
        let exported = exported(connection)?;
        let session = Session { exported: &exported, sender: from, receiver: &own.key, role };
        let is_good = !is_on || self.cookie.is_sealed(session, hello);
        if is_good { Ok(()) } else { Err(Refusal::WrongSecret.into()) }
    }

    async fn send_sheet(&self, connection: &Connection, stream: &mut SendStream) -> Result<(), Broken> {
        send_framed(connection, stream, &self.admission.sheet()).await
    }

    async fn receive_sheet(&self, connection: &Connection, stream: &mut RecvStream) -> Result<(), Broken> {
        connection.set_receive_window(VarInt::from_u32(2 * SHEET_LEN_MAX as u32)); // a member's, not a stranger's
        let sheet: Sheet = receive_framed(connection, stream, SHEET_LEN_MAX).await?;
        self.admission.take_sheet(sheet);
        Ok(())
    }

    /// Takes note of a refusal.
    pub(crate) fn note(&self, addr: SocketAddr, refusal: &Refusal, told: Told) {
        self.admission.board().refused(addr, refusal, told);
    }

    /// Closes the connection of a peer that was refused, with the one code that says nothing; the reason stays here.
    fn finish(
        &self,
        connection: &Connection,
        outcome: Result<Result<Peer, Broken>, Elapsed>,
        told: Told,
    ) -> Result<Peer, Broken> {
        let outcome = match outcome.unwrap_or_else(|_| Err(Refusal::TimedOut.into())) {
            // Whoever has not proven who it is refuses, whatever else it says of this node.
            Err(Broken::Lost(error)) if refusal_of(&error).is_some() => Err(Refusal::ByPeer.into()),
            outcome => outcome,
        };
        if let Err(Broken::Refused(refusal)) = &outcome {
            self.note(connection.remote_address(), refusal, told);
            connection.close(REFUSED, b"");
        }
        outcome
    }
}

/// Finds in the end of a connection why the peer ended it, where that is more than its end.
pub(crate) fn refusal_of(error: &ConnectionError) -> Option<Refusal> {
    let ConnectionError::ApplicationClosed(closed) = error else { return None };
    match closed.error_code {
        REFUSED => Some(Refusal::ByPeer),
        OUTLIVED => Some(Refusal::Outlived),
        COPIED => Some(Refusal::Copied),
        _ => None,
    }
}

/// Believes a peer that was let in why it ended the connection.
fn as_peer_says(broken: Broken) -> Broken {
    match broken {
        Broken::Lost(error) => refusal_of(&error).map_or(Broken::Lost(error), Broken::Refused),
        broken => broken,
    }
}

/// A HELLO that was judged.
struct Heard {
    hello: Hello,
    peer: Proven,
    version: u16,
}

/// The key that the other end of a connection has shown, and that TLS has proven.
pub(crate) fn shown_key(connection: &Connection) -> Option<NodeId> {
    let identity = connection.peer_identity();
    let shown = identity.and_then(|shown| shown.downcast::<Vec<CertificateDer<'static>>>().ok());
    shown.as_deref().and_then(|shown| shown.first()).and_then(key_of)
}

fn exported(connection: &Connection) -> Result<[u8; EXPORTED_LEN], Broken> {
    let mut exported = [0; EXPORTED_LEN];
    let done = connection.export_keying_material(&mut exported, EXPORT_LABEL, b"");
    done.map(|()| exported).map_err(|_| Refusal::Malformed.into())
}

/// Sends a value with its length before it.
async fn send_framed<T: Serialize>(
    connection: &Connection,
    stream: &mut SendStream,
    value: &T,
) -> Result<(), Broken> {
    let body = postcard::to_allocvec(value).expect("what a handshake says has a form");
    let len = (body.len() as u32).to_le_bytes();
    send_all(connection, stream, &[&len[..], &body].concat()).await
}

/// Receives a value with its length before it, which is checked before anything is allocated.
async fn receive_framed<T: DeserializeOwned>(
    connection: &Connection,
    stream: &mut RecvStream,
    len_max: usize,
) -> Result<T, Broken> {
    let mut len = [0; 4];
    receive_all(connection, stream, &mut len).await?;
    let len = u32::from_le_bytes(len) as usize;
    if len > len_max {
        return Err(Refusal::Malformed.into());
    }
    let mut body = vec![0; len];
    receive_all(connection, stream, &mut body).await?;
    Ok(postcard::from_bytes(&body).map_err(|_| Refusal::Malformed)?)
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
