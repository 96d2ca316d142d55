//! What mail costs: `cargo bench -p rumormill-core --bench mail`. Prints the median time of an operation over rounds.
//!
//! Both nodes are counted, with their trace hashes: a remote message is a command, a frame in and everything between.
#![allow(missing_docs)]
// A driver of its own: it has a clock, and prints.
#![allow(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros)]

#[path = "../tests/pair/mod.rs"]
mod pair;

use pair::Pair;
use std::time::Instant;

const ROUNDS: usize = 31;
const OPERATIONS: u128 = 10_000;

fn main() {
    let benches: [(&str, fn(&mut Pair)); 3] =
        [("local_send", Pair::local), ("remote_send", Pair::remote), ("remote_call", Pair::call)];
    for (name, one) in benches {
        let mut pair = Pair::new();
        let mut rounds: Vec<u128> = (0..ROUNDS)
            .map(|_| {
                let start = Instant::now();
                (0..OPERATIONS).for_each(|_| one(&mut pair));
                start.elapsed().as_nanos()
            })
            .collect();
        rounds.sort_unstable();
        println!("{name:12} {:6} ns", rounds[ROUNDS / 2] / OPERATIONS);
    }
}
