//! Clients and servers: each sends and reads bytes that say nothing.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use isatap_core::time::Instant;
use smoltcp::iface::SocketHandle;

use super::stack::{Is, Stack};
use crate::portproxy::System as _;

/// What a client does when it has sent its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "file", derive(serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum Then {
    /// It sends the end, and reads on.
    #[default]
    End,
    /// It resets the connection once they have arrived.
    Reset,
    /// It keeps the connection.
    Keep,
}

/// What a server does with a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "file", derive(serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum Answer {
    /// It reads to the end, sends the same bytes back, and ends.
    #[default]
    Same,
    /// It resets the connection at the first bytes.
    Reset,
}

/// What became of a client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionState {
    /// Nobody has answered so far.
    Connecting,
    /// It was refused, or there is no way there.
    Refused,
    /// It is open.
    Open,
    /// It has ended both ways.
    Ended {
        /// How long it took.
        after: Duration,
        /// How many bytes came back, if they are those that were sent.
        same: Option<usize>,
    },
    /// It was reset by the other side.
    Reset {
        /// How long it took.
        after: Duration,
    },
    /// The client has reset it.
    Left,
}

/// What a server saw of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// Who connected.
    pub from: SocketAddr,
    /// How many bytes came.
    pub bytes: usize,
    /// How it has ended.
    pub end: Option<ServedEnd>,
}

/// How a connection ended, as a server sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "file", derive(serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum ServedEnd {
    /// The client sent the end.
    End,
    /// It was reset.
    Reset,
    /// The server itself has reset it.
    Left,
}

/// A program with one connection.
struct Line {
    handle: SocketHandle,
    got: Vec<u8>,
    to_send: Vec<u8>,
    sent: usize,
    has_shut: bool,
}

/// What a look at a connection showed.
enum Seen {
    Connecting,
    Open,
    /// The other side has sent its end.
    End,
    Reset,
}

impl Line {
    fn new(handle: SocketHandle, to_send: Vec<u8>) -> Self {
        Line { handle, got: Vec::new(), to_send, sent: 0, has_shut: false }
    }

    /// Sends and reads what can be.
    fn advance(&mut self, stack: &mut Stack) -> Seen {
        match stack.is(self.handle) {
            Is::Connecting => return Seen::Connecting,
            Is::Broken => return Seen::Reset,
            Is::Open | Is::Over => {}
        }
        while let Some(rest) = self.to_send.get(self.sent..).filter(|rest| !rest.is_empty()) {
            let Ok(count) = stack.write(&self.handle, rest) else { break };
            self.sent += count;
        }
        let mut buffer = [0; 1024];
        loop {
            match stack.read(&self.handle, &mut buffer) {
                Ok(0) => return Seen::End,
                Ok(count) => self.got.extend(buffer.iter().take(count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Seen::Open,
                Err(_) => return Seen::Reset,
            }
        }
    }

    /// Everything was given to TCP.
    fn is_sent(&self) -> bool {
        self.sent == self.to_send.len()
    }

    /// Sends the end, once.
    fn shut(&mut self, stack: &mut Stack) {
        if !std::mem::replace(&mut self.has_shut, true) {
            // What is gone has no end to send.
            let _ = stack.shutdown(&self.handle);
        }
    }
}

/// A client.
pub(super) struct Client {
    line: Line,
    begun: Instant,
    then: Then,
    state: ConnectionState,
}

impl Client {
    pub(super) fn new(handle: SocketHandle, begun: Instant, bytes: Vec<u8>, then: Then) -> Self {
        Client { line: Line::new(handle, bytes), begun, then, state: ConnectionState::Connecting }
    }

    pub(super) fn state(&self) -> ConnectionState {
        self.state
    }

    /// A connection that is kept is kept no longer.
    pub(super) fn hang_up(&mut self) {
        if self.then == Then::Keep {
            self.then = Then::End;
        }
    }

    pub(super) fn attend(&mut self, stack: &mut Stack, now: Instant) {
        let after = now.saturating_duration_since(self.begun).into();
        let line = &mut self.line;
        match line.advance(stack) {
            Seen::Connecting => {}
            Seen::Reset => {
                self.state = match self.state {
                    ConnectionState::Connecting => ConnectionState::Refused,
                    _ => ConnectionState::Reset { after },
                };
                stack.reset(line.handle);
            }
            seen => {
                self.state = ConnectionState::Open;
                let is_sent = line.is_sent();
                match self.then {
                    Then::End if is_sent => line.shut(stack),
                    Then::Reset if is_sent && stack.unacknowledged(line.handle) == 0 => {
                        self.state = ConnectionState::Left;
                        return stack.reset(line.handle);
                    }
                    _ => {}
                }
                if matches!(seen, Seen::End) {
                    self.state =
                        ConnectionState::Ended { after, same: (line.got == line.to_send).then_some(line.got.len()) };
                    stack.close(line.handle);
                }
            }
        }
    }
}

/// A connection of a server.
pub(super) struct Serving {
    line: Line,
    answer: Answer,
    from: SocketAddr,
    end: Option<ServedEnd>,
}

impl Serving {
    pub(super) fn new(handle: SocketHandle, answer: Answer, from: SocketAddr) -> Self {
        Serving { line: Line::new(handle, Vec::new()), answer, from, end: None }
    }

    pub(super) fn served(&self) -> Served {
        Served { from: self.from, bytes: self.line.got.len(), end: self.end }
    }

    pub(super) fn attend(&mut self, stack: &mut Stack) {
        let Self { line, answer, from, end } = self;
        let told = |end: &str, count: usize| format!("served {}: {count} bytes, then {end}", from.ip());
        match line.advance(stack) {
            Seen::Reset => {
                *end = Some(ServedEnd::Reset);
                stack.tell(told("a reset", line.got.len()));
                stack.reset(line.handle);
            }
            Seen::Open | Seen::End if *answer == Answer::Reset && !line.got.is_empty() => {
                *end = Some(ServedEnd::Left);
                stack.tell(format!("resets {} after {} bytes", from.ip(), line.got.len()));
                stack.reset(line.handle);
            }
            Seen::End => {
                if end.is_none() {
                    *end = Some(ServedEnd::End);
                    stack.tell(told("the end: sends them back", line.got.len()));
                    line.to_send.clone_from(&line.got);
                    line.advance(stack);
                }
                if line.is_sent() {
                    stack.close(line.handle);
                }
            }
            Seen::Connecting | Seen::Open => {}
        }
    }
}
