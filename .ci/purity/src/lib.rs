//! The core on bare ground: no operating system, no standard library, an allocator that is only a name.
//!
//! Whatever the core asks for beyond this stays an undefined symbol after linking, and `.ci/purity.sh` finds it. A
//! `std` that creeps in through the core or a dependency does not even compile: its panic handler is a second one.
#![no_std]

extern crate alloc;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::alloc::{GlobalAlloc, Layout};
use core::hint::black_box;

use bytes::Bytes;
use rumormill_core::{
    Boot, Config, GCounter, Input, Instant, Lattice, Node, NodeId, Now, OrMap, Output, Ring, Wall, Writer,
    frame, log,
};

unsafe extern "C" {
    fn purity_alloc(size: usize, align: usize) -> *mut u8;
    fn purity_dealloc(pointer: *mut u8, size: usize, align: usize);
}

/// Hands every allocation to two functions that exist nowhere.
struct Nowhere;

// SAFETY: the probe is linked, never run.
unsafe impl GlobalAlloc for Nowhere {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        unsafe { purity_alloc(layout.size(), layout.align()) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { purity_dealloc(pointer, layout.size(), layout.align()) }
    }
}

#[global_allocator]
static ALLOCATOR: Nowhere = Nowhere;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}

/// Calls every way into the core. `black_box` hides the arguments, so that nothing is computed while compiling and then
/// dropped.
#[unsafe(no_mangle)]
pub extern "C" fn purity_entry() {
    node();
    bytes();
    values();
}

/// The two methods that a driver calls, and through them every machine.
fn node() {
    let config = black_box(Config::default());
    black_box(config.validate().is_ok());
    let boot = Boot {
        id: black_box(NodeId([1; 32])),
        addrs: Vec::new(),
        config: Arc::new(config),
        seed: black_box([0; 32]),
        recovered: Vec::new(),
    };
    let mut node = black_box(Node::new(boot, now()));
    let mut output = Output::default();
    node.handle(now(), black_box(Input::Timeout), &mut output);
    node.check();
    black_box((node.poll_timeout(), node.status().maps.len(), node.trace_hash(), output));
}

/// The codecs of frames and of the input log.
fn bytes() {
    let mut frames = Bytes::from_static(black_box(b"frames"));
    while let Ok(Some(frame)) = frame::decode(&mut frames) {
        let mut encoded = Vec::with_capacity(frame.wire_len());
        frame.encode(&mut encoded);
        black_box(encoded);
    }
    let mut encoded = Vec::new();
    if let Ok(records) = log::Reader::new(Bytes::from_static(black_box(b"log"))) {
        log::encode_boot(records.header(), &mut encoded);
        records.flatten().for_each(|(now, input)| log::encode_record(&now, &input, &mut encoded));
    }
    black_box(encoded);
}

/// What users hold without a node.
fn values() {
    let writer = Writer { node: black_box(NodeId([2; 32])), epoch: black_box(1) };
    let mut map = OrMap::new();
    let delta = map.insert(black_box(1_u64), black_box(2_u64), writer);
    black_box((map.remove(&1), map.merge(&delta)));
    let mut counter = GCounter::new();
    let delta = counter.add(writer, black_box(3));
    black_box((counter.join(&delta), counter.value()));
    if let Ok(mut ring) = Ring::new(black_box(64)) {
        black_box(ring.insert(writer.node, 1, 0).is_ok());
        black_box((ring.owners(b"key", 2), ring.remove(&writer.node)));
    }
}

/// What a driver would read from its clocks.
fn now() -> Now {
    black_box(Now { mono: Instant(1), wall: Wall(1) })
}
