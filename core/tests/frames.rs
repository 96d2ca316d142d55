//! Frames on the wire: their bytes, their length, their fingerprint, and what becomes of bytes that are no frame.

mod arbitrary;

use arbitrary::{frame, node_id};
use bytes::{BufMut, Bytes};
use proptest::collection::vec;
use proptest::prelude::*;
use rumormill_core::frame::{
    ANNOUNCEMENTS_MAX, Aged, Announcement, Answered, BEATS_MAX, BODY_LEN_MAX, Beat, CONTACTS_MAX,
    DecodeError, DisconnectReason, ENTRIES_MAX, GOSSIP_HEADER_LEN_MAX, Gossip, HEADER_LEN, LIVES_MAX,
    MAIL_HEADER_LEN_MAX, Mail, MailKind, MemberEntry, MembersFrame, NeighborAnswer, NeighborPriority,
    OrderKind, Rumor, SyncChunk, SyncEnd, SyncHello, SyncOutcome, SyncVector, VECTOR_ENTRIES_MAX, Verdict,
    Wanted, decode, decode_within,
};
use rumormill_core::registry::{Batch, Hello, ROWS_MAX, Relayed, Row, Rows, Told, UPDATES_MAX, Update, Word};
use rumormill_core::{
    Class, ClusterNumbers, Config, Contact, Frame, Incarnation, Life, MailboxId, MapId, MemberRecord,
    MemberState, MessageId, NodeId, Stamp, Topic, Writer,
};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Bytes that decoding may take for each byte that came in: an announcement of 3 bytes is one of 24 in memory.
const MEMORY_FACTOR: u64 = 10;
/// Bytes that decoding may take whatever came in: one contact and its shared parts.
const MEMORY_FLOOR: u64 = 512;

fn encoded(frame: &Frame) -> Bytes {
    let mut out = Vec::new();
    frame.encode(&mut out);
    out.into()
}

/// Writes a frame of any type with any body.
fn raw(kind: u16, body: &[u8]) -> Bytes {
    let mut out = Vec::new();
    out.put_u32_le(body.len() as u32 + 2);
    out.put_u16_le(kind);
    out.put_slice(body);
    out.into()
}

fn postcard(value: &impl serde::Serialize) -> Vec<u8> {
    postcard::to_allocvec(value).expect("the value has a postcard form")
}

/// Decodes and tells the memory taken for it.
fn measured(mut input: Bytes) -> (Result<Option<Frame>, DecodeError>, u64) {
    let mut decoded = None;
    let _shared = input.clone(); // the count of a buffer's references is made for the second one, not in decoding
    let memory = allocation_counter::measure(|| decoded = Some(decode(&mut input)));
    (decoded.expect("the closure ran"), memory.bytes_total)
}

