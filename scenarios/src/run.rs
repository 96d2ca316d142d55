//! `rumormill run`: one scenario, one seed, one verdict.

use crate::cost::Meter;
use crate::{Driver, RunArgs, library, out, record, verify};
use indicatif::{ProgressBar, ProgressStyle};
use rumormill_reports::{Finite, Kind, Property, Record, Status, TraceHash, Verdict, text};
use rumormill_scenarios::apps::{Hosted, Named};
use rumormill_sim::judge::PropertyOutcome;
use rumormill_sim::{Options, Questions, Run, Scenario};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::any::Any;
use std::io::IsTerminal;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;

/// What the exit status of `run` means.
pub(crate) const EXIT_STATUS: &str = "Exit status: 0 every property held, 1 a property failed, 2 bad usage or input \
     or output that cannot be written, 3 nondeterminism, 4 vacuous (a fault touched nothing), 130 interrupted (the second process of --verify was killed). A property asked \"sometimes\" that is not reached \
     fails no single run: only `sweep --require-all`, a later step, will. \
     In the summary RMR is relative message redundancy, payloads beyond the first for each delivery, and LDH last \
     delivery hop.";

/// The exit status of what was interrupted: the first run's record is printed all the same.
const INTERRUPTED: u8 = 130;

/// Virtual time between two checkpoints of the hash.
pub(crate) const CHECKPOINT_EVERY_NS: u64 = 1_000_000_000;

/// Runs a scenario and prints what came of it.
///
/// # Errors
/// One message about bad usage or input.
pub(crate) fn run(args: &RunArgs) -> Result<ExitCode, String> {
    let scenario = load(args)?;
    let meter = Meter::start();
    let app = library::app_of(&scenario, &args.world.scenario)?;
    let mut run = start(args, &scenario, &app)?;
    let questions = (app.questions)();
    let mut answers = questions.answers();
    let watched = AssertUnwindSafe(|| watch(&mut run, &questions, &mut answers));
    if let Err(broken) = std::panic::catch_unwind(watched) {
        let record = record_of_broken_node(args, &scenario, &run, &*broken);
        print(args, &record)?;
        return Ok(ExitCode::from(record.verdict.exit_code()));
    }
    let checkpoints = run.checkpoints().to_vec();
    let mut outcome = run.outcome();
    outcome.properties.extend(answers);
    let cost = meter.read();
    let mut record = record::of(&outcome, cost, reproduce(args, &outcome.seed.to_string()));
    if args.verify {
        match verify::in_second_process(args, &scenario, &checkpoints, &outcome)? {
            verify::Verified::Same => {
                record.notes.push("a second process ran the same events to the same hash".to_owned());
            }
            verify::Verified::Diverged(what) => {
                record.verdict = Verdict::Nondeterministic;
                record.notes.push(what);
            }
            verify::Verified::Interrupted(what) => {
                record.notes.push(what);
                print(args, &record)?;
                return Ok(ExitCode::from(INTERRUPTED));
            }
        }
    }
    print(args, &record)?;
    Ok(ExitCode::from(record.verdict.exit_code()))
}

/// Reads the scenario with everything that the arguments change in it.
///
/// # Errors
/// One message about bad usage or input.
pub(crate) fn load(args: &RunArgs) -> Result<Scenario, String> {
    if args.driver != Driver::Sim {
        return Err("--driver: only sim is built yet; turmoil and quic come in a later step".to_owned());
    }
    library::load(&args.world)
}

/// Starts the run that the arguments ask for.
///
/// # Errors
/// One message about a scenario that cannot be run.
pub(crate) fn start(args: &RunArgs, scenario: &Scenario, app: &Named) -> Result<Run<Hosted>, String> {
    let options = Options { wire: args.wire, check: true, checkpoint_every_ns: CHECKPOINT_EVERY_NS };
    Run::with_app(scenario, args.seed, options, app.make).map_err(|error| error.to_string())
}

