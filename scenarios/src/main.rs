//! `rumormill`: runs scenarios, lists them, explains them.

mod cost;
mod library;
mod out;
mod record;
mod run;
mod verify;

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::io::Write;
use std::process::ExitCode;

/// Runs thousands of nodes of the real protocol code from one seed, and judges what they do.
#[derive(Parser)]
#[command(name = "rumormill", version, about, arg_required_else_help = true)]
#[command(after_help = "Try: rumormill run first/partition-heal")]
struct Cli {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Run a scenario once and judge it.
    #[command(after_help = run::EXIT_STATUS)]
    Run(RunArgs),
    /// List the scenarios that come with the command.
    List {
        /// Print one JSON object instead of text.
        #[arg(long)]
        json: bool,
    },
    /// Tell in plain words what a scenario does, when, and what it asks.
    Explain {
        /// A name from `rumormill list`, or a path to a .toml file.
        scenario: String,
        /// Change a key before the scenario is read.
        #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
        sets: Vec<(String, String)>,
    },
    /// Print the hash after every event of a window (used by --verify).
    #[command(hide = true)]
    Trace {
        #[command(flatten)]
        args: RunArgs,
        /// The first event to print.
        #[arg(long)]
        from: u64,
        /// The event after the last one to print.
        #[arg(long)]
        to: u64,
    },
}

/// What `run` takes.
#[derive(Args, Clone)]
struct RunArgs {
    /// A name from `rumormill list`, or a path to a .toml file.
    scenario: String,
    /// The seed: a number, or version:number as in a report.
    #[arg(long, default_value = "1")]
    seed: rumormill_sim::Seed,
    /// How many nodes, instead of what the scenario says.
    #[arg(long, value_name = "N", value_parser = count)]
    nodes: Option<u32>,
    /// Change a key before the scenario is read, for example `network.loss=0.1` or `'fault[0].at_s=20'`.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    sets: Vec<(String, String)>,
    /// Where the nodes run.
    #[arg(long, value_enum, default_value_t = Driver::Sim)]
    driver: Driver,
    /// Push every frame through its encoding and back.
    #[arg(long)]
    wire: bool,
    /// Run again in a second process and name the first event that differs.
    #[arg(long)]
    verify: bool,
    /// Print one JSON object instead of text.
    #[arg(long)]
    json: bool,
}

/// Where the nodes of a scenario run.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Driver {
    /// In the deterministic simulator.
    Sim,
    /// In turmoil: the real runtime on simulated UDP (a later step).
    Turmoil,
    /// In real processes over QUIC (a later step).
    Quic,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE, for example network.loss=0.1")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

fn count(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| "expected a whole number, for example 100".to_owned())
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Verb::Run(args) => run::run(&args),
        Verb::List { json } => library::list(json),
        Verb::Explain { scenario, sets } => library::explain(&scenario, &sets),
        Verb::Trace { args, from, to } => verify::print_trace(&args, from, to),
    };
    outcome.unwrap_or_else(|message| {
        // Where standard error cannot be written either, the exit status is all that is left to say.
        let _ = writeln!(anstream::stderr(), "error: {message}");
        ExitCode::from(2)
    })
}
