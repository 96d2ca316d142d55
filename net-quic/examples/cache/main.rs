//! A cache that forgets what somebody said when that somebody is gone.
//!
//! Prices come from a shop. They are kept as long as the shop stands by them: when its service goes down, or another life
//! of its node begins, whatever it said is dropped. No time to live has to be guessed.
//!
//! ```sh
//! cargo run --example cache customer 127.0.0.1:7431
//! cargo run --example cache shop     127.0.0.1:7432 127.0.0.1:7431 7
//! ```
//!
//! Type `price kite` as the customer, twice; end the shop, and type it again.

use rumormill_net_quic::{Address, Cluster, Error, Incoming, Mailbox, News, Offer, Service};
use std::collections::BTreeMap;
use std::env;
use std::error::Error as StdError;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, BufReader, stdin};

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
    let node = Cluster::builder("prices").secret("not very secret");
    match arguments[..] {
        ["customer", listen] => customer(node.listen(addr(listen)).start().await?).await,
        ["shop", listen, seed, price] => {
            let price = price.parse().unwrap_or_else(|_| usage("PRICE is a whole number, as 7"));
            shop(node.listen(addr(listen)).seeds([addr(seed)]).start().await?, price).await
        }
        _ => usage("say: cache customer LISTEN, or cache shop LISTEN SEED PRICE"),
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

async fn shop(node: Cluster, price: u32) -> Result<(), Box<dyn StdError>> {
    let mut mailbox = node.mailbox::<String>().await?;
    node.register("shop", Offer::new().at(mailbox.address().raw())).await?;
    println!("the shop is open");
    while let Some(incoming) = mailbox.recv().await {
        if let Incoming::Question { message: ware, asked } = incoming {
            println!("asked for {ware}");
            let _ = asked.answer(&price).await;
        }
    }
    Ok(())
}

/// What shops have said, each by the mailbox that said it: another life of a node has another one.
#[derive(Default)]
struct Prices {
    known: BTreeMap<String, (Address<String>, u32)>,
}

impl Prices {
    async fn price(&mut self, node: &Cluster, mailbox: &Mailbox<()>, ware: &str) -> Result<String, Error> {
        if let Some((_, price)) = self.known.get(ware) {
            return Ok(format!("{ware} costs {price}, remembered"));
        }
        let Some(shop) = node.whereis("shop")?.typed::<String>() else {
            return Ok(format!("nobody sells {ware}"));
        };
        let price = mailbox.call(shop, &ware.to_string(), Duration::from_secs(2)).await?;
        self.known.insert(ware.into(), (shop, price));
        Ok(format!("{ware} costs {price}, asked"))
    }

    /// Forgets what a service said.
    fn forget(&mut self, service: &Service) {
        let before = self.known.len();
        self.known.retain(|_, (shop, _)| Some(shop.raw()) != service.address());
        println!("* a shop is gone: {} prices forgotten", before - self.known.len());
    }

    /// Forgets what was said by anybody who is not there now.
    fn retain(&mut self, services: &[Service]) {
        let is_there = |shop: &Address<String>| services.iter().any(|it| it.address() == Some(shop.raw()));
        self.known.retain(|_, (shop, _)| is_there(shop));
    }
}

async fn customer(node: Cluster) -> Result<(), Box<dyn StdError>> {
    println!("the customer listens at {}", node.local_addr());
    let mailbox = node.mailbox::<()>().await?;
    let mut watching = node.watch_services("shop").await?;
    let mut lines = BufReader::new(stdin()).lines();
    let mut prices = Prices::default();
    loop {
        tokio::select! {
            // News first: what it makes untrue is not told any more.
            biased;
            Some(news) = watching.recv() => match &news {
                News::Down { service, .. } | News::Unregistered(service) => prices.forget(service),
                // After a gap in the news comes a snapshot, which stands in for all that was missed.
                News::Services(services) => prices.retain(services),
                News::Registered(_) => println!("* a shop is there"),
                _ => {}
            },
            line = lines.next_line() => {
                let line = line?.unwrap_or_default();
                let Some(ware) = line.strip_prefix("price ") else { return Ok(()) };
                let said = prices.price(&node, &mailbox, ware).await;
                println!("{}", said.unwrap_or_else(|error| format!("no price for {ware}: {error}")));
            }
        }
    }
}