proptest! {
    #[test]
    fn a_frame_comes_back_from_the_wire_as_it_was(frames in vec(frame(), 1..4)) {
        let mut out = Vec::new();
        frames.iter().for_each(|frame| frame.encode(&mut out));
        let mut input = Bytes::from(out);
        for frame in frames {
            prop_assert_eq!(decode(&mut input), Ok(Some(frame)));
        }
        prop_assert!(input.is_empty());
    }

    #[test]
    fn the_length_is_known_without_encoding(frame in frame()) {
        prop_assert_eq!(frame.wire_len(), encoded(&frame).len());
    }

    #[test]
    fn any_bytes_are_read_without_panic_and_a_whole_frame_or_nothing_is_taken(bytes in vec(any::<u8>(), 0..80)) {
        let mut input = Bytes::from(bytes.clone());
        let decoded = decode(&mut input);
        let taken = bytes.len() - input.len();
        prop_assert_eq!(&bytes[taken..], &input[..]);
        let whole = bytes.first_chunk().map_or(0, |len| 4 + u32::from_le_bytes(*len) as usize);
        match decoded {
            Err(DecodeError::Incomplete { .. } | DecodeError::TooShort { .. } | DecodeError::TooLong { .. }) => {
                prop_assert_eq!(taken, 0);
            }
            Ok(_) | Err(_) => prop_assert_eq!(taken, whole),
        }
    }

    #[test]
    fn any_body_of_a_known_type_errs_or_is_the_one_form_of_its_frame(kind in 0..50_u16, body in vec(any::<u8>(), 0..120)) {
        let bytes = raw(kind, &body);
        if let Ok(Some(frame)) = decode(&mut bytes.clone()) {
            prop_assert_eq!(frame.kind(), kind);
            prop_assert_eq!(encoded(&frame), bytes);
        }
    }

    #[test]
    fn a_truncated_frame_is_incomplete_by_what_is_missing(frame in frame()) {
        let whole = encoded(&frame);
        for end in 0..whole.len() {
            let mut input = whole.slice(..end);
            let Err(DecodeError::Incomplete { missing }) = decode(&mut input) else {
                return Err(TestCaseError::fail("a part of a frame was taken for more"));
            };
            prop_assert_eq!(input.len(), end, "bytes of an incomplete frame were consumed");
            let expected = if end < 4 { HEADER_LEN } else { whole.len() } - end;
            prop_assert_eq!(missing, expected);
        }
    }

    #[test]
    fn a_flipped_bit_never_leads_to_the_same_frame_or_fingerprint(frame in frame(), bit in 0..8_u32) {
        let whole = encoded(&frame);
        for at in 4..whole.len() {
            let mut bytes = whole.to_vec();
            bytes[at] ^= 1 << bit;
            // Every byte belongs to one field, so this changes exactly one field.
            if let Ok(Some(other)) = decode(&mut Bytes::from(bytes)) {
                prop_assert_ne!(&other, &frame, "byte {} carries nothing", at);
                prop_assert_ne!(other.fingerprint(), frame.fingerprint(), "byte {} is not folded", at);
            }
        }
    }

    #[test]
    fn every_byte_of_a_payload_reaches_the_fingerprint(payload in vec(any::<u8>(), 1..300)) {
        let fingerprint = |payload: &[u8]| gossip(payload.to_vec()).fingerprint();
        let before = fingerprint(&payload);
        for at in 0..payload.len() {
            let mut changed = payload.clone();
            changed[at] = changed[at].wrapping_add(1);
            prop_assert_ne!(fingerprint(&changed), before);
        }
    }

    #[test]
    fn memory_follows_the_bytes_that_are_there(kind in 0..50_u16, body in vec(any::<u8>(), 0..300)) {
        let bytes = raw(kind, &body);
        let len = bytes.len() as u64;
        let (_, memory) = measured(bytes);
        prop_assert!(memory <= MEMORY_FLOOR + MEMORY_FACTOR * len, "{} bytes for {}", memory, len);
    }

    #[test]
    fn memory_of_a_good_frame_follows_its_length(frame in frame()) {
        let bytes = encoded(&frame);
        let len = bytes.len() as u64;
        let (_, memory) = measured(bytes);
        prop_assert!(memory <= MEMORY_FLOOR + MEMORY_FACTOR * len, "{} bytes for {}", memory, len);
    }

    #[test]
    fn a_fold_tells_the_entries_of_two_lists_apart(id in node_id(), split in 0..3_usize) {
        let entry = |age_ms| Aged { contact: Contact::new(id, Incarnation(1), &[]), age_ms };
        let whole = Frame::ShuffleReply { entries: vec![entry(1), entry(2), entry(3)] };
        let part = Frame::ShuffleReply { entries: (1..=split as u32).map(entry).collect() };
        prop_assert_ne!(whole.fingerprint(), part.fingerprint());
    }
}

#[test]
fn a_payload_is_a_slice_of_what_came_in() {
    let mut input = encoded(&gossip(vec![7; 100]));
    let range = input.as_ptr_range();
    let Ok(Some(Frame::Gossip(gossip))) = decode(&mut input) else { panic!("a good frame was refused") };
    assert!(range.contains(&gossip.payload.as_ptr()), "the payload was copied");
    assert_eq!(gossip.payload, vec![7; 100]);
}

#[test]
fn a_short_payload_lets_go_of_what_it_came_in() {
    for (len, is_shared) in [(99, false), (100, true)] {
        let mut input = encoded(&gossip(vec![7; len]));
        let range = input.as_ptr_range();
        let mut frame = decode(&mut input).expect("good").expect("known");
        frame.detach(100);
        let Frame::Gossip(gossip) = frame else { panic!("another frame") };
        assert_eq!(range.contains(&gossip.payload.as_ptr()), is_shared);
        assert_eq!(gossip.payload, vec![7; len]);
    }
}

