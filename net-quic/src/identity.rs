//! Who a node is: an Ed25519 key, kept in a file that only its user can read.
//!
//! The file holds the key as PKCS#8 PEM and, below it, a line for each rotation that led to it: both change at once or
//! not at all.

use crate::trust::{ROTATIONS_MAX, Revocation, Rotation, cluster_hash, first_key, from_hex, to_hex};
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey, EncodePrivateKey};
use ed25519_dalek::{SigningKey, VerifyingKey};
use rumormill_core::NodeId;
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use zeroize::Zeroizing;

/// What a line of a key file begins with that tells of a rotation.
const ROTATION: &str = "rotation ";

/// Why an identity cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file of the key, or its folder, cannot be read or written.
    #[error("the key {}: {source}; the node's folder must be one that this user may read and write", path.display())]
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
    /// The key was rotated as often as a node may.
    #[error("the key was rotated {ROTATIONS_MAX} times: make a new node, and revoke this one's keys")]
    Worn,
    /// The backup of this key is there, with another content.
    #[error("{}: is in the way; it holds another key than the one to keep", path.display())]
    InTheWay {
        /// Which file.
        path: PathBuf,
    },
    /// The system gives no random bytes.
    #[error("the system gives no random bytes: {0}")]
    Entropy(getrandom::Error),
}

/// The key that a node is known by.
#[derive(Clone)]
pub struct Identity {
    key: SigningKey,
    /// How the node came to this key from its first.
    chain: Vec<Rotation>,
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
        Ok(Self::from_secret(&secret))
    }

    /// Derives an identity from a secret of 32 bytes: tests and simulations need the same one again.
    pub fn from_secret(secret: &[u8; 32]) -> Self {
        Self { key: SigningKey::from_bytes(secret), chain: Vec::new() }
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
        let identity = str::from_utf8(&pem).ok().and_then(Self::from_text);
        identity.ok_or_else(|| IdentityError::Malformed { path: path.into() })
    }

    fn from_text(text: &str) -> Option<Self> {
        let end = text.find(ROTATION).unwrap_or(text.len());
        let (pem, rotations) = text.split_at(end);
        let key = SigningKey::from_pkcs8_pem(pem).ok()?;
        let lines = rotations.lines().map(|line| from_hex(line.strip_prefix(ROTATION)?));
        let chain = lines.collect::<Option<Vec<_>>>()?;
        let identity = Self { key, chain };
        first_key(&identity.chain, &identity.public_key()).map(|_| identity)
    }

    fn to_text(&self) -> Zeroizing<String> {
        let mut text = self.key.to_pkcs8_pem(LineEnding::LF).expect("a key has a form in PKCS#8");
        for rotation in &self.chain {
            text.push_str(&format!("{ROTATION}{}\n", to_hex(rotation)));
        }
        text
    }

    /// Writes the identity to a file that does not exist yet.
    ///
    /// # Errors
    /// [`IdentityError::File`], also when the file exists: a key is never written over.
    pub fn save(&self, path: &Path) -> Result<(), IdentityError> {
        create_private(path, self.to_text().as_bytes())
            .map_err(|source| IdentityError::File { path: path.into(), source })
    }

    /// Tells the id of the node: its first public key, for life.
    pub fn node_id(&self) -> NodeId {
        self.chain.first().map_or_else(|| self.public_key(), Rotation::node)
    }

    /// Tells the public key that the node shows: its first, or the one that it last rotated to.
    pub fn public_key(&self) -> NodeId {
        NodeId(self.key.verifying_key().to_bytes())
    }

    /// Revokes the key in a cluster, for ever: for whoever fears that it was stolen. Give the revocation to any node:
    /// see [`Cluster::revoke`](crate::Cluster::revoke).
    pub fn revoke(&self, cluster: &str) -> Revocation {
        Revocation::by_itself(&self.key, cluster_hash(cluster))
    }

    /// How the node came to its key.
    pub(crate) fn chain(&self) -> &[Rotation] {
        &self.chain
    }

    pub(crate) fn signing_key(&self) -> &SigningKey {
        &self.key
    }

    /// The key in the form that TLS wants.
    pub(crate) fn pkcs8(&self) -> Zeroizing<Vec<u8>> {
        let document = self.key.to_pkcs8_der().expect("a key has a form in PKCS#8");
        document.to_bytes()
    }
}

