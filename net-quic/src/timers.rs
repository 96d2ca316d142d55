//! Timers that wake nobody at a time that they were put off from.
//!
//! Tokio keeps timers in a wheel: it wakes its thread wherever a slot of the wheel begins, to move what is in there on, and
//! at the old time of a timer that was put off. So the timers of a node and of its connections wait for one alarm of the
//! system's, set to the earliest of them.
//!
//! Where the system has no such alarm, and in runs that repeat, whose time a simulation keeps, they are tokio's.

use quinn::{AsyncTimer, AsyncUdpSocket, Runtime, TokioRuntime};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;
use tokio::time::{Sleep, sleep_until};

#[cfg(target_os = "linux")]
mod alarm;

/// Where the timers of a node wait.
#[derive(Clone, Debug)]
pub(crate) enum Timers {
    /// In tokio's wheel.
    Tokio,
    /// For the system's alarm.
    #[cfg(target_os = "linux")]
    System(Arc<alarm::Alarm>),
}

impl Timers {
    /// Takes the system's alarm, or tokio's wheel where there is none to have.
    pub(crate) fn of_system() -> Self {
        #[cfg(target_os = "linux")]
        match alarm::Alarm::start() {
            Ok(alarm) => return Self::System(alarm),
            Err(error) => tracing::debug!(%error, "no alarm of the system's"),
        }
        Self::Tokio
    }

    /// Makes a timer.
    pub(crate) fn timer(&self, at: Instant) -> Timer {
        match self {
            Self::Tokio => Timer::Tokio(Box::pin(sleep_until(at.into()))),
            #[cfg(target_os = "linux")]
            Self::System(alarm) => Timer::System(alarm.waiter(at)),
        }
    }
}

impl Runtime for Timers {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        Box::pin(self.timer(at))
    }

    fn spawn(&self, task: Pin<Box<dyn Future<Output = ()> + Send>>) {
        TokioRuntime.spawn(task);
    }

    fn wrap_udp_socket(&self, socket: std::net::UdpSocket) -> std::io::Result<Arc<dyn AsyncUdpSocket>> {
        TokioRuntime.wrap_udp_socket(socket)
    }

    fn now(&self) -> Instant {
        TokioRuntime.now()
    }
}

/// One timer. After it was set it must be polled to be heard of.
#[derive(Debug)]
pub(crate) enum Timer {
    Tokio(Pin<Box<Sleep>>),
    #[cfg(target_os = "linux")]
    System(alarm::Waiter),
}

impl Timer {
    /// Tells its time.
    pub(crate) fn deadline(&self) -> Instant {
        match self {
            Self::Tokio(sleep) => sleep.deadline().into(),
            #[cfg(target_os = "linux")]
            Self::System(waiter) => waiter.at(),
        }
    }

    /// Sets it to another time.
    pub(crate) fn set(&mut self, at: Instant) {
        match self {
            Self::Tokio(sleep) => sleep.as_mut().reset(at.into()),
            #[cfg(target_os = "linux")]
            Self::System(waiter) => waiter.set(at),
        }
    }
}

impl Future for Timer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match &mut *self {
            Self::Tokio(sleep) => Future::poll(sleep.as_mut(), cx),
            #[cfg(target_os = "linux")]
            Self::System(waiter) => waiter.poll(cx),
        }
    }
}

impl AsyncTimer for Timer {
    fn reset(self: Pin<&mut Self>, at: Instant) {
        self.get_mut().set(at);
    }

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Future::poll(self, cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::task::{Wake, Waker};
    use std::time::Duration;
    use tokio::time::timeout;

    const LONG: Duration = Duration::from_secs(10);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn is_over(timer: &mut Timer, waker: &Waker) -> bool {
        Future::poll(Pin::new(timer), &mut Context::from_waker(waker)).is_ready()
    }

    #[tokio::test]
    async fn a_timer_rings_at_the_time_that_it_was_set_to_last() {
        for timers in [Timers::Tokio, Timers::of_system()] {
            for (first, last) in [(ms(1), ms(30)), (ms(20), ms(21)), (ms(3_600_000), ms(1)), (ms(5), ms(5))] {
                let begin = Instant::now();
                let mut timer = timers.new_timer(begin + first);
                assert!(timer.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
                timer.as_mut().reset(begin + last);
                let rung = timeout(LONG, poll_fn(|cx| timer.as_mut().poll(cx))).await;
                assert!(rung.is_ok(), "{timers:?} from {first:?} to {last:?}: never");
                assert!(begin.elapsed() >= last, "{timers:?} from {first:?} to {last:?}: at its old time");
            }
        }
    }

    #[tokio::test]
    async fn many_timers_ring_each_at_its_time() {
        for timers in [Timers::Tokio, Timers::of_system()] {
            let begin = Instant::now();
            let far = (0..200_u64).map(|number| ms(number * 37 % 200));
            let close = (0..50_u64).map(|number| Duration::from_micros(50_000 + number * 300));
            let waits = far.chain(close).map(|wait| {
                let timer = timers.timer(begin + wait);
                tokio::spawn(async move {
                    timer.await;
                    begin.elapsed() >= wait
                })
            });
            for wait in waits.collect::<Vec<_>>() {
                assert!(
                    timeout(LONG, wait).await.expect("a timer never rings").expect("polled"),
                    "{timers:?}"
                );
            }
        }
    }

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[tokio::test]
    async fn a_timer_that_was_put_off_or_given_up_wakes_nobody_at_its_old_time() {
        let (timers, woken) = (Timers::of_system(), Arc::new(Woken::default()));
        let (waker, begin) = (Waker::from(woken.clone()), Instant::now());
        let [mut put_off, mut given_up] = [ms(10), ms(20)].map(|wait| timers.timer(begin + wait));
        assert!(!is_over(&mut put_off, &waker) && !is_over(&mut given_up, &waker));
        put_off.set(begin + LONG);
        assert!(!is_over(&mut put_off, &waker));
        drop(given_up);
        timers.timer(begin + ms(60)).await;
        assert_eq!(woken.0.load(Relaxed), 0);
        put_off.set(begin);
        assert!(is_over(&mut put_off, &waker));
    }
}
