//! `rumor start`: a member of a cluster, until it is told to end.

use crate::control::{Control, to_hex};
use crate::{Data, Failure, no_signals, print, print_json};
use clap::{Args, ValueEnum};
use rumormill_net_quic::{
    AuthorityKey, BuildError, Certificate, Cluster, Identity, MemberState, News, Trust,
};
use serde_json::json;
use std::ffi::OsStr;
use std::io::IsTerminal as _;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// How long a node that is told to end may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(5);
/// The environment variable that may hold the secret.
const SECRET: &str = "RUMOR_SECRET";

/// The environment variable that may hold the seeds.
const SEEDS: &str = "RUMOR_SEEDS";
/// The file of the key in a node's folder.
const KEY_FILE: &str = "node.key";
/// The file of the certificate in a node's folder.
const CERTIFICATE_FILE: &str = "node.certificate";

/// What its help ends with.
pub(crate) const AFTER_HELP: &str = "\
Required: the cluster's secret, by --secret-file or in the variable RUMOR_SECRET (not with --auth-off); beside --authority \
     a certificate. A node of a cluster that is there also needs a --seed; everything else has a default.

Example: two nodes on one machine, each with a folder of its own.
  export RUMOR_SECRET='words that only we know'
  rumor start --name ann --data ann --listen 127.0.0.1:7400
  rumor start --name bob --data bob --listen 127.0.0.1:7401 --seed 127.0.0.1:7400
  rumor status --data bob

Exit status: 0 done, 1 it failed, 2 bad usage or input, 130 interrupted.";

/// What `start` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// What the node is called; one to one with its key [default: node- and the beginning of its key]
    #[arg(long, value_name = "NAME", env = "RUMOR_NAME")]
    name: Option<String>,
    /// Where the node listens; port 0 is any that is free.
    #[arg(long, value_name = "ADDR", env = "RUMOR_LISTEN", default_value = "0.0.0.0:7400", value_parser = addr)]
    listen: SocketAddr,
    /// Where others reach the node, if that is not where it listens. May be given up to four times.
    #[arg(long, value_name = "ADDR", value_parser = addr)]
    advertise: Vec<SocketAddr>,
    /// A node to come in through, tried until it answers. May be given often; otherwise they are taken from the variable
    /// RUMOR_SEEDS, with commas between them. Without any, the node is the first.
    #[arg(long = "seed", value_name = "ADDR", value_delimiter = ',', value_parser = addr)]
    seeds: Vec<SocketAddr>,
    #[command(flatten)]
    data: Data,
    /// The name of the cluster.
    #[arg(long, value_name = "ID", env = "RUMOR_CLUSTER", default_value = "rumor")]
    cluster: String,
    /// The file that holds the cluster's secret; otherwise it is taken from the variable RUMOR_SECRET.
    #[arg(long, value_name = "FILE", env = "RUMOR_SECRET_FILE")]
    secret_file: Option<PathBuf>,
    /// Let in only the keys of this file, one a line, 64 hexadecimal digits each; otherwise whoever knows the secret, its
    /// key pinned to its name at the first meeting.
    #[arg(long, value_name = "FILE", env = "RUMOR_STRICT")]
    strict: Option<PathBuf>,
    /// Let in only nodes with a certificate of the authority whose public key this file holds: 64 hexadecimal digits.
    #[arg(long, value_name = "FILE", env = "RUMOR_AUTHORITY", conflicts_with = "strict")]
    authority: Option<PathBuf>,
    /// The authority's certificate for this node; otherwise it is the file node.certificate in the folder, if there is one.
    #[arg(long, value_name = "FILE", env = "RUMOR_CERTIFICATE", requires = "authority")]
    certificate: Option<PathBuf>,
    /// Check nobody: for development, on a network that nobody else is on. Needs no secret, and meets only its like.
    #[arg(long, conflicts_with_all = ["strict", "authority"])]
    auth_off: bool,
    /// What the log on standard error tells.
    #[arg(long, value_enum, default_value_t = Log::Warn, env = "RUMOR_LOG")]
    log: Log,
    /// Print one JSON object once the node runs, and nothing after it.
    #[arg(long)]
    json: bool,
}

/// What the log tells.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Log {
    Error,
    Warn,
    Info,
    Debug,
}

/// Reads an address; a name is looked up, once.
fn addr(text: &str) -> Result<SocketAddr, String> {
    let text = text.trim();
    if let Ok(addr) = text.parse() {
        return Ok(addr);
    }
    if text.rsplit_once(':').is_none_or(|(name, port)| name.is_empty() || port.parse::<u16>().is_err()) {
        return Err("expected an address or a name, and a port, for example 127.0.0.1:7400".into());
    }
    let unknown = |why: &dyn std::fmt::Display| {
        format!("no address of that name is known: {why}; an address would do, for example 127.0.0.1:7400")
    };
    let addrs: Vec<SocketAddr> = text.to_socket_addrs().map_err(|error| unknown(&error))?.collect();
    // Nodes listen at IPv4 unless they are told otherwise.
    let addr = addrs.iter().find(|addr| addr.is_ipv4()).or(addrs.first()).copied();
    addr.ok_or_else(|| unknown(&"it has none"))
}

