//! `rumor`: runs a member of a cluster, and asks one that runs on this machine.

mod call;
mod control;
mod start;
mod status;

use clap::{Args, Parser, Subcommand};
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// What every help ends with.
const EXIT_STATUS: &str = "Exit status: 0 done, 1 it failed, 2 bad usage or input, 130 interrupted.";

/// Runs a member of a cluster, and asks one that runs on this machine.
#[derive(Parser)]
#[command(name = "rumor", version, arg_required_else_help = true, after_help = EXIT_STATUS)]
struct Cli {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Run a member of a cluster, until it is told to end: it then leaves.
    #[command(after_help = start::AFTER_HELP)]
    Start(start::Options),
    /// Tell how the node in a folder stands, and whom it sees.
    #[command(after_help = EXIT_STATUS)]
    Status(Asking),
    /// Ask a registered service something, and print its reply.
    #[command(after_help = call::AFTER_HELP)]
    Call(call::Options),
}

/// Whom to ask, and how to answer.
#[derive(Args)]
struct Asking {
    #[command(flatten)]
    data: Data,
    /// Print one JSON object instead of text.
    #[arg(long)]
    json: bool,
}

/// Where a node lives.
#[derive(Args)]
struct Data {
    /// The folder of the node: its key, its pins, its marks, and the socket by which it is asked.
    #[arg(long = "data", value_name = "DIR", env = "RUMOR_DATA", default_value = "rumor-data")]
    folder: PathBuf,
}

/// Why the command ends without having done what it was asked.
enum Failure {
    /// What it was given cannot be used.
    Input(String),
    /// It was asked rightly, and failed.
    Failed(String),
    /// Somebody does not want to wait any longer.
    Interrupted,
}

fn main() -> ExitCode {
    let command = Cli::parse().command;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(run(command)),
        Err(error) => Err(Failure::Failed(format!("this process cannot run tasks: {error}"))),
    };
    let (status, message) = match outcome {
        Ok(()) => (0, None),
        Err(Failure::Failed(message)) => (1, Some(message)),
        Err(Failure::Input(message)) => (2, Some(message)),
        Err(Failure::Interrupted) => (130, None),
    };
    if let Some(message) = message {
        // Where standard error cannot be written either, the exit status is all that is left to say.
        let _ = writeln!(anstream::stderr(), "error: {message}");
    }
    ExitCode::from(status)
}

async fn run(command: Verb) -> Result<(), Failure> {
    match command {
        Verb::Start(options) => start::start(options).await,
        Verb::Status(asking) => unless_interrupted(status::status(asking)).await,
        Verb::Call(options) => unless_interrupted(call::call(options)).await,
    }
}

/// Does something that nobody minds being broken off.
async fn unless_interrupted(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let mut interrupts = signal(SignalKind::interrupt()).map_err(no_signals)?;
    tokio::select! {
        biased;
        _ = interrupts.recv() => Err(Failure::Interrupted),
        done = work => done,
    }
}

fn no_signals(error: std::io::Error) -> Failure {
    Failure::Failed(format!("signals cannot be heard: {error}"))
}

/// Prints a text in full. Who closes a pipe knows enough.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = anstream::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::Failed(format!("standard output cannot be written: {error}")))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Prints one JSON object.
fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::Failed(error.to_string()))?;
    print(&format!("{text}\n"))
}
