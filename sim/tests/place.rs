//! A trial that fails shows the line of the test that made it. One test: the hook that sees panics is the process's.

use rumormill_sim::Trial;
use rumormill_sim::scenario::{Check, Fault, Scenario};
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

/// The line of this file at which the last panic was; zero for one in another file.
static PANICKED: AtomicU32 = AtomicU32::new(0);

/// The line of the call, and the line at which what is called panics.
#[track_caller]
fn lines(failing: impl FnOnce()) -> (u32, u32) {
    std::panic::set_hook(Box::new(|info| {
        let here = info.location().filter(|place| place.file().ends_with("place.rs"));
        PANICKED.store(here.map_or(0, Location::line), SeqCst);
    }));
    let ended = catch_unwind(AssertUnwindSafe(failing));
    drop(std::panic::take_hook());
    assert!(ended.is_err(), "nothing failed");
    (Location::caller().line(), PANICKED.load(SeqCst))
}

#[test]
fn a_failure_points_at_the_line_of_the_users_test() {
    let small = Scenario::new("small", 4).bootstrap(1, 5, 2).ending_at(4).always(Check::Bounded);
    let none = Scenario::new("none", 0);
    let idle = small.clone().fault(1, Fault::crash([3])).fault(2, Fault::pause([3]).lasting(1));
    let trial = || Trial::new(&small).eventually("never", |_| Err("no".to_owned()));
    for (called, panicked) in [
        lines(|| trial().assert_holds()),
        lines(|| Trial::new(&small).seeds(0..0u64).assert_holds()),
        lines(|| Trial::new(&idle).assert_holds()),
        lines(|| Trial::new(&none).assert_holds()),
        lines(|| drop(Trial::new(&none).find_failure())),
        lines(|| drop(Trial::new(&none).run(1))),
        lines(|| drop(trial().app(|_| ()))),
        lines(|| drop(none.expand(1))),
    ] {
        assert_eq!(panicked, called);
    }
}
