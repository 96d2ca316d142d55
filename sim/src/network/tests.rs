use super::*;
use crate::queue::Queue;
use crate::schedule::{FaultEffect, LatencyModel};

const MILLI: u64 = 1_000_000;

/// A network alone: the test is every node's driver, and sees everything that comes out, in milliseconds.
struct Bench {
    network: Network,
    agenda: Agenda,
    faults: Faults,
    seen: Vec<(u64, u32, Arrival)>,
}

fn model() -> NetworkModel {
    NetworkModel {
        profile: Profile::Quic,
        latency: LatencyModel::Constant(10 * MILLI),
        loss_ppm: 0,
        uplink_bps: 0,
        idle_timeout_ns: 10_000 * MILLI,
        handshake_timeout_ns: 5_000 * MILLI,
        high_water_bytes: 1_000,
        disk_ns: 0,
    }
}

fn bench(model: NetworkModel) -> Bench {
    let network = Network::new(4, model, Draws::new(42.into()));
    let agenda = Agenda::new(4, Queue::calendar());
    let mut bench = Bench { network, agenda, faults: Faults::default(), seen: Vec::new() };
    (0..4).for_each(|node| bench.act(|network, cx| network.boot(cx, node)));
    bench
}

/// Node 0 has dialled node 1, and both are up at 100 ms.
fn linked(model: NetworkModel) -> Bench {
    let mut bench = bench(model);
    bench.dial(0, 1);
    bench.until(100);
    bench.seen.clear();
    bench
}

