//! A pool of workers, and a desk that gives each job to whoever has least to do.
//!
//! Every worker says in its service's metadata how many jobs it has, and says it again when that changes. The desk needs
//! no protocol with the workers and no list of its own: it watches the registry.
//!
//! ```sh
//! cargo run --example worker_pool desk   127.0.0.1:7411
//! cargo run --example worker_pool worker 127.0.0.1:7412 127.0.0.1:7411 ann
//! cargo run --example worker_pool worker 127.0.0.1:7413 127.0.0.1:7411 bob
//! ```
//!
//! Type `job` at the desk, and `done` at a worker.

use rumormill_net_quic::{
    Address, Asked, Cluster, Error, Incoming, Mailbox, News, NodeId, Offer, Service, ServiceExt,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::env;
use std::error::Error as StdError;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, BufReader, stdin};

/// What a worker says of itself.
#[derive(Serialize, Deserialize)]
struct Load {
    jobs: usize,
    name: String,
}

/// A job, by its number.
#[derive(Serialize, Deserialize)]
struct Job(u32);

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
    let node = Cluster::builder("worker pool").secret("not very secret");
    match arguments[..] {
        ["desk", listen] => desk(node.listen(addr(listen)).start().await?).await,
        ["worker", listen, seed, name] => {
            let node = node.listen(addr(listen)).seeds([addr(seed)]).start().await?;
            worker(node, name).await
        }
        _ => usage("say: worker_pool desk LISTEN, or worker_pool worker LISTEN SEED NAME"),
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

// --- a worker

async fn worker(node: Cluster, name: &str) -> Result<(), Box<dyn StdError>> {
    let mut mailbox = node.mailbox::<Job>().await?;
    let mut under_way = VecDeque::new();
    publish(&node, &mailbox, name, 0).await?;
    println!("{name} is ready");
    let mut lines = BufReader::new(stdin()).lines();
    loop {
        tokio::select! {
            biased;
            incoming = mailbox.recv() => match incoming {
                Some(Incoming::Question { message: Job(number), asked }) => {
                    println!("job {number} begins");
                    under_way.push_back((number, asked));
                }
                Some(_) => continue,
                None => return Ok(()),
            },
            line = lines.next_line() => match line?.as_deref() {
                Some("done") => finish(&mut under_way, name).await,
                Some(_) => continue,
                None => return Ok(()),
            },
        }
        publish(&node, &mailbox, name, under_way.len()).await?;
    }
}

/// Registering again under the same name replaces what the service says of itself, everywhere.
async fn publish(node: &Cluster, mailbox: &Mailbox<Job>, name: &str, jobs: usize) -> Result<(), Error> {
    let offer = Offer::new().at(mailbox.address().raw()).meta(&Load { jobs, name: name.into() })?;
    node.register("worker", offer).await
}

async fn finish(under_way: &mut VecDeque<(u32, Asked)>, name: &str) {
    let Some((number, asked)) = under_way.pop_front() else { return };
    println!("job {number} is done");
    let _ = asked.answer(name).await; // the desk may be gone
}

// --- the desk

/// The workers by their nodes: where each takes jobs, and what it says of itself.
type Pool = BTreeMap<NodeId, (Address<Job>, Load)>;

async fn desk(node: Cluster) -> Result<(), Box<dyn StdError>> {
    println!("the desk listens at {}", node.local_addr());
    let mut watching = node.watch_services("worker").await?;
    let mut lines = BufReader::new(stdin()).lines();
    let (mut pool, mut number) = (Pool::new(), 0);
    loop {
        tokio::select! {
            biased;
            Some(news) = watching.recv() => learn(&mut pool, &news)?,
            line = lines.next_line() => {
                let Some("job") = line?.as_deref() else { return Ok(()) };
                let Some((to, load)) = pool.values().min_by_key(|(_, load)| (load.jobs, &load.name)) else {
                    println!("there is nobody to do it");
                    continue;
                };
                number += 1;
                println!("job {number} goes to {}", load.name);
                tokio::spawn(give(node.clone(), *to, number));
            }
        }
    }
}

/// A watch begins with those who are there, and tells every change once. Nobody has to be asked, and the dead go by
/// themselves.
fn learn(pool: &mut Pool, news: &News) -> Result<(), Error> {
    match news {
        News::Services(workers) => {
            pool.clear();
            workers.iter().try_for_each(|worker| note(pool, worker))
        }
        News::Registered(worker) | News::Updated(worker) => note(pool, worker),
        News::Unregistered(worker) | News::Down { service: worker, .. } => {
            if let Some((_, load)) = pool.remove(&worker.owner) {
                println!("{} is gone", load.name);
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn note(pool: &mut Pool, worker: &Service) -> Result<(), Error> {
    let (load, Some(to)) = (worker.meta_as::<Load>()?, worker.address()) else { return Ok(()) };
    println!("{} has {} jobs", load.name, load.jobs);
    pool.insert(worker.owner, (Address::new(to), load));
    Ok(())
}

/// Gives a job away and waits until it is done, or until it is certain that it will not be.
async fn give(node: Cluster, to: Address<Job>, number: u32) -> Result<(), Error> {
    let mailbox = node.mailbox::<()>().await?;
    match mailbox.call::<_, String>(to, &Job(number), Duration::from_secs(3600)).await {
        Ok(name) => println!("job {number} was done by {name}"),
        Err(error) => println!("job {number} is lost: {error}"),
    }
    Ok(())
}
