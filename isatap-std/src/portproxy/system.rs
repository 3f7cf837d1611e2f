//! What the port proxy asks of the system that it runs on: connections, bytes and names.

use super::counters::Refusal;
use super::slots::Id;
use super::{End, Rule};
use crate::resolve::Name;
use crate::spec::{Family, ZonedAddress};
use isatap_core::time::Instant;
use std::fmt::Debug;
use std::io;
use std::net::{IpAddr, SocketAddr};

/// The kernel of this machine, or a node of the lab.
///
/// Streams do not block: what cannot be done now is an error of the kind `WouldBlock`, and the owner of
/// the [`Proxy`](super::proxy::Proxy) tells it once that has changed.
pub(crate) trait System {
    /// One end of a connection. Each is given back by [`close`](Self::close) or [`reset`](Self::reset).
    type Stream: Debug;
    /// Bytes that were taken out of a stream without being looked at.
    type Piece: Debug;

    /// Whether one more client can be had. Tells people if not.
    fn has_room(&mut self, rule: &Rule, client: &Self::Stream, now: Instant) -> bool;

    /// What happens to a client is told from now on, as to this connection.
    ///
    /// # Errors
    ///
    /// That cannot be.
    fn watch(&mut self, id: Id, client: &Self::Stream) -> Result<(), Refusal>;

    /// An address of a target as connections take it. `PPX-10`: its zone may be another device each time.
    ///
    /// # Errors
    ///
    /// Its zone is not there.
    fn place(&self, address: &ZonedAddress, port: u16) -> Result<SocketAddr, Refusal>;

    /// The addresses of a target's name; `None`: they are told later, or never.
    fn addresses(&mut self, name: &Name, family: Family, id: Id, now: Instant) -> Option<Vec<IpAddr>>;

    /// Begins to connect, and our own end where the target is on this machine.
    ///
    /// # Errors
    ///
    /// That it is known at once.
    fn connect(&mut self, rule: &Rule, id: Id, to: SocketAddr, now: Instant) -> Result<Opened<Self::Stream>, Refusal>;

    /// What has come of connecting.
    ///
    /// # Errors
    ///
    /// It has failed.
    fn connected(&mut self, server: &Self::Stream) -> Result<(), Refusal>;

    /// The two ends of a client's connection: its own, and where it was accepted.
    ///
    /// # Errors
    ///
    /// The client is gone.
    fn ends(&self, client: &Self::Stream) -> io::Result<(SocketAddr, SocketAddr)>;

    /// Reads once; 0 is the end.
    ///
    /// # Errors
    ///
    /// `WouldBlock` and `Interrupted` are none; otherwise the connection was reset, or is gone.
    fn read(&mut self, from: &Self::Stream, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes once.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    fn write(&mut self, to: &Self::Stream, bytes: &[u8]) -> io::Result<usize>;

    /// Sends the end of what is written.
    ///
    /// # Errors
    ///
    /// The connection was reset, or is gone.
    fn shutdown(&mut self, stream: &Self::Stream) -> io::Result<()>;

    /// Takes bulk without reading it.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    fn take(&mut self, from: &Self::Stream) -> io::Result<Taken<Self::Piece>>;

    /// Gives what is `left` of a piece, and says how much of it was taken.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    fn give(&mut self, piece: &Self::Piece, left: usize, to: &Self::Stream) -> io::Result<usize>;

    /// A piece of which nothing is left.
    fn recycle(&mut self, piece: Self::Piece);

    /// Bytes that were written and the peer has not acknowledged; 0 where nobody knows.
    fn queued(&self, stream: &Self::Stream) -> u64;

    /// Closes a connection whose both directions have ended.
    fn close(&mut self, stream: Self::Stream);

    /// Closes a connection by a reset.
    fn reset(&mut self, stream: Self::Stream);

    /// A connection of the rule has ended, or was never there. Its streams are closed next.
    fn ended(&mut self, rule: &Rule, client: &Self::Stream, end: End);
}

/// A connection to a target that has begun.
#[derive(Debug)]
pub(crate) struct Opened<T> {
    pub(crate) stream: T,
    /// Our own end, where the target is on this machine.
    pub(crate) own: Option<SocketAddr>,
}

/// What came of taking bulk.
#[derive(Debug)]
pub(crate) enum Taken<P> {
    /// So many bytes.
    Piece(P, usize),
    /// The end.
    End,
    /// This does not work here: the bytes are to be read.
    Never,
}
