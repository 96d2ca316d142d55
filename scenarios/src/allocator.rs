//! The allocator, and what it is told.

use std::env;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long freed memory waits until the system gets it back, in milliseconds; below zero: until the process ends.
const PURGE_DELAY: &str = "MIMALLOC_PURGE_DELAY";

/// Lets the allocator keep what is freed, unless the environment says otherwise: a world frees the memory of its frames and
/// wants it back some milliseconds later, and giving it to the system in between costs a fifteenth of the time
/// of `registry/thousand`, for 3 % less memory.
///
/// It reads this from its environment before `main` begins, and there only, so the program starts once more in the same
/// process. Where that fails, it goes on as it is.
pub(crate) fn keep_memory() {
    if env::var_os(PURGE_DELAY).is_some() {
        return;
    }
    let mut arguments = env::args_os();
    let (Ok(program), Some(name)) = (env::current_exe(), arguments.next()) else { return };
    if program.file_name() != Path::new(&name).file_name() {
        return; // another program runs this one
    }
    let mut again = Command::new(program);
    again.arg0(name);
    let _ = again.args(arguments).env(PURGE_DELAY, "-1").exec(); // comes back only with an error
}