#[test]
fn frames_without_lists_take_no_memory() {
    for frame in
        [gossip(vec![7; 100]), Frame::Prune, Frame::Graft { id: Some(id()) }, Frame::Probe { nonce: 9 }]
    {
        let (decoded, memory) = measured(encoded(&frame));
        assert_eq!((decoded, memory), (Ok(Some(frame)), 0));
    }
}

#[test]
fn a_list_takes_memory_once() {
    let frame = Frame::IHave(vec![Announcement { id: id(), hops: 3 }; ANNOUNCEMENTS_MAX]);
    let mut input = encoded(&frame);
    let memory = allocation_counter::measure(|| drop(decode(&mut input)));
    assert_eq!(memory.count_total, 1);
}

#[test]
fn a_count_that_lies_costs_nothing() {
    for (kind, fields_before, max) in LISTS {
        for count in [max as u64 + 1, u64::from(u32::MAX), u64::MAX] {
            let body = [fields_before, &postcard(&count)].concat();
            let refused = Err(DecodeError::TooMany { kind, count, max });
            assert_eq!(measured(raw(kind, &body)), (refused, 0));
        }
        let body = [fields_before, &postcard(&(max as u64))].concat();
        let refused = Err(DecodeError::BadField { kind, at: fields_before.len() });
        assert_eq!(measured(raw(kind, &body)), (refused, 0), "a full list without its elements");
    }
}

/// Type, fields before the list, bound. (A shuffle's origin takes memory of its own: see the next test.)
const LISTS: [(u16, &[u8], usize); 8] = [
    (32, &[], ROWS_MAX),
    (2, &[1], CONTACTS_MAX),
    (9, &[], CONTACTS_MAX),
    (13, &[], ANNOUNCEMENTS_MAX),
    (17, &[1, 1, 1, 1, 1, 1], VECTOR_ENTRIES_MAX),
    (29, &[0, 0], BEATS_MAX),
    (22, &[], LIVES_MAX),
    (23, &[0], ENTRIES_MAX),
];

#[test]
fn a_shuffle_and_a_contact_are_bounded_too() {
    let origin = postcard(&contact(1));
    let body = [&origin[..], &[3], &postcard(&(CONTACTS_MAX as u64 + 1))].concat();
    let (decoded, memory) = measured(raw(8, &body));
    assert_eq!(decoded, Err(DecodeError::TooMany { kind: 8, count: 33, max: CONTACTS_MAX }));
    assert!(memory < MEMORY_FLOOR);

    let addrs = [&origin[..34], &postcard(&u64::MAX)].concat();
    assert_eq!(measured(raw(1, &addrs)), (Err(DecodeError::BadField { kind: 1, at: 0 }), 0));
}

#[test]
fn lists_hold_as_much_as_their_bound() {
    let entry = (Writer { node: NodeId([9; 32]), epoch: u64::MAX }, Stamp(u64::MAX));
    let Frame::SyncVector(vector) = golden_frames().swap_remove(16) else {
        panic!("the golden frames have moved")
    };
    let entries = vec![entry; VECTOR_ENTRIES_MAX];
    for frame in [
        Frame::JoinReply { accepted: false, contacts: (0..CONTACTS_MAX as u8).map(contact).collect() },
        Frame::IHave(vec![Announcement { id: id(), hops: 3 }; ANNOUNCEMENTS_MAX]),
        Frame::SyncVector(Box::new(SyncVector { entries, ..*vector })),
    ] {
        assert_eq!(decode(&mut encoded(&frame)), Ok(Some(frame)));
    }
}

#[test]
fn updates_are_bounded_where_nothing_tells_their_number() {
    let frame = |count: usize| Frame::RegistryUpdates { is_last: false, updates: vec![update(); count] };
    assert_eq!(decode(&mut encoded(&frame(UPDATES_MAX))), Ok(Some(frame(UPDATES_MAX))));
    let (count, max) = (UPDATES_MAX as u64 + 1, UPDATES_MAX);
    let refused = Err(DecodeError::TooMany { kind: 33, count, max });
    assert_eq!(decode(&mut encoded(&frame(UPDATES_MAX + 1))), refused);
}

#[test]
fn an_unknown_type_is_skipped_and_the_next_frame_read() {
    for kind in [0, 63, u16::MAX] {
        let mut input = Bytes::from([raw(kind, &[1, 2, 3]), encoded(&Frame::Prune)].concat());
        assert_eq!(decode(&mut input), Ok(None));
        assert_eq!(decode(&mut input), Ok(Some(Frame::Prune)));
        assert!(input.is_empty());
    }
}

