//! Three runs as they might have been: one for each verdict that a deterministic run has.

use rumormill_reports::*;

pub(crate) fn decimal(value: f64) -> Finite {
    Finite::new(value).expect("a sample's numbers are finite")
}

fn receipts(receipts: &[(&str, u64)]) -> std::collections::BTreeMap<String, u64> {
    receipts.iter().map(|(name, amount)| (name.to_string(), *amount)).collect()
}

fn property(name: &str, kind: Kind, status: Status, at_s: Option<f64>) -> Property {
    Property { name: name.into(), kind, status, at_s: at_s.map(decimal), node: None, detail: None }
}

fn quantiles([p50, p90, p99, max]: [f64; 4]) -> Quantiles {
    Quantiles { p50: decimal(p50), p90: decimal(p90), p99: decimal(p99), max: decimal(max) }
}

fn series(name: &str, unit: &str, points: impl Iterator<Item = f64>) -> Series {
    let points = points.map(decimal).collect();
    Series { name: name.into(), unit: unit.into(), start_s: decimal(-25.0), step_s: decimal(1.0), points }
}

fn partition() -> Fault {
    Fault {
        kind: "partition".into(),
        at_s: decimal(30.0),
        for_s: Some(decimal(30.0)),
        receipts: receipts(&[
            ("messages", 412_118),
            ("bytes", 39_123_456),
            ("nodes", 1_000),
            ("links", 2_497),
        ]),
    }
}

fn noise() -> Fault {
    Fault {
        kind: "noise".into(),
        at_s: decimal(10.0),
        for_s: Some(decimal(12.5)),
        receipts: receipts(&[("messages", 61_204), ("duplicated", 811), ("held_back_ns", 4_210_000_000)]),
    }
}

/// A thousand nodes, two faults, everything held.
pub(crate) fn pass() -> Record {
    let healing = |second: i32| {
        if (30..72).contains(&second) { 38.0 + f64::from((second - 30).pow(2)) / 29.0 } else { 100.0 }
    };
    Record {
        scenario: "first/partition-heal".into(),
        seed: "1:42".into(),
        nodes: 1_000,
        verdict: Verdict::Pass,
        trace_hash: TraceHash(0x9f86_d081_884c_7d65),
        events: 12_345_678,
        virtual_s: decimal(125.0),
        bootstrap_s: decimal(25.0),
        cost: Some(Cost::new(decimal(4.21), decimal(4.187_5), 12_345_678, Some(812_345_678))),
        properties: vec![
            property("overlay-connected", Kind::Always, Status::Held, None),
            Property {
                detail: Some("all 1,000 replicas of \"flags\" are equal, 11.9 s after healing".into()),
                ..property("converged", Kind::Eventually, Status::Held, Some(71.904))
            },
            property("delivered", Kind::Eventually, Status::Held, Some(70.311)),
            property("divergence-repaired", Kind::Sometimes, Status::Unreached, None),
        ],
        faults: vec![noise(), partition()],
        measures: vec![],
        broadcast: Some(Broadcast {
            sent: 2_400,
            reliability: decimal(0.999_983),
            rmr: decimal(0.0214),
            ldh_max: 14,
            ldh_mean: decimal(8.31),
            latency_ms: Some(quantiles([121.4, 180.2, 233.9, 12_345.0])),
        }),
        overlay: Some(Overlay {
            connected: true,
            components: 1,
            symmetric_pct: decimal(100.0),
            active: Spread { min: 4, p50: 5, max: 5 },
            in_degree: Spread { min: 3, p50: 5, max: 5 },
            clustering: decimal(0.004_5),
            path_length_mean: Some(decimal(4.718)),
        }),
        state: Some(State {
            converged: true,
            converge_ms: Some(quantiles([198.0, 31_400.0, 39_800.0, 41_904.0])),
            sync_bytes: 18_402_113,
            delta_bytes: 94_211_008,
            keys: 1_000,
        }),
        members: Some(Members {
            noticed_by_neighbors_ms: Some(quantiles([2_310.0, 3_904.0, 4_411.0, 4_870.0])),
            noticed_by_all_ms: Some(quantiles([3_120.0, 5_020.0, 6_930.0, 9_140.0])),
            verdicts: 49_950,
            false_verdicts: 0,
            suspicions: 61,
            refutations: 11,
        }),
        registry: Some(Registry {
            services: 10_000,
            updates: 11_210,
            applied: 11_198_790,
            pulls: 312,
            refused: 0,
        }),
        mail: Some(Mail {
            sent: 8_000,
            delivered: 7_951,
            lost: 31,
            refused: 18,
            expired: 4,
            answer_ms: Some(quantiles([61.2, 98.0, 240.5, 1_204.0])),
        }),
        placement: Some(Placement { acquired: 118, released: 54 }),
        sent_for: [("membership", 2.4, 640.0), ("members", 9.9, 690.25), ("mail", 0.5, 61.5)]
            .map(|(purpose, frames, bytes)| SentFor {
                purpose: purpose.into(),
                frames_per_s: decimal(frames),
                bytes_per_s: decimal(bytes),
            })
            .into(),
        traffic: Some(Traffic {
            messages: 9_876_543,
            bytes: 1_234_567_890,
            per_node_bytes_per_s: Rates {
                p50: decimal(9_204.0),
                p99: decimal(21_873.5),
                max: decimal(48_210.0),
            },
        }),
        series: vec![
            series(
                "replicas equal",
                "%",
                (-25..100).map(|second| if second < 10 { 100.0 } else { healing(second) }),
            ),
            series(
                "largest part",
                "%",
                (-25..100).map(|second| {
                    if (32..61).contains(&second) {
                        50.0
                    } else {
                        f64::min(100.0, f64::from(second + 25) * 6.0)
                    }
                }),
            ),
            series(
                "traffic",
                "MB/s",
                (-25..100).map(|second: i32| {
                    6.0 + f64::from(second.rem_euclid(7))
                        + if (60..72).contains(&second) { 14.0 } else { 0.0 }
                }),
            ),
        ],
        counters: receipts(&[
            ("delivered", 2_397_600),
            ("duplicates", 51_308),
            ("grafts", 0),
            ("joins", 999),
        ]),
        notes: vec![],
        reproduce: "rumormill run first/partition-heal --seed 1:42".into(),
    }
}

