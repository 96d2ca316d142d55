//! TLS 1.3 between raw public keys (RFC 7250): both ends show a key and prove that it is theirs, and nothing else.
//!
//! The verifier looks at the form of a key only. Whether its owner may come in, and whether a key is fit to prove anything,
//! is settled at HELLO, after the proof: a verifier runs before the signature is checked, so it must neither decide by nor
//! write down what it sees, and what it refuses TLS would tell the peer.

use crate::identity::Identity;
use rumormill_core::NodeId;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible,
    ServerConfig, SignatureScheme,
};
use std::sync::Arc;

/// Everything that stands before the 32 bytes of an Ed25519 key in its SubjectPublicKeyInfo (RFC 8410, section 4).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Writes a key as TLS shows it.
fn spki(key: &NodeId) -> Vec<u8> {
    [&SPKI_PREFIX[..], &key.0[..]].concat()
}

/// Reads the key that TLS showed; none when it has not the form of an Ed25519 key.
pub(crate) fn key_of(shown: &CertificateDer<'_>) -> Option<NodeId> {
    shown.as_ref().strip_prefix(&SPKI_PREFIX)?.try_into().ok().map(NodeId)
}

/// The two TLS configurations of a node.
pub(crate) struct Tls {
    pub(crate) client: ClientConfig,
    pub(crate) server: ServerConfig,
}

impl Tls {
    /// Builds them for an identity, and for one protocol: nodes that speak another never see each other's keys.
    pub(crate) fn new(identity: &Identity, protocol: &[u8]) -> Result<Self, Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let own = identity.public_key();
        let pkcs8 = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(identity.pkcs8().to_vec()));
        let key = provider.key_provider.load_private_key(pkcs8)?;
        let shown = Arc::new(CertifiedKey::new(vec![CertificateDer::from(spki(&own))], key));
        let verifier = Arc::new(Verifier { algorithms: provider.signature_verification_algorithms });
        Ok(Self {
            client: client(&provider, &verifier, &shown, protocol)?,
            server: server(&provider, &verifier, &shown, protocol)?,
        })
    }
}

fn client(
    provider: &Arc<CryptoProvider>,
    verifier: &Arc<Verifier>,
    shown: &Arc<CertifiedKey>,
    protocol: &[u8],
) -> Result<ClientConfig, Error> {
    let mut client = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier.clone())
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(shown.clone())));
    client.alpn_protocols = vec![protocol.to_vec()];
    client.enable_sni = false;
    client.resumption = Resumption::disabled();
    Ok(client)
}

fn server(
    provider: &Arc<CryptoProvider>,
    verifier: &Arc<Verifier>,
    shown: &Arc<CertifiedKey>,
    protocol: &[u8],
) -> Result<ServerConfig, Error> {
    let mut server = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier.clone())
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(shown.clone())));
    server.alpn_protocols = vec![protocol.to_vec()];
    server.send_tls13_tickets = 0;
    Ok(server)
}

/// Takes any Ed25519 key, and lets TLS check that its owner signed.
#[derive(Debug)]
struct Verifier {
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    fn check(shown: &CertificateDer<'_>) -> Result<(), Error> {
        let broken = Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);
        key_of(shown).map(drop).ok_or(broken)
    }

    fn check_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = SubjectPublicKeyInfoDer::from(shown.as_ref());
        verify_tls13_signature_with_raw_key(message, &key, signed, &self.algorithms)
    }
}

/// What TLS 1.2 would ask: no configuration here speaks it.
fn no_tls12() -> Result<HandshakeSignatureValid, Error> {
    Err(Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13))
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Self::check(end_entity).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Self::check(end_entity).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_and_nothing_else_does() {
        let key = Identity::from_secret(&[3; 32]).node_id();
        let shown = spki(&key);
        assert_eq!(key_of(&CertificateDer::from(shown.clone())), Some(key));
        for bad in [&shown[..43], &shown[1..], &[shown.as_slice(), &[0]].concat()] {
            assert_eq!(key_of(&CertificateDer::from(bad.to_vec())), None);
        }
    }
}
