//! What a run costs this machine: wall clock, processor time, memory.

use std::time::{Duration, Instant};

/// Measures from its making to [`Meter::read`].
pub(crate) struct Meter {
    started: Instant,
    cpu: Duration,
}

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
    /// The most memory that the process held at once, where the system tells.
    pub(crate) peak_rss_bytes: u64,
}

impl Meter {
    pub(crate) fn start() -> Self {
        Self { started: Instant::now(), cpu: cpu_time() }
    }

    pub(crate) fn read(&self) -> Cost {
        Cost {
            wall: self.started.elapsed(),
            cpu: cpu_time().saturating_sub(self.cpu),
            peak_rss_bytes: peak_rss_bytes(),
        }
    }
}

fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// Reads the high-water mark of resident memory; zero where the system does not tell.
fn peak_rss_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}