/// Rotation.
impl Identity {
    /// Gives the node of a key file a new key, and keeps the old one beside it as `FILE.0`, `FILE.1` and so on, closed to
    /// others as the file itself is. A node that runs goes on showing the old one until it next starts:
    /// [`Cluster::rotate_identity`](crate::Cluster::rotate_identity) changes both. Its id stays.
    ///
    /// Both keys sign the change, and whoever has pinned the node follows it. For as long as `overlap`, counted from now,
    /// the old key serves as well, in case the backup must be put back; then it is refused. Whenever this is interrupted,
    /// the file holds the one key or the other, whole. Never rotate a backup: two rotations of one key are taken for theft,
    /// and freeze the node's name.
    ///
    /// # Errors
    /// [`IdentityError`]; the file is as it was.
    pub fn rotate(path: &Path, overlap: Duration) -> Result<Self, IdentityError> {
        let old = Self::load(path)?;
        let new = old.rotated_for(overlap)?;
        old.keep_beside(path)?;
        let replaced = replace_private(path, new.to_text().as_bytes());
        replaced.map_err(|source| IdentityError::File { path: path.into(), source })?;
        Ok(new)
    }

    /// The same node with a new key, beside which the old one serves for a while.
    pub(crate) fn rotated_for(&self, overlap: Duration) -> Result<Self, IdentityError> {
        let until = SystemTime::now() + overlap;
        let until = until.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        self.rotated(u64::try_from(until).unwrap_or(u64::MAX))
    }

    /// Tells whether this is another's node, with its key or one that it was rotated to.
    pub(crate) fn goes_on_from(&self, other: &Self) -> bool {
        let is_same = self.node_id() == other.node_id() && self.chain.len() >= other.chain.len();
        is_same && self.chain.iter().zip(&other.chain).all(|(one, other)| one.says_as(other))
    }

    /// The same node with a new key.
    pub(crate) fn rotated(&self, until_ms: u64) -> Result<Self, IdentityError> {
        let epoch = self.chain.len() + 1;
        if epoch > ROTATIONS_MAX {
            return Err(IdentityError::Worn);
        }
        let Self { key, .. } = Self::generate()?;
        let mut chain = self.chain.clone();
        chain.push(Rotation::new(self.node_id(), epoch as u32, &self.key, &key, until_ms));
        Ok(Self { key, chain })
    }

    /// Keeps this key beside a file that is about to hold another.
    fn keep_beside(&self, path: &Path) -> Result<(), IdentityError> {
        let backup = path.with_added_extension(self.chain.len().to_string());
        let file = |source| IdentityError::File { path: backup.clone(), source };
        match fs::read(&backup).map(Zeroizing::new) {
            Ok(there) if there.as_slice() == self.to_text().as_bytes() => Ok(()), // an earlier try was cut short
            Ok(_) => Err(IdentityError::InTheWay { path: backup }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                replace_private(&backup, self.to_text().as_bytes()).map_err(file)
            }
            Err(error) => Err(file(error)),
        }
    }
}

/// Writes a file that nobody else may read, in place of what is there: it holds the one or the other, whole, whenever
/// this is cut short.
fn replace_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = path.with_added_extension("new");
    remove_if_there(&fresh)?; // of an earlier try, and never shown to anybody
    create_private(&fresh, bytes)?;
    fs::rename(&fresh, path)?;
    File::open(folder_of(path))?.sync_all()
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Tells whether bytes are a public key that only its owner can sign for: a point of the curve, and of large order.
pub(crate) fn is_strong_key(key: &[u8; 32]) -> bool {
    VerifyingKey::from_bytes(key).is_ok_and(|key| !key.is_weak())
}