#[test]
fn a_bad_body_is_skipped_and_the_next_frame_read() {
    for (kind, body, expected) in [
        (15, &[0][..], DecodeError::Trailing { kind: 15, extra: 1 }),
        (10, &[1, 2], DecodeError::Trailing { kind: 10, extra: 1 }),
        (10, &[], DecodeError::BadField { kind: 10, at: 0 }),
        (10, &[0x81, 0x00], DecodeError::Padded { kind: 10, extra: 1 }),
        (14, &[2], DecodeError::BadField { kind: 14, at: 0 }),
        (4, &[0xFF], DecodeError::BadField { kind: 4, at: 0 }),
        (3, &contact_and(&[]), DecodeError::BadField { kind: 3, at: 35 }),
        (33, b"\x01junk", DecodeError::BadField { kind: 33, at: 1 }),
    ] {
        let mut input = Bytes::from([raw(kind, body), encoded(&Frame::Prune)].concat());
        assert_eq!(decode(&mut input), Err(expected));
        assert!(expected.is_recoverable());
        assert_eq!(decode(&mut input), Ok(Some(Frame::Prune)));
    }
}

#[test]
fn a_length_out_of_range_ends_the_stream_before_the_body_has_come() {
    let header = |len: usize| Bytes::from((len as u32).to_le_bytes().to_vec());
    for (input, max, expected) in [
        (header(0), BODY_LEN_MAX, DecodeError::TooShort { len: 0 }),
        (header(1), BODY_LEN_MAX, DecodeError::TooShort { len: 1 }),
        (header(BODY_LEN_MAX + 3), BODY_LEN_MAX, TOO_LONG),
        (header(BODY_LEN_MAX + 3), usize::MAX, TOO_LONG),
        (header(103), 100, DecodeError::TooLong { len: 101, max: 100 }),
    ] {
        let mut rest = input.clone();
        assert_eq!(decode_within(&mut rest, max), Err(expected));
        assert_eq!(rest, input, "nothing is consumed");
        assert!(!expected.is_recoverable());
    }
    assert_eq!(decode_within(&mut header(102), 100), Err(DecodeError::Incomplete { missing: 102 }));
}

/// A contact of 35 bytes, then others.
fn contact_and(rest: &[u8]) -> Vec<u8> {
    let mut body = postcard(&Contact::new(NodeId([1; 32]), Incarnation(0), &[]));
    body.extend_from_slice(rest);
    body
}

const TOO_LONG: DecodeError = DecodeError::TooLong { len: BODY_LEN_MAX + 1, max: BODY_LEN_MAX };

#[test]
fn the_longest_message_that_a_configuration_allows_fits_a_frame() {
    let message_len_max = BODY_LEN_MAX - GOSSIP_HEADER_LEN_MAX;
    let config = Config { message_len_max, ..Config::default() };
    assert_eq!(config.validate(), Ok(()));
    let config = Config { message_len_max: message_len_max + 1, ..config };
    assert_eq!(config.validate().map_err(|error| error.key), Err("message_len_max"));

    let longest = Frame::Gossip(Gossip {
        id: MessageId { origin: u64::MAX, seq: u64::MAX },
        topic: Topic(u32::MAX),
        class: Class::Bulk,
        shapes_tree: true,
        hops: u16::MAX,
        age_ms: u32::MAX,
        payload: vec![0; message_len_max].into(),
    });
    assert_eq!(longest.wire_len(), HEADER_LEN + BODY_LEN_MAX);
    assert_eq!(decode(&mut encoded(&longest)), Ok(Some(longest)));
}

#[test]
fn errors_say_what_was_expected_and_what_becomes_of_the_stream() {
    let text = |error: DecodeError| error.to_string();
    assert_eq!(
        text(DecodeError::TooMany { kind: 13, count: 300, max: 256 }),
        "frame of type 13 lists 300 elements, at most 256 expected; it was skipped, the stream goes on behind it"
    );
    assert_eq!(
        text(TOO_LONG),
        "body of 1048577 bytes is too long, at most 1048576 expected; the stream is unusable"
    );
}

fn id() -> MessageId {
    MessageId { origin: 0xDEAD_BEEF_0000_0001, seq: 300 }
}

