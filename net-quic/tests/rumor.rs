//! The `rumor` command as its users meet it: real processes, what they print, and the status they exit with.

use rumormill_net_quic::{
    Address, Authority, Cluster, Identity, Incoming, Mailbox, MemberState, News, NodeId, Offer, Watching,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime};
use tempfile::TempDir;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(30);
/// Everything that the command takes from its environment, and the width of its help.
const VARIABLES: [&str; 12] = [
    "COLUMNS",
    "RUMOR_NAME",
    "RUMOR_LISTEN",
    "RUMOR_SEEDS",
    "RUMOR_DATA",
    "RUMOR_CLUSTER",
    "RUMOR_SECRET",
    "RUMOR_SECRET_FILE",
    "RUMOR_STRICT",
    "RUMOR_AUTHORITY",
    "RUMOR_CERTIFICATE",
    "RUMOR_LOG",
];

/// A folder of its own in which the command runs.
struct Desk(TempDir);

/// What one run of the command left behind.
struct Ran {
    status: i32,
    stdout: String,
    stderr: String,
}

/// A node that runs: killed when it is dropped.
struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
    addr: SocketAddr,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Desk {
    fn new() -> Self {
        Self(TempDir::new().expect("a folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rumor"));
        VARIABLES.iter().for_each(|name| {
            command.env_remove(name);
        });
        command.args(arguments).current_dir(self.0.path());
        command
    }

    fn rumor(&self, arguments: &[&str]) -> Ran {
        ran(&mut self.command(arguments))
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let ran = self.rumor(arguments);
        assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
        serde_json::from_str(&ran.stdout).expect("one object")
    }

    /// Starts a node in a folder of its name, and waits until it runs.
    fn start(&self, name: &str, seed: Option<SocketAddr>) -> Running {
        let mut command = self.command(&["start", "--listen", "127.0.0.1:0", "--cluster", "test"]);
        command.args(["--name", name, "--data", name]).env("RUMOR_SECRET", "words");
        command.args(seed.iter().flat_map(|seed| ["--seed".to_string(), seed.to_string()]));
        self.run(&mut command, name)
    }

    fn run(&self, command: &mut Command, name: &str) -> Running {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the command starts");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let (told, lines) = mpsc::channel();
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| told.send(line)));
        let first = lines.recv_timeout(SOON).expect("a line once it runs");
        let (beginning, rest) = first.split_once(" listens at ").expect(&first);
        let (addr, cluster) = rest.split_once(' ').expect(&first);
        assert!(beginning.starts_with(&format!("{name}, ")), "{first}");
        assert_eq!(cluster, "for cluster test");
        Running { child, lines, addr: addr.parse().expect("an address") }
    }
}

impl Running {
    /// Waits for a line.
    #[track_caller]
    fn expect(&self, line: &str) {
        let end = Instant::now() + SOON;
        let mut seen = Vec::new();
        while seen.last().map(String::as_str) != Some(line) {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(next) => seen.push(next),
                Err(_) => panic!("no line {line:?} after {seen:?}"),
            }
        }
    }

    /// Signals the node, and waits until it has ended.
    fn end(mut self, signal: Signal) -> Option<i32> {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
        self.child.wait().expect("it was started here").code()
    }
}

fn ran(command: &mut Command) -> Ran {
    let output = command.output().expect("the command starts");
    Ran {
        status: output.status.code().expect("a status, not a signal"),
        stdout: String::from_utf8(output.stdout).expect("text"),
        stderr: String::from_utf8(output.stderr).expect("text"),
    }
}

#[track_caller]
fn assert_refused(ran: &Ran, status: i32, message: &str) {
    let expected = format!("error: {message}\n");
    assert_eq!((ran.status, ran.stdout.as_str(), ran.stderr.as_str()), (status, "", expected.as_str()));
}

/// A node of this process, in through a node of the command.
async fn neighbour(of: &Running) -> Cluster {
    let listen = (Ipv4Addr::LOCALHOST, 0).into();
    let builder = Cluster::builder("test").secret("words").name("tester").listen(listen).seeds([of.addr]);
    builder.start().await.expect("started")
}

/// Waits until the member of this id, in hexadecimal digits, is in this state.
async fn until(watching: &mut Watching, id: &str, state: MemberState) {
    let waiting = async {
        loop {
            let members = match watching.recv().await.expect("running") {
                News::Members(members) => members,
                News::Member { member, .. } => vec![member],
                _ => continue,
            };
            let hex = |id: NodeId| id.0.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            if members.iter().any(|it| it.state == state && hex(it.id()) == id) {
                return;
            }
        }
    };
    timeout(SOON, waiting).await.unwrap_or_else(|_| panic!("{id} does not become {state:?}"));
}

