//! `rumor call`: one question to a registered service.

use crate::control::{Answer, Question, ask, from_hex, to_hex};
use crate::{Asking, Failure, print, print_json};
use clap::Args;
use serde_json::json;
use std::time::Duration;

/// What its help ends with.
pub(crate) const AFTER_HELP: &str = "A call that fails says why in one word: NotFound, no node offers the service; Timeout, no \
     reply came in time and the question may have arrived; Gone, the service's mailbox is closed; Unreachable, its node \
     cannot be reached; NotUnderstood, the service takes questions of another type. With --json that word and its sentence come as one object, too.\n\nExit status: 0 done, 1 it failed, 2 bad usage or input, 130 interrupted.";

/// What `call` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// The name of the service, a text.
    service: String,
    /// What to ask: a text, or with --hex the bytes of any value.
    payload: String,
    /// How long to wait for the reply.
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    within: Duration,
    /// Take the payload and show the reply as the hexadecimal digits of their bytes.
    #[arg(long)]
    hex: bool,
    #[command(flatten)]
    asking: Asking,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.0..=86_400.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "expected seconds, from 0 to 86400".into())
}

pub(crate) async fn call(options: Options) -> Result<(), Failure> {
    let Options { service, payload, within, hex, asking } = options;
    let payload = if hex {
        let odd =
            || Failure::Input(format!("{payload:?}: expected pairs of hexadecimal digits, for example 0a1b"));
        from_hex(&payload).ok_or_else(odd)?
    } else {
        postcard::to_allocvec(&payload).map_err(|error| Failure::Input(error.to_string()))?
    };
    let within_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
    let question = Question::Call { service: service.clone(), payload: to_hex(&payload), within_ms };
    match ask(&asking.data.folder, &question, within).await? {
        Answer::Reply { node, payload } => {
            let reply = if hex { payload } else { text(&payload)? };
            if asking.json {
                print_json(&json!({ "service": service, "node": node, "reply": reply }))
            } else {
                print(&format!("{reply}\n"))
            }
        }
        Answer::NoReply { kind, message } => {
            if asking.json {
                print_json(&json!({ "service": service, "error": kind, "message": message }))?;
            }
            Err(Failure::Failed(format!("{kind}: {message}")))
        }
        Answer::Status(_) => Err(Failure::Failed("the node answered something else".into())),
    }
}

/// Reads a reply that is a text, to its last byte.
fn text(hex: &str) -> Result<String, Failure> {
    let bytes = from_hex(hex).unwrap_or_default();
    let text = postcard::take_from_bytes::<String>(&bytes).ok().filter(|(_, rest)| rest.is_empty());
    let no_text =
        || Failure::Failed(format!("the reply of {} bytes is no text: ask with --hex", bytes.len()));
    text.map(|(text, _)| text).ok_or_else(no_text)
}