/// Runs to the end, with a progress bar on a terminal and nothing in a pipe.
fn watch(run: &mut Run<Hosted>, questions: &Questions<'_, Hosted>, answers: &mut [PropertyOutcome]) {
    let mut advance = |run: &mut Run<Hosted>| {
        let goes_on = run.advance();
        questions.ask(run.world(), !goes_on, answers);
        goes_on
    };
    if !std::io::stderr().is_terminal() {
        while advance(run) {}
        return;
    }
    let style = ProgressStyle::with_template("{bar:32.cyan/dim} {percent:>3} %  {msg}  {elapsed}");
    let bar = ProgressBar::new(1).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    clear_when_interrupted(&bar);
    while advance(run) {
        let progress = run.progress();
        bar.set_length(progress.end_ns / 1_000_000);
        bar.set_position(progress.now_ns / 1_000_000);
        bar.set_message(format!("{} s virtual, {} events", progress.now_ns / 1_000_000_000, progress.events));
    }
    bar.finish_and_clear();
}

/// Takes the bar off the screen before a signal ends the process, as it would have without.
fn clear_when_interrupted(bar: &ProgressBar) {
    // Where signals cannot be heard, a bar that stays is no reason not to run.
    let Ok(mut signals) = Signals::new([SIGINT, SIGTERM]) else { return };
    let bar = bar.clone();
    std::thread::spawn(move || {
        for signal in signals.forever() {
            bar.finish_and_clear();
            let _ = signal_hook::low_level::emulate_default_handler(signal);
        }
    });
}

/// Writes the record of a run that ended early because a node broke one of its own invariants.
fn record_of_broken_node(
    args: &RunArgs,
    scenario: &Scenario,
    run: &Run<Hosted>,
    broken: &(dyn Any + Send),
) -> Record {
    let text = broken.downcast_ref::<String>().map(String::as_str);
    let what = text.or_else(|| broken.downcast_ref::<&str>().copied()).unwrap_or("a node broke one");
    let (progress, seed) = (run.progress(), args.seed.to_string());
    let invariants = Property {
        name: "invariants".to_owned(),
        kind: Kind::Always,
        status: Status::Failed,
        at_s: None,
        node: None,
        detail: Some(what.to_owned()),
    };
    Record {
        scenario: scenario.name.clone(),
        nodes: scenario.nodes,
        verdict: Verdict::Fail,
        trace_hash: TraceHash(run.world().hash()),
        events: progress.events,
        virtual_s: Finite::seconds(progress.now_ns),
        bootstrap_s: Finite::seconds(run.world().schedule().bootstrap_end_ns),
        properties: vec![invariants],
        reproduce: reproduce(args, &seed),
        seed,
        ..Record::default()
    }
}

fn print(args: &RunArgs, record: &Record) -> Result<(), String> {
    if args.json {
        return out::print(&record.to_json());
    }
    let is_terminal = std::io::stdout().is_terminal();
    let width = if is_terminal { terminal_width() } else { 80 };
    out::print(&text::render(record, &text::Style { color: is_terminal, width }))
}

fn terminal_width() -> usize {
    let size = rustix::termios::tcgetwinsize(std::io::stdout());
    match size.map_or(0, |size| usize::from(size.ws_col)) {
        0 => 80, // a terminal that does not know
        columns => columns.max(40),
    }
}

/// Writes the one command that repeats the run.
fn reproduce(args: &RunArgs, seed: &str) -> String {
    let mut command = format!("rumormill run {} --seed {seed}", quoted(&args.world.scenario));
    if let Some(nodes) = args.world.nodes {
        command.push_str(&format!(" --nodes {nodes}"));
    }
    for (key, value) in &args.world.sets {
        command.push_str(&format!(" --set {}", quoted(&format!("{key}={value}"))));
    }
    if args.wire {
        command.push_str(" --wire");
    }
    command
}

/// Quotes a word for the shell where it needs it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,".contains(c);
    if word.chars().all(is_plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}
