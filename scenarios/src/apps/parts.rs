//! Tuples of byte strings in one: each part behind its length, so that a tuple's beginning begins its bytes.

use bytes::Bytes;

/// Writes parts one behind the other. A part that is too long for its length is cut.
pub(super) fn join(parts: &[&[u8]]) -> Bytes {
    let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.len() + 2).sum());
    for part in parts {
        let len = u16::try_from(part.len()).unwrap_or(u16::MAX);
        bytes.extend_from_slice(&len.to_be_bytes());
        bytes.extend_from_slice(&part[..usize::from(len)]);
    }
    bytes.into()
}

/// Reads them back; none where the bytes are no parts.
pub(super) fn split(mut bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut parts = Vec::new();
    while let Some((len, rest)) = bytes.split_first_chunk() {
        let (part, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
        parts.push(part);
        bytes = rest;
    }
    bytes.is_empty().then_some(parts)
}

/// Reads a number of eight bytes; zero where there are others.
pub(super) fn number(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(0, u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_back_and_a_tuple_begins_with_its_first_parts() {
        let name = join(&[b"room", b"general"]);
        assert_eq!(split(&name), Some(vec![&b"room"[..], b"general"]));
        assert!(name.starts_with(&join(&[b"room"])));
        assert!(!join(&[b"rooms", b"general"]).starts_with(&join(&[b"room"])));
        assert_eq!((split(&[0, 3, 1]), split(&[0])), (None, None));
        assert_eq!(split(&[]), Some(Vec::new()));
    }
}
