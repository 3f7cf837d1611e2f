//! Connections to servers, which the end of the daemon cuts: it does not wait for a server that is silent.

use crate::resolve::{exchange_tcp, remaining};
use socket2::{Domain, Socket, Type};
use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Those of one updater: at most one at a time.
#[derive(Clone, Debug, Default)]
pub(super) struct Connections(Arc<Mutex<Current>>);

#[derive(Debug, Default)]
struct Current {
    socket: Option<Socket>,
    /// Since then none is made.
    cut: Option<Instant>,
}

impl Connections {
    /// Ends the one that there is, and makes no other until [`mend`](Self::mend).
    pub(super) fn cut(&self) {
        let mut current = self.lock();
        current.cut.get_or_insert_with(Instant::now);
        if let Some(socket) = &current.socket {
            // It wakes who connects, writes or reads.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    pub(super) fn is_cut(&self) -> bool {
        self.lock().cut.is_some()
    }

    /// Makes connections again; gives when they were cut.
    pub(super) fn mend(&self) -> Option<Instant> {
        self.lock().cut.take()
    }

    /// Connects, and says so in `connected` before anything is sent.
    pub(super) fn ask(
        &self,
        server: SocketAddr,
        question: &[u8],
        until: Instant,
        connected: impl FnOnce(),
    ) -> io::Result<Vec<u8>> {
        let answer = self.connect(server, until).and_then(|stream| {
            connected();
            exchange_tcp(stream, question, until)
        });
        self.lock().socket = None;
        answer
    }

    fn connect(&self, server: SocketAddr, until: Instant) -> io::Result<TcpStream> {
        let socket = Socket::new(Domain::for_address(server), Type::STREAM, None)?;
        {
            let mut current = self.lock();
            if current.cut.is_some() {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            current.socket = Some(socket.try_clone()?);
        }
        // The kernel takes this for the connection too (socket(7)), and a shutdown ends the waiting.
        socket.set_write_timeout(Some(remaining(until)?.max(Duration::from_millis(1))))?;
        socket.connect(&server.into()).map_err(|error| match error.raw_os_error() {
            Some(libc::EINPROGRESS) => io::ErrorKind::TimedOut.into(),
            _ => error,
        })?;
        Ok(socket.into())
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
