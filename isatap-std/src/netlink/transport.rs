//! One netlink socket: messages out, messages in.

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// Larger than any message the kernel makes for a dump (32 KiB).
const BUFFER: usize = 1 << 16;
/// Set by the kernel when a table changed while it was dumped.
const NLM_F_DUMP_INTR: u16 = 0x10;

#[derive(Debug)]
pub(super) struct Transport {
    socket: Socket,
    sequence: Cell<u32>,
}

impl Transport {
    /// A socket that also hears the groups of the bit mask `groups`.
    pub(super) fn open(groups: u32) -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind(&SocketAddr::new(0, groups))?;
        // An error echoes the request's header only, not all of it.
        socket.set_cap_ack(true)?;
        // Makes the kernel apply the filters of a dump; since Linux 4.20, and
        // without it only more is dumped.
        let _ = socket.set_netlink_get_strict_chk(true);
        Ok(Self { socket, sequence: Cell::new(0) })
    }

    pub(super) fn set_non_blocking(&self) -> io::Result<()> {
        self.socket.set_non_blocking(true)
    }

    /// Hears one more group, by its number.
    pub(super) fn join(&mut self, group: libc::c_uint) -> io::Result<()> {
        self.socket.add_membership(group)
    }

    /// Gives the kernel's bursts of notifications room; without privilege the
    /// system's maximum is what we get.
    pub(super) fn enlarge_receive_buffer(&self) {
        let _ = self.socket.set_rx_buf_sz(1_u32 << 20);
    }

    /// Sends one request and waits for all of its answer.
    pub(super) fn request(&self, message: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<RouteNetlinkMessage>> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            match self.request_once(message.clone(), flags) {
                Ok((_, true)) if attempts < 5 => {}
                other => return other.map(|(answer, _)| answer),
            }
        }
    }

    /// The answer, and whether the table changed while it was dumped.
    fn request_once(&self, message: RouteNetlinkMessage, flags: u16) -> io::Result<(Vec<RouteNetlinkMessage>, bool)> {
        let sequence = self.sequence.get().wrapping_add(1);
        self.sequence.set(sequence);
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        header.sequence_number = sequence;
        let mut request = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.socket.send_to(&bytes, &SocketAddr::new(0, 0), 0)?;

        let many = flags & NLM_F_DUMP == NLM_F_DUMP || flags & NLM_F_ACK != 0;
        let mut answer = Vec::new();
        let mut interrupted = false;
        let mut buffer = Vec::with_capacity(BUFFER);
        loop {
            self.receive(&mut buffer)?;
            for (header, payload) in Messages::new(&buffer) {
                if header.sequence_number != sequence {
                    // What is left of a request that failed halfway.
                    continue;
                }
                interrupted |= header.flags & NLM_F_DUMP_INTR != 0;
                match payload {
                    NetlinkPayload::InnerMessage(inner) => answer.push(inner),
                    NetlinkPayload::Done(done) if done.code == 0 => {
                        return Ok((answer, interrupted));
                    }
                    NetlinkPayload::Done(done) => {
                        return Err(io::Error::from_raw_os_error(done.code.saturating_neg()));
                    }
                    NetlinkPayload::Error(error) => {
                        return match error.code {
                            None => Ok((answer, interrupted)),
                            Some(_) => Err(error.to_io()),
                        };
                    }
                    NetlinkPayload::Overrun(_) => {
                        return Err(io::Error::from_raw_os_error(libc::ENOBUFS));
                    }
                    _ => {}
                }
            }
            if !many && !answer.is_empty() {
                return Ok((answer, interrupted));
            }
        }
    }

    /// Reads one datagram of messages from the kernel into `buffer`.
    pub(super) fn receive(&self, buffer: &mut Vec<u8>) -> io::Result<()> {
        loop {
            buffer.clear();
            match self.socket.recv_from(buffer, 0) {
                // Only the kernel has port 0: anybody may send to our port.
                Ok((_, from)) if from.port_number() == 0 => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl AsFd for Transport {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The messages in a datagram; those that this program's crates cannot read are
/// left out, so that a kernel newer than they are does no harm.
pub(super) struct Messages<'a> {
    rest: &'a [u8],
}

impl<'a> Messages<'a> {
    pub(super) fn new(datagram: &'a [u8]) -> Self {
        Self { rest: datagram }
    }

    /// The types of all messages in a datagram, those that cannot be read included.
    pub(super) fn types(datagram: &'a [u8]) -> impl Iterator<Item = u16> {
        let mut messages = Self::new(datagram);
        std::iter::from_fn(move || {
            let message = messages.next_bytes()?;
            let &[low, high] = message.get(4..)?.first_chunk()?;
            Some(u16::from_ne_bytes([low, high]))
        })
    }

    fn next_bytes(&mut self) -> Option<&'a [u8]> {
        const HEADER: usize = 16;
        let length = u32::from_ne_bytes(*self.rest.first_chunk()?);
        let length = usize::try_from(length).ok()?;
        if length < HEADER {
            return None;
        }
        let message = self.rest.get(..length)?;
        // Aligned to 4; the last message may lack its padding.
        let next = length.checked_next_multiple_of(4)?;
        self.rest = self.rest.get(next..).unwrap_or_default();
        Some(message)
    }
}

impl Iterator for Messages<'_> {
    type Item = (NetlinkHeader, NetlinkPayload<RouteNetlinkMessage>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let message = self.next_bytes()?;
            if let Ok(message) = NetlinkMessage::deserialize(message) {
                return Some(message.into_parts());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..300), length in 0_u8..60) {
            let mut bytes = bytes;
            if let Some(first) = bytes.first_chunk_mut::<4>() {
                *first = u32::from(length).to_ne_bytes();
            }
            prop_assert!(Messages::new(&bytes).count() <= bytes.len() / 16 + 1);
            prop_assert!(Messages::types(&bytes).count() <= bytes.len() / 16 + 1);
        }
    }

    #[test]
    fn an_unreadable_message_does_not_hide_the_next() {
        let message = |kind: u16, payload: &[u8]| {
            let mut bytes = (16 + payload.len() as u32).to_ne_bytes().to_vec();
            bytes.extend(kind.to_ne_bytes());
            bytes.extend([0; 10]);
            bytes.extend(payload);
            bytes
        };
        // RTM_NEWROUTE with half a header, then NLMSG_DONE.
        let datagram = [message(24, &[10, 0, 0, 0]), message(3, &[0; 4])].concat();
        let read: Vec<_> = Messages::new(&datagram).collect();
        assert_eq!(read.len(), 1);
        assert!(matches!(read[0].1, NetlinkPayload::Done(_)));
        assert_eq!(Messages::types(&datagram).collect::<Vec<_>>(), [24, 3]);
    }
}
