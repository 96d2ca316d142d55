//! Raw quinn, for comparison: one stream of bytes from one process to another.

use crate::other::{self, Other};
use crate::usage::Usage;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Endpoint, ServerConfig};
use ring::signature::Ed25519KeyPair;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The role of the process that reads.
pub(crate) const ROLE: &str = "raw";

/// Believes any key: nothing is secret here.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
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
        Err(Error::General("TLS 1.3 alone".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = SubjectPublicKeyInfoDer::from(key.as_ref());
        verify_tls13_signature_with_raw_key(message, &key, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

fn any_port() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

fn server() -> Endpoint {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = Ed25519KeyPair::generate_pkcs8(&ring::rand::SystemRandom::new()).expect("a key");
    let key = PrivatePkcs8KeyDer::from(key.as_ref().to_vec());
    let key = rustls::crypto::ring::sign::any_eddsa_type(&key).expect("an Ed25519 key");
    let public = key.public_key().expect("it has one");
    let shown = CertifiedKey::new(vec![CertificateDer::from(public.as_ref().to_vec())], key);
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(Arc::new(shown))));
    tls.alpn_protocols = vec![b"raw".to_vec()];
    let config =
        ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).expect("a cipher suite")));
    Endpoint::server(config, any_port()).expect("a socket")
}

fn client() -> (Endpoint, ClientConfig) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"raw".to_vec()];
    let config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).expect("a cipher suite")));
    (Endpoint::client(any_port()).expect("a socket"), config)
}

/// The process that reads, and counts bytes.
pub(crate) async fn read() {
    let (endpoint, counter) = (server(), Arc::new(AtomicU64::new(0)));
    other::serve(endpoint.local_addr().expect("an address"), counter.clone());
    while let Some(incoming) = endpoint.accept().await {
        let connection = incoming.await.expect("a handshake");
        while let Ok(mut stream) = connection.accept_uni().await {
            while let Ok(Some(chunk)) = stream.read_chunk(usize::MAX, true).await {
                counter.fetch_add(chunk.bytes.len() as u64, Relaxed);
            }
        }
    }
}

/// What sending cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    pub(crate) a_s: f64,
    pub(crate) sender_cpu_us: f64,
    pub(crate) reader_cpu_us: f64,
}

impl Sent {
    /// CPU time of both ends for each message.
    pub(crate) fn cpu_us(&self) -> f64 {
        self.sender_cpu_us + self.reader_cpu_us
    }
}

/// Sends so many messages over one stream, so many with each write.
pub(crate) async fn send(count: u64, len: usize, with_each_write: u64) -> Sent {
    let mut other = Other::start(ROLE, &[]);
    let (endpoint, config) = client();
    let addr = other.address.parse().expect("an address");
    let connection = endpoint.connect_with(config, addr, "raw").expect("a dial").await.expect("a connection");
    let mut stream = connection.open_uni().await.expect("a stream");
    let batch = vec![0x5a; len * with_each_write as usize];
    stream.write_all(&batch).await.expect("written"); // warm
    let (before, theirs, begin) = (Usage::now(), other.usage(), Instant::now());
    for _ in 0..count / with_each_write {
        stream.write_all(&batch).await.expect("written");
    }
    stream.finish().expect("open");
    stream.stopped().await.expect("all of it was taken");
    let (after, begun) = (Usage::now(), begin.elapsed());
    let total = (count / with_each_write + 1) * batch.len() as u64;
    let mut end = other.usage();
    while end.count < total {
        tokio::time::sleep(Duration::from_millis(1)).await;
        end = other.usage();
    }
    Sent {
        a_s: count as f64 / begun.as_secs_f64(),
        sender_cpu_us: (after.cpu_us - before.cpu_us) / count as f64,
        reader_cpu_us: (end.cpu_us - theirs.cpu_us) / count as f64,
    }
}
