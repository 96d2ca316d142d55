//! Chat rooms for people at terminals, on as many nodes as there are people.
//!
//! ```sh
//! scenarios/examples/chat/run-demo.sh seed      # in one terminal
//! scenarios/examples/chat/run-demo.sh node 1    # in another
//! scenarios/examples/chat/run-demo.sh node 2    # in a third
//! ```
//!
//! Type `create general` in one and `join general` in the others, then `send general good day`; `help` tells the rest.
//!
//! What a room is stands in [`Rooms`], which is pure: it hears events and gives commands. The scenarios of
//! `scenarios/apps` put it through partitions and crashes by the thousand; here it runs on QUIC, unchanged. This file is
//! all that a terminal needs beside it: names for nodes, a prompt, and transcripts.

use rumormill_net_quic::{
    Acceptor, Cluster, Error, Hosted, News, NodeId, Offer, ServiceExt as _, Stream, Watching,
};
use rumormill_scenarios::apps::rooms::{Heard, RoomError, Rooms};
use std::collections::{BTreeMap, VecDeque};
use std::env;
use std::error::Error as StdError;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, stdin};

/// Lines of a room that a node keeps.
const TRANSCRIPT_MAX: usize = 1_000;
/// Bytes of a room's name that a peer may ask for, and of a transcript that is read.
const NAME_LEN_MAX: u64 = 256;
const TRANSCRIPT_LEN_MAX: u64 = 1 << 20;

const HELP: &str = "create ROOM · stop ROOM · join ROOM · leave ROOM · send ROOM TEXT · rooms · \
                    transcript ROOM NODE · quit";

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
    let [name, folder, listen, seeds @ ..] = &arguments[..] else {
        usage("say: chat NAME FOLDER LISTEN [SEED]");
    };
    let seeds = seeds.iter().map(|seed| addr(seed));
    // The folder holds the node's key: by it a node that starts again is known, and its name stays its own.
    let node = Cluster::builder("chat").secret("not very secret").name(name).folder(folder);
    let node = node.listen(addr(listen)).seeds(seeds).start().await?;
    // Everybody is to find the name of everybody: a service that says nothing but that.
    node.register("who", Offer::new().meta(name)?).await?;
    let rooms = node.host(Rooms::default()).await?;
    println!("{name} listens at {}; {HELP}", node.local_addr());

    let (streams, people) = (node.accept_streams("transcript")?, node.watch_services("who").await?);
    let (names, transcripts) = (BTreeMap::new(), BTreeMap::new());
    Chat { node, rooms, streams, people, names, transcripts }.run().await
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

/// One person's terminal.
struct Chat {
    node: Cluster,
    rooms: Hosted<Rooms>,
    streams: Acceptor,
    /// Who is there, by services that say it.
    people: Watching,
    names: BTreeMap<NodeId, String>,
    /// What was heard in each room.
    transcripts: BTreeMap<String, VecDeque<String>>,
}

impl Chat {
    async fn run(mut self) -> Result<(), Box<dyn StdError>> {
        let mut lines = BufReader::new(stdin()).lines();
        prompt();
        loop {
            tokio::select! {
                biased;
                moved = self.rooms.moved() => {
                    moved?;
                    self.show();
                }
                Some(news) = self.people.recv() => self.meet(&news),
                Some(stream) = self.streams.accept() => self.answer(stream),
                line = lines.next_line() => {
                    let Some(line) = line?.filter(|line| line != "quit") else { break };
                    self.obey(&line).await?;
                }
            }
        }
        self.node.leave().await?;
        self.node.shutdown().await;
        Ok(())
    }

    async fn obey(&mut self, line: &str) -> Result<(), Error> {
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            [] => {}
            ["help"] => println!("{HELP}"),
            ["transcript", room, node] => match self.fetch(room, node).await {
                Ok(text) => print!("transcript of {room} by {node}:\n{text}end of transcript\n"),
                Err(error) => println!("transcript of {room} by {node}: {error}"),
            },
            _ => return self.rooms.say(line).await,
        }
        prompt();
        Ok(())
    }

    /// Shows what the rooms have to tell.
    fn show(&mut self) {
        let heard: Vec<Heard> = self.rooms.with(|rooms| rooms.take_heard().collect());
        for heard in &heard {
            let line = self.line(heard);
            println!("{line}");
            if let Heard::Said { room, .. } = heard {
                let transcript = self.transcripts.entry(room.clone()).or_default();
                transcript.truncate(TRANSCRIPT_MAX - 1);
                transcript.push_front(line);
            }
        }
        if !heard.is_empty() {
            prompt();
        }
    }

    fn line(&self, heard: &Heard) -> String {
        match heard {
            Heard::Said { room, from, text } => format!("[{room}] <{}> {text}", self.name(from)),
            Heard::Available { room, node } => {
                format!("*** Room {room} available on {}", self.name(node))
            }
            Heard::Left { room, node } => format!("*** Room {room} left {}", self.name(node)),
            Heard::Refused {
                room,
                because: because @ (RoomError::AlreadyJoined | RoomError::RoomNotFound),
            } => {
                format!("{room}: {because:?}, {because}")
            }
            Heard::Rooms(rooms) if !rooms.is_empty() => {
                let mut lines = vec!["rooms:".to_string()];
                for (room, node) in rooms {
                    lines.push(format!("{room} on {}", self.name(node)));
                }
                lines.join("\n  ")
            }
            other => other.to_string(),
        }
    }

    /// Tells what a node is called; the beginning of its id, as long as it has not said.
    fn name(&self, id: &NodeId) -> String {
        self.names.get(id).cloned().unwrap_or_else(|| id.to_string())
    }

    /// Learns what nodes call themselves.
    fn meet(&mut self, news: &News) {
        let all = if let News::Services(all) = news { &all[..] } else { &[] };
        for service in all.iter().chain(news.service()) {
            let Ok(name) = service.meta_as::<String>() else { continue };
            if self.names.insert(service.owner, name.clone()).is_none() && service.owner != self.node.id() {
                println!("*** {name} is here");
            }
        }
    }

    /// Asks another node for its transcript of a room: the room's name one way, the text back.
    async fn fetch(&self, room: &str, name: &str) -> Result<String, Box<dyn StdError>> {
        let mut stream = self.node.open_stream(name, "transcript").await?;
        stream.write_all(room.as_bytes()).await?;
        stream.shutdown().await?;
        let mut text = String::new();
        stream.take(TRANSCRIPT_LEN_MAX).read_to_string(&mut text).await?;
        Ok(text)
    }

    /// Answers such a question beside everything else.
    fn answer(&self, mut stream: Stream) {
        let transcripts = self.transcripts.clone();
        tokio::spawn(async move {
            let mut room = String::new();
            (&mut stream).take(NAME_LEN_MAX).read_to_string(&mut room).await?;
            for line in transcripts.get(&room).into_iter().flatten().rev() {
                stream.write_all(format!("  {line}\n").as_bytes()).await?;
            }
            stream.shutdown().await
        });
    }
}

fn prompt() {
    print!("> ");
    let _ = std::io::stdout().flush();
}
