//! From a device to the sockets.

use super::parking::Way;
use super::{Device, Driver, OUTBOUND_BYTES, OUTBOUND_PACKETS, OuterSocket, deleted, is_deleted};
use crate::error::Error;
use crate::offload::{BUFFER_LEN, Segments, VirtioHeader};
use crate::proto41_socket::{Bound, OuterPacket, SendFailure, local_fragmentation_needed};
use isatap_core::engine::{Machine, Sends, Verdict};
use isatap_core::packet::{HEADROOM, LinkId, PacketMut};
use isatap_core::proto41::Outer;
use isatap_core::time::Instant;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;

/// A packet of the slab that the machine has encapsulated; it may stand for several.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    buffer: usize,
    inner: Range<usize>,
    header: VirtioHeader,
    outer: Outer,
    link: LinkId,
    bound: Bound,
    /// What a shorter way is told of once it was sent: from the device of this link go such packets.
    known: Option<(LinkId, Sends)>,
}

impl Outgoing {
    /// Nothing is told of it if it is for that peer.
    pub(super) fn forget(&mut self, peer: Ipv6Addr) {
        self.known = self.known.filter(|(_, sends)| sends.destination != peer);
    }

    /// `packet` lies in the slab's buffer of that number and leaves by `link`, which is bound so.
    pub(super) fn new(
        buffer: usize,
        packet: &PacketMut<'_>,
        header: VirtioHeader,
        (outer, link, bound): (Outer, LinkId, Bound),
    ) -> Self {
        Self { buffer, inner: packet.range(), header, outer, link, bound, known: None }
    }
}

/// Packets in one system call.
const SEND: usize = 64;

type Header = [u8; Segments::MAX_HEADER_LEN];

/// Room for the headers of the packets in one system call.
pub(super) type Headers = Box<[Header; SEND]>;

/// Such room.
pub(super) fn headers() -> Headers {
    Box::new([[0; Segments::MAX_HEADER_LEN]; SEND])
}

impl<M: Machine, S: OuterSocket, D: Device> Driver<M, S, D> {
    /// Takes a batch of packets from a device through the machine to the sockets.
    ///
    /// # Errors
    ///
    /// The device was deleted.
    pub(super) fn outbound(&mut self, link: LinkId) -> Result<(), Error> {
        let Some(at) = self.out.ports.iter().position(|port| port.link == link) else { return Ok(()) };
        let now = self.clock.now();
        let mut taken = 0;
        if self.out.ports.get(at).is_some_and(|port| port.one_by_one) {
            // Who waits for an answer to it does not wait for a look at an empty queue as well.
            taken = self.encapsulate_some(now, at, 1)?;
            self.send_batch();
            if taken == 0 {
                return Ok(());
            }
        }
        taken += self.encapsulate_some(now, at, OUTBOUND_PACKETS)?;
        self.send_batch();
        if let Some(port) = self.out.ports.get_mut(at) {
            port.one_by_one = taken < 2;
        }
        Ok(())
    }

    /// Takes at most `most` packets from a device through the machine, and gives how many those were.
    fn encapsulate_some(&mut self, now: Instant, at: usize, most: usize) -> Result<usize, Error> {
        self.outgoing.clear();
        let (mut taken, mut bytes) = (0, 0);
        for (buffer_number, buffer) in self.slab.chunks_exact_mut(BUFFER_LEN).enumerate().take(most) {
            let Some(port) = self.out.ports.get_mut(at) else { break };
            let link = port.link;
            let received = match port.device.read(buffer) {
                Ok(Some(received)) => received,
                Ok(None) => break,
                Err(error) if is_deleted(error.raw_os_error()) => return Err(deleted(port.device.name())),
                Err(error) => {
                    self.out.counters.device_read_failed += 1;
                    // A packet that asks for the impossible is gone, the next may do.
                    if error.kind() == ErrorKind::InvalidData {
                        taken += 1;
                        continue;
                    }
                    break;
                }
            };
            taken += 1;
            bytes += received.range.len();
            let Ok(mut packet) = PacketMut::new(buffer, received.range) else { continue };
            packet.set_segment_size(received.header.segment_size());
            packet.set_link(Some(link));
            let verdict = self.machine.encapsulate(now, &mut packet);
            self.shorter.heed(&mut *self.machine, &mut self.outgoing);
            port.counters.count_verdict(&verdict);
            if let Verdict::Tunnel { link: by, outer } = verdict {
                let how = (outer, by, self.out.bound_of(by));
                let known = self.shorter.known(&*self.machine).map(|sends| (link, sends));
                self.outgoing.push(Outgoing { known, ..Outgoing::new(buffer_number, &packet, received.header, how) });
            } else if let Verdict::Hold { ticket } = verdict {
                let way = Way::Device { link, header: received.header };
                let lost = self.parked.park(ticket, way, &packet);
                self.out.counters.not_kept += u64::try_from(lost).unwrap_or_default();
            } else {
                self.out.carry_out(&verdict, &packet, Some(link));
            }
            if bytes >= OUTBOUND_BYTES {
                break;
            }
        }
        Ok(taken)
    }

