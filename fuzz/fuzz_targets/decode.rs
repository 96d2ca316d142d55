//! Any bytes are read as a stream of frames: nothing panics, and what decodes encodes to the bytes it came from.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use rumormill_core::frame::{self, DecodeError};

fuzz_target!(|data: &[u8]| {
    let mut input = Bytes::copy_from_slice(data);
    loop {
        let before = input.clone();
        match frame::decode(&mut input) {
            Ok(Some(frame)) => {
                let taken = before.slice(..before.len() - input.len());
                let mut again = Vec::new();
                frame.encode(&mut again);
                assert_eq!(again, taken, "{frame:?} has a second form");
                assert_eq!(frame.wire_len(), taken.len(), "{frame:?} miscounts itself");
                let decoded = frame::decode(&mut again.into());
                assert_eq!(decoded, Ok(Some(frame)));
            }
            Err(
                DecodeError::Incomplete { .. } | DecodeError::TooShort { .. } | DecodeError::TooLong { .. },
            ) => {
                assert_eq!(input, before, "a part of a frame was consumed");
                break;
            }
            Ok(None) | Err(_) => assert!(input.len() < before.len(), "a bad frame was not consumed"),
        }
    }
});
