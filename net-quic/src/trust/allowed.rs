//! The list of allowed keys: a file that is read again when it changes.

use super::refusal::Refusal;
use rumormill_core::NodeId;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::SystemTime;

/// The keys of the file, as far as it was read.
#[derive(Default)]
pub(super) struct Allowed {
    keys: BTreeSet<NodeId>,
    /// When the file was written that they are from.
    written: Option<SystemTime>,
}

impl Allowed {
    /// Tells whether one of these keys stands in the file as it is now.
    pub(super) fn holds(&mut self, path: &Path, keys: [&NodeId; 2]) -> Result<bool, Refusal> {
        self.reload(path)?;
        Ok(keys.iter().any(|key| self.keys.contains(key)))
    }

    /// Reads the file, unless it was read since it changed.
    pub(super) fn reload(&mut self, path: &Path) -> Result<(), Refusal> {
        let no_list = |what: String| Refusal::NoList(format!("{}: {what}", path.display()));
        let written = fs::metadata(path).and_then(|metadata| metadata.modified());
        let written = written.map_err(|error| no_list(error.to_string()))?;
        if self.written == Some(written) {
            return Ok(());
        }
        let text = fs::read_to_string(path).map_err(|error| no_list(error.to_string()))?;
        self.keys = parse_keys(&text).map_err(no_list)?;
        self.written = Some(written);
        Ok(())
    }
}

/// Reads a list of keys: one a line.
fn parse_keys(text: &str) -> Result<BTreeSet<NodeId>, String> {
    let lines =
        text.lines().enumerate().map(|(at, line)| (at + 1, line.split('#').next().unwrap_or("").trim()));
    let keys = lines.filter(|(_, line)| !line.is_empty());
    keys.map(|(at, line)| parse_key(line).ok_or_else(|| format!("line {at}: a key is 64 hexadecimal digits")))
        .collect()
}

/// Reads a key as it is shown: 64 hexadecimal digits.
pub(super) fn parse_key(text: &str) -> Option<NodeId> {
    let digits = text.as_bytes();
    if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut key = [0; 32];
    for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(NodeId(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_list_is_followed_when_it_changes() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("allowed");
        let (a, b) = (NodeId([0xa2; 32]), NodeId([0xb3; 32]));
        let mut list = Allowed::default();
        assert!(matches!(list.holds(&path, [&a, &a]), Err(Refusal::NoList(_))), "no file lets nobody in");
        fs::write(&path, format!("# friends\n{} # a\n", "a2".repeat(32))).expect("written");
        assert_eq!(list.holds(&path, [&a, &a]), Ok(true));
        assert_eq!(list.holds(&path, [&b, &b]), Ok(false));
        assert_eq!(list.holds(&path, [&a, &b]), Ok(true), "the first key stands for those after it");
        fs::write(&path, format!("{}\n", "B3".repeat(32))).expect("written");
        let later = SystemTime::now() + Duration::from_secs(5);
        let file = fs::File::options().write(true).open(&path).expect("there");
        file.set_modified(later).expect("touched");
        assert_eq!(list.holds(&path, [&b, &b]), Ok(true), "listed now");
        assert_eq!(list.holds(&path, [&a, &a]), Ok(false));
    }

    #[test]
    fn a_bad_list_says_where() {
        assert_eq!(parse_keys("\n#\nxyz\n"), Err("line 3: a key is 64 hexadecimal digits".into()));
        assert!(parse_keys(&format!("+{}", "a".repeat(63))).is_err());
    }
}
