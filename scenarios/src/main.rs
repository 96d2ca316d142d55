//! `rumormill`: runs scenarios, lists them, explains them.

mod allocator;
mod cost;
mod library;
mod out;
mod record;
mod run;
mod verify;

use clap::{Args, Parser, Subcommand, ValueEnum};
use rumormill_sim::scenario::NODES_MAX;
use std::io::Write;
use std::process::ExitCode;

/// Runs thousands of nodes of the real protocol code from one seed, and judges what they do.
#[derive(Parser)]
#[command(name = "rumormill", version, about, arg_required_else_help = true)]
#[command(
    after_help = "Try: rumormill run first/partition-heal\nThe scenario file, key by key: docs/scenarios.md"
)]
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
        /// Only those of this theme.
        theme: Option<String>,
        /// Print one JSON object instead of text.
        #[arg(long)]
        json: bool,
    },
    /// Tell in plain words what a scenario does, when, and what it asks.
    #[command(
        after_help = "RMR is relative message redundancy, payloads beyond the first for each delivery; LDH is last \
                            delivery hop.\nThe scenario file, key by key: docs/scenarios.md"
    )]
    Explain {
        #[command(flatten)]
        world: WorldArgs,
        /// Needs none: an explanation is the same under every seed.
        #[arg(long, hide = true, allow_hyphen_values = true)]
        seed: Option<String>,
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

/// Which world: what `run` and `explain` take.
#[derive(Args, Clone)]
struct WorldArgs {
    /// A name from `rumormill list`, or a path to a .toml file.
    scenario: String,
    /// How many nodes, instead of what the scenario says.
    #[arg(long, value_name = "N", value_parser = count, allow_negative_numbers = true)]
    nodes: Option<u32>,
    /// Change a key before the scenario is read, for example `network.loss=0.1` or `'fault[0].at_s=20'`.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    sets: Vec<(String, String)>,
}

/// What `run` takes.
#[derive(Args, Clone)]
struct RunArgs {
    #[command(flatten)]
    world: WorldArgs,
    /// The seed: a number, or version:number as in a report.
    #[arg(long, default_value = "1", allow_negative_numbers = true)]
    seed: rumormill_sim::Seed,
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
    let count = text.parse().ok().filter(|count| (1..=NODES_MAX).contains(count));
    count.ok_or_else(|| format!("expected a whole number of nodes from 1 to {NODES_MAX}"))
}

fn main() -> ExitCode {
    allocator::keep_memory();
    let outcome = match Cli::parse().command {
        Verb::Run(args) => run::run(&args),
        Verb::List { theme, json } => library::list(theme.as_deref(), json),
        Verb::Explain { seed: Some(_), .. } => {
            Err("--seed: explain needs none; it tells what is the same under every seed".to_owned())
        }
        Verb::Explain { world, seed: None } => library::explain(&world),
        Verb::Trace { args, from, to } => verify::print_trace(&args, from, to),
    };
    outcome.unwrap_or_else(|message| {
        // Where standard error cannot be written either, the exit status is all that is left to say.
        let _ = writeln!(anstream::stderr(), "error: {message}");
        ExitCode::from(2)
    })
}
