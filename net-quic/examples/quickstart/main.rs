//! Two terminals: a worker that registers itself, and a caller that finds it and asks it something.
//!
//! ```sh
//! cargo run --example quickstart worker     # in one terminal
//! cargo run --example quickstart caller     # in another
//! ```
//!
//! Start them in any order, and as many callers as you like.

use rumormill_net_quic::{Address, Cluster, Found, Incoming, Offer};
use serde::{Deserialize, Serialize};
use std::env;
use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

/// Where the worker listens, and where the caller comes into the cluster. A second argument changes it.
const HERE: &str = "127.0.0.1:7400";

/// How long a caller looks before it says that it is still looking.
const PATIENCE: Duration = Duration::from_secs(3);

/// What a worker may be asked. Any type will do that serde reads and writes.
#[derive(Serialize, Deserialize)]
enum Ask {
    Add(i64, i64),
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let (role, addr) = (env::args().nth(1), env::args().nth(2));
    let addr = self::addr(addr.as_deref().unwrap_or(HERE));
    match role.as_deref() {
        Some("worker") => worker(addr).await,
        Some("caller") => caller(addr).await,
        _ => usage("say what to be: `quickstart worker` or `quickstart caller`"),
    }
}

/// Ends with what would be right.
fn usage(right: &str) -> ! {
    eprintln!("error: {right}");
    std::process::exit(2)
}

/// Reads an address.
fn addr(text: &str) -> SocketAddr {
    let wrong = || usage(&format!("{text:?} is no address: an IP address and a port are, as 127.0.0.1:7400"));
    text.parse().unwrap_or_else(|_| wrong())
}

async fn worker(listen: SocketAddr) -> Result<(), Box<dyn Error>> {
    // A node is in a cluster by its name and its secret: whoever knows both may come in.
    let node = Cluster::builder("quickstart").secret("not very secret").listen(listen).start().await?;
    println!("listening at {}", node.local_addr());

    // A mailbox is where messages and questions come to. The registry tells everybody under which name it is found.
    let mut mailbox = node.mailbox::<Ask>().await?;
    node.register("worker", Offer::new().at(mailbox.address().raw())).await?;
    println!("registered as \"worker\"");

    while let Some(incoming) = mailbox.recv().await {
        if let Incoming::Question { message: Ask::Add(a, b), asked } = incoming {
            println!("asked for {a} + {b}");
            // Who asked may be gone by now. That is no reason to stop.
            let _ = asked.answer(&(a + b)).await;
        }
    }
    Ok(())
}

async fn caller(seed: SocketAddr) -> Result<(), Box<dyn Error>> {
    // Any node that is in the cluster will do as a seed. It is tried again until it answers.
    let listen = "127.0.0.1:0".parse()?;
    let node = Cluster::builder("quickstart").secret("not very secret").listen(listen).seeds([seed]);
    let node = node.start().await?;

    let worker: Address<Ask> = find(&node, seed).await?.typed().ok_or("the worker has no mailbox")?;
    println!("found the worker on node {}", worker.raw().node);

    // A call ends with the answer, or with the reason why there is none: `Timeout`, `Gone`, `Unreachable` or `NotUnderstood`.
    let mailbox = node.mailbox::<()>().await?;
    let sum: i64 = mailbox.call(worker, &Ask::Add(2, 3), Duration::from_secs(5)).await?;
    println!("2 + 3 = {sum}");

    // Leaving is told to everybody; a node that just ends is found dead some seconds later.
    node.leave().await?;
    node.shutdown().await;
    Ok(())
}

/// Finds the worker. A registration takes a moment to be known everywhere, and it may not have been started yet: look for a
/// while, and say so.
async fn find(node: &Cluster, seed: SocketAddr) -> Result<Found, Box<dyn Error>> {
    for _ in 0..20 {
        let found = node.whereis_within("worker", PATIENCE).await?;
        if found != Found::NotFound {
            return Ok(found);
        }
        let why = match node.why_outside() {
            Some(why) => why.to_string(),
            None if node.active_view().await?.is_empty() => format!("{seed} has not answered yet"),
            None => "nobody has registered it".into(),
        };
        println!("still looking for \"worker\": {why}");
    }
    Err("nobody registered as \"worker\"".into())
}