impl Bench {
    fn act<R>(&mut self, act: impl FnOnce(&mut Network, &mut Cx<'_>) -> R) -> R {
        let mut arrivals = Vec::new();
        let (agenda, faults) = (&mut self.agenda, &mut self.faults);
        let result = act(&mut self.network, &mut Cx { agenda, faults, arrivals: &mut arrivals });
        assert_eq!(arrivals, [], "only what happens brings arrivals");
        result
    }

    fn dial(&mut self, from: u32, to: u32) {
        let id = self.network.id(to);
        self.act(|network, cx| network.dial(cx, from, id));
    }

    fn close(&mut self, from: u32, to: u32) {
        let id = self.network.id(to);
        self.act(|network, cx| network.close(cx, from, id, None));
    }

    fn send_on(&mut self, from: u32, to: u32, channel: Channel, nonce: u32, len: u32) -> bool {
        let (id, frame) = (self.network.id(to), Frame::Probe { nonce });
        self.act(|network, cx| network.send(cx, from, &id, Parcel { channel, len, frame }))
    }

    fn send(&mut self, from: u32, to: u32, nonce: u32) {
        self.send_on(from, to, Channel::Control, nonce, 100);
    }

    fn begin(&mut self, fault: u32, effect: &FaultEffect) {
        self.faults.begin(fault, effect);
        self.act(Network::cuts_changed);
    }

    fn end(&mut self, fault: u32) {
        self.faults.end(fault);
        self.act(Network::cuts_changed);
    }

    /// Lets everything happen until a time in milliseconds.
    fn until(&mut self, at_ms: u64) {
        while self.agenda.next_at().is_some_and(|at_ns| at_ns <= at_ms * MILLI) {
            let Some((key, happening)) = self.agenda.pop() else { break };
            let mut arrivals = Vec::new();
            let (agenda, faults) = (&mut self.agenda, &mut self.faults);
            self.network.handle(&mut Cx { agenda, faults, arrivals: &mut arrivals }, happening);
            let seen = arrivals.into_iter().map(|arrival| (key.at_ns / MILLI, key.destination, arrival));
            self.seen.extend(seen);
        }
        self.agenda.now_ns = at_ms * MILLI;
    }

    /// Takes everything seen until a time, as short text: `at node what`.
    fn log(&mut self, at_ms: u64) -> Vec<String> {
        self.until(at_ms);
        let text = |(at_ms, node, arrival): (u64, u32, Arrival)| match arrival {
            Arrival::Up { peer, dialer } => format!("{at_ms} {node} up {peer} {dialer:?}"),
            Arrival::Down { peer, reason, .. } => format!("{at_ms} {node} down {peer} {reason:?}"),
            Arrival::Frame { from, frame: Frame::Probe { nonce }, .. } => {
                format!("{at_ms} {node} got {nonce} from {from}")
            }
            Arrival::Frame { frame, .. } => format!("{at_ms} {node} got {frame:?}"),
            Arrival::Ready { peer, channel } => format!("{at_ms} {node} ready {peer} {channel:?}"),
        };
        self.seen.drain(..).map(text).collect()
    }

    fn nonces(&mut self, at_ms: u64) -> Vec<u32> {
        self.until(at_ms);
        let nonce = |(_, _, arrival)| match arrival {
            Arrival::Frame { frame: Frame::Probe { nonce }, .. } => Some(nonce),
            _ => None,
        };
        self.seen.drain(..).filter_map(nonce).collect()
    }
}

/// Nothing passes from `from` to `to`, nor back if `both`.
fn cut(from: u32, to: u32, both: bool) -> FaultEffect {
    let group = (0..4).map(|node| if node == from { 1 } else { u8::from(node == to) * 2 }).collect();
    let blocked = if both { vec![(1, 2), (2, 1)] } else { vec![(1, 2)] };
    FaultEffect::Cut { group, blocked }
}

fn noise(loss_ppm: u32, duplicate_ppm: u32, reorder_ppm: u32) -> FaultEffect {
    FaultEffect::Noise { nodes: vec![], egress: false, loss_ppm, duplicate_ppm, reorder_ppm }
}

#[test]
fn a_handshake_takes_three_latencies_to_the_acceptor_and_four_to_the_dialer() {
    let mut bench = bench(model());
    bench.dial(0, 1);
    assert_eq!(bench.log(6_000), ["30 1 up 0 Remote", "40 0 up 1 Local"]);
    assert!(bench.network.is_quiet() && bench.agenda.is_quiet());
}

#[test]
fn a_dial_to_nobody_times_out() {
    let mut bench = bench(model());
    bench.act(|network, cx| network.crash(cx, 1));
    bench.dial(0, 1);
    assert_eq!(bench.log(9_000), ["5000 0 down 1 Unreachable"]);
    assert_eq!(bench.network.connections.len(), 0);
}

#[test]
fn a_dial_reaches_a_process_that_starts_in_time() {
    let mut bench = bench(model());
    bench.act(|network, cx| network.crash(cx, 1));
    bench.dial(0, 1);
    bench.until(1_000);
    bench.act(|network, cx| network.boot(cx, 1));
    let log = bench.log(9_000);
    assert!(
        log[0].ends_with("1 up 0 Remote") && log[1].ends_with("0 up 1 Local") && log.len() == 2,
        "{log:?}"
    );
}

#[test]
fn a_handshake_that_a_restart_interrupts_is_unknown_to_the_new_process() {
    let mut bench = bench(model());
    bench.dial(0, 1);
    bench.until(25);
    bench.act(|network, cx| network.crash(cx, 1));
    bench.act(|network, cx| network.boot(cx, 1));
    assert_eq!(bench.log(9_000), ["5000 0 down 1 Unreachable"]);
}

#[test]
fn the_acknowledgement_comes_with_the_first_frame_if_it_was_lost() {
    let mut bench = bench(model());
    bench.dial(0, 1);
    bench.until(29);
    bench.faults.begin(0, &noise(1_000_000, 0, 0)); // loses the last packet of the handshake, which leaves at 30 ms
    bench.until(31);
    bench.faults.end(0);
    bench.send(1, 0, 7);
    assert_eq!(bench.log(6_000), ["30 1 up 0 Remote", "41 0 up 1 Local", "41 0 got 7 from 1"]);
}

#[test]
fn the_ideal_profile_links_at_once_and_refuses_for_the_dead() {
    let mut bench = bench(NetworkModel { profile: Profile::Ideal, loss_ppm: 500_000, ..model() });
    bench.act(|network, cx| network.crash(cx, 2));
    bench.dial(0, 1);
    bench.dial(0, 2);
    bench.until(0);
    (0..5).for_each(|nonce| bench.send(0, 1, nonce));
    let log = bench.log(9_000);
    assert_eq!(log[..2], ["0 0 up 1 Local", "10 1 up 0 Remote"]);
    assert_eq!(log[2..7], [0, 1, 2, 3, 4].map(|nonce| format!("10 1 got {nonce} from 0")));
    assert_eq!(log[7..], ["20 0 down 2 Refused"]);
}

#[test]
fn in_the_ideal_profile_a_crash_is_known_one_latency_later() {
    let mut bench = linked(NetworkModel { profile: Profile::Ideal, ..model() });
    bench.act(|network, cx| network.crash(cx, 1));
    assert_eq!(bench.log(60_000), ["110 0 down 1 Reset"]);
    assert_eq!(bench.network.connections.len(), 0);
}

#[test]
fn frames_of_a_channel_stay_in_order_whatever_is_lost() {
    let mut bench = linked(model());
    bench.begin(0, &noise(300_000, 0, 300_000));
    for nonce in 0..200 {
        bench.send(0, 1, nonce);
        bench.until(100 + u64::from(nonce));
    }
    assert_eq!(bench.nonces(60_000), (0..200).collect::<Vec<_>>());
}

#[test]
fn loss_on_one_channel_does_not_hold_another_back() {
    let mut bench = linked(model());
    for nonce in 0..50 {
        bench.faults.begin(0, &noise(if nonce % 2 == 0 { 1_000_000 } else { 0 }, 0, 0));
        let channel = if nonce % 2 == 0 { Channel::Gossip } else { Channel::Control };
        bench.send_on(0, 1, channel, nonce, 10);
    }
    assert_eq!(bench.nonces(111), (0..50).filter(|nonce| nonce % 2 == 1).collect::<Vec<_>>());
}

#[test]
fn a_lost_datagram_stays_lost_and_a_doubled_one_comes_twice() {
    let mut bench = linked(model());
    bench.begin(0, &noise(1_000_000, 0, 0));
    bench.send_on(0, 1, Channel::Datagram, 1, 100);
    bench.begin(0, &noise(0, 1_000_000, 0));
    bench.send_on(0, 1, Channel::Datagram, 2, 100);
    bench.send_on(0, 1, Channel::User, 3, 100);
    assert_eq!(bench.log(60_000), ["110 1 got 2 from 0", "110 1 got 2 from 0", "110 1 got 3 from 0"]);
    assert_eq!(bench.network.noise(), (1, 2));
}

#[test]
fn a_cut_holds_frames_and_lets_them_go_in_order_after_it_heals() {
    let mut bench = linked(model());
    bench.begin(0, &cut(0, 1, true));
    (0..3).for_each(|nonce| bench.send(0, 1, nonce));
    bench.send_on(0, 1, Channel::Datagram, 9, 100);
    assert_eq!(bench.log(2_000), [] as [&str; 0]);
    bench.end(0);
    // Probes at 55 ms and doubling since 100 ms: the next one after 2,000 ms leaves at 100 + 55 * 63 = 3,565 ms.
    assert_eq!(bench.log(60_000), [0, 1, 2].map(|nonce| format!("3575 1 got {nonce} from 0")));
    let (_, receipt) = bench.faults.receipts().next().expect("the cut has a receipt");
    assert_eq!((receipt.messages, receipt.bytes, receipt.nodes), (4, 400, 2));
    assert_eq!(receipt.nanoseconds, 3 * 3_465 * MILLI);
}

#[test]
fn what_waited_behind_a_cut_waits_for_no_more_than_a_keep_alive() {
    let mut bench = linked(model());
    bench.begin(0, &cut(0, 1, true));
    bench.send(0, 1, 1);
    bench.until(3_700); // the next probe would leave at 100 + 55 * 127 = 7,085 ms
    bench.end(0);
    assert_eq!(bench.log(9_000), ["6210 1 got 1 from 0"]);
}

#[test]
fn what_two_cuts_hold_goes_with_the_last_and_is_the_firsts() {
    let mut bench = linked(model());
    [0, 1].into_iter().for_each(|fault| bench.begin(fault, &cut(0, 1, true)));
    bench.send(0, 1, 1);
    bench.until(1_000);
    bench.end(0);
    assert_eq!(bench.log(2_000), [] as [&str; 0]);
    bench.end(1);
    assert_eq!(bench.nonces(9_000), [1]);
    let messages: Vec<u64> = bench.faults.receipts().map(|(_, receipt)| receipt.messages).collect();
    assert_eq!(messages, [1, 0]);
}

#[test]
fn a_long_cut_ends_the_connection_on_both_sides_by_the_idle_timeout() {
    let mut bench = linked(model());
    bench.begin(0, &cut(0, 1, true));
    bench.send(0, 1, 7);
    let log = bench.log(60_000);
    assert!(log.iter().any(|line| line.ends_with("0 down 1 IdleTimeout")), "{log:?}");
    assert!(log.iter().any(|line| line.ends_with("1 down 0 IdleTimeout")), "{log:?}");
    assert_eq!(log.len(), 2);
    let at_ms: Vec<u64> =
        log.iter().map(|line| line.split(' ').next().map_or(0, |at| at.parse().unwrap_or(0))).collect();
    assert!(at_ms.iter().all(|at_ms| (7_600..=10_110).contains(at_ms)), "{log:?}");
    assert_eq!(bench.network.connections.len(), 0);
}

#[test]
fn a_cut_shorter_than_the_idle_timeout_costs_no_connection() {
    let mut bench = linked(model());
    for round in 0..5 {
        bench.begin(0, &cut(0, 1, true));
        bench.until(100 + round * 8_000 + 7_000);
        bench.end(0);
        bench.until(100 + round * 8_000 + 8_000);
    }
    assert_eq!(bench.log(60_000), [] as [&str; 0]);
}

#[test]
fn a_one_way_cut_kills_the_end_that_hears_nothing_and_then_the_other() {
    let mut bench = linked(model());
    bench.begin(0, &cut(0, 1, false));
    let log = bench.log(60_000);
    assert!(log[0].ends_with("1 down 0 IdleTimeout") && log[1].ends_with("0 down 1 IdleTimeout"), "{log:?}");
    assert_eq!(log.len(), 2);
}

#[test]
fn an_end_that_outlived_a_cut_alone_is_reset_after_the_heal() {
    let mut bench = linked(model());
    bench.begin(0, &cut(0, 1, false));
    bench.until(12_000);
    bench.end(0);
    let log = bench.log(60_000);
    assert!(log[0].ends_with("1 down 0 IdleTimeout") && log[1].ends_with("0 down 1 Reset"), "{log:?}");
}

#[test]
fn peers_of_a_crashed_node_learn_of_it_by_the_idle_timeout() {
    let mut bench = linked(model());
    bench.act(|network, cx| network.crash(cx, 1));
    let log = bench.log(60_000);
    assert!(log.len() == 1 && log[0].ends_with("0 down 1 IdleTimeout"), "{log:?}");
    assert_eq!(bench.network.connections.len(), 0);
}

#[test]
fn a_restarted_node_resets_what_it_does_not_know() {
    let mut bench = linked(model());
    bench.act(|network, cx| network.crash(cx, 1));
    bench.until(1_000);
    bench.act(|network, cx| network.boot(cx, 1));
    bench.send(0, 1, 7);
    assert_eq!(bench.log(60_000), ["1020 0 down 1 Reset"]);
}

#[test]
fn a_restarted_node_resets_a_silent_peer_with_its_next_keep_alive() {
    let mut bench = linked(model());
    bench.act(|network, cx| network.crash(cx, 1));
    bench.until(1_000);
    bench.act(|network, cx| network.boot(cx, 1));
    let log = bench.log(1_000 + 2_500 + 20);
    assert!(log.len() == 1 && log[0].ends_with("0 down 1 Reset"), "{log:?}");
}

#[test]
fn a_reset_passes_no_cut() {
    let mut bench = linked(model());
    bench.act(|network, cx| network.crash(cx, 1));
    bench.act(|network, cx| network.boot(cx, 1));
    bench.send(0, 1, 1);
    bench.until(115); // the frame has arrived, and the reset is under way
    bench.begin(0, &cut(1, 0, false));
    assert_eq!(bench.log(5_000), [] as [&str; 0]);
    let log = bench.log(60_000);
    assert!(log.len() == 1 && log[0].ends_with("0 down 1 IdleTimeout"), "{log:?}");
}

#[test]
fn what_waited_behind_a_cut_fills_its_channel_no_more_than_before() {
    let mut bench = linked(model());
    bench.begin(0, &cut(0, 1, true));
    let full: Vec<bool> = (0..10).map(|nonce| bench.send_on(0, 1, Channel::Sync, nonce, 100)).collect();
    assert_eq!(full, [false; 10], "1,000 bytes are not above the mark");
    bench.until(1_000);
    bench.end(0);
    assert_eq!(bench.nonces(9_000), (0..10).collect::<Vec<_>>());
    let full: Vec<bool> = (0..10).map(|nonce| bench.send_on(0, 1, Channel::Sync, nonce, 100)).collect();
    assert_eq!(full, [false; 10], "all of it has arrived");
}

#[test]
fn what_a_crashed_node_would_have_sent_again_is_never_sent() {
    let mut bench = linked(model());
    bench.begin(0, &noise(1_000_000, 0, 0));
    bench.send(0, 1, 1);
    bench.end(0);
    bench.send_on(0, 1, Channel::User, 2, 100);
    bench.until(101);
    bench.act(|network, cx| network.crash(cx, 0));
    assert_eq!(bench.nonces(60_000), [2]);
}

#[test]
fn a_close_comes_after_everything_that_was_sent() {
    let mut bench = linked(model());
    bench.begin(0, &noise(500_000, 0, 0));
    (0..20).for_each(|nonce| bench.send(0, 1, nonce));
    bench.close(0, 1);
    let log = bench.log(60_000);
    assert_eq!(log.len(), 21);
    assert!(log[20].ends_with("1 down 0 Closed"), "{log:?}");
    assert_eq!(bench.network.connections.len(), 0);
}

#[test]
fn a_close_of_a_dial_gives_it_up_in_silence() {
    let mut bench = bench(model());
    bench.dial(0, 1);
    bench.until(15);
    bench.close(0, 1);
    assert_eq!(bench.log(9_000), [] as [&str; 0]);
    assert!(bench.network.is_quiet() && bench.network.connections.len() == 0);
}

#[test]
fn crossing_dials_make_two_connections_and_frames_take_the_smaller_ids() {
    let mut bench = bench(model());
    bench.dial(0, 1);
    bench.dial(1, 0);
    let log = bench.log(100);
    assert_eq!(log, ["30 0 up 1 Remote", "30 1 up 0 Remote", "40 0 up 1 Local", "40 1 up 0 Local"]);
    let smaller = u32::from(bench.network.id(1) < bench.network.id(0));
    for from in 0..2 {
        let to = bench.network.id(1 - from);
        let (_, side) = bench.network.route(from, &to).expect("there is a route");
        assert_eq!(side == DIALER, from == smaller);
    }
    let (larger, id) = (1 - smaller, bench.network.id(smaller));
    bench.act(|network, cx| network.close(cx, larger, id, Some(Dialer::Local)));
    assert_eq!(bench.log(200), [format!("110 {smaller} down {larger} Closed")]);
    bench.send(0, 1, 7);
    bench.send(1, 0, 8);
    assert_eq!(bench.log(300), ["210 0 got 8 from 1", "210 1 got 7 from 0"]);
}

#[test]
fn a_newer_connection_from_the_same_dialer_takes_the_place_of_the_older() {
    let mut bench = linked(model());
    bench.act(|network, cx| network.crash(cx, 0));
    bench.act(|network, cx| network.boot(cx, 0));
    bench.dial(0, 1);
    assert_eq!(bench.log(150), ["130 1 down 0 Reset", "130 1 up 0 Remote", "140 0 up 1 Local"]);
}

#[test]
fn bandwidth_queues_frames_at_the_uplink() {
    let mut bench = linked(NetworkModel { uplink_bps: 800_000, ..model() }); // 100 bytes in a millisecond
    (0..3).for_each(|nonce| bench.send(0, 1, nonce));
    bench.send(1, 0, 9);
    let expected = ["111 0 got 9 from 1", "111 1 got 0 from 0", "112 1 got 1 from 0", "113 1 got 2 from 0"];
    assert_eq!(bench.log(60_000), expected);
}

#[test]
fn a_channel_is_full_above_its_mark_and_ready_once_it_has_half_drained() {
    let mut bench = linked(NetworkModel { uplink_bps: 800_000, ..model() });
    let full: Vec<bool> = (0..13).map(|nonce| bench.send_on(0, 1, Channel::Sync, nonce, 100)).collect();
    assert_eq!(full.iter().position(|full| *full), Some(10), "the eleventh frame of 100 bytes exceeds 1,000");
    assert_eq!(full.iter().filter(|full| **full).count(), 1, "the news comes once");
    assert!(!bench.send_on(0, 1, Channel::Gossip, 99, 100), "other channels are not full");
    let log = bench.log(60_000);
    // The eighth of 13 frames arrives at 118 ms and leaves 500 bytes; the sender hears of it one latency later.
    assert_eq!(log.iter().filter(|line| line.contains("ready")).collect::<Vec<_>>(), ["128 0 ready 1 Sync"]);
}

#[test]
fn a_pause_shorter_than_the_idle_timeout_costs_no_connection_and_a_longer_one_does() {
    let mut bench = linked(model());
    bench.act(|network, cx| network.pause(cx, 1, true));
    bench.until(5_000);
    bench.act(|network, cx| network.pause(cx, 1, false));
    assert_eq!(bench.log(20_000), [] as [&str; 0]);
    bench.act(|network, cx| network.pause(cx, 1, true));
    let log = bench.log(60_000);
    assert!(log[0].ends_with("0 down 1 IdleTimeout"), "{log:?}");
}

#[test]
fn a_delay_is_added_to_the_latency() {
    let mut bench = linked(model());
    bench.begin(0, &FaultEffect::Delay { nodes: vec![1], extra_ns: 7 * MILLI });
    bench.send(0, 1, 1);
    assert_eq!(bench.log(200), ["117 1 got 1 from 0"]);
    bench.end(0);
    bench.send(0, 1, 2);
    assert_eq!(bench.log(60_000), ["210 1 got 2 from 0"]);
}

#[test]
fn a_frame_to_nobody_is_counted() {
    let mut bench = linked(model());
    bench.send(0, 2, 1);
    assert_eq!(bench.log(60_000), [] as [&str; 0]);
    assert_eq!(bench.network.carried, Carried { unroutable: 1, dropped: 0 });
}

#[test]
fn a_dial_to_an_unknown_name_is_unreachable() {
    let mut bench = bench(model());
    bench.act(|network, cx| network.dial(cx, 0, NodeId([7; 32])));
    let (key, happening) = bench.agenda.pop().expect("the dial fails in time");
    assert_eq!(key.at_ns, 5_000 * MILLI);
    assert!(matches!(happening, Happening::Input { .. }));
}
