//! Pings, through the tunnel and beside it.

use std::io::{self, ErrorKind, Read};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::time::{Duration, Instant};

use isatap_core::isatap::addr;
use isatap_core::teredo::addr::SERVER_PORT;
use isatap_core::{configured, sixtofour};
use isatap_std::doctor::{Longest, Probe, TeredoAnswer, TeredoProbe};
use isatap_std::service::status::{OuterStatus, Status};
use isatap_std::spec::{INHERIT, Mark};
use socket2::{Domain, Protocol, Socket, Type};

/// Headers in front of the payload of an ICMPv6 echo request.
const HEADERS: u16 = 48;
/// What every IPv6 link carries.
const MINIMUM_MTU: u16 = 1280;

/// Whom to ask by a ping through a tunnel.
pub(super) struct Target {
    /// The other end of the tunnel.
    pub(super) to: Ipv4Addr,
    /// Its addresses, one of which may answer.
    pub(super) inner: Vec<Ipv6Addr>,
    /// 1: who forwards instead of answering says so.
    pub(super) hop_limit: u32,
    /// How the tunnel's packets go there, and so do plain ones.
    outer: Option<OuterStatus>,
}

impl Target {
    /// The router of an ISATAP host.
    pub(super) fn router(to: Ipv4Addr, status: &Status) -> Self {
        Self { to, inner: vec![addr::link_local(to)], hop_limit: 64, outer: status.outer.clone() }
    }

    /// The other end of what a device says of itself, if there is one that can be pinged.
    pub(super) fn of(status: &Status) -> Option<Self> {
        const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
        let (to, outer) = (status.remote?, status.outer.clone());
        match status.role.as_str() {
            // Its link-local address may be of any form, and so may the others be: all nodes
            // of a link of two are the other one.
            "configured" => {
                let vias = status.routes.iter().filter_map(|route| route.via);
                let inner = [configured::link_local(to), ALL_NODES].into_iter().chain(vias).collect();
                Some(Self { to, inner, hop_limit: 64, outer })
            }
            // S64-35 [RFC 6343 §4.2.1]. Where the outer TTL were that hop limit, the first router would
            // answer for the relay.
            "6to4-host-router" | "6to4-router" if outer.as_ref().is_none_or(|outer| outer.ttl != INHERIT) => {
                Some(Self { to, inner: vec![sixtofour::addr::relay(to)], hop_limit: 1, outer })
            }
            _ => None,
        }
    }
}

/// What the other end answers: through the tunnel, small and large, and where it does not, by
/// plain IPv4. Ends soon after `deadline`.
pub(super) fn other_end(target: &Target, device: (&str, u32), mtu: u16, deadline: Instant) -> Probe {
    let mut probe = Probe { router: target.to, ipv4: None, tunnel: None, longest: None };
    let Ok(mut tunnel) = Pinger::through(target, device) else { return probe };
    let began = Instant::now();
    let answered = tunnel.any(2, 0, Duration::from_secs(1), deadline);
    probe.tunnel = Some(answered);
    if answered && target.hop_limit > 1 {
        let wait = (began.elapsed() * 4).clamp(Duration::from_millis(300), Duration::from_secs(1));
        probe.longest = longest(mtu, |bytes| {
            (Instant::now() < deadline).then(|| tunnel.any(3, (bytes - HEADERS).into(), wait, deadline))
        });
    } else if let Ok(mut plain) = Pinger::to(target.to, target.outer.as_ref()) {
        probe.ipv4 = Some(plain.any(2, 0, Duration::from_secs(1), deadline));
    }
    probe
}

/// What a Teredo server answers to a solicitation, and to a ping where it says nothing. Ends
/// soon after `deadline`.
pub(super) fn teredo(server: Ipv4Addr, deadline: Instant) -> TeredoProbe {
    let answer = solicit(server, deadline).unwrap_or_else(|error| match error.kind() {
        ErrorKind::PermissionDenied => TeredoAnswer::NotPermitted,
        ErrorKind::ConnectionRefused => TeredoAnswer::Refused,
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::NetworkDown => {
            TeredoAnswer::Unreachable
        }
        _ => TeredoAnswer::Silent,
    });
    let plain = Some(()).filter(|()| answer == TeredoAnswer::Silent).and_then(|()| Pinger::to(server, None).ok());
    let ping = plain.map(|mut plain| plain.any(2, 0, Duration::from_secs(1), deadline));
    TeredoProbe { server, answer, ping }
}

