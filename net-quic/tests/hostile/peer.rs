//! A peer made by hand on raw quinn and rustls. It shares nothing with the library but the bytes on the wire.

use ed25519_dalek::SigningKey;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    ClientConfig, Connection, ConnectionError, Endpoint, EndpointConfig, RecvStream, SendStream,
    ServerConfig, TokioRuntime,
};
use ring::{digest, hmac};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, Signer, SigningKey as TlsKey};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureAlgorithm, SignatureScheme};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

pub(crate) const CLUSTER: &str = "test";
pub(crate) const SECRET: &[u8] = b"words";
pub(crate) const ACK: u8 = 1;
/// The one code of every refusal.
pub(crate) const REFUSED: u32 = 1;
/// The code of a connection whose peer, once in, does not keep to the protocol.
pub(crate) const BROKEN: u32 = 2;
/// The codes that tell a member of another process with its key.
pub(crate) const OUTLIVED: u32 = 7;
pub(crate) const COPIED: u32 = 8;

/// What a connection is for.
#[derive(Clone, Copy)]
pub(crate) enum Purpose {
    Link = 0,
    Identify = 1,
    Streams = 2,
}

/// Whether the sender of a HELLO dialled.
#[derive(Clone, Copy)]
pub(crate) enum Role {
    Dialler = 0,
    Acceptor = 1,
}

/// A HELLO as it is written here.
#[derive(Clone)]
pub(crate) struct Hello {
    pub(crate) name: &'static str,
    pub(crate) purpose: Purpose,
    pub(crate) is_auth_on: bool,
    pub(crate) versions: (u8, u8),
    pub(crate) life: u8,
}

impl Hello {
    pub(crate) fn of(name: &'static str) -> Self {
        Self { name, purpose: Purpose::Link, is_auth_on: true, versions: (1, 1), life: 1 }
    }

    /// Writes the body. All numbers here are below 128, where a varint is its byte.
    fn encoded(&self, tag: &[u8; 32]) -> Vec<u8> {
        let mut body = vec![self.versions.0, self.versions.1, u8::from(self.is_auth_on), self.purpose as u8];
        body.push(self.name.len() as u8);
        body.extend_from_slice(self.name.as_bytes());
        body.push(self.life); // incarnation
        body.extend_from_slice(&[0, 0, 0]); // no addresses, no rotations, no certificate
        body.extend_from_slice(&digest::digest(&digest::SHA256, b"").as_ref()[..8]); // nothing revoked
        body.push(0); // features
        body.extend_from_slice(tag);
        body
    }

    /// Writes the HELLO with its tag and length, for one session.
    pub(crate) fn sealed(&self, secret: &[u8], session: &Session, role: Role) -> Vec<u8> {
        let mut message = b"rumormill hello 1".to_vec();
        message.push(role as u8);
        message.extend_from_slice(&session.exported());
        message.extend_from_slice(&session.own);
        message.extend_from_slice(&session.theirs());
        message.extend_from_slice(&(CLUSTER.len() as u64).to_le_bytes());
        message.extend_from_slice(CLUSTER.as_bytes());
        message.extend(self.encoded(&[0; 32]));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), &message);
        framed(&self.encoded(tag.as_ref().try_into().expect("SHA-256 has 32 bytes")))
    }
}

/// Bytes with their length before them.
pub(crate) fn framed(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_le_bytes()[..], body].concat()
}

/// A key as a peer shows it, and how it signs.
#[derive(Clone, Debug)]
pub(crate) struct Face {
    pub(crate) key: [u8; 32],
    shown: Arc<CertifiedKey>,
}

fn spki(key: &[u8; 32]) -> Vec<u8> {
    let prefix = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    [&prefix[..], key].concat()
}

impl Face {
    /// An honest key.
    pub(crate) fn new(secret: [u8; 32]) -> Self {
        let key = SigningKey::from_bytes(&secret).verifying_key().to_bytes();
        let prefix =
            [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
        let pkcs8 = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from([&prefix[..], &secret].concat()));
        let provider = rustls::crypto::ring::default_provider();
        let signer = provider.key_provider.load_private_key(pkcs8).expect("a key");
        Self { key, shown: Arc::new(CertifiedKey::new(vec![CertificateDer::from(spki(&key))], signer)) }
    }

    /// The neutral element: one signature holds for it whatever is signed, so nobody needs a secret.
    pub(crate) fn weak() -> Self {
        let key: [u8; 32] = std::array::from_fn(|at| u8::from(at == 0));
        Self {
            key,
            shown: Arc::new(CertifiedKey::new(vec![CertificateDer::from(spki(&key))], Arc::new(Forger))),
        }
    }

    /// Shows another key than the one it signs with.
    pub(crate) fn showing(self, key: [u8; 32]) -> Self {
        let signer = self.shown.key.clone();
        Self { key, shown: Arc::new(CertifiedKey::new(vec![CertificateDer::from(spki(&key))], signer)) }
    }
}

/// Signs for the neutral element: R is the base point and s is one.
#[derive(Debug)]
struct Forger;

