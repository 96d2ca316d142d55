//! Files from one node to another by a tagged stream: as large as they like, with QUIC's own flow control.
//!
//! ```sh
//! cargo run --example blob take 127.0.0.1:7441 FOLDER
//! cargo run --example blob give 127.0.0.1:7441 FILE
//! ```
//!
//! Streams are not part of the gossip: they go straight from node to node, over connections of their own. Each is for
//! something, its tag, and whoever takes streams of that tag gets them with the id of the node at the other end.

use rumormill_net_quic::{Cluster, Found, Offer, Stream};
use std::env;
use std::error::Error as StdError;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Bytes of a file's name at most.
const NAME_LEN_MAX: u32 = 255;

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
    match arguments[..] {
        ["take", listen, folder] => take(addr(listen), Path::new(folder)).await,
        ["give", seed, file] => give(addr(seed), Path::new(file)).await,
        _ => usage("say: blob take LISTEN FOLDER, or blob give SEED FILE"),
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

async fn take(listen: SocketAddr, folder: &Path) -> Result<(), Box<dyn StdError>> {
    let node = Cluster::builder("blobs").secret("not very secret").listen(listen).start().await?;
    let mut streams = node.accept_streams("blob")?;
    // A service needs no mailbox: this one says only on which node blobs are taken.
    node.register("blobs", Offer::new()).await?;
    println!("taking at {}", node.local_addr());
    while let Some(mut stream) = streams.accept().await {
        match receive(&mut stream, folder).await {
            Ok((name, len)) => println!("took {name}: {len} bytes from {}", stream.peer()),
            Err(error) => println!("took nothing: {error}"),
        }
    }
    Ok(())
}

/// Reads one file: its name behind its length, then its bytes to the end, which is read only where the giver has really
/// ended. A giver that dies on the way is an error, never a short file.
async fn receive(stream: &mut Stream, folder: &Path) -> Result<(String, usize), Box<dyn StdError>> {
    let len = stream.read_u32().await?;
    if len > NAME_LEN_MAX {
        return Err("the name is too long".into());
    }
    let mut name = vec![0; len as usize];
    stream.read_exact(&mut name).await?;
    let name = String::from_utf8(name)?;
    let is_plain = Path::new(&name).file_name().is_some_and(|plain| plain == name.as_str());
    if !is_plain {
        return Err(format!("{name:?} is no plain name").into()); // nobody writes outside of the folder
    }
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await?;
    std::fs::write(folder.join(&name), &bytes)?;
    // The other half of the stream carries the answer.
    stream.write_all(format!("{} bytes", bytes.len()).as_bytes()).await?;
    stream.shutdown().await?;
    Ok((name, bytes.len()))
}

async fn give(seed: SocketAddr, file: &Path) -> Result<(), Box<dyn StdError>> {
    let listen = "127.0.0.1:0".parse()?;
    let node =
        Cluster::builder("blobs").secret("not very secret").listen(listen).seeds([seed]).start().await?;
    let Found::Remote(taker, _) = node.whereis_within("blobs", Duration::from_secs(60)).await? else {
        return Err("nobody takes blobs".into());
    };
    let name = file.file_name().and_then(|name| name.to_str()).ok_or("the file has no name to send")?;
    let mut stream = node.open_stream(taker, "blob").await?;
    stream.write_u32(u32::try_from(name.len())?).await?;
    stream.write_all(name.as_bytes()).await?;
    stream.write_all(&std::fs::read(file)?).await?;
    // Only this says that all of it was sent; a stream that is just dropped is an error at the other end.
    stream.shutdown().await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    println!("{taker} took {answer}");
    node.leave().await?;
    node.shutdown().await;
    Ok(())
}