/// The same world, but a replica stays behind, and a gate is missed.
pub(crate) fn fail() -> Record {
    let mut record = Record {
        verdict: Verdict::Fail,
        trace_hash: TraceHash(0x00c0_ffee_0000_0001),
        measures: vec![
            Measure {
                name: "RMR, stable tree".into(),
                reference: "0".into(),
                ours: decimal(0.000_8),
                gate: "≤ 0.001".into(),
                beat: None,
                held: true,
            },
            Measure {
                name: "hops to the last delivery".into(),
                reference: "9.99 (8.34)".into(),
                ours: decimal(11.25),
                gate: "≤ 10.5".into(),
                beat: Some("≤ 8".into()),
                held: false,
            },
        ],
        notes: vec![
            "Connectivity was checked every 500 ms of virtual time and at the end, replicas at the end only."
                .into(),
        ],
        reproduce: "rumormill run first/partition-heal --seed 1:42 --set network.loss=0.1 \
                    --set 'fault[0].at_s=20' --nodes 1000 --capsule stale-replica.capsule"
            .into(),
        ..pass()
    };
    record.properties[0] = Property {
        node: Some(417),
        detail: Some("3 nodes reach nobody: 417, 803 and 951".into()),
        ..property("overlay-connected", Kind::Always, Status::Failed, Some(60.25))
    };
    record.properties[1] = Property {
        node: Some(12),
        detail: Some(
            "17 of 1,000 replicas of \"flags\" differ 30 s after the last fault; the first is that of node 12, which \
             lacks 4 operations of writer 88"
                .into(),
        ),
        ..property("converged", Kind::Eventually, Status::Failed, Some(100.0))
    };
    record.overlay = Some(Overlay {
        connected: false,
        components: 4,
        symmetric_pct: decimal(99.96),
        ..record.overlay.unwrap()
    });
    record.state = Some(State { converged: false, converge_ms: None, ..record.state.unwrap() });
    record
}

/// A small world without maps, whose fault found nobody to hurt; its cost was not measured.
pub(crate) fn vacuous() -> Record {
    Record {
        scenario: "faults/late-loss".into(),
        seed: "1:7".into(),
        nodes: 3,
        verdict: Verdict::Vacuous,
        trace_hash: TraceHash(7),
        events: 412,
        virtual_s: decimal(2.5),
        bootstrap_s: decimal(0.015),
        properties: vec![property("delivered", Kind::Eventually, Status::Held, Some(1.2))],
        faults: vec![
            Fault {
                kind: "loss".into(),
                at_s: decimal(2.0),
                for_s: Some(decimal(0.5)),
                receipts: receipts(&[("messages", 0)]),
            },
            Fault {
                kind: "crash".into(),
                at_s: decimal(0.5),
                for_s: None,
                receipts: receipts(&[("nodes", 1)]),
            },
        ],
        broadcast: Some(Broadcast {
            sent: 1,
            reliability: decimal(1.0),
            ldh_max: 1,
            ldh_mean: decimal(1.0),
            ..Broadcast::default()
        }),
        reproduce: "rumormill run faults/late-loss --seed 1:7".into(),
        ..Record::default()
    }
}