/// [RFC 4380 §5.2.1]: from fe80::ffff:ffff:ffff to ff02::2, checksum and all.
const SOLICITATION: [u8; 48] = [
    0x60, 0, 0, 0, 0, 8, 58, 255, 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 0xff, 2, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 133, 0, 0x7d, 0x37, 0, 0, 0, 0,
];

fn solicit(server: Ipv4Addr, deadline: Instant) -> io::Result<TeredoAnswer> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    // So that the kernel tells of ICMPv4 errors.
    socket.connect((server, SERVER_PORT))?;
    let nonce = std::process::id().to_be_bytes();
    // Without identifier, as every client without a secret.
    let header = [&[0, 1, 0, 0][..], &nonce, &nonce, &[0]].concat();
    let packet = [&header[..], &SOLICITATION].concat();
    for attempt in 0..3 {
        if attempt > 0 && Instant::now() > deadline {
            break;
        }
        socket.send(&packet)?;
        let end = Instant::now() + Duration::from_secs(1);
        while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            socket.set_read_timeout(Some(left))?;
            let mut buffer = [0; 2048];
            match socket.recv(&mut buffer) {
                Ok(length) if buffer[..length].starts_with(&header) => return Ok(TeredoAnswer::Answered),
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(TeredoAnswer::Silent)
}

/// The longest packet that `passes`, which gives `None` when the time is over.
fn longest(mtu: u16, mut passes: impl FnMut(u16) -> Option<bool>) -> Option<Longest> {
    if passes(mtu)? {
        return Some(Longest::Full);
    }
    if mtu <= MINIMUM_MTU || !passes(MINIMUM_MTU)? {
        return Some(Longest::BelowMinimum);
    }
    let (mut good, mut bad) = (MINIMUM_MTU, mtu);
    while good + 1 < bad {
        let middle = good + (bad - good) / 2;
        match passes(middle) {
            Some(true) => good = middle,
            Some(false) => bad = middle,
            // What is known to pass is an answer too, if not the best.
            None => break,
        }
    }
    Some(Longest::Bytes(good))
}

/// Echo requests to one node, by any of its addresses.
struct Pinger {
    socket: Socket,
    to: Vec<SocketAddr>,
    identifier: [u8; 2],
    sequence: u16,
}

impl Pinger {
    /// To a neighbour on the device with that name and index.
    fn through(target: &Target, (device, index): (&str, u32)) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
        socket.bind_device(Some(device.as_bytes()))?;
        socket.set_unicast_hops_v6(target.hop_limit)?;
        // Of all nodes this one does not count.
        socket.set_multicast_loop_v6(false)?;
        socket.set_multicast_if_v6(index)?;
        let scope = |address: &Ipv6Addr| {
            if address.is_unicast_link_local() || address.is_multicast() { index } else { 0 }
        };
        let to = target.inner.iter().map(|address| SocketAddrV6::new(*address, 0, 0, scope(address)).into());
        Ok(Self::new(socket, to.collect()))
    }

    /// By plain IPv4, the way of outer packets.
    fn to(address: Ipv4Addr, outer: Option<&OuterStatus>) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))?;
        if let Some(device) = outer.and_then(|outer| outer.bind_device.as_ref()) {
            socket.bind_device(Some(device.as_bytes()))?;
        }
        if let Some(Mark(mark)) = outer.and_then(|outer| outer.mark.as_ref()?.parse().ok()) {
            socket.set_mark(mark)?;
        }
        Ok(Self::new(socket, vec![SocketAddrV4::new(address, 0).into()]))
    }

    fn new(socket: Socket, to: Vec<SocketAddr>) -> Self {
        let [.., high, low] = std::process::id().to_be_bytes();
        Self { socket, to, identifier: [high, low], sequence: 0 }
    }

    /// Whether one of `tries` requests with `length` bytes behind the header is answered.
    fn any(&mut self, tries: u16, length: usize, wait: Duration, deadline: Instant) -> bool {
        (0..tries).any(|number| (number == 0 || Instant::now() < deadline) && self.ask(length, wait).unwrap_or(false))
    }

    fn ask(&mut self, length: usize, wait: Duration) -> io::Result<bool> {
        self.sequence = self.sequence.wrapping_add(1);
        let is_ipv6 = self.to.iter().all(SocketAddr::is_ipv6);
        let (request, reply) = if is_ipv6 { (128, 129) } else { (8, 0) };
        let tail = [self.identifier, self.sequence.to_be_bytes()].concat();
        let mut packet = vec![0; 8 + length];
        packet[0] = request;
        packet[4..8].copy_from_slice(&tail);
        if !is_ipv6 {
            let checksum = checksum(&packet);
            packet[2..4].copy_from_slice(&checksum);
        }
        let end = Instant::now() + wait;
        // One that has no route hinders none of the others.
        let sent: Vec<_> = self.to.iter().map(|to| self.socket.send_to(&packet, &(*to).into())).collect();
        if sent.iter().all(Result::is_err) {
            sent.into_iter().collect::<io::Result<Vec<_>>>()?;
        }
        let mut buffer = vec![0; 1 << 16];
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            self.socket.set_read_timeout(Some(left))?;
            let received = match (&self.socket).read(&mut buffer) {
                Ok(received) => received,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let bytes = buffer.get(..received).unwrap_or_default();
            // An IPv4 raw socket gives the header too, an IPv6 one does not.
            let header = match is_ipv6 {
                false => bytes.first().map_or(0, |byte| usize::from(byte & 15) * 4),
                true => 0,
            };
            let message = bytes.get(header..).unwrap_or_default();
            if message.first() == Some(&reply) && message.get(4..8) == Some(&tail[..]) {
                return Ok(true);
            }
            // Time exceeded: the request in it, behind the header of both.
            let quoted = message.get(8 + 40..).filter(|_| is_ipv6 && message.starts_with(&[3, 0]));
            if quoted.is_some_and(|quoted| quoted.first() == Some(&request) && quoted.get(4..8) == Some(&tail[..])) {
                return Ok(true);
            }
        }
    }
}

