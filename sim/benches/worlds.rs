//! What a world costs: `cargo bench -p rumormill-sim --bench worlds`.
//!
//! A thousand nodes come in one after another and then broadcast 30 messages from random senders over links of 10 to
//! 50 ms, without loss, checks on: the setting of the peers' figures. Prints what was done; callgrind counts the
//! instructions of it, and massif the bytes:
//!
//! ```text
//! valgrind --tool=callgrind --toggle-collect='worlds::measured*' BINARY [NODES]
//! ```
#![allow(missing_docs)]
// A program of its own, which prints.
#![allow(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros)]

use rumormill_sim::scenario::{Check, Scenario, Workload};
use rumormill_sim::{Options, Outcome, Profile, Run};

fn main() {
    let nodes = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(1_000);
    let scenario = Scenario::new("random senders", nodes)
        .ending_at(45)
        .profile(Profile::Ideal)
        .latency_ms(10, 50)
        .config(|config| config.replica = false)
        .workload(5, 35, Workload::broadcast("news", 1))
        .always(Check::reliability(1.0));
    let outcome = measured(&scenario);
    let delivered = outcome.stats.delivered.max(1) as f64;
    let (events, messages) = (outcome.counters.events as f64, outcome.counters.messages as f64);
    println!("{nodes} nodes, {delivered} deliveries, {events} events, {messages} messages");
    println!("{:.2} events and {:.2} messages a delivery", events / delivered, messages / delivered);
}

/// Does what is measured: never inlined, so that callgrind finds it.
#[inline(never)]
fn measured(scenario: &Scenario) -> Outcome {
    let options = Options { check: true, ..Options::default() };
    Run::new(scenario, 1.into(), options).expect("a scenario that holds together").finish()
}
