//! What mail allocates between two nodes in steady state.

mod pair;

use allocation_counter::measure;
use pair::Pair;

/// The most that one of many allocates.
fn most(one: impl Fn(&mut Pair)) -> u64 {
    let mut pair = Pair::new();
    (0..2_000).map(|_| measure(|| one(&mut pair)).count_total).max().unwrap_or(0)
}

#[test]
fn a_message_to_ones_own_node_allocates_nothing() {
    assert_eq!(most(Pair::local), 0);
}

#[test]
fn a_message_to_another_node_allocates_its_frame() {
    assert_eq!(most(Pair::remote), 1);
}

#[test]
fn a_call_allocates_its_two_frames() {
    assert_eq!(most(Pair::call), 2);
}