/// Writes a file that nobody else may read, whole and durable or not at all.
pub(crate) fn create_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = folder_of(path);
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

/// Makes an empty file that nobody else may read, unless it is there; takes it from others if it is.
pub(crate) fn create_private_file(path: &Path) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    #[cfg(unix)]
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    drop(file);
    Ok(())
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

    #[test]
    fn a_rotated_node_is_who_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("node.key");
        let first = Identity::load_or_create(&path).expect("made");
        let mut keys = vec![first.public_key()];
        for number in 0..ROTATIONS_MAX {
            let rotated = Identity::rotate(&path, Duration::from_secs(60)).expect("rotated");
            let loaded = Identity::load(&path).expect("loaded");
            assert_eq!((loaded.public_key(), loaded.node_id()), (rotated.public_key(), first.node_id()));
            assert!(!keys.contains(&loaded.public_key()), "a new key");
            let backup =
                Identity::load(&path.with_added_extension(number.to_string())).expect("kept, and closed");
            assert_eq!(Some(&backup.public_key()), keys.last());
            keys.push(loaded.public_key());
        }
        let worn = Identity::rotate(&path, Duration::ZERO).expect_err("as often as a node may");
        assert!(matches!(worn, IdentityError::Worn), "{worn}");
        let files = fs::read_dir(folder.path()).expect("a folder").count();
        assert_eq!(files, 1 + ROTATIONS_MAX, "nothing else is left behind");
    }

    #[test]
    fn a_rotation_that_is_cut_short_leaves_a_key_and_can_be_repeated() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("node.key");
        let first = Identity::load_or_create(&path).expect("made");
        let beside = |name: &str| folder.path().join(name);
        // Cut short within the backup, after it, and within the new key.
        create_private(&beside("node.key.0.new"), b"-----BEG").expect("torn");
        assert_eq!(Identity::load(&path).expect("whole").public_key(), first.public_key());
        first.keep_beside(&path).expect("kept");
        create_private(&beside("node.key.new"), b"-----BEGIN PRIV").expect("torn");
        assert_eq!(Identity::load(&path).expect("whole").public_key(), first.public_key());
        fs::hard_link(&path, beside("witness")).expect("linked");
        let rotated = Identity::rotate(&path, Duration::ZERO).expect("repeated");
        let witness = Identity::load(&beside("witness")).expect("whole");
        assert_eq!(witness.public_key(), first.public_key(), "replaced by another file, never written over");
        assert_eq!(Identity::load(&path).expect("whole").public_key(), rotated.public_key());
        assert_eq!(Identity::load(&beside("node.key.0")).expect("kept").public_key(), first.public_key());
    }

    #[test]
    fn a_backup_is_never_written_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("node.key");
        let first = Identity::load_or_create(&path).expect("made");
        let other = Identity::generate().expect("entropy");
        other.save(&path.with_added_extension("0")).expect("in the way");
        let error = Identity::rotate(&path, Duration::ZERO).expect_err("in the way");
        assert!(matches!(error, IdentityError::InTheWay { .. }), "{error}");
        assert_eq!(Identity::load(&path).expect("as it was").public_key(), first.public_key());
    }

    #[test]
    fn a_file_whose_rotations_are_not_whole_holds_no_identity() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("node.key");
        Identity::load_or_create(&path).expect("made");
        Identity::rotate(&path, Duration::ZERO).expect("rotated");
        let text = fs::read_to_string(&path).expect("there");
        let torn = folder.path().join("torn.key");
        create_private(&torn, &text.as_bytes()[..text.len() - 9]).expect("written");
        assert!(matches!(Identity::load(&torn), Err(IdentityError::Malformed { .. })));
        let elsewhere = folder.path().join("other.key");
        let other = Identity::generate().expect("entropy").to_text();
        let rotation = text.split_at(text.find(ROTATION).expect("one")).1;
        create_private(&elsewhere, format!("{}{rotation}", other.as_str()).as_bytes()).expect("written");
        assert!(matches!(Identity::load(&elsewhere), Err(IdentityError::Malformed { .. })));
    }
}