async fn offer<M>(node: &Cluster, name: &str) -> Mailbox<M> {
    let mailbox = node.mailbox::<M>().await.expect("a mailbox");
    node.register(name, Offer::new().at(mailbox.address().raw())).await.expect("registered");
    mailbox
}

// --- start and status

#[test]
fn help_says_what_there_is() {
    let help = |arguments: &[&str]| Desk::new().rumor(arguments).stdout;
    insta::assert_snapshot!("help", help(&["--help"]));
    insta::assert_snapshot!("help_start", help(&["start", "--help"]));
    insta::assert_snapshot!("help_status", help(&["status", "--help"]));
    insta::assert_snapshot!("help_call", help(&["call", "--help"]));
}

#[test]
fn a_node_that_cannot_start_says_what_would_be_right() {
    let desk = Desk::new();
    let hint = "give --secret-file FILE, or set RUMOR_SECRET, the same on every node";
    assert_refused(&desk.rumor(&["start"]), 2, &format!("a node needs the cluster's secret: {hint}"));
    std::fs::write(desk.path("empty"), "\n").expect("written");
    let message = "empty: the secret is empty; the same words on every node are expected";
    assert_refused(&desk.rumor(&["start", "--secret-file", "empty"]), 2, message);
    let message = "none: the secret cannot be read: No such file or directory (os error 2)";
    assert_refused(&desk.rumor(&["start", "--secret-file", "none"]), 2, message);
    let mut command = desk.command(&["start", "--strict", "keys"]);
    let message = "keys: the list of allowed keys cannot be read: No such file or directory (os error 2)";
    assert_refused(&ran(command.env("RUMOR_SECRET", "words")), 2, message);
    let mut command = desk.command(&["start", "--name", "no spaces"]);
    let message = "the name \"no spaces\" cannot be used: 1 to 63 letters, digits, -, _, . and @";
    assert_refused(&ran(command.env("RUMOR_SECRET", "words")), 2, message);
    let right = "the address of one machine and a port are expected, for example 192.0.2.7:7400";
    for (option, what) in [("--seed", "the seed"), ("--advertise", "the advertised address")] {
        let mut command = desk.command(&["start", option, "0.0.0.0:7400"]);
        let message = format!("{what} 0.0.0.0:7400: nobody can be reached there; {right}");
        assert_refused(&ran(command.env("RUMOR_SECRET", "words")), 2, &message);
    }
    let example = "expected an address or a name, and a port, for example 127.0.0.1:7400";
    for (option, value, why) in [
        ("--listen", "here", example),
        ("--seed", ":7400", example),
        ("--advertise", "localhost:many", example),
        ("--seed", "no-such-host.invalid:7400", "no address of that name is known: "),
    ] {
        let ran = desk.rumor(&["start", option, value]);
        let message = format!("invalid value '{value}' for '{option} <ADDR>': {why}");
        assert!(ran.status == 2 && ran.stderr.contains(&message), "{}", ran.stderr);
    }
}

#[test]
fn an_option_that_would_do_nothing_is_refused() {
    let desk = Desk::new();
    let mut command = desk.command(&["start", "--auth-off"]);
    let both = "--auth-off checks nobody, and a secret is given by";
    let right = "leave --auth-off out to check who knows it, or the secret to check nobody";
    let message = format!("{both} RUMOR_SECRET: {right}");
    assert_refused(&ran(command.env("RUMOR_SECRET", "words")), 2, &message);
    std::fs::write(desk.path("words"), "words\n").expect("written");
    let message = format!("{both} --secret-file words: {right}");
    assert_refused(&desk.rumor(&["start", "--auth-off", "--secret-file", "words"]), 2, &message);
    let ran_without = desk.rumor(&["start", "--certificate", "ann.certificate"]);
    let names_it = ran_without.stderr.contains("required arguments were not provided:\n  --authority <FILE>");
    assert!(ran_without.status == 2 && names_it, "{}", ran_without.stderr);
    std::fs::write(desk.path("keys"), "\n# nobody yet\n").expect("written");
    let mut command = desk.command(&["start", "--strict", "keys", "--data", "ann"]);
    let refused = ran(command.env("RUMOR_SECRET", "words"));
    let own = Identity::load_or_create(&desk.path("ann/node.key")).expect("its key").public_key();
    let own: String = own.0.iter().map(|byte| format!("{byte:02x}")).collect();
    let message = "keys: the list of allowed keys is empty, so nobody could come in: one key a line is expected, 64 hexadecimal digits";
    assert_refused(&refused, 2, &format!("{message}; this node's is {own}"));
    std::fs::write(desk.path("keys"), own).expect("written");
    let start = ["start", "--strict", "keys", "--data", "ann", "--name", "ann", "--cluster", "test"];
    let mut command = desk.command(&start);
    command.args(["--listen", "127.0.0.1:0"]).env("RUMOR_SECRET", "words");
    desk.run(&mut command, "ann");
}

