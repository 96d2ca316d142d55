//! The input log and the trace hash: what determines a run, written down and as one number.

mod arbitrary;

use arbitrary::{addr, bytes, input, node_id, now, number};
use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use rumormill_core::frame::{NeighborAnswer, NeighborPriority};
use rumormill_core::log::{LogError, LogFault, LogHeader, Reader, VERSION, encode_boot, encode_record};
use rumormill_core::{
    Channel, CloseReason, Config, Contact, Dialer, Durability, Effect, Frame, Incarnation, Input, Instant,
    MapConfig, MapId, NodeId, Now, Row, Space, Token, TraceHash, Wall,
};
use std::collections::BTreeMap;
use std::sync::Arc;

fn row() -> impl Strategy<Value = Row> {
    let space = prop_oneof![Just(Space::Marks), number().prop_map(|map| Space::Entries(MapId(map)))];
    (space, bytes(), option::of(bytes())).prop_map(|(space, key, value)| Row { space, key, value })
}

fn header() -> impl Strategy<Value = LogHeader> {
    let config = (any::<u8>(), any::<bool>(), ".{0,9}").prop_map(|(arwl, refill, name)| {
        let maps = vec![MapConfig { name, schema: 7 }];
        Arc::new(Config { arwl, refill, maps, ..Config::default() })
    });
    (now(), node_id(), vec(addr(), 0..4), config, any::<[u8; 32]>(), vec(row(), 0..4)).prop_map(
        |(now, id, addrs, config, seed, recovered)| LogHeader { now, id, addrs, config, seed, recovered },
    )
}

/// Writes a log and tells where each record begins.
fn written(header: &LogHeader, records: &[(Now, Input)]) -> (Vec<u8>, Vec<usize>) {
    let mut log = Vec::new();
    encode_boot(header, &mut log);
    let mut begins = Vec::new();
    for (now, input) in records {
        begins.push(log.len());
        encode_record(now, input, &mut log);
    }
    (log, begins)
}

/// Reads as far as it goes.
fn read(log: Vec<u8>) -> (Vec<(Now, Input)>, Option<LogError>) {
    let reader = match Reader::new(Bytes::from(log)) {
        Ok(reader) => reader,
        Err(error) => return (Vec::new(), Some(error)),
    };
    let mut records = Vec::new();
    for record in reader {
        match record {
            Ok(record) => records.push(record),
            Err(error) => return (records, Some(error)),
        }
    }
    (records, None)
}

fn traced(now: &Now, input: &Input) -> u64 {
    let mut trace = TraceHash::default();
    trace.input(now, input);
    trace.value()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_log_gives_back_the_boot_and_every_input(header in header(), records in vec((now(), input()), 0..20)) {
        let (log, _) = written(&header, &records);
        let reader = Reader::new(log.into()).expect("the log was just written");
        prop_assert_eq!(reader.header(), &header);
        let read: Result<Vec<_>, _> = reader.collect();
        prop_assert_eq!(read, Ok(records));
    }

    #[test]
    fn a_flipped_byte_is_noticed_where_it_is(header in header(), records in vec((now(), input()), 1..4), bit in 0..8_u32) {
        let (log, begins) = written(&header, &records);
        for at in 0..log.len() {
            let mut damaged = log.clone();
            damaged[at] ^= 1 << bit;
            let before = begins.partition_point(|begin| *begin <= at);
            let (good, error) = read(damaged);
            let error = error.expect("the damage was not noticed");
            prop_assert_eq!(&good[..], &records[..before.saturating_sub(1)]);
            prop_assert_eq!(error.record, before.checked_sub(1).map(|record| record as u64));
            prop_assert!(error.offset <= at as u64);
            if let Some(record) = error.record {
                prop_assert_eq!(error.offset, begins[record as usize] as u64);
            }
        }
    }

    #[test]
    fn a_log_cut_off_gives_every_whole_record_and_says_where_it_ends(header in header(), records in vec((now(), input()), 1..4)) {
        let (log, begins) = written(&header, &records);
        let mut ends = begins[1..].to_vec();
        ends.push(log.len());
        for end in 0..log.len() {
            let (good, error) = read(log[..end].to_vec());
            let whole = ends.partition_point(|whole| *whole <= end);
            prop_assert_eq!(&good[..], &records[..whole]);
            if begins.contains(&end) {
                prop_assert_eq!(error, None, "the log ends between two records");
                continue;
            }
            let error = error.expect("the cut was not noticed");
            let record = (end > begins[0]).then_some(whole as u64);
            prop_assert_eq!(error.record, record);
            prop_assert!(matches!(error.fault, LogFault::Truncated { missing: 1.. }), "{:?}", error);
        }
    }

    #[test]
    fn every_field_of_an_input_reaches_the_trace(now in now(), input in input(), bit in 0..8_u32) {
        let record = postcard::to_allocvec(&(now, &input)).expect("an input has a postcard form");
        for at in 0..record.len() {
            let mut changed = record.clone();
            changed[at] ^= 1 << bit;
            // Every byte belongs to one field; a padded number may still be the same.
            let Ok((other_now, other)) = postcard::from_bytes::<(Now, Input)>(&changed) else { continue };
            if (other_now, &other) != (now, &input) {
                prop_assert_ne!(traced(&other_now, &other), traced(&now, &input), "{:?} and {:?}", input, other);
            }
        }
    }

    #[test]
    fn the_same_inputs_give_the_same_trace(records in vec((now(), input()), 0..9)) {
        let mut traces = [TraceHash::default(), TraceHash::default()];
        for trace in &mut traces {
            records.iter().for_each(|(now, input)| trace.input(now, input));
        }
        prop_assert_eq!(traces[0].value(), traces[1].value());
        prop_assert_eq!(traces[0].steps(), records.len() as u64);
    }
}