fn log(level: Log) {
    let level = match level {
        Log::Error => tracing::Level::ERROR,
        Log::Warn => tracing::Level::WARN,
        Log::Info => tracing::Level::INFO,
        Log::Debug => tracing::Level::DEBUG,
    };
    // A packet that the system does not send is told by what comes of it, in words that say what would be right.
    let packets = if level < tracing::Level::DEBUG { LevelFilter::ERROR } else { level.into() };
    let told = Targets::new().with_default(level).with_target("quinn_udp", packets);
    let log = tracing_subscriber::fmt::layer().with_target(false).with_writer(std::io::stderr);
    tracing_subscriber::registry().with(log.with_ansi(std::io::stderr().is_terminal())).with(told).init();
}

pub(crate) async fn start(mut options: Options) -> Result<(), Failure> {
    log(options.log);
    if options.seeds.is_empty() {
        options.seeds = seeds(&std::env::var_os(SEEDS).unwrap_or_default())?;
    }
    let mut interrupts = signal(SignalKind::interrupt()).map_err(no_signals)?;
    let mut ends = signal(SignalKind::terminate()).map_err(no_signals)?;
    let mut hangups = signal(SignalKind::hangup()).map_err(no_signals)?;
    let node = build(&options).await?;
    let control = Control::open(&options.data.folder)?;
    announce(&options, &node)?;
    let is_interrupted = tokio::select! {
        biased;
        _ = interrupts.recv() => true,
        _ = ends.recv() => false,
        _ = hangups.recv() => false, // its terminal is gone
        () = control.serve(&node, &options.cluster) => false,
        told = tell(&node, options.json) => return told,
    };
    drop(control); // nobody asks a node that is going
    if timeout(GOODBYE, goodbye(&node)).await.is_err() {
        tracing::warn!("leaving took too long: the others will find this node dead");
    }
    if is_interrupted { Err(Failure::Interrupted) } else { Ok(()) }
}

async fn goodbye(node: &Cluster) {
    if let Err(error) = node.leave().await {
        tracing::warn!(%error, "leaving");
    }
    node.shutdown().await;
}

/// Reads the seeds of a variable: what is empty between commas, or in all, is none.
fn seeds(text: &OsStr) -> Result<Vec<SocketAddr>, Failure> {
    let text = text.to_str().ok_or_else(|| Failure::Input(format!("{SEEDS}: {text:?}: it is not UTF-8")))?;
    let given = text.split(',').filter(|seed| !seed.trim().is_empty());
    let wrong = |seed, why| Failure::Input(format!("{SEEDS}: {seed:?}: {why}"));
    given.map(|seed| addr(seed).map_err(|why| wrong(seed, why))).collect()
}

/// Finds options that stand beside each other, and of which one would do nothing.
fn check_trust(options: &Options) -> Result<(), Failure> {
    if !options.auth_off {
        return Ok(());
    }
    let whence = match &options.secret_file {
        Some(file) => format!("--secret-file {}", file.display()),
        None if std::env::var_os(SECRET).is_some_and(|secret| !secret.is_empty()) => SECRET.to_string(),
        None => return Ok(()),
    };
    Err(Failure::Input(format!(
        "--auth-off checks nobody, and a secret is given by {whence}: leave --auth-off out to check who knows it, or the secret to check nobody"
    )))
}

/// Finds a list that would shut everybody out.
fn check_allowed(allowed: &Path, folder: &Path) -> Result<(), Failure> {
    let shown = allowed.display();
    let unread = |error| Failure::Input(format!("{shown}: the list of allowed keys cannot be read: {error}"));
    let text = std::fs::read_to_string(allowed).map_err(unread)?;
    if text.lines().any(|line| !line.split('#').next().unwrap_or("").trim().is_empty()) {
        return Ok(()); // what is wrong in it is told with its line
    }
    let key = Identity::load_or_create(&folder.join(KEY_FILE));
    let own = key.map(|key| format!("; this node's is {}", to_hex(&key.public_key().0))).unwrap_or_default();
    Err(Failure::Input(format!(
        "{shown}: the list of allowed keys is empty, so nobody could come in: one key a line is expected, 64 hexadecimal digits{own}"
    )))
}

/// Finds what would do nothing, and what no cluster could be called.
fn check(options: &Options) -> Result<(), Failure> {
    check_trust(options)?;
    if options.cluster.is_empty() {
        return Err(Failure::Input("--cluster: the cluster has no name; leave it out for \"rumor\"".into()));
    }
    Ok(())
}