#[test]
fn seeds_come_from_the_environment_too() {
    let desk = Desk::new();
    let ann = desk.start("ann", None);
    let with = |name: &str, seeds: String| {
        let mut command = desk.command(&["start", "--listen", "127.0.0.1:0", "--cluster", "test"]);
        command.args(["--name", name, "--data", name]).env("RUMOR_SECRET", "words").env("RUMOR_SEEDS", seeds);
        command
    };
    let bob = desk.run(&mut with("bob", format!(" {}, ,", ann.addr)), "bob");
    bob.expect("ann is active");
    desk.run(&mut with("eve", String::new()), "eve");
    let message =
        "RUMOR_SEEDS: \"here\": expected an address or a name, and a port, for example 127.0.0.1:7400";
    assert_refused(&ran(&mut with("eve", format!("{},here", ann.addr))), 2, message);
    let mut command = with("eve", String::new());
    command.env("RUMOR_SEEDS", OsStr::from_bytes(&[0xff]));
    assert_refused(&ran(&mut command), 2, "RUMOR_SEEDS: \"\\xFF\": it is not UTF-8");
}

#[test]
fn a_node_that_does_not_come_in_logs_one_line_for_each_try() {
    let desk = Desk::new();
    let ann = desk.start("ann", None);
    let tries = |name: &str, seed: &str, why: &str| {
        let mut command = desk.command(&["start", "--listen", "127.0.0.1:0", "--cluster", "test"]);
        command.args(["--name", name, "--data", name, "--seed", seed]).env("RUMOR_SECRET", "other words");
        let mut node = Quiet(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("started"));
        let log = BufReader::new(node.0.stderr.take().expect("piped"));
        let lines: Vec<String> = log.lines().take(3).map(|line| line.expect("text")).collect();
        let is_told = |line: &String| line.contains("no seed lets this node in yet") && line.contains(why);
        assert!(lines.iter().all(is_told), "{lines:#?}");
    };
    tries("eve", &ann.addr.to_string(), "it refused this node, and tells only its own user why");
    tries("bob", "[::1]:7400", "which takes both, or give an IPv4 address");
}

#[test]
fn a_folder_has_one_name() {
    let desk = Desk::new();
    drop(desk.start("ann", None));
    let mut command = desk.command(&["start", "--listen", "127.0.0.1:0", "--name", "eve", "--data", "ann"]);
    let known = "the node in ann is called \"ann\", and others know it so";
    let message = format!("{known}: start it under that name, or give \"eve\" a folder of its own");
    assert_refused(&ran(command.env("RUMOR_SECRET", "words")), 2, &message);
    desk.start("ann", None);
}

#[test]
fn a_folder_has_one_node_and_its_socket_is_its_owners() {
    let desk = Desk::new();
    let nobody = "no node runs in ann: `rumor start --data ann` starts one";
    assert_refused(&desk.rumor(&["status", "--data", "ann"]), 1, nobody);
    let ann = desk.start("ann", None);
    let mode = |name| desk.path(name).metadata().expect("it is there").permissions().mode() & 0o777;
    assert_eq!((mode("ann"), mode("ann/control.sock")), (0o700, 0o600));
    let mut second = desk.command(&["start", "--data", "ann", "--listen", "127.0.0.1:0"]);
    let message = "the store ann/node.redb: another node has it open; each needs a folder of its own";
    assert_refused(&ran(second.env("RUMOR_SECRET", "words")), 1, message);
    let id = desk.json(&["status", "--data", "ann", "--json"])["id"].clone();
    assert_eq!(ann.end(Signal::KILL), None);
    assert!(desk.path("ann/control.sock").exists(), "nobody could clean up");
    assert_refused(&desk.rumor(&["status", "--data", "ann"]), 1, nobody);
    let _again = desk.start("ann", None);
    assert_eq!(desk.json(&["status", "--data", "ann", "--json"])["id"], id);
}