fn header_with_nothing() -> LogHeader {
    LogHeader {
        now: Now::default(),
        id: NodeId([1; 32]),
        addrs: Vec::new(),
        config: Arc::default(),
        seed: [0; 32],
        recovered: Vec::new(),
    }
}

fn contact(n: u8) -> Contact {
    Contact::new(NodeId([n; 32]), Incarnation(1), &[])
}

/// Effects of which no two are equal: the first of each kind, then others with one field changed.
fn effects() -> Vec<Effect> {
    let (one, two) = (NodeId([1; 32]), NodeId([2; 32]));
    let dial = |contact| Effect::Dial { contact };
    let send = |to, channel, frame| Effect::Send { to, channel, frame };
    let close = |peer, dialer, reason| Effect::Close { peer, dialer, reason };
    let persist = |token, class, rows| Effect::Persist { token: Token(token), class, rows };
    let row = |space, key: &'static str, value: Option<&'static str>| Row {
        space,
        key: key.into(),
        value: value.map(Bytes::from),
    };
    vec![
        dial(contact(1)),
        dial(contact(2)),
        dial(Contact::new(one, Incarnation(2), &[])),
        dial(Contact::new(one, Incarnation(1), &["10.0.0.1:1".parse().expect("an address")])),
        dial(Contact::new(one, Incarnation(1), &["10.0.0.1:2".parse().expect("an address")])),
        dial(Contact::new(one, Incarnation(1), &["[::1]:1".parse().expect("an address")])),
        send(one, Channel::Control, Frame::Prune),
        send(two, Channel::Control, Frame::Prune),
        send(one, Channel::Gossip, Frame::Prune),
        send(one, Channel::Control, Frame::Graft { id: None }),
        close(one, None, CloseReason::Idle),
        close(two, None, CloseReason::Idle),
        close(one, Some(Dialer::Local), CloseReason::Idle),
        close(one, Some(Dialer::Remote), CloseReason::Idle),
        close(one, None, CloseReason::Crossed),
        persist(1, Durability::Sync, vec![]),
        persist(2, Durability::Sync, vec![]),
        persist(1, Durability::Async, vec![]),
        persist(1, Durability::Sync, vec![row(Space::Marks, "k", None)]),
        persist(1, Durability::Sync, vec![row(Space::Marks, "k", None), row(Space::Marks, "k", None)]),
        persist(1, Durability::Sync, vec![row(Space::Marks, "l", None)]),
        persist(1, Durability::Sync, vec![row(Space::Marks, "k", Some(""))]),
        persist(1, Durability::Sync, vec![row(Space::Marks, "k", Some("v"))]),
        persist(1, Durability::Sync, vec![row(Space::Entries(MapId(0)), "k", None)]),
        persist(1, Durability::Sync, vec![row(Space::Entries(MapId(1)), "k", None)]),
    ]
}

