//! A socket that wakes nobody for what it has sent.
//!
//! Tokio's sockets ask the system to tell when they can be read and when they can be written to. A datagram that has gone makes
//! room for the next one, so each that is sent wakes its sender once more for nothing: on an idle node that was one wake in
//! four. This one asks for what can be read, and for room only while there is none.

use quinn::AsyncUdpSocket;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

/// Opens a socket.
pub(crate) fn bind(addr: SocketAddr) -> io::Result<Arc<dyn AsyncUdpSocket>> {
    wrap(UdpSocket::bind(addr)?)
}

/// Takes a socket that is open.
#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
pub(crate) fn wrap(socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
    Ok(spare::Socket::new(socket)?)
}

/// Takes a socket that is open.
#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
pub(crate) fn wrap(socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
    quinn::Runtime::wrap_udp_socket(&quinn::TokioRuntime, socket)
}

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
mod spare {
    use quinn::udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
    use quinn::{AsyncUdpSocket, UdpPoller};
    use std::io::{self, IoSliceMut};
    use std::net::{SocketAddr, UdpSocket};
    use std::pin::Pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    use std::task::{Context, Poll, ready};
    use std::time::Duration;
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;
    use tokio::time::{Sleep, sleep};

    /// How long to wait for room where the system cannot be asked. A guess.
    const PAUSE: Duration = Duration::from_millis(2);

    #[derive(Debug)]
    pub(super) struct Socket {
        io: AsyncFd<UdpSocket>,
        state: UdpSocketState,
        /// Whether the last datagram found no room.
        is_full: AtomicBool,
    }

    impl Socket {
        pub(super) fn new(socket: UdpSocket) -> io::Result<Arc<Self>> {
            let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
            Ok(Arc::new(Self {
                io: hear(socket, Interest::READABLE)?,
                state,
                is_full: AtomicBool::new(false),
            }))
        }
    }

    fn hear(socket: UdpSocket, what: Interest) -> io::Result<AsyncFd<UdpSocket>> {
        #[expect(
            deprecated,
            reason = "what replaces it is unsafe for whatever handle, and a socket is one to rely on"
        )]
        AsyncFd::with_interest(socket, what)
    }

    impl AsyncUdpSocket for Socket {
        fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
            Box::pin(Room { socket: self, wait: None })
        }

        fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
            let sent = self.state.send(UdpSockRef::from(self.io.get_ref()), transmit);
            if sent.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
                self.is_full.store(true, Relaxed);
            }
            sent
        }

        fn poll_recv(
            &self,
            cx: &mut Context<'_>,
            into: &mut [IoSliceMut<'_>],
            meta: &mut [RecvMeta],
        ) -> Poll<io::Result<usize>> {
            loop {
                let mut readable = ready!(self.io.poll_read_ready(cx))?;
                let recv =
                    |io: &AsyncFd<UdpSocket>| self.state.recv(UdpSockRef::from(io.get_ref()), into, meta);
                if let Ok(received) = readable.try_io(recv) {
                    return Poll::Ready(received);
                }
            }
        }

        fn local_addr(&self) -> io::Result<SocketAddr> {
            self.io.get_ref().local_addr()
        }

        fn may_fragment(&self) -> bool {
            self.state.may_fragment()
        }

        fn max_transmit_segments(&self) -> usize {
            self.state.max_gso_segments()
        }

        fn max_receive_segments(&self) -> usize {
            self.state.gro_segments()
        }
    }

    /// Where one connection waits for room.
    #[derive(Debug)]
    struct Room {
        socket: Arc<Socket>,
        wait: Option<Wait>,
    }

    #[derive(Debug)]
    enum Wait {
        /// The same socket, asked for room alone.
        Room(AsyncFd<UdpSocket>),
        /// The process may open nothing more.
        Pause(Pin<Box<Sleep>>),
    }

    impl Wait {
        fn begin(socket: &Socket) -> Self {
            let room = socket.io.get_ref().try_clone().and_then(|socket| hear(socket, Interest::WRITABLE));
            room.map_or_else(|_| Self::Pause(Box::pin(sleep(PAUSE))), Self::Room)
        }

        fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            match self {
                Self::Room(room) => ready!(room.poll_write_ready(cx))?.retain_ready(),
                Self::Pause(pause) => ready!(pause.as_mut().poll(cx)),
            }
            Poll::Ready(Ok(()))
        }
    }

    impl UdpPoller for Room {
        fn poll_writable(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            let Self { socket, wait } = &mut *self;
            if socket.is_full.load(Relaxed) {
                ready!(wait.get_or_insert_with(|| Wait::begin(socket)).poll(cx))?;
                socket.is_full.store(false, Relaxed);
            }
            *wait = None;
            Poll::Ready(Ok(()))
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use std::future::poll_fn;

        #[tokio::test]
        async fn who_finds_no_room_waits_until_there_is_some() {
            let any = SocketAddr::from(([127, 0, 0, 1], 0));
            let socket = Socket::new(UdpSocket::bind(any).expect("a socket")).expect("a socket");
            let mut room = socket.clone().create_io_poller();
            let mut poll = |cx: &mut Context<'_>| room.as_mut().poll_writable(cx);
            let mut nobody = Context::from_waker(std::task::Waker::noop());
            assert!(poll(&mut nobody).is_ready(), "nothing was sent yet");
            socket.is_full.store(true, Relaxed);
            assert!(poll(&mut nobody).is_pending(), "the system was not asked");
            poll_fn(poll).await.expect("the socket is open");
            assert!(!socket.is_full.load(Relaxed));
        }

        #[tokio::test]
        async fn who_may_open_nothing_more_waits_a_moment() {
            let any = SocketAddr::from(([127, 0, 0, 1], 0));
            let socket = Socket::new(UdpSocket::bind(any).expect("a socket")).expect("a socket");
            socket.is_full.store(true, Relaxed);
            let wait = Some(Wait::Pause(Box::pin(sleep(PAUSE))));
            let mut room = Box::pin(Room { socket: socket.clone(), wait });
            assert!(
                room.as_mut().poll_writable(&mut Context::from_waker(std::task::Waker::noop())).is_pending()
            );
            poll_fn(|cx| room.as_mut().poll_writable(cx)).await.expect("the moment is over");
            assert!(!socket.is_full.load(Relaxed));
        }
    }
}