#[test]
fn json_is_one_object_at_the_start_too() {
    let desk = Desk::new();
    let mut command = desk.command(&["start", "--listen", "127.0.0.1:0", "--name", "ann", "--json"]);
    let mut child =
        command.env("RUMOR_SECRET", "words").stdout(Stdio::piped()).spawn().expect("the command starts");
    let mut stdout = child.stdout.take().expect("piped");
    let mut text = Vec::new();
    while text.last() != Some(&b'}') {
        let mut byte = [0];
        stdout.read_exact(&mut byte).expect("it goes on");
        text.push(byte[0]);
    }
    let started: Value = serde_json::from_slice(&text).expect("an object");
    assert_eq!(
        (&started["name"], &started["cluster"], &started["data"]),
        (&"ann".into(), &"rumor".into(), &"rumor-data".into())
    );
    kill_process(Pid::from_child(&child), Signal::TERM).expect("it runs");
    assert_eq!(child.wait().expect("started here").code(), Some(0));
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).expect("read");
    assert_eq!(rest, "\n", "nothing comes after it");
}

// The command is waited for by blocking: the node of this process lives on a thread of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn nodes_meet_and_whoever_is_told_to_end_leaves() {
    let desk = Desk::new();
    let ann = desk.start("ann", None);
    let tester = neighbour(&ann).await;
    let mut watching = tester.watch_members().await.expect("watching");
    for (name, signal, status) in [("bob", Signal::TERM, 0), ("eve", Signal::INT, 130)] {
        let node = desk.start(name, Some(ann.addr));
        node.expect("ann is active");
        ann.expect(&format!("{name} is active"));
        let shown = desk.json(&["status", "--data", name, "--json"]);
        let id = shown["id"].as_str().expect("an id");
        until(&mut watching, id, MemberState::Active).await;
        assert_eq!(node.end(signal), Some(status));
        assert!(!desk.path(name).join("control.sock").exists());
        ann.expect(&format!("{name} has left"));
        until(&mut watching, id, MemberState::Left).await;
    }
}

