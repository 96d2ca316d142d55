//! A shop that recommends things, and goes on selling while its recommender is away.
//!
//! Nothing here waits for a service that is not there: the answer comes from the service if it gives one in time, else
//! from the last good answer, else from a plain default. What the customer gets says which of them it was.
//!
//! ```sh
//! cargo run --example graceful_degradation shop        127.0.0.1:7421
//! cargo run --example graceful_degradation recommender 127.0.0.1:7422 127.0.0.1:7421
//! ```
//!
//! Type `ask` in the shop; end the recommender and type it again.

use rumormill_net_quic::{Cluster, Error, Incoming, Mailbox, News, Offer};
use std::env;
use std::error::Error as StdError;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, BufReader, stdin};

/// How long a customer waits for something that is nice to have.
const PATIENCE: Duration = Duration::from_millis(500);

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
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let node = Cluster::builder("shop").secret("not very secret");
    match arguments[..] {
        ["shop", listen] => shop(node.listen(addr(listen)).start().await?).await,
        ["recommender", listen, seed] => {
            recommender(node.listen(addr(listen)).seeds([addr(seed)]).start().await?).await
        }
        _ => usage("say: graceful_degradation shop LISTEN, or graceful_degradation recommender LISTEN SEED"),
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

async fn recommender(node: Cluster) -> Result<(), Box<dyn StdError>> {
    let mut mailbox = node.mailbox::<String>().await?;
    node.register("recommender", Offer::new().at(mailbox.address().raw())).await?;
    println!("recommending");
    while let Some(incoming) = mailbox.recv().await {
        if let Incoming::Question { message: customer, asked } = incoming {
            let _ = asked.answer(&format!("a kite for {customer}")).await;
        }
    }
    Ok(())
}

async fn shop(node: Cluster) -> Result<(), Box<dyn StdError>> {
    println!("the shop listens at {}", node.local_addr());
    let mailbox = node.mailbox::<()>().await?;
    let mut watching = node.watch_services("recommender").await?;
    let mut lines = BufReader::new(stdin()).lines();
    let mut last_good = None;
    loop {
        tokio::select! {
            biased;
            // News is for people here; the shop itself needs none of it.
            Some(news) = watching.recv() => match news {
                News::Registered(_) => println!("* the recommender is there"),
                News::Down { reason, .. } => println!("* the recommender is gone: {reason:?}"),
                _ => {}
            },
            line = lines.next_line() => {
                let Some("ask") = line?.as_deref() else { return Ok(()) };
                match recommend(&node, &mailbox, "eve").await {
                    Ok(fresh) => {
                        println!("fresh: {fresh}");
                        last_good = Some(fresh);
                    }
                    Err(error) => {
                        let (kind, text) = last_good.as_deref().map_or(("default", "a book"), |it| ("stale", it));
                        println!("{kind}: {text} ({error})");
                    }
                }
            }
        }
    }
}

/// Asks the recommender, for as long as a customer waits. Errors are named: not there, gone, unreachable, too slow.
async fn recommend(node: &Cluster, mailbox: &Mailbox<()>, customer: &str) -> Result<String, Error> {
    let found = node.whereis("recommender")?;
    let to = found.typed::<String>().ok_or_else(|| Error::Unreachable("no recommender".into()))?;
    mailbox.call(to, &customer.to_string(), PATIENCE).await
}
