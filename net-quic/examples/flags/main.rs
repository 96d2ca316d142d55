//! Feature flags that every process of a cluster reads from its own memory: a replicated `Map<String, bool>`.
//!
//! Three terminals, started in any order:
//!
//! ```sh
//! cargo run --example flags ann 127.0.0.1:7401
//! cargo run --example flags bob 127.0.0.1:7402 127.0.0.1:7401
//! cargo run --example flags eve 127.0.0.1:7403 127.0.0.1:7401
//! ```
//!
//! Then type `put dark true`, `get dark`, `keys`, `remove dark` or `quit` in any of them. Kill one, start it again, and
//! ask it: the others have refilled it.

use rumormill_net_quic::{Cluster, Error, Map, schema_of};
use std::env;
use std::error::Error as StdError;
use std::net::SocketAddr;
use std::process::ExitCode;
use tokio::io::{AsyncBufReadExt as _, BufReader, stdin};

/// The schema of the map, by a number of our own: its values are booleans.
const BOOLEANS: u32 = 1;

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

async fn run() -> Result<(), Box<dyn StdError>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [name, listen, seeds @ ..] = &arguments[..] else {
        usage("say: flags NAME LISTEN [SEED]");
    };
    let seeds = seeds.iter().map(|seed| addr(seed));

    // Whatever is no boolean is refused: when it is written here, and when it comes from a node that does not know better.
    let node = Cluster::builder("flags").secret("not very secret").listen(addr(listen)).seeds(seeds);
    let node = node.map_with("flags", schema_of::<bool>(BOOLEANS)).start().await?;
    println!("{name} listens at {}", node.local_addr());

    // Reads are this node's own copy. A watch begins with what is there, and tells every change from then on.
    let flags: Map<String, bool> = node.map_with("flags", BOOLEANS).await?;
    let (entries, mut changes) = flags.watch().await?;
    println!("{} flags are set", entries.len());

    let mut lines = BufReader::new(stdin()).lines();
    loop {
        tokio::select! {
            biased;
            Some(change) = changes.recv() => {
                let change = change?;
                match change.new {
                    Some(value) => println!("* {} = {value}", change.key),
                    None => println!("* {} is removed", change.key),
                }
            }
            line = lines.next_line() => {
                let Some(line) = line? else { break };
                if line == "quit" {
                    break;
                }
                obey(&node, &flags, &line).await.unwrap_or_else(|error| println!("error: {error}"));
            }
        }
    }
    node.leave().await?;
    node.shutdown().await;
    println!("{name} has left");
    Ok(())
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

async fn obey(node: &Cluster, flags: &Map<String, bool>, line: &str) -> Result<(), Error> {
    match line.split_whitespace().collect::<Vec<_>>()[..] {
        ["put", key, "true"] => flags.put(&key.into(), &true).await.map(drop),
        ["put", key, "false"] => flags.put(&key.into(), &false).await.map(drop),
        // The types of this program allow nothing else. A program with other types meets the schema.
        ["put", key, value] => {
            let careless: Map<String, String> = node.map_with("flags", BOOLEANS).await?;
            careless.put(&key.into(), &value.into()).await.map(drop)
        }
        ["get", key] => {
            match flags.get(&key.into())? {
                Some(value) => println!("{key} = {value}"),
                None => println!("{key} is not set"),
            }
            Ok(())
        }
        ["keys"] => {
            println!("keys: {}", flags.keys()?.join(" "));
            Ok(())
        }
        ["remove", key] => flags.remove(&key.into()).await.map(drop),
        _ => {
            println!("try: put KEY true, put KEY false, get KEY, keys, remove KEY, quit");
            Ok(())
        }
    }
}
