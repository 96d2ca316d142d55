//! The channel by which a running node is asked: a socket in its folder, for its owner alone. One question for each
//! connection, one line of JSON each way.

use crate::{Failure, status};
use rumormill_net_quic::{Cluster, CommandError, Error, Found};
use serde::{Deserialize, Serialize};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// The name of the socket in a node's folder.
const SOCKET: &str = "control.sock";
/// Bytes of a question or an answer at most.
const LINE_LEN_MAX: u64 = 4 << 20;
/// Questions that are answered at the same time; others wait.
const ASKERS: usize = 16;
/// How long somebody may take to ask, and a node to answer beyond what it was given.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a service that is not registered is looked for: registrations take a moment to be known.
const LOOKING: Duration = Duration::from_secs(1);

/// What a node may be asked.
#[derive(Serialize, Deserialize)]
pub(crate) enum Question {
    /// How it stands.
    Status,
    /// To ask a service something; the payload in hexadecimal digits.
    Call { service: String, payload: String, within_ms: u64 },
}

/// What it answers.
#[derive(Serialize, Deserialize)]
pub(crate) enum Answer {
    Status(Box<status::Status>),
    /// What a service replied, in hexadecimal digits, and on which node it is.
    Reply {
        node: String,
        payload: String,
    },
    /// There is no reply: one word for the reason, and a sentence.
    NoReply {
        kind: String,
        message: String,
    },
}

/// A node's end of the channel; removed with it.
pub(crate) struct Control {
    listener: UnixListener,
    path: PathBuf,
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

impl Control {
    /// Opens the channel. Whoever holds the folder's store is the only node in it: an older socket is nobody's.
    pub(crate) fn open(folder: &Path) -> Result<Self, Failure> {
        let path = folder.join(SOCKET);
        let listener = bind(&path).map_err(|error| {
            Failure::Failed(format!(
                "{}: the control socket cannot be made: {error}; a folder with a short path on a local disk will do",
                path.display()
            ))
        })?;
        Ok(Self { listener, path })
    }

    /// Answers whoever asks, for as long as this is awaited.
    pub(crate) async fn serve(&self, node: &Cluster, cluster: &str) {
        let room = Arc::new(Semaphore::new(ASKERS));
        loop {
            let Ok(place) = room.clone().acquire_owned().await else { return };
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "the control channel");
                    tokio::time::sleep(PATIENCE).await; // out of descriptors, most likely
                    continue;
                }
            };
            let (node, cluster) = (node.clone(), cluster.to_string());
            tokio::spawn(async move {
                if let Err(error) = answer(stream, &node, &cluster).await {
                    tracing::warn!(%error, "the control channel");
                }
                drop(place);
            });
        }
    }
}

/// Makes the socket under another name first, so that nobody else can ever open it.
fn bind(path: &Path) -> io::Result<UnixListener> {
    let unready = path.with_extension("new");
    let _ = fs::remove_file(&unready);
    let listener = UnixListener::bind(&unready)?;
    fs::set_permissions(&unready, Permissions::from_mode(0o600))?;
    fs::rename(&unready, path)?;
    Ok(listener)
}

async fn answer(mut stream: UnixStream, node: &Cluster, cluster: &str) -> io::Result<()> {
    let asked = timeout(PATIENCE, read_line(&mut stream)).await??;
    let answer = match serde_json::from_str(&asked)? {
        Question::Status => match status::look(node, cluster).await {
            Ok(status) => Answer::Status(Box::new(status)),
            Err(error) => no_reply(&error),
        },
        Question::Call { service, payload, within_ms } => {
            call(node, &service, &payload, Duration::from_millis(within_ms))
                .await
                .unwrap_or_else(|error| no_reply(&error))
        }
    };
    write_line(&mut stream, &serde_json::to_string(&answer)?).await
}

async fn call(node: &Cluster, service: &str, payload: &str, within: Duration) -> Result<Answer, Error> {
    let payload = from_hex(payload).ok_or_else(|| Error::Decode("no hexadecimal digits".into()))?;
    let found = node.whereis_within(service, within.min(LOOKING)).await?;
    let (Some(to), Found::Local(_) | Found::Remote(..)) = (found.address(), &found) else {
        let message = match found {
            Found::NotFound => format!("no node offers a service called {service:?}"),
            _ => format!("the service {service:?} has no mailbox to be asked by"),
        };
        return Ok(Answer::NoReply { kind: "NotFound".into(), message });
    };
    let mailbox = node.mailbox::<()>().await?;
    let reply = mailbox.call_bytes(to, payload.into(), within).await?;
    Ok(Answer::Reply { node: to_hex(&to.node.0), payload: to_hex(&reply) })
}

fn no_reply(error: &Error) -> Answer {
    let kind = match error {
        Error::Refused(CommandError::Timeout) => "Timeout",
        Error::Refused(CommandError::Gone) => "Gone",
        Error::Refused(CommandError::NotUnderstood) => "NotUnderstood",
        Error::Refused(CommandError::Unreachable) | Error::Unreachable(_) => "Unreachable",
        Error::Ended => "Ended",
        _ => "Refused",
    };
    Answer::NoReply { kind: kind.into(), message: error.to_string() }
}

/// Asks the node that runs in a folder.
pub(crate) async fn ask(folder: &Path, question: &Question, within: Duration) -> Result<Answer, Failure> {
    let path = folder.join(SOCKET);
    let shown = path.display();
    let mut stream = UnixStream::connect(&path).await.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Failure::Failed(format!(
            "no node runs in {}: `rumor start --data {}` starts one",
            folder.display(),
            folder.display()
        )),
        _ => Failure::Failed(format!(
            "{shown}: cannot be opened: {error}; only the node's own user may ask it"
        )),
    })?;
    let broken =
        |what: &dyn std::fmt::Display| Failure::Failed(format!("{shown}: the node broke off: {what}"));
    let line = serde_json::to_string(question).map_err(|error| broken(&error))?;
    write_line(&mut stream, &line).await.map_err(|error| broken(&error))?;
    let answer = timeout(within + PATIENCE, read_line(&mut stream)).await;
    let answer = answer.map_err(|_| broken(&"it does not answer"))?.map_err(|error| broken(&error))?;
    serde_json::from_str(&answer).map_err(|error| broken(&error))
}

async fn read_line(stream: &mut UnixStream) -> io::Result<String> {
    let mut line = String::new();
    BufReader::new(stream.take(LINE_LEN_MAX)).read_line(&mut line).await?;
    if line.ends_with('\n') { Ok(line) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

async fn write_line(stream: &mut UnixStream, line: &str) -> io::Result<()> {
    stream.write_all(format!("{line}\n").as_bytes()).await
}

/// Writes bytes as people copy them.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads them back.
pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let byte = |[high, low]: &[u8; 2]| Some((digit(*high)? << 4 | digit(*low)?) as u8);
    rest.is_empty().then(|| pairs.iter().map(byte).collect())?
}
