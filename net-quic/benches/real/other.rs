//! The other process of a row that takes two: this program again, told what to be.

use crate::usage::Usage;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The argument that makes this program another's other process.
pub(crate) const ROLE: &str = "--other";

/// The other process, as the one that measures sees it. It ends with this value.
pub(crate) struct Other {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    /// The first line that it wrote: where it is reached.
    pub(crate) address: String,
}

impl Other {
    pub(crate) fn start(role: &str, arguments: &[&str]) -> Self {
        let program = std::env::current_exe().expect("this program has a path");
        let mut command = Command::new(program);
        command.arg(ROLE).arg(role).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("a second process");
        let stdin = child.stdin.take().expect("a pipe");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut other = Self { child, stdin, stdout, address: String::new() };
        other.address = other.line();
        other
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("it writes text");
        assert!(!line.is_empty(), "the other process ended");
        line.trim().into()
    }

    /// What it has used and counted so far.
    pub(crate) fn usage(&mut self) -> Usage {
        writeln!(self.stdin).expect("it reads");
        serde_json::from_str(&self.line()).expect("its usage")
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Says where this process is reached, then tells its usage as often as it is asked; ends with whoever asks.
pub(crate) fn serve(address: impl std::fmt::Display, counter: Arc<AtomicU64>) {
    println!("{address}");
    std::thread::spawn(move || {
        for _ in std::io::stdin().lock().lines().map_while(Result::ok) {
            let usage = Usage { count: counter.load(Relaxed), ..Usage::now() };
            println!("{}", serde_json::to_string(&usage).expect("numbers"));
        }
        std::process::exit(0);
    });
}
