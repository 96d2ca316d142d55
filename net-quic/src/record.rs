//! The recording of a node's inputs, in the form that the simulator replays.

use crate::builder::BuildError;
use crate::driver::Recorder;
use rumormill_core::log::{LogHeader, encode_boot, encode_record};
use rumormill_core::{Boot, Input, Now};
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::PathBuf;

/// Writes the log of a node's inputs to a file; the hash at its end goes beside it, to `FILE.hash`.
pub(crate) struct FileRecorder {
    file: Option<BufWriter<File>>,
    path: PathBuf,
    bytes: Vec<u8>,
}

impl FileRecorder {
    pub(crate) fn create(path: PathBuf) -> Result<Box<dyn Recorder>, BuildError> {
        let file = File::create(&path).map_err(|source| BuildError::Record { path: path.clone(), source })?;
        Ok(Box::new(Self { file: Some(BufWriter::new(file)), path, bytes: Vec::new() }))
    }

    /// Writes what was encoded. A recording that cannot go on ends, and says so once; the node runs on.
    fn write(&mut self) {
        let written = self.file.as_mut().map(|file| file.write_all(&self.bytes));
        self.bytes.clear();
        if let Some(Err(error)) = written {
            tracing::error!(path = %self.path.display(), %error, "the recording ends here");
            self.file = None;
        }
    }
}

impl Recorder for FileRecorder {
    fn boot(&mut self, boot: &Boot, now: Now) {
        let Boot { id, addrs, config, seed, recovered } = boot.clone();
        encode_boot(&LogHeader { now, id, addrs, config, seed, recovered }, &mut self.bytes);
        self.write();
    }

    fn input(&mut self, now: &Now, input: &Input) {
        if self.file.is_some() {
            encode_record(now, input, &mut self.bytes);
            self.write();
        }
    }

    fn hash(&mut self, trace_hash: u64) {
        let flushed = self.file.take().map(|mut file| file.flush());
        if let Some(Ok(())) = flushed {
            let path = self.path.with_added_extension("hash");
            if let Err(error) = std::fs::write(&path, format!("{trace_hash:016x}\n")) {
                tracing::error!(path = %path.display(), %error, "the hash of the recording is lost");
            }
        }
    }
}
