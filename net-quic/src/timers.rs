//! Timers that wake nobody when they are put off.
//!
//! Tokio leaves a timer that is put off where it stood, wakes its thread at the old time, and only then moves it. A
//! connection puts its timer off from milliseconds, while a packet waits for its acknowledgement, to seconds: on an idle
//! node most wakes came of that. What is put off by far is therefore taken out and set anew, and what is put off by little,
//! as under load with each packet, is left to tokio.

use quinn::{AsyncTimer, AsyncUdpSocket, Runtime, TokioRuntime};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::time::{Sleep, sleep_until};

/// How far a timer is put off that is set anew. A guess: busy connections put theirs off by less with each packet.
const FAR: Duration = Duration::from_millis(2);

/// Sets a timer to another time.
pub(crate) fn set(mut sleep: Pin<&mut Sleep>, at: tokio::time::Instant) {
    if at > sleep.deadline() + FAR {
        sleep.set(sleep_until(at));
    } else {
        sleep.reset(at);
    }
}

/// Tokio as quinn's runtime, but for its timers.
#[derive(Debug)]
pub(crate) struct Timers;

impl Runtime for Timers {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        Box::pin(Timer(Box::pin(sleep_until(at.into()))))
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

#[derive(Debug)]
struct Timer(Pin<Box<Sleep>>);

impl AsyncTimer for Timer {
    fn reset(mut self: Pin<&mut Self>, at: Instant) {
        set(self.0.as_mut(), at.into());
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Future::poll(self.0.as_mut(), cx)
    }
}