fn gossip(payload: Vec<u8>) -> Frame {
    let payload = payload.into();
    Frame::Gossip(Gossip {
        id: id(),
        topic: Topic(5),
        class: Class::Normal,
        shapes_tree: true,
        hops: 2,
        age_ms: 1000,
        payload,
    })
}

fn contact(n: u8) -> Contact {
    let addrs =
        ["10.1.2.3:4433".parse().expect("an address"), "[2001:db8::1]:443".parse().expect("an address")];
    Contact::new(NodeId([n; 32]), Incarnation(200), &addrs[..usize::from(n % 3)])
}

/// One frame of each type, in the order of their numbers.
fn golden_frames() -> Vec<Frame> {
    let (map, generation, session) = (MapId(0x1122_3344_5566_7788), 1, 128);
    let writer = Writer { node: NodeId([3; 32]), epoch: 2 };
    let buckets = core::array::from_fn(|bucket| bucket as u64 * 100);
    let overlay = vec![
        Frame::Join(contact(1)),
        Frame::JoinReply { accepted: true, contacts: vec![contact(2), contact(3)] },
        Frame::ForwardJoin { contact: contact(1), ttl: 6 },
        Frame::Neighbor { contact: contact(3), priority: NeighborPriority::High },
        Frame::NeighborReply(NeighborAnswer::Full),
        Frame::Disconnect(DisconnectReason::NotNeighbor),
        Frame::Leave(Incarnation(200)),
        Frame::Shuffle {
            origin: contact(1),
            ttl: 5,
            entries: vec![Aged { contact: contact(3), age_ms: 70_000 }],
        },
        Frame::ShuffleReply { entries: vec![Aged { contact: contact(1), age_ms: 0 }] },
        Frame::Probe { nonce: 127 },
        Frame::ProbeAck { nonce: 128 },
        gossip(b"rumor".to_vec()),
        Frame::IHave(vec![Announcement { id: id(), hops: 3 }, Announcement { id: id(), hops: 300 }]),
        Frame::Graft { id: Some(id()) },
        Frame::Prune,
        Frame::SyncHello(Box::new(SyncHello {
            map,
            generation,
            session,
            buckets,
            fingerprint: u64::MAX,
            count: 7,
        })),
        Frame::SyncVector(Box::new(SyncVector {
            map,
            generation,
            session,
            mask: 0x8001,
            last: true,
            sent: 300,
            entries: vec![(writer, Stamp::new(1_000_000, 5))],
        })),
        Frame::SyncChunk(Box::new(SyncChunk {
            map,
            generation,
            session,
            count: 2,
            ops: b"ops".to_vec().into(),
        })),
        Frame::SyncEnd(SyncEnd { map, session, outcome: SyncOutcome::Busy }),
    ];
    let upper = vec![
        Frame::RegistryHello(Box::new(Hello { buckets: core::array::from_fn(|bucket| bucket as u64 * 10) })),
        Frame::RegistryRows(Box::new(Rows {
            mask: 0x8000_0001,
            after: Some(NodeId([4; 32])),
            is_last: true,
            rows: vec![row()],
        })),
        Frame::RegistryPull(vec![row()]),
        Frame::RegistryUpdates { is_last: true, updates: vec![update()] },
        relayed(),
        mail(MailKind::Ask { from: MailboxId(1), to: MailboxId(300), number: 5, timeout_ms: 1_000 }, b"why"),
    ];
    [overlay, golden_members(), upper].concat()
}

fn golden_members() -> Vec<Frame> {
    vec![
        Frame::Members(MembersFrame::Beats { asks: true, again_ms: 7_000, beats: vec![beat(), beat()] }),
        Frame::Members(MembersFrame::Pull(Wanted::Page(300))),
        Frame::Members(MembersFrame::Pull(Wanted::Lives(vec![beat().life]))),
        Frame::Members(MembersFrame::Push { answered: Answered::Page(128), entries: vec![entry()] }),
        Frame::Members(MembersFrame::PingRequest { nonce: 5, target: contact(1) }),
        Frame::Members(MembersFrame::Ping { nonce: 5 }),
        Frame::Members(MembersFrame::Pong { nonce: 5, beat: beat() }),
        Frame::Members(MembersFrame::PingAnswer { nonce: 5, beat: Some(beat()) }),
        Frame::Members(MembersFrame::News(vec![
            Rumor::Record(entry()),
            Rumor::Suspect { life: beat().life, counter: 300 },
            Rumor::Alive(beat()),
        ])),
    ]
}