async fn build(options: &Options) -> Result<Cluster, Failure> {
    check(options)?;
    let mut builder = Cluster::builder(&options.cluster).listen(options.listen);
    builder = match options.auth_off {
        true => builder.trust(Trust::Off),
        false => builder.secret(secret(options.secret_file.as_deref())?),
    };
    builder = builder.folder(&options.data.folder).seeds(options.seeds.iter().copied());
    if let Some(name) = &options.name {
        builder = builder.name(name);
    }
    for addr in &options.advertise {
        builder = builder.advertise(*addr);
    }
    if let Some(allowed) = &options.strict {
        check_allowed(allowed, &options.data.folder)?;
        builder = builder.trust(Trust::Strict { allowed: allowed.clone() });
    }
    if let Some(key) = &options.authority {
        builder = builder.trust(Trust::Authority { key: authority(key)? });
    }
    let certificate = options.data.folder.join(CERTIFICATE_FILE);
    if options.authority.is_none() && certificate.exists() {
        tracing::warn!(certificate = %certificate.display(), "it is not looked at: give --authority FILE too");
    }
    if let Some(path) = &options.certificate {
        let certificate = Certificate::load(path).map_err(|error| Failure::Input(error.to_string()))?;
        builder = builder.certificate(certificate);
    }
    builder.start().await.map_err(|error| match error {
        BuildError::NoCertificate => Failure::Input(format!(
            "a node needs a certificate of the authority: give --certificate FILE, or put it into {}",
            certificate.display()
        )),
        BuildError::Name(_)
        | BuildError::Config(_)
        | BuildError::Allowed(_)
        | BuildError::Nowhere { .. }
        | BuildError::ManyAddrs { .. }
        | BuildError::Renamed { .. }
        | BuildError::Certificate(_)
        | BuildError::Statement(_) => Failure::Input(error.to_string()),
        _ => Failure::Failed(error.to_string()),
    })
}

/// Reads the public key of the authority.
fn authority(path: &Path) -> Result<AuthorityKey, Failure> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::Input(format!("{shown}: the authority's key cannot be read: {error}")))?;
    text.parse().map_err(|_| {
        Failure::Input(format!(
            "{shown}: holds no public key of an authority: 64 hexadecimal digits are expected"
        ))
    })
}

/// Finds the secret: never on the command line, where every process of the machine could read it.
fn secret(file: Option<&Path>) -> Result<String, Failure> {
    let (secret, whence) = match file {
        Some(file) => {
            let unread =
                |error| Failure::Input(format!("{}: the secret cannot be read: {error}", file.display()));
            (std::fs::read_to_string(file).map_err(unread)?, file.display().to_string())
        }
        None => (std::env::var(SECRET).unwrap_or_default(), SECRET.to_string()),
    };
    match secret.trim_end_matches(['\r', '\n']) {
        "" if file.is_none() => Err(Failure::Input(format!(
            "a node needs the cluster's secret: give --secret-file FILE, or set {SECRET}, the same on every node"
        ))),
        "" => Err(Failure::Input(format!(
            "{whence}: the secret is empty; the same words on every node are expected"
        ))),
        secret => Ok(secret.to_string()),
    }
}

fn announce(options: &Options, node: &Cluster) -> Result<(), Failure> {
    let (name, id, listen) = (node.name(), to_hex(&node.id().0), node.local_addr());
    let Options { cluster, data, .. } = options;
    let addrs: Vec<String> = node.addrs().iter().map(ToString::to_string).collect();
    if options.json {
        let listen = listen.to_string();
        let data = data.folder.display().to_string();
        return print_json(&json!({
            "name": name, "id": id, "cluster": cluster, "listen": listen, "addrs": addrs, "data": data,
        }));
    }
    let told = match addrs == [listen.to_string()] {
        true => String::new(),
        false => format!("; the others are told {}", addrs.join(" ")),
    };
    print(&format!("{name}, {}, listens at {listen} for cluster {cluster}{told}\n", &id[..8]))
}

/// Tells who comes and goes.
async fn tell(node: &Cluster, is_silent: bool) -> Result<(), Failure> {
    let ended = || Failure::Failed("the node has ended".into());
    let mut watching = node.watch_members().await.map_err(|error| Failure::Failed(error.to_string()))?;
    while let Some(news) = watching.recv().await {
        let News::Member { member, was } = news else { continue };
        if !is_silent && member.id() != node.id() && was != Some(member.state) {
            let whom = node.name_of(&member.id()).unwrap_or_else(|| member.id().to_string());
            print(&format!("{whom} {}\n", what_of(member.state)))?;
        }
    }
    Err(ended())
}

fn what_of(state: MemberState) -> &'static str {
    match state {
        MemberState::Joining => "joins",
        MemberState::Synced => "has joined",
        MemberState::Active => "is active",
        MemberState::Leaving => "leaves",
        MemberState::Left => "has left",
        MemberState::Dead => "is dead",
    }
}