    /// Sends what is in `outgoing`.
    pub(super) fn send_batch(&mut self) {
        for refused in self.send_outgoing() {
            self.too_big(&refused);
        }
    }

    /// Cuts and sends what the machine has encapsulated. Gives what was larger than the
    /// device underneath takes, one packet a link and destination.
    fn send_outgoing(&mut self) -> Vec<TooBig> {
        let mut too_big: Vec<TooBig> = Vec::new();
        let mut failed_buffers: Vec<usize> = Vec::new();
        let mut work = Work { queue: self.outgoing.iter(), slab: &self.slab, current: None, malformed: 0 };
        loop {
            // Not written before they are needed: one packet does not pay for the room of 64.
            let (mut datagrams, mut links) = (heapless::Vec::<_, SEND>::new(), heapless::Vec::<_, SEND>::new());
            for (datagram, link) in self.headers.iter_mut().map_while(|header| work.next(header)) {
                // There is room: as much as there are headers.
                let _ = (datagrams.push(datagram), links.push(link));
            }
            if datagrams.is_empty() {
                break;
            }
            if let Some(tap) = &mut self.out.tap {
                datagrams.iter().for_each(|datagram| tap.sent(datagram));
            }
            let failed = &mut self.out.counters.send_failed;
            self.out.socket.send(&datagrams, &mut |place, failure| {
                *failed += 1;
                let Some((datagram, (link, buffer))) = datagrams.get(place).zip(links.get(place)) else { return };
                failed_buffers.push(*buffer);
                if failure != SendFailure::TooBig {
                    return;
                }
                let to = (*link, datagram.outer.destination);
                if datagram.outer.dont_fragment && too_big.iter().all(|known| known.to() != to) {
                    too_big.push(TooBig::of(datagram, *link));
                }
            });
        }
        self.out.counters.device_read_failed += work.malformed;
        // What IPv4 does not take from here it would not take from a shorter way either.
        for sent in self.outgoing.iter().filter(|sent| !failed_buffers.contains(&sent.buffer)) {
            if let Some((from, sends)) = &sent.known {
                self.shorter.sent(self.clock.now(), *from, sends, sent.bound);
            }
        }
        too_big
    }

    /// The kernel has refused a packet that is larger than the device underneath takes, and
    /// no router will say so: we do, in its words.
    fn too_big(&mut self, refused: &TooBig) {
        let (link, destination) = refused.to();
        let Some(mtu) = self.out.socket.device_mtu(destination, refused.bound) else { return };
        let Some(space) = self.scratch.get_mut(HEADROOM..) else { return };
        let datagram = refused.datagram();
        if let Some(length) = local_fragmentation_needed(&datagram, mtu, space) {
            self.icmpv4_message(HEADROOM..HEADROOM + length, Some(link));
        }
    }
}

/// The start of a packet that was refused: as much as an ICMPv4 error would quote.
#[derive(Clone, Debug)]
struct TooBig {
    link: LinkId,
    outer: Outer,
    bound: Bound,
    quote: Vec<u8>,
    // What was not kept, as zeros that no quote reaches.
    rest: Vec<u8>,
}

impl TooBig {
    const QUOTE: usize = 576;

    fn of(datagram: &OuterPacket<'_>, link: LinkId) -> Self {
        let quote: Vec<u8> = datagram.headers.iter().chain(datagram.payload).copied().take(Self::QUOTE).collect();
        let rest = vec![0; datagram.len() - quote.len()];
        Self { link, outer: datagram.outer, bound: datagram.bound, quote, rest }
    }

    /// By which link it was to go, and where to.
    fn to(&self) -> (LinkId, Ipv4Addr) {
        (self.link, self.outer.destination)
    }

    fn datagram(&self) -> OuterPacket<'_> {
        OuterPacket { outer: self.outer, bound: self.bound, headers: &self.quote, payload: &self.rest }
    }
}

/// Packets to be cut, one segment after the other.
struct Work<'a> {
    queue: std::slice::Iter<'a, Outgoing>,
    slab: &'a [u8],
    current: Option<(Segments<'a>, &'a [u8], &'a Outgoing)>,
    malformed: u64,
}

impl<'a> Work<'a> {
    /// The next packet to send, its headers written to `header`, the link that it leaves by, and the buffer that
    /// it came in.
    fn next<'h>(&mut self, header: &'h mut Header) -> Option<(OuterPacket<'h>, (LinkId, usize))>
    where
        'a: 'h,
    {
        loop {
            if let Some((segments, packet, of)) = &mut self.current {
                if let Some(segment) = segments.next_header(header) {
                    let datagram = OuterPacket {
                        outer: of.outer,
                        bound: of.bound,
                        headers: header.get(..segment.header_len).unwrap_or_default(),
                        payload: packet.get(segment.payload).unwrap_or_default(),
                    };
                    return Some((datagram, (of.link, of.buffer)));
                }
                self.current = None;
            }
            let next = self.queue.next()?;
            let begin = next.buffer * BUFFER_LEN;
            let packet = self.slab.get(begin + next.inner.start..begin + next.inner.end).unwrap_or_default();
            match Segments::new(packet, &next.header) {
                Ok(segments) => self.current = Some((segments, packet, next)),
                Err(_) => self.malformed += 1,
            }
        }
    }
}
