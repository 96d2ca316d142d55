//! `--verify`: the same run in a second process, compared checkpoint by checkpoint, then event by event.

use crate::run::{load, start};
use crate::{RunArgs, library, out};
use rumormill_sim::{Checkpoint, Outcome, Scenario};
use std::process::{Command, ExitCode, Stdio};

/// What the second process showed.
pub(crate) enum Verified {
    /// The same, to the last event.
    Same,
    /// Something else, in words: the first event that diverged.
    Diverged(String),
    /// Nothing: it was ended from outside, in words.
    Interrupted(String),
}

/// Why the second process showed nothing.
#[derive(Debug, PartialEq, Eq)]
enum Silence {
    /// It cannot be run, or refuses its input.
    Refused(String),
    /// A signal ended it.
    Killed(String),
    /// It broke, where this process did not.
    Broken(String),
}

/// Runs the scenario again in a process of its own and compares.
///
/// # Errors
/// One message when the second process cannot be run.
pub(crate) fn in_second_process(
    args: &RunArgs,
    scenario: &Scenario,
    checkpoints: &[Checkpoint],
    outcome: &Outcome,
) -> Result<Verified, String> {
    match compare(args, scenario, checkpoints, outcome) {
        Ok(verified) => Ok(verified),
        Err(Silence::Refused(what)) => Err(what),
        Err(Silence::Killed(what)) => Ok(Verified::Interrupted(what)),
        Err(Silence::Broken(what)) => Ok(Verified::Diverged(what)),
    }
}

fn compare(
    args: &RunArgs,
    scenario: &Scenario,
    checkpoints: &[Checkpoint],
    outcome: &Outcome,
) -> Result<Verified, Silence> {
    let mut ours: Vec<String> = checkpoints.iter().map(checkpoint_line).collect();
    ours.push(end_line(outcome));
    let theirs = child(args, 0, 0)?;
    let Some(first) = first_difference(&ours, &theirs) else { return Ok(Verified::Same) };
    let events = |checkpoint: Option<&Checkpoint>| checkpoint.map(|checkpoint| checkpoint.events);
    let from = first.checked_sub(1).and_then(|before| events(checkpoints.get(before))).unwrap_or(0);
    let to = events(checkpoints.get(first)).unwrap_or(outcome.counters.events).max(from + 1);
    let ours = event_lines(args, scenario, from, to).map_err(Silence::Refused)?;
    let theirs = child(args, from, to)?;
    let what = match first_difference(&ours, &theirs) {
        Some(at) => {
            let line = |lines: &[String]| lines.get(at).cloned().unwrap_or_else(|| "nothing".to_owned());
            format!("nondeterministic: here {}, in a second process {}", line(&ours), line(&theirs))
        }
        None => {
            format!("nondeterministic between events {from} and {to}, but not when they were looked at again")
        }
    };
    Ok(Verified::Diverged(what))
}

fn first_difference(ours: &[String], theirs: &[String]) -> Option<usize> {
    let differs = ours.iter().zip(theirs).position(|(our, their)| our != their);
    differs.or_else(|| (ours.len() != theirs.len()).then(|| ours.len().min(theirs.len())))
}

fn checkpoint_line(checkpoint: &Checkpoint) -> String {
    let Checkpoint { at_ns, events, hash } = checkpoint;
    format!("{at_ns} ns, {events} events: {hash:016x}")
}

fn end_line(outcome: &Outcome) -> String {
    format!("end, {} events: {:016x}", outcome.counters.events, outcome.hash)
}

/// Asks a second process for its hashes: at checkpoints, or after each event of a window.
fn child(args: &RunArgs, from: u64, to: u64) -> Result<Vec<String>, Silence> {
    let program = std::env::current_exe()
        .map_err(|error| Silence::Refused(format!("--verify: cannot find this program: {error}")))?;
    let mut command = Command::new(program);
    let window = [from.to_string(), to.to_string()];
    command.args([
        "trace",
        &args.world.scenario,
        "--seed",
        &args.seed.to_string(),
        "--from",
        &window[0],
        "--to",
        &window[1],
    ]);
    if let Some(nodes) = args.world.nodes {
        command.args(["--nodes", &nodes.to_string()]);
    }
    for (key, value) in &args.world.sets {
        command.args(["--set", &format!("{key}={value}")]);
    }
    if args.wire {
        command.arg("--wire");
    }
    lines_of(command)
}

/// Runs a process and tells what it printed.
fn lines_of(mut command: Command) -> Result<Vec<String>, Silence> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output
        .map_err(|error| Silence::Refused(format!("--verify: cannot start a second process: {error}")))?;
    let what = format!("the second process ended with {}", output.status);
    match output.status.code() {
        Some(0) => Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()),
        Some(2) => Err(Silence::Refused(format!("--verify: {what}"))),
        Some(_) => Err(Silence::Broken(format!("nondeterministic: {what}, and this one did not"))),
        None => Err(Silence::Killed(format!("not verified: {what}"))),
    }
}

/// The hash after each event of a window, in this process.
fn event_lines(args: &RunArgs, scenario: &Scenario, from: u64, to: u64) -> Result<Vec<String>, String> {
    let mut lines = Vec::new();
    let app = library::app_of(scenario, &args.world.scenario)?;
    start(args, scenario, &app)?.trace(from, to, &mut |event| {
        let node = event.node.map_or("the schedule".to_owned(), |node| format!("node {node}"));
        lines.push(format!("event {} at {} ns, {node}: {:016x}", event.number, event.at_ns, event.hash));
    });
    Ok(lines)
}

/// Ends this process with the one that wants its hashes; elsewhere it ends when it finds that nobody reads.
fn end_with_parent() {
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM));
}

/// The hidden side of `--verify`: prints the hashes of this process.
///
/// # Errors
/// One message about bad usage or input.
pub(crate) fn print_trace(args: &RunArgs, from: u64, to: u64) -> Result<ExitCode, String> {
    end_with_parent();
    let scenario = load(args)?;
    let lines = if to > from {
        event_lines(args, &scenario, from, to)?
    } else {
        let app = library::app_of(&scenario, &args.world.scenario)?;
        let mut run = start(args, &scenario, &app)?;
        while run.advance() {}
        let mut lines: Vec<String> = run.checkpoints().iter().map(checkpoint_line).collect();
        lines.push(end_line(&run.outcome()));
        lines
    };
    out::print(&lines.iter().map(|line| format!("{line}\n")).collect::<String>())?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_process_that_is_killed_is_told_from_one_that_breaks_or_refuses() {
        let shell = |line: &str| {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", line]);
            lines_of(command)
        };
        assert_eq!(shell("echo a; echo b"), Ok(vec!["a".to_owned(), "b".to_owned()]));
        assert!(matches!(shell("kill -9 $$"), Err(Silence::Killed(what)) if what.contains("signal: 9")));
        assert!(matches!(shell("exit 101"), Err(Silence::Broken(what)) if what.contains("exit status: 101")));
        assert!(matches!(shell("exit 2"), Err(Silence::Refused(_))));
    }
}
