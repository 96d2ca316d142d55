//! The core on bare ground: no operating system, no standard library, an allocator that is only a name.
//!
//! Whatever the core asks for beyond this stays an undefined symbol after linking, and `.ci/purity.sh` finds it. A
//! `std` that creeps in through the core or a dependency does not even compile: its panic handler is a second one.
#![no_std]

extern crate alloc;

use alloc::vec;
use core::alloc::{GlobalAlloc, Layout};
use core::hint::black_box;
use rumormill_core::hash::Fold;
use rumormill_core::{Hlc, Purpose, Rng, Stamp, Wall};

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

/// Calls every way into the core, one line each. `black_box` hides the arguments, so that nothing is computed while
/// compiling and then dropped.
#[unsafe(no_mangle)]
pub extern "C" fn purity_entry() {
    let mut clock = Hlc::new(Stamp::ZERO, black_box(1_000));
    let mut rng = Rng::new(black_box([0; 32]));
    let mut fold = Fold::starting_at(black_box(1));
    let mut list = vec![0_u64; black_box(8)];
    black_box(clock.receive(black_box(Stamp::ZERO), clock_reading()).is_ok());
    black_box(clock.now(clock_reading()));
    rng.draw(Purpose::Backoff).sample(&mut list, black_box(4));
    fold.bytes(black_box(b"purity"));
    black_box((clock, rng, fold.finish(), list));
}

/// What a driver would read from a clock.
fn clock_reading() -> Wall {
    black_box(Wall(1))
}
