//! What a process has cost: CPU time, memory.

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// What this process has used so far.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Usage {
    pub(crate) cpu_us: f64,
    pub(crate) rss_mb: f64,
    /// The most that it ever had.
    pub(crate) peak_mb: f64,
    /// What it counts, if it counts something.
    pub(crate) count: u64,
}

impl Usage {
    pub(crate) fn now() -> Self {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let cpu_us = cpu.tv_sec as f64 * 1e6 + cpu.tv_nsec as f64 / 1e3;
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mb = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            let kb = line.and_then(|line| line.trim().trim_end_matches(" kB").trim().parse::<f64>().ok());
            kb.unwrap_or(f64::NAN) / 1024.0
        };
        Self { cpu_us, rss_mb: mb("VmRSS:"), peak_mb: mb("VmHWM:"), count: 0 }
    }
}