#[test]
fn nodes_that_check_nobody_meet_their_like_and_nobody_else() {
    let desk = Desk::new();
    let ann = desk.start("ann", None);
    let start = ["start", "--listen", "127.0.0.1:0", "--cluster", "test", "--auth-off", "--data"];
    let lax = desk.run(desk.command(&start).arg("lax").args(["--name", "lax"]), "lax");
    let seeds = [lax.addr.to_string(), ann.addr.to_string()];
    let eve =
        desk.run(desk.command(&start).args(["eve", "--name", "eve", "--seed", &seeds.join(",")]), "eve");
    lax.expect("eve is active");
    eve.expect("lax is active");
    let members = desk.json(&["status", "--data", "ann", "--json"])["members"].as_array().map(Vec::len);
    assert_eq!(members, Some(1), "the one with a secret stays alone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn status_tells_how_a_node_stands() {
    let desk = Desk::new();
    let ann = desk.start("ann", None);
    let tester = neighbour(&ann).await;
    let _mailbox = offer::<String>(&tester, "echo").await;
    ann.expect("tester is active");
    let status = desk.json(&["status", "--data", "ann", "--json"]);
    let names: Vec<&str> =
        status["members"].as_array().expect("a list").iter().filter_map(|it| it["name"].as_str()).collect();
    assert_eq!(names, ["ann", "tester"]);
    assert_eq!(status["listen"], ann.addr.to_string());
    assert_eq!(status["active_view"].as_array().map(Vec::len), Some(1));
    assert_eq!(status["active_view"], status["connected"]);
    let text = desk.rumor(&["status", "--data", "ann"]).stdout;
    assert!(text.starts_with("node      ann, "), "{text}");
    assert!(text.contains("\ncluster   test, 2 active\n"), "{text}");
    assert!(text.contains("\noverlay   1 active, 0 passive, 1 connected\n"), "{text}");
    assert!(
        text.contains(&format!("\ntester  {}  active   {}\n", tester.id(), tester.local_addr())),
        "{text}"
    );
}

/// Asks a node how it stands until it says so.
fn until_status(desk: &Desk, name: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let end = Instant::now() + SOON;
    loop {
        let status = desk.json(&["status", "--data", name, "--json"]);
        if is_so(&status) {
            return status;
        }
        assert!(Instant::now() < end, "{status:#}");
    }
}

#[test]
fn status_tells_why_a_node_does_not_come_in() {
    let desk = Desk::new();
    let ann = desk.start("ann", None);
    let port = ann.addr.port();
    let start = |name: &str, cluster: &str, secret: &str| {
        let mut command = desk.command(&["start", "--listen", "localhost:0", "--cluster", cluster]);
        command.args(["--name", name, "--data", name, "--seed", &format!("localhost:{port}")]);
        let mut child = command.env("RUMOR_SECRET", secret).args(["--json", "--log", "error"]);
        child = child.stdout(Stdio::null());
        Quiet(child.spawn().expect("the command starts"))
    };
    let outside = |name: &str| {
        let wait = Instant::now() + SOON;
        while !desk.path(name).join("control.sock").exists() {
            assert!(Instant::now() < wait, "{name} does not start");
            std::thread::yield_now();
        }
        until_status(&desk, name, |status| status["outside"].is_string())
    };
    let _eve = start("eve", "test", "other words");
    let eve = outside("eve");
    let refusal = "it refused this node, and tells only its own user why (its log, `rumor status`): often another secret, a name that another key has, or a key that has another name";
    assert_eq!(eve["outside"], format!("no address let this node in: {}: {refusal}", ann.addr));
    assert_eq!(
        (&eve["refusals"][0]["kind"], &eve["refusals"][0]["addr"]),
        (&"by-peer".into(), &ann.addr.to_string().into())
    );
    let _bob = start("bob", "tset", "words");
    let bob = outside("bob");
    assert!(bob["outside"].as_str().is_some_and(|why| why.contains("another cluster")), "{bob:#}");
    let both = |status: &Value| {
        let refusals = status["refusals"].as_array().cloned().unwrap_or_default();
        ["wrong-secret", "tls"].iter().all(|kind| refusals.iter().any(|it| it["kind"] == *kind))
    };
    until_status(&desk, "ann", both);
    let text = desk.rumor(&["status", "--data", "ann"]).stdout;
    assert!(text.contains("\nLAST REFUSALS\n127.0.0.1:"), "{text}");
    assert!(
        text.contains("  wrong-secret: it does not prove that it knows the cluster's secret ("),
        "{text}"
    );
    let text = desk.rumor(&["status", "--data", "eve"]).stdout;
    assert!(
        text.contains(&format!("\nOUTSIDE   no address let this node in: {}: {refusal}\n", ann.addr)),
        "{text}"
    );
}

/// A node that nobody listens to: killed when it is dropped.
struct Quiet(Child);

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn an_authority_lets_in_whom_it_certified() {
    let desk = Desk::new();
    let authority = Authority::generate().expect("entropy");
    std::fs::write(desk.path("authority.pub"), format!("{}\n", authority.key())).expect("written");
    let valid = SystemTime::now()..SystemTime::now() + Duration::from_secs(3_600);
    let start = ["start", "--listen", "127.0.0.1:0", "--cluster", "test", "--authority", "authority.pub"];
    let with = |name: &str, more: &[&str]| {
        let mut command = desk.command(&start);
        command.args(["--data", name]).args(more).env("RUMOR_SECRET", "words");
        command
    };
    let certify = |name: &str, path: &str| {
        let key = Identity::load_or_create(&desk.path(name).join("node.key")).expect("its key");
        let certificate = authority.issue("test", key.node_id(), name, valid.clone());
        certificate.save(&desk.path(path)).expect("written");
    };
    let message = "a node needs a certificate of the authority: give --certificate FILE, or put it into ann/node.certificate";
    assert_refused(&ran(&mut with("ann", &[])), 2, message);
    certify("ann", "ann/node.certificate");
    certify("bob", "bob.certificate");
    let ann = desk.run(&mut with("ann", &[]), "ann");
    let seed = ann.addr.to_string();
    let bob = desk.run(&mut with("bob", &["--certificate", "bob.certificate", "--seed", &seed]), "bob");
    bob.expect("ann is active");
    ann.expect("bob is active");
    std::fs::write(desk.path("no.pub"), "key").expect("written");
    let mut wrong = desk.command(&["start", "--authority", "no.pub"]);
    let message = "no.pub: holds no public key of an authority: 64 hexadecimal digits are expected";
    assert_refused(&ran(wrong.env("RUMOR_SECRET", "words")), 2, message);
}

// --- call

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_service_is_asked_and_its_reply_printed() {
    let desk = Desk::new();
    let ann = desk.start("ann", None);
    let tester = neighbour(&ann).await;
    let mut mailbox = offer::<String>(&tester, "shout").await;
    tokio::spawn(async move {
        while let Some(Incoming::Question { message, asked }) = mailbox.recv().await {
            let answered = match message.as_str() {
                "number" => asked.answer(&300_u32).await,
                _ => asked.answer(&message.to_uppercase()).await,
            };
            answered.expect("answered");
        }
    });
    ann.expect("tester is active");
    let call = |arguments: &[&str]| desk.rumor(&[&["call", "--data", "ann", "shout"], arguments].concat());
    let said = call(&["good day"]);
    assert_eq!((said.status, said.stdout.as_str(), said.stderr.as_str()), (0, "GOOD DAY\n", ""));
    let said: Value = serde_json::from_str(&call(&["hello", "--json"]).stdout).expect("an object");
    assert_eq!((&said["service"], &said["reply"]), (&"shout".into(), &"HELLO".into()));
    assert!(said["node"].as_str().is_some_and(|node| node.len() == 64));
    assert_eq!(call(&["--hex", "026869"]).stdout, "024849\n", "a text is its length and its bytes");
    assert_refused(&call(&["number"]), 1, "the reply of 2 bytes is no text: ask with --hex");
    let odd = "\"0a1\": expected pairs of hexadecimal digits, for example 0a1b";
    assert_refused(&call(&["--hex", "0a1"]), 2, odd);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_call_without_reply_says_why_in_one_word() {
    let desk = Desk::new();
    let ann = desk.start("ann", None);
    let tester = neighbour(&ann).await;
    ann.expect("tester is active");
    let silent = offer::<String>(&tester, "silent").await;
    drop(offer::<String>(&tester, "closed").await);
    tester.register("sign", Offer::new()).await.expect("registered");
    let probe = tester.mailbox::<()>().await.expect("a mailbox");
    let answer = probe.call::<_, ()>(Address::<()>::new(silent.address().raw()), &(), Duration::ZERO).await;
    answer.expect_err("nobody answers");
    let call = |service, within| desk.rumor(&["call", "--data", "ann", service, "x", "--within", within]);
    assert_refused(&call("nobody", "5"), 1, "NotFound: no node offers a service called \"nobody\"");
    assert_refused(&call("sign", "5"), 1, "NotFound: the service \"sign\" has no mailbox to be asked by");
    let late = "Timeout: no answer came in time; the question may have arrived";
    assert_refused(&call("silent", "0.2"), 1, late);
    let gone = "Gone: the mailbox is closed, or its node has ended or restarted";
    assert_refused(&call("closed", "20"), 1, gone);
    let ran = call("silent", "never");
    assert!(ran.status == 2 && ran.stderr.contains("expected seconds, from 0 to 86400"), "{}", ran.stderr);
    tester.shutdown().await;
    let ran = desk.rumor(&["call", "--data", "ann", "silent", "x", "--within", "60"]);
    assert_eq!((ran.status, ran.stdout.as_str()), (1, ""));
    let word = ran.stderr.strip_prefix("error: ").and_then(|text| text.split(':').next());
    assert!(matches!(word, Some("Unreachable" | "Gone")), "{}", ran.stderr);
    let ran = desk.rumor(&["call", "--data", "ann", "nobody", "x", "--json"]);
    let said: Value = serde_json::from_str(&ran.stdout).expect("an object");
    let message = "no node offers a service called \"nobody\"";
    assert_eq!((&said["error"], &said["message"]), (&"NotFound".into(), &message.into()));
    assert_eq!((ran.status, ran.stderr), (1, format!("error: NotFound: {message}\n")));
}

#[test]
fn whoever_does_not_want_to_wait_interrupts() {
    let desk = Desk::new();
    std::fs::create_dir(desk.path("ann")).expect("a folder");
    let silent = UnixListener::bind(desk.path("ann/control.sock")).expect("a socket");
    let mut child = desk.command(&["status", "--data", "ann"]).spawn().expect("the command starts");
    let _asking = silent.accept().expect("it asks");
    kill_process(Pid::from_child(&child), Signal::INT).expect("it runs");
    assert_eq!(child.wait().expect("started here").code(), Some(130));
}
