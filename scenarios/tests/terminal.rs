//! The `rumormill` command on a terminal: how wide it writes, and what an interrupted run leaves on the screen.

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

/// A world that runs for longer than the test looks at it.
const LONG: [&str; 4] = ["run", "first/partition-heal", "--set", "end_s=100000"];

/// A terminal: the side that shows it, and the side that a program gets.
fn terminal(columns: u16) -> (File, File) {
    let screen = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&screen).expect("a right");
    unlockpt(&screen).expect("a lock");
    let name = ptsname(&screen, Vec::new()).expect("a name").into_string().expect("text");
    let program = OpenOptions::new().read(true).write(true).open(name).expect("its other side");
    let size = Winsize { ws_row: 0, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&program, size).expect("a size");
    (screen.into(), program)
}

fn rumormill(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rumormill"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Everything that a terminal was told until the last program let go of it, which it tells by an error.
fn rest(screen: &mut File) -> String {
    let mut told = Vec::new();
    let _ = screen.read_to_end(&mut told);
    String::from_utf8(told).expect("text")
}

/// The report of a small run on a terminal of a width, without its colours.
fn report(columns: u16) -> String {
    let (mut screen, program) = terminal(columns);
    let mut child = rumormill(&["run", "first/gathering"]).stdout(program).spawn().expect("it starts");
    let told = rest(&mut screen);
    assert!(child.wait().expect("it ends").success());
    let mut parts = told.split('\u{1b}');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |plain, part| plain + part.split_once('m').expect("only colours are chosen").1)
}

#[test]
fn a_terminal_of_no_columns_is_taken_for_one_of_80() {
    let trace = |columns| report(columns).lines().find(|line| line.starts_with("trace")).map(str::to_owned);
    assert_eq!(trace(0), trace(80));
    assert_ne!(trace(0), trace(40), "the narrowest has its titles on lines of their own");
}

#[test]
fn an_interrupted_run_takes_its_bar_off_the_screen() {
    for signal in [Signal::INT, Signal::TERM] {
        let (mut screen, program) = terminal(80);
        let mut child = rumormill(&LONG).stderr(program).spawn().expect("it starts");
        let mut told = Vec::new();
        while !String::from_utf8_lossy(&told).contains("s virtual") {
            let mut some = [0; 4096];
            let read = screen.read(&mut some).expect("the bar");
            told.extend_from_slice(&some[..read]);
        }
        kill_process(Pid::from_child(&child), signal).expect("it runs");
        let last = rest(&mut screen);
        assert_eq!(child.wait().expect("it ends").signal(), Some(signal.as_raw()));
        let (_, erased) = last.rsplit_once("\u{1b}[2K").expect("a line that is erased");
        assert!(!erased.contains('%'), "a bar stays: {erased:?}");
    }
}
