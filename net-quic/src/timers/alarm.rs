//! One alarm of the system's for many timers.

use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use rustix::time::{timerfd_create, timerfd_settime};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::AbortHandle;

/// How much earlier than the earliest timer the alarm may stay set. A guess: busy connections put their timers off by less
/// with each packet, and shall not ask the system each time.
const EARLY: Duration = Duration::from_micros(500);

/// The alarm, for as long as anybody holds it.
#[derive(Debug)]
pub(crate) struct Alarm {
    clock: Arc<Clock>,
    ringing: AbortHandle,
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.ringing.abort();
    }
}

impl Alarm {
    /// Begins to wait for an alarm of the system's.
    ///
    /// # Errors
    /// The system's, where it has no more.
    pub(crate) fn start() -> io::Result<Arc<Self>> {
        let fd = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        #[expect(deprecated, reason = "what replaces it is unsafe for any handle, and this one is owned")]
        let fd = AsyncFd::with_interest(fd, Interest::READABLE)?;
        let clock = Arc::new(Clock { fd, waiting: Mutex::default() });
        let ringing = tokio::spawn(clock.clone().ring()).abort_handle();
        Ok(Arc::new(Self { clock, ringing }))
    }

    /// Makes a timer.
    pub(crate) fn waiter(self: &Arc<Self>, at: Instant) -> Waiter {
        let mut waiting = self.clock.lock();
        waiting.count += 1;
        Waiter { alarm: self.clone(), number: waiting.count, at, waits_for: None }
    }
}

#[derive(Debug)]
struct Clock {
    fd: AsyncFd<OwnedFd>,
    waiting: Mutex<Waiting>,
}

/// What waits for the alarm.
#[derive(Debug, Default)]
struct Waiting {
    /// By time, and by number where times are equal.
    wakers: BTreeMap<(Instant, u64), Waker>,
    /// Timers so far.
    count: u64,
    /// What the alarm is set to.
    set_to: Option<Instant>,
}

impl Clock {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ring(self: Arc<Self>) {
        while let Ok(mut rung) = self.fd.readable().await {
            rung.clear_ready();
            for waker in self.due() {
                waker.wake();
            }
        }
    }

    /// Takes out whoever waits no longer, and sets the alarm for the others.
    fn due(&self) -> Vec<Waker> {
        let (now, mut waiting) = (Instant::now(), self.lock());
        let mut due = Vec::new();
        while let Some(first) = waiting.wakers.first_entry().filter(|first| first.key().0 <= now) {
            due.push(first.remove());
        }
        waiting.set_to = None;
        self.set(&mut waiting);
        due
    }

    /// Sets the alarm to the earliest timer, unless it is set to that or a little earlier.
    fn set(&self, waiting: &mut Waiting) {
        let Some((earliest, _)) = waiting.wakers.keys().next().copied() else { return };
        if waiting.set_to.is_some_and(|set_to| set_to <= earliest && earliest <= set_to + EARLY) {
            return;
        }
        waiting.set_to = Some(earliest);
        let wait = earliest.saturating_duration_since(Instant::now()).max(Duration::from_nanos(1));
        let it_value = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) };
        let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        let once = Itimerspec { it_interval, it_value };
        if let Err(error) = timerfd_settime(self.fd.get_ref(), TimerfdTimerFlags::empty(), &once) {
            tracing::error!(%error, "the system's alarm cannot be set");
        }
    }
}

/// One timer that waits for the alarm.
#[derive(Debug)]
pub(crate) struct Waiter {
    alarm: Arc<Alarm>,
    number: u64,
    at: Instant,
    /// The time that it stands under among those that wait.
    waits_for: Option<Instant>,
}

impl Waiter {
    pub(crate) fn at(&self) -> Instant {
        self.at
    }

    /// Sets it to another time: heard of when it is polled next.
    pub(crate) fn set(&mut self, at: Instant) {
        self.at = at;
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let clock = &self.alarm.clock;
        let mut waiting = clock.lock();
        if let Some(old) = self.waits_for.take_if(|old| *old != self.at) {
            waiting.wakers.remove(&(old, self.number));
        }
        if Instant::now() >= self.at {
            self.waits_for.take().map(|at| waiting.wakers.remove(&(at, self.number)));
            return Poll::Ready(());
        }
        let waker = waiting.wakers.entry((self.at, self.number)).or_insert_with(|| cx.waker().clone());
        waker.clone_from(cx.waker());
        self.waits_for = Some(self.at);
        clock.set(&mut waiting);
        Poll::Pending
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        if let Some(at) = self.waits_for {
            self.alarm.clock.lock().wakers.remove(&(at, self.number));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::task::yield_now;
    use tokio::time::timeout;

    #[tokio::test]
    async fn an_alarm_that_nobody_holds_is_given_back_to_the_system() {
        let alarm = Alarm::start().expect("an alarm");
        let clock = Arc::downgrade(&alarm.clock);
        let waiter = alarm.waiter(Instant::now() + Duration::from_secs(3_600));
        drop(alarm);
        yield_now().await;
        assert!(clock.upgrade().is_some(), "a timer waits for it");
        drop(waiter);
        let is_gone = async {
            while clock.upgrade().is_some() {
                yield_now().await;
            }
        };
        timeout(Duration::from_secs(10), is_gone).await.expect("it stays open");
    }
}
