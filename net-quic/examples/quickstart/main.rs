//! Two terminals: a worker that registers itself, and a caller that finds it and asks it something.
//!
//! ```sh
//! cargo run --example quickstart worker     # in one terminal
//! cargo run --example quickstart caller     # in another
//! ```
//!
//! Start them in any order, and as many callers as you like.

use rumormill_net_quic::{Address, Cluster, Incoming, Offer};
use serde::{Deserialize, Serialize};
use std::env;
use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

/// Where the worker listens, and where the caller comes into the cluster. A second argument changes it.
const HERE: &str = "127.0.0.1:7400";

/// What a worker may be asked. Any type will do that serde reads and writes.
#[derive(Serialize, Deserialize)]
enum Ask {
    Add(i64, i64),
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (role, addr) = (env::args().nth(1), env::args().nth(2));
    let addr = addr.as_deref().unwrap_or(HERE).parse()?;
    match role.as_deref() {
        Some("worker") => worker(addr).await,
        Some("caller") => caller(addr).await,
        _ => Err("say what to be: `quickstart worker` or `quickstart caller`".into()),
    }
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

    // A registration takes a moment to be known everywhere: look for a while.
    let found = node.whereis_within("worker", Duration::from_secs(60)).await?;
    let worker: Address<Ask> = found.typed().ok_or("nobody registered as \"worker\"")?;
    println!("found the worker on node {}", worker.raw().node);

    // A call ends with the answer, or with the reason why there is none: `Timeout`, `Gone` or `Unreachable`.
    let mailbox = node.mailbox::<()>().await?;
    let sum: i64 = mailbox.call(worker, &Ask::Add(2, 3), Duration::from_secs(5)).await?;
    println!("2 + 3 = {sum}");

    // Leaving is told to everybody; a node that just ends is found dead some seconds later.
    node.leave().await?;
    node.shutdown().await;
    Ok(())
}