impl TlsKey for Forger {
    fn choose_scheme(&self, _: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        Some(Box::new(Forger))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}

impl Signer for Forger {
    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, Error> {
        let mut signature = vec![0x66; 64];
        signature[0] = 0x58;
        signature[32..].fill(0);
        signature[32] = 1;
        Ok(signature)
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

/// Believes everybody.
#[derive(Debug)]
struct Gullible;

impl ServerCertVerifier for Gullible {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for Gullible {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// Shows one face after another to those who dial, and the last one from then on.
#[derive(Debug)]
struct Faces {
    faces: Vec<Face>,
    shown: AtomicUsize,
}

impl ResolvesServerCert for Faces {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let at = self.shown.fetch_add(1, Ordering::Relaxed).min(self.faces.len() - 1);
        Some(self.faces[at].shown.clone())
    }

    fn only_raw_public_keys(&self) -> bool {
        true
    }
}

fn alpn() -> Vec<u8> {
    let hash: String = digest::digest(&digest::SHA256, CLUSTER.as_bytes()).as_ref()[..8]
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    format!("rumor/1/{hash}").into_bytes()
}

impl Peer {
    /// How a peer of this face dials.
    pub(crate) fn client(face: &Face) -> ClientConfig {
        client(face)
    }
}

fn client(face: &Face) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Gullible))
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(face.shown.clone())));
    tls.alpn_protocols = vec![alpn()];
    tls.enable_sni = false;
    tls.resumption = Resumption::disabled();
    ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).expect("a cipher suite")))
}

fn server(faces: &[Face]) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_client_cert_verifier(Arc::new(Gullible))
        .with_cert_resolver(Arc::new(Faces { faces: faces.to_vec(), shown: AtomicUsize::new(0) }));
    tls.alpn_protocols = vec![alpn()];
    ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).expect("a cipher suite")))
}

/// A hostile peer: a socket, and the faces that it shows.
pub(crate) struct Peer {
    pub(crate) endpoint: Endpoint,
    face: Face,
}

impl Peer {
    pub(crate) fn new(face: Face) -> Self {
        Self::with_faces(&[face])
    }

    /// Shows these faces, one after another, to those who dial it; the first to those whom it dials.
    pub(crate) fn with_faces(faces: &[Face]) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        let runtime = Arc::new(TokioRuntime);
        let endpoint = Endpoint::new(EndpointConfig::default(), Some(server(faces)), socket, runtime);
        let mut endpoint = endpoint.expect("an endpoint");
        endpoint.set_default_client_config(client(&faces[0]));
        Self { endpoint, face: faces[0].clone() }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.endpoint.local_addr().expect("bound")
    }

    /// Dials the victim. No word is said yet.
    pub(crate) async fn dial(&self, victim: SocketAddr) -> Session {
        let connection = self.endpoint.connect(victim, "victim").expect("a dial").await.expect("TLS stands");
        Session { connection, own: self.face.key }
    }

    /// Waits until the victim dials, and shows this face.
    pub(crate) async fn accept(&self, face: &Face) -> Session {
        let incoming = self.endpoint.accept().await.expect("open");
        Session { connection: incoming.await.expect("TLS stands"), own: face.key }
    }
}

/// A connection on which TLS stands.
pub(crate) struct Session {
    pub(crate) connection: Connection,
    own: [u8; 32],
}

/// The stream of HELLO.
pub(crate) struct Talk {
    pub(crate) send: SendStream,
    pub(crate) receive: RecvStream,
}

impl Session {
    fn exported(&self) -> [u8; 32] {
        let mut exported = [0; 32];
        let label = b"EXPORTER-rumormill-hello-1";
        self.connection.export_keying_material(&mut exported, label, b"").expect("TLS 1.3 exports");
        exported
    }

    pub(crate) fn theirs(&self) -> [u8; 32] {
        let shown = self.connection.peer_identity().expect("a key");
        let shown = shown.downcast::<Vec<CertificateDer<'static>>>().expect("raw keys");
        shown[0].as_ref()[12..].try_into().expect("32 bytes")
    }

    /// Opens the stream of HELLO and says these bytes.
    pub(crate) async fn say(&self, bytes: &[u8]) -> Talk {
        let (mut send, receive) = self.connection.open_bi().await.expect("one stream is allowed");
        let _ = send.write_all(bytes).await; // the victim may have had enough before the last byte
        Talk { send, receive }
    }

    /// Comes in as an honest member would.
    pub(crate) async fn come_in(&self, hello: &Hello) -> Talk {
        let mut talk = self.say(&hello.sealed(SECRET, self, Role::Dialler)).await;
        talk.hear().await;
        talk.send.write_all(&[ACK]).await.expect("open");
        let mut ack = [0];
        talk.receive.read_exact(&mut ack).await.expect("let in");
        assert_eq!(ack, [ACK]);
        talk
    }

    /// Waits for the end of the connection, and tells with which code the victim closed it.
    pub(crate) async fn closed(&self) -> (u64, Vec<u8>) {
        match self.connection.closed().await {
            ConnectionError::ApplicationClosed(close) => {
                (close.error_code.into_inner(), close.reason.to_vec())
            }
            other => panic!("not closed by the victim: {other}"),
        }
    }
}

impl Talk {
    /// Reads one framed message, length and all.
    pub(crate) async fn hear(&mut self) -> Vec<u8> {
        let mut len = [0; 4];
        self.receive.read_exact(&mut len).await.expect("its length");
        let mut body = vec![0; u32::from_le_bytes(len) as usize];
        self.receive.read_exact(&mut body).await.expect("its body");
        framed(&body)
    }
}
