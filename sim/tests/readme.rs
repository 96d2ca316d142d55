//! The example of the README, word for word from the blank line on.

use rumormill_sim::Trial;
use rumormill_sim::scenario::{Check, Fault, Scenario, Workload};

#[test]
fn flags_survive_a_partition() {
    let scenario = Scenario::new("flags survive a partition", 100)
        .loss(0.05)
        .workload(5, 40, Workload::map_put("flags", 50, 20))
        .fault(10, Fault::partition([0.5, 0.5]).lasting(20))
        .eventually(30, Check::converged("flags"))
        .eventually(30, Check::exact("flags"));

    // A failure tells the property, the moment, and the seed that brings it back.
    Trial::new(&scenario).seeds(1..=5).assert_holds();
}

// Above ends the example.
#[test]
fn the_readme_shows_what_is_tested_here() {
    let (example, _) = include_str!("readme.rs").split_once("\n// Above").expect("the end of the example");
    let (_, example) = example.split_once("\n\n").expect("a blank line");
    let readme = include_str!("../../README.md");
    assert!(readme.contains(&format!("```rust\n{example}```\n")), "put this into the README:\n{example}");
}