/// RFC 1071, of an even number of bytes.
fn checksum(bytes: &[u8]) -> [u8; 2] {
    let words = bytes.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_packet_is_found_to_the_byte() {
        for limit in [1280, 1281, 1399, 1480, 1499] {
            let found = longest(1500, |bytes| Some(bytes <= limit));
            assert_eq!(found, Some(Longest::Bytes(limit)));
        }
        assert_eq!(longest(1500, |_| Some(true)), Some(Longest::Full));
        assert_eq!(longest(1500, |bytes| Some(bytes < 1280)), Some(Longest::BelowMinimum));
        assert_eq!(longest(1280, |bytes| Some(bytes < 1280)), Some(Longest::BelowMinimum));
    }

    #[test]
    fn when_the_time_is_over_what_passes_is_told() {
        let mut left = 4;
        let found = longest(60_000, |bytes| {
            left -= 1;
            (left >= 0).then_some(bytes < 9000)
        });
        let Some(Longest::Bytes(bytes)) = found else { panic!("{found:?}") };
        assert!((1280..9000).contains(&bytes));
        assert_eq!(longest(1500, |_| None), None);
    }

    #[test]
    fn the_checksum_of_a_message_that_carries_it_is_zero() {
        let mut message = [8, 0, 0, 0, 0x12, 0x34, 0, 1, 0xff, 0xff];
        let sum = checksum(&message);
        message[2..4].copy_from_slice(&sum);
        assert_eq!(checksum(&message), [0, 0]);
    }
}
