//! What mail allocates between two nodes in steady state.

mod pair;

use allocation_counter::measure;
use pair::Pair;

/// What each of many allocates: how many times none, once, twice and so on.
fn counts(one: impl Fn(&mut Pair)) -> Vec<u64> {
    let mut pair = Pair::new();
    let mut counts = Vec::new();
    for _ in 0..6_400 {
        let count = measure(|| one(&mut pair)).count_total as usize;
        counts.resize(counts.len().max(count + 1), 0);
        counts[count] += 1;
    }
    counts
}

#[test]
fn a_message_to_ones_own_node_allocates_nothing() {
    assert_eq!(counts(Pair::local), [6_400]);
}

#[test]
fn a_message_to_another_node_allocates_its_frame_and_one_in_64_the_word_that_it_is_heard() {
    assert_eq!(counts(Pair::remote), [0, 6_300, 100]);
}

#[test]
fn a_call_allocates_its_two_frames_and_one_in_64_two_words_that_they_are_heard() {
    assert_eq!(counts(Pair::call).iter().zip(0..).map(|(times, count)| times * count).sum::<u64>(), 13_000);
}