#[test]
fn the_whole_number_of_a_word_is_folded() {
    let told = |seq| {
        let told = vec![Told { tag: 0, seq, word: Word::Have }];
        Frame::RegistryRelay(Box::new(Relayed { told, rows: Vec::new() })).fingerprint()
    };
    assert_ne!(told(1 << 57), told(1 << 57 | 1 << 63));
}

fn relayed() -> Frame {
    let told = vec![Told { tag: 300, seq: 5, word: Word::Graft }];
    Frame::RegistryRelay(Box::new(Relayed { told, rows: vec![update()] }))
}

fn update() -> Update {
    let changes = b"sets".to_vec().into();
    let batch = Batch::new(NodeId([5; 32]), Incarnation(200), Some(3), 4, 1, changes);
    Update { batch: Arc::new(batch), age_ms: 300 }
}

fn mail(what: MailKind, payload: &'static [u8]) -> Frame {
    let (from, to) = (Incarnation(200), Incarnation(7));
    let payload = Bytes::from_static(payload);
    Frame::Mail(Box::new(Mail { from, to, session: 3, seq: 129, what, payload }))
}

/// Every other kind of mail.
fn golden_mails() -> Vec<Frame> {
    let (from, to) = (MailboxId(1), MailboxId(300));
    let order =
        |what| mail(MailKind::Order { number: 9, after: 8, what, ours: MailboxId(2), theirs: to }, b"");
    vec![
        mail(MailKind::Send { from, to, token: 128 }, b"hello"),
        mail(MailKind::Answer { number: 5 }, b"because"),
        mail(MailKind::Refused { is_question: true, number: 5, mailbox: to, why: Verdict::Gone }, b""),
        order(OrderKind::Monitor),
        order(OrderKind::Demonitor),
        order(OrderKind::Link),
        order(OrderKind::Unlink),
        order(OrderKind::Down),
        mail(MailKind::Ack { number: 9, verdict: Verdict::Full }, b""),
        mail(MailKind::Resume { session: 300 }, b""),
        mail(MailKind::Heard { session: 3, seq: Some(129), settled: 128 }, b""),
        mail(MailKind::Heard { session: 3, seq: None, settled: 0 }, b""),
        mail(
            MailKind::Refused { is_question: true, number: 5, mailbox: to, why: Verdict::NotUnderstood },
            b"",
        ),
        mail(MailKind::Bundle { from, to, token: 128 }, b"\x05\x00hello\x00\x00"),
    ]
}

#[test]
fn the_bytes_of_every_kind_of_mail_never_change() {
    let found: Vec<String> = golden_mails()
        .iter()
        .map(|frame| encoded(frame).iter().map(|byte| format!("{byte:02x}")).collect())
        .collect();
    assert_eq!(found, GOLDEN_MAILS.map(|hex| hex.replace(' ', "")), "old nodes would not understand");
}

/// Length, type, lives, session and number; kind and fields; payload.
#[rustfmt::skip]
const GOLDEN_MAILS: [&str; 14] = [
    "13000000 2800 c80107038101 0001ac02800168656c6c6f",
    "11000000 2800 c80107038101 020562656361757365",
    "0e000000 2800 c80107038101 030105ac0201",
    "0f000000 2800 c80107038101 0409080002ac02",
    "0f000000 2800 c80107038101 0409080102ac02",
    "0f000000 2800 c80107038101 0409080202ac02",
    "0f000000 2800 c80107038101 0409080302ac02",
    "0f000000 2800 c80107038101 0409080402ac02",
    "0b000000 2800 c80107038101 050902",
    "0b000000 2800 c80107038101 06ac02",
    "0f000000 2800 c80107038101 07030181018001",
    "0c000000 2800 c80107038101 07030000",
    "0e000000 2800 c80107038101 030105ac0203",
    "17000000 2800 c80107038101 0801ac028001050068656c6c6f0000",
];

#[test]
fn a_bundle_that_is_none_is_no_frame() {
    let what = MailKind::Bundle { from: MailboxId(1), to: MailboxId(300), token: 128 };
    for payload in [&b""[..], b"\x05\x00hell", b"\x05\x00hello\x00"] {
        let bytes = encoded(&mail(what, b"\x00\x00"));
        let head = &bytes[rumormill_core::frame::HEADER_LEN..bytes.len() - 2];
        let len = (head.len() + payload.len()) as u32;
        let mut bytes = Bytes::from([&len.to_le_bytes(), &bytes[4..6], head, payload].concat());
        assert!(matches!(decode(&mut bytes), Err(DecodeError::BadField { kind: 40, .. })), "{payload:?}");
    }
}

