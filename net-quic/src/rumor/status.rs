//! `rumor status`: how a node stands, and whom it sees.

use crate::control::{Answer, Question, ask, to_hex};
use crate::{Asking, Failure, print, print_json};
use rumormill_net_quic::{Cluster, Error, Member, MemberState, Refused};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::time::Duration;

/// How a node stands.
#[derive(Serialize, Deserialize)]
pub(crate) struct Status {
    name: String,
    id: String,
    cluster: String,
    listen: String,
    /// The members of the whole cluster, this node among them.
    members: Vec<Line>,
    /// Neighbours in the overlay, by id.
    active_view: Vec<String>,
    passive_view: Vec<String>,
    connected: Vec<String>,
    /// Services of all nodes.
    services: usize,
    /// Connections that this node has refused.
    refused: u64,
    /// Why the node is by itself: no seed has let it in, or it has lost everybody.
    outside: Option<String>,
    /// The last refusals, the latest first.
    refusals: Vec<Refusal>,
}

/// Somebody who was refused, or who refused the node.
#[derive(Serialize, Deserialize)]
struct Refusal {
    addr: String,
    /// One word for the reason, and a sentence.
    kind: String,
    message: String,
    times: u64,
    seconds_ago: u64,
}

/// One member.
#[derive(Serialize, Deserialize)]
struct Line {
    /// None where this node has not met it.
    name: Option<String>,
    id: String,
    state: String,
    is_suspected: bool,
    addrs: Vec<String>,
}

/// Looks at a node.
pub(crate) async fn look(node: &Cluster, cluster: &str) -> Result<Status, Error> {
    let hex = |ids: Vec<rumormill_net_quic::NodeId>| ids.iter().map(|id| to_hex(&id.0)).collect();
    let mut members: Vec<Line> = node.members().await?.iter().map(|member| line(node, member)).collect();
    members.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
    Ok(Status {
        name: node.name().into(),
        id: to_hex(&node.id().0),
        cluster: cluster.into(),
        listen: node.local_addr().to_string(),
        members,
        active_view: hex(node.active_view().await?),
        passive_view: hex(node.passive_view().await?),
        connected: hex(node.connected().await?),
        services: node.list(&())?.len(),
        refused: node.refused(),
        outside: node.why_outside().map(|why| why.to_string()),
        refusals: node.last_refusals().into_iter().map(refusal).collect(),
    })
}

fn refusal(Refused { addr, reason, times, ago, .. }: Refused) -> Refusal {
    let (kind, message) = (reason.kind().into(), reason.to_string());
    Refusal { addr: addr.to_string(), kind, message, times, seconds_ago: ago.as_secs() }
}

fn line(node: &Cluster, member: &Member) -> Line {
    Line {
        name: node.name_of(&member.id()),
        id: to_hex(&member.id().0),
        state: word(member.state).into(),
        is_suspected: member.is_suspected,
        addrs: member.contact.addrs().iter().map(ToString::to_string).collect(),
    }
}

/// Names a state.
fn word(state: MemberState) -> &'static str {
    match state {
        MemberState::Joining => "joining",
        MemberState::Synced => "synced",
        MemberState::Active => "active",
        MemberState::Leaving => "leaving",
        MemberState::Left => "left",
        MemberState::Dead => "dead",
    }
}

pub(crate) async fn status(Asking { data, json }: Asking) -> Result<(), Failure> {
    match ask(&data.folder, &Question::Status, Duration::ZERO).await? {
        Answer::Status(status) if json => print_json(&status),
        Answer::Status(status) => print(&table(&status)),
        Answer::NoReply { kind, message } => Err(Failure::Failed(format!("{kind}: {message}"))),
        Answer::Reply { .. } => Err(Failure::Failed("the node answered something else".into())),
    }
}

fn table(status: &Status) -> String {
    let Status { name, id, cluster, listen, members, .. } = status;
    let present = members.iter().filter(|it| it.state == "active").count();
    let mut text = format!("node      {name}, {}\ncluster   {cluster}, {present} active\n", &id[..8]);
    let _ = writeln!(text, "listens   {listen}");
    let (active, passive) = (status.active_view.len(), status.passive_view.len());
    let _ =
        writeln!(text, "overlay   {active} active, {passive} passive, {} connected", status.connected.len());
    let _ = writeln!(text, "services  {}\nrefused   {}\n", status.services, status.refused);
    if let Some(outside) = &status.outside {
        let _ = writeln!(text, "OUTSIDE   {outside}\n");
    }
    let name_of = |it: &Line| it.name.clone().unwrap_or_else(|| "-".into());
    let width = members.iter().map(|it| name_of(it).chars().count()).max().unwrap_or(0).max(4);
    let _ = writeln!(text, "{:width$}  ID        STATE    ADDRESS", "NAME");
    for member in members {
        let suspected = if member.is_suspected { " (suspected)" } else { "" };
        let addrs = member.addrs.join(" ");
        let (name, id, state) = (name_of(member), &member.id[..8], &member.state);
        let _ = writeln!(text, "{name:width$}  {id}  {state:7}  {addrs}{suspected}");
    }
    if !status.refusals.is_empty() {
        text.push_str("\nLAST REFUSALS\n");
    }
    for Refusal { addr, kind, message, times, seconds_ago } in &status.refusals {
        let _ = writeln!(text, "{addr}  {kind}: {message} ({times} times, last {seconds_ago} s ago)");
    }
    text
}