#[test]
fn every_field_of_an_effect_reaches_the_trace() {
    let mut seen = BTreeMap::new();
    for effect in effects() {
        let mut trace = TraceHash::default();
        trace.effects(std::slice::from_ref(&effect));
        let twin = seen.insert(trace.value(), effect.clone());
        assert_eq!(twin, None, "has the trace of {effect:?}");
    }
}

#[test]
fn a_trace_tells_orders_steps_and_digests_apart() {
    let effects = effects();
    let (first, second) = (&effects[..1], &effects[1..2]);
    let swapped = [second, first].concat();
    let runs: [&[&[Effect]]; 6] = [&[], &[&[]], &[&[], &[]], &[first, second], &[&effects[..2]], &[&swapped]];
    let mut seen: Vec<u64> = runs
        .iter()
        .flat_map(|steps| {
            let mut trace = TraceHash::default();
            steps.iter().for_each(|effects| trace.effects(effects));
            let mut digested = trace.clone();
            digested.digest(1);
            let mut other = trace.clone();
            other.digest(2);
            [trace.value(), digested.value(), other.value()]
        })
        .collect();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 3 * runs.len(), "two different runs have one trace");
}

fn golden_records() -> Vec<(Now, Input)> {
    let now = Now { mono: Instant(300), wall: Wall(1) };
    let neighbor = Frame::Neighbor { contact: contact(1), priority: NeighborPriority::High };
    let accepted = Frame::NeighborReply(NeighborAnswer::Accepted);
    let from = NodeId([1; 32]);
    vec![
        (now, Input::Timeout),
        (now, Input::Frame { from, channel: Channel::Control, frame: neighbor }),
        (now, Input::Frame { from, channel: Channel::Control, frame: accepted }),
        (now, Input::LinkFull { peer: from, channel: Channel::Gossip }),
    ]
}

#[test]
fn the_form_of_a_record_never_changes() {
    let mut log = Vec::new();
    let (now, input) = &golden_records()[2];
    encode_record(now, input, &mut log);
    let hex: String = log.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, RECORD.replace(' ', ""), "old logs would not replay: raise log::VERSION");
}

/// Length, check, clocks, input, sender, channel, length of the frame, the frame.
const RECORD: &str = "2e000000 c18e14e1 ac0201 01 200101010101010101010101010101010101010101010101010101010101010101 00 \
                      07 03000000 0500 00";

#[test]
fn a_trace_is_the_same_on_every_machine() {
    let mut trace = TraceHash::default();
    for (now, input) in golden_records() {
        trace.input(&now, &input);
        trace.effects(&effects());
    }
    trace.digest(42);
    let value = trace.value();
    assert_eq!(value, TRACE, "a changed fold voids every recorded trace hash: {value:#x}");
}

const TRACE: u64 = 0x5BFA_B244_EBA9_2942;

#[test]
fn a_log_that_this_build_cannot_read_says_why() {
    let (log, _) = written(&header_with_nothing(), &[]);
    let with = |at: usize, byte: u8| {
        let mut log = log.clone();
        log[at] = byte;
        read(log).1.expect("the log was accepted").to_string()
    };
    assert_eq!(with(0, b'R'), "input log, boot at byte 0: not an input log, \"rumorlog\" expected");
    assert_eq!(with(8, 99), format!("input log, boot at byte 8: version 99 found, {VERSION} expected"));
    assert_eq!(
        with(10, !log[10]),
        "input log, boot at byte 10: written by a build with another configuration; replay it with that build"
    );
    assert_eq!(
        with(30, !log[30]),
        "input log, boot at byte 18: checksum differs, the bytes are not those that were written"
    );
}

#[test]
fn a_reader_ends_after_its_first_error() {
    let (mut log, begins) = written(&header_with_nothing(), &golden_records());
    log[begins[1] + 9] ^= 1;
    let mut reader = Reader::new(log.into()).expect("the boot is whole");
    assert!(matches!(reader.next(), Some(Ok(_))));
    let error = LogError { record: Some(1), offset: begins[1] as u64, fault: LogFault::Damaged };
    assert_eq!(reader.next(), Some(Err(error)));
    assert_eq!(reader.next(), None);
}