#[test]
fn mail_without_a_payload_takes_none() {
    let ack = encoded(&mail(MailKind::Ack { number: 9, verdict: Verdict::Full }, b""));
    let body = [&ack[6..], b"x"].concat();
    assert_eq!(decode(&mut raw(40, &body)), Err(DecodeError::Trailing { kind: 40, extra: 1 }));
}

#[test]
fn the_longest_mail_that_a_configuration_allows_fits_a_frame() {
    let mail_len_max = BODY_LEN_MAX - MAIL_HEADER_LEN_MAX;
    let config = Config { mail_len_max, ..Config::default() };
    assert_eq!(config.validate(), Ok(()));
    let config = Config { mail_len_max: mail_len_max + 1, ..config };
    assert_eq!(config.validate().map_err(|error| error.key), Err("mail_len_max"));

    let (life, mailbox) = (Incarnation(u64::MAX), MailboxId(u64::MAX));
    let longest = Frame::Mail(Box::new(Mail {
        from: life,
        to: life,
        session: u64::MAX,
        seq: u64::MAX,
        what: MailKind::Ask { from: mailbox, to: mailbox, number: u64::MAX, timeout_ms: u64::MAX },
        payload: vec![0; mail_len_max].into(),
    }));
    assert_eq!(longest.wire_len(), HEADER_LEN + BODY_LEN_MAX);
    assert_eq!(decode(&mut encoded(&longest)), Ok(Some(longest)));
}

fn row() -> Row {
    Row { owner: NodeId([5; 32]), incarnation: Incarnation(200), seq: 3, fingerprint: u64::MAX }
}

fn beat() -> Beat {
    Beat { life: Life(0x0102_0304_0506_0708), counter: 300, revision: 2, age_ms: 1_500 }
}

fn entry() -> MemberEntry {
    let cluster = ClusterNumbers { heartbeat_ms: 2_000, ttl_ms: 6_000, ring_size: 64 };
    let (contact, state) = (contact(1), MemberState::Active);
    let record = MemberRecord { contact, revision: 2, state, weight: 1, zone: 9, cluster };
    MemberEntry { record: Arc::new(record), counter: 300, age_ms: 1_500 }
}

#[test]
fn the_bytes_and_fingerprints_of_every_type_never_change() {
    let frames = golden_frames();
    let found: Vec<(u16, String, u64)> = frames
        .iter()
        .map(|frame| {
            let hex = encoded(frame).iter().map(|byte| format!("{byte:02x}")).collect();
            (frame.kind(), hex, frame.fingerprint())
        })
        .collect();
    let golden: Vec<(u16, String, u64)> =
        GOLDEN.iter().map(|(kind, hex, fingerprint)| (*kind, hex.replace(' ', ""), *fingerprint)).collect();
    assert_eq!(found, golden, "old nodes would not understand; append a type instead: {found:#x?}");
    let kinds: BTreeSet<u16> = frames.iter().map(Frame::kind).collect();
    assert_eq!(kinds, (1..=19).chain(21..=34).chain([40]).collect(), "a type is missing here");
}

