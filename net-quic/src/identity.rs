//! Who a node is: an Ed25519 key, kept in a file that only its user can read.

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey, EncodePrivateKey};
use ed25519_dalek::{SigningKey, VerifyingKey};
use rumormill_core::NodeId;
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Why an identity cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file of the key, or its folder, cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file holds no Ed25519 key.
    #[error("{}: holds no Ed25519 key in PKCS#8 PEM; restore a backup, or remove it to become a new node", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
    },
    /// Others may read the key.
    #[error("{}: others may read this key (mode {mode:o}); chmod 600 it, or make a new one if they did", path.display())]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The system gives no random bytes.
    #[error("the system gives no random bytes: {0}")]
    Entropy(getrandom::Error),
}

/// The key that a node is known by.
#[derive(Clone)]
pub struct Identity {
    key: SigningKey,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Identity").field(&self.node_id()).finish()
    }
}

impl Identity {
    /// Makes a new identity that nobody has seen.
    ///
    /// # Errors
    /// [`IdentityError::Entropy`].
    pub fn generate() -> Result<Self, IdentityError> {
        let mut secret = Zeroizing::new([0; 32]);
        getrandom::fill(secret.as_mut_slice()).map_err(IdentityError::Entropy)?;
        Ok(Self { key: SigningKey::from_bytes(&secret) })
    }

    /// Derives an identity from a secret of 32 bytes: tests and simulations need the same one again.
    pub fn from_secret(secret: &[u8; 32]) -> Self {
        Self { key: SigningKey::from_bytes(secret) }
    }

    /// Reads the identity from a file; makes one, and the file, where there is none.
    ///
    /// A folder that is made is closed to others (0700), and so is the file (0600) before its first byte.
    ///
    /// # Errors
    /// [`IdentityError`] says which file, and what to do about it.
    pub fn load_or_create(path: &Path) -> Result<Self, IdentityError> {
        match Self::load(path) {
            Err(IdentityError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                let identity = Self::generate()?;
                identity.save(path)?;
                Ok(identity)
            }
            loaded => loaded,
        }
    }

    /// Reads the identity from a file.
    ///
    /// # Errors
    /// As [`Identity::load_or_create`].
    pub fn load(path: &Path) -> Result<Self, IdentityError> {
        let file = |source| IdentityError::File { path: path.into(), source };
        let pem = Zeroizing::new(fs::read(path).map_err(file)?);
        check_mode(path)?;
        let key = str::from_utf8(&pem).ok().and_then(|pem| SigningKey::from_pkcs8_pem(pem).ok());
        key.map(|key| Self { key }).ok_or_else(|| IdentityError::Malformed { path: path.into() })
    }

    /// Writes the identity to a file that does not exist yet.
    ///
    /// # Errors
    /// [`IdentityError::File`], also when the file exists: a key is never written over.
    pub fn save(&self, path: &Path) -> Result<(), IdentityError> {
        let pem = self.key.to_pkcs8_pem(LineEnding::LF).expect("a key has a form in PKCS#8");
        create_private(path, pem.as_bytes())
            .map_err(|source| IdentityError::File { path: path.into(), source })
    }

    /// Tells the name of the node: its public key.
    pub fn node_id(&self) -> NodeId {
        NodeId(self.key.verifying_key().to_bytes())
    }

    /// The key in the form that TLS wants.
    pub(crate) fn pkcs8(&self) -> Zeroizing<Vec<u8>> {
        let document = self.key.to_pkcs8_der().expect("a key has a form in PKCS#8");
        document.to_bytes()
    }
}

/// Tells whether bytes are a public key that only its owner can sign for: a point of the curve, and of large order.
pub(crate) fn is_strong_key(key: &[u8; 32]) -> bool {
    VerifyingKey::from_bytes(key).is_ok_and(|key| !key.is_weak())
}

/// Writes a file that nobody else may read, whole and durable or not at all.
pub(crate) fn create_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    create_private_folder(folder)?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if written.is_err() {
        let _ = fs::remove_file(path); // half a key is worse than none
    }
    written?;
    File::open(folder)?.sync_all()
}

/// Makes a folder that nobody else may look into, unless it is there.
pub(crate) fn create_private_folder(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

#[cfg(unix)]
fn check_mode(path: &Path) -> Result<(), IdentityError> {
    use std::os::unix::fs::PermissionsExt as _;
    let metadata = fs::metadata(path).map_err(|source| IdentityError::File { path: path.into(), source })?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 == 0 { Ok(()) } else { Err(IdentityError::Exposed { path: path.into(), mode }) }
}

#[cfg(not(unix))]
fn check_mode(_: &Path) -> Result<(), IdentityError> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_found_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("deep/node.key");
        let made = Identity::load_or_create(&path).expect("made");
        let found = Identity::load_or_create(&path).expect("found");
        assert_eq!(made.node_id(), found.node_id());
        assert!(Identity::generate().expect("another").save(&path).is_err(), "never written over");
    }

    #[cfg(unix)]
    #[test]
    fn a_key_is_nobody_elses() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("deep/node.key");
        Identity::load_or_create(&path).expect("made");
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().expect("a folder"))), (0o600, 0o700));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("opened");
        let error = Identity::load(&path).expect_err("exposed");
        assert!(matches!(error, IdentityError::Exposed { mode: 0o644, .. }), "{error}");
    }

    #[test]
    fn a_torn_key_is_named_and_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("node.key");
        create_private(&path, b"-----BEGIN PRIV").expect("written");
        let error = Identity::load_or_create(&path).expect_err("torn");
        assert!(matches!(error, IdentityError::Malformed { .. }), "{error}");
        assert_eq!(fs::read(&path).expect("kept"), b"-----BEGIN PRIV");
    }

    #[test]
    fn weak_points_are_no_keys() {
        let mut one = [0; 32];
        one[0] = 1; // the neutral element: everything is signed by it
        assert!(!is_strong_key(&one));
        assert!(!is_strong_key(&[0; 32]));
        assert!(is_strong_key(&Identity::from_secret(&[7; 32]).node_id().0));
    }
}
