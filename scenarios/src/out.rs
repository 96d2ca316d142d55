//! What the command says on standard output, and what it does when nobody can be told.

use std::io::{ErrorKind, Write};

/// Writes a text in full.
///
/// # Errors
/// One message when it cannot be written, but for a reader that has gone: who closes a pipe knows enough.
pub(crate) fn print(text: &str) -> Result<(), String> {
    let mut out = anstream::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(format!("standard output cannot be written: {error}"))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