/// Type, bytes (length, type, body and payload), fingerprint.
#[rustfmt::skip]
const GOLDEN: [(u16, &str, u64); 34] = [
    (1, "2d000000 0100 200101010101010101010101010101010101010101010101010101010101010101c80101000a0102 \
         03d122", 0x38b8_eea8_163c_627e),
    (2, "66000000 0200 0102200202020202020202020202020202020202020202020202020202020202020202c80102000a \
         010203d1220120010db8000000000000000000000001bb0320030303030303030303030303030303 \
         0303030303030303030303030303030303c80100", 0xfb37_88a4_d21b_ffe3),
    (3, "2e000000 0300 200101010101010101010101010101010101010101010101010101010101010101c80101000a0102 \
         03d12206", 0x5ea2_8656_e448_f133),
    (4, "27000000 0400 200303030303030303030303030303030303030303030303030303030303030303c8010001", 0xf85f_188d_fce0_04f7),
    (5, "03000000 0500 01", 0x3c4e_edd9_d971_4174),
    (6, "03000000 0600 01", 0xad33_5fd9_45ef_e76e),
    (7, "04000000 0700 c801", 0xfeb3_e015_5d74_2259),
    (8, "56000000 0800 200101010101010101010101010101010101010101010101010101010101010101c \
         80101000a010203d1220501200303030303030303030303030303030303030303030303030303030 \
         303030303c80100f0a204", 0x6347_6058_4d91_fd87),
    (9, "2f000000 0900 0120010101010101010101010101010101010101010101010101010101010101010 \
         1c80101000a010203d12200", 0x20de_700a_7ebe_46de),
    (10, "03000000 0a00 7f", 0xa90c_9d9b_cc8f_af24),
    (11, "04000000 0b00 8001", 0x3393_9c5e_5860_bfa8),
    (12, "19000000 0c00 81808080f0ddefd6de01ac0205010102e80772756d6f72", 0xd438_649b_47b4_c83c),
    (13, "1e000000 0d00 0281808080f0ddefd6de01ac020381808080f0ddefd6de01ac02ac02", 0xe916_d818_8366_393c),
    (14, "0f000000 0e00 0181808080f0ddefd6de01ac02", 0x675b_ef82_6bfa_165d),
    (15, "02000000 0f00", 0x7968_f524_584f_2058),
    (16, "37000000 1000 88ef99abc5e88c91110180010064c801ac029003f403d804bc05a0068407e807cc08b009940af80a \
         dc0bffffffffffffffffff0107", 0x9da3_1d4c_ec57_807e),
    (17, "3d000000 1100 88ef99abc5e88c911101800181800201ac020120030303030303030303030303030 \
         30303030303030303030303030303030303030285808092f401", 0x18f9_baa3_4f0d_e541),
    (18, "12000000 1200 88ef99abc5e88c9111018001026f7073", 0x26d3_cc36_bad9_2449),
    (19, "0e000000 1300 88ef99abc5e88c9111800101", 0x3644_c153_0ed6_f2d3),
    (29, "20000000 1d00 01d836020807060504030201ac0202dc0b0807060504030201ac0202dc0b", 0x8f0c_ecee_d625_3afa),
    (21, "04000000 1500 ac02", 0x8559_8dfe_c340_5dae),
    (22, "0b000000 1600 010807060504030201", 0xd156_8afa_085d_e06e),
    (23, "3e000000 1700 01800101200101010101010101010101010101010101010101010101010101010101010101c80101000a010203d12202020109d00ff02e40ac02dc0b", 0xd864_d4cb_8330_2652),
    (24, "2e000000 1800 05200101010101010101010101010101010101010101010101010101010101010101c80101000a010203d122", 0xe767_bd25_dae9_c433),
    (25, "03000000 1900 05", 0x894c_41b6_e352_3f41),
    (26, "10000000 1a00 050807060504030201ac0202dc0b", 0x5984_bb89_2337_ffdb),
    (27, "11000000 1b00 05010807060504030201ac0202dc0b", 0x392f_05d2_138b_49aa),
    (28, "55000000 1c00 0300200101010101010101010101010101010101010101010101010101010101010101c80101000a010203d12202020109d00ff02e40ac02dc0b010807060504030201ac02020807060504030201ac0202dc0b", 0x25ff_41d7_b1fd_8d5d),
    (30, "35000000 1e00 000a141e28323c46505a646e7882018c019601a001aa01b401be01c801d201dc01e601f001 \
         fa0184028e029802a202ac02b602", 0x3876_4194_4bd8_a36f),
    (31, "59000000 1f00 81808080080120040404040404040404040404040404040404040404040404040404040404 \
         04040101200505050505050505050505050505050505050505050505050505050505050505c80103ffffffff \
         ffffffffff01", 0x779b_5402_ee44_c3f9),
    (32, "31000000 2000 01200505050505050505050505050505050505050505050505050505050505050505c80103 \
         ffffffffffffffffff01", 0x56aa_4f16_93c8_03aa),
    (33, "31000000 2100 01200505050505050505050505050505050505050505050505050505050505050505c801010304ac020104 \
         73657473", 0xe955_9073_736c_49e8),
    (34, "35000000 2200 01ac020502200505050505050505050505050505050505050505050505050505050505050505c801010304ac020104 \
         73657473", 0x0438_2170_61f0_d211),
    (40, "12000000 2800 c801070381010101ac0205e807776879", 0x1cac_ab93_3382_1f88),
];
