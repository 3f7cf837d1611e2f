//! For the tests of this module: packets and checksums made and judged the slow
//! way, sharing no code with what they judge.

pub(crate) const SOURCE: [u8; 16] = *b"\x20\x01\x0d\xb8\0\0\0\x01\0\0\x5e\xfe\x0a\0\0\x01";
pub(crate) const DESTINATION: [u8; 16] = *b"\x20\x01\x0d\xb8\0\0\0\x01\0\0\x5e\xfe\x0a\0\0\x02";

/// The complement of the sum, one big-endian word after the other, carry by carry.
pub(crate) fn ones_complement(bytes: &[u8]) -> u16 {
    let mut total: u16 = 0;
    for pair in bytes.chunks(2) {
        let word = (u16::from(pair[0]) << 8) | u16::from(*pair.get(1).unwrap_or(&0));
        let (sum, carry) = total.overflowing_add(word);
        total = sum + u16::from(carry);
    }
    !total
}

fn pseudo_header(packet: &[u8], protocol: u8) -> Vec<u8> {
    let length = (packet.len() - 40) as u32;
    let mut bytes = packet[8..40].to_vec();
    bytes.extend(length.to_be_bytes());
    bytes.extend([0, 0, 0, protocol]);
    bytes
}

/// The IPv6 length is right and the transport checksum adds up. No extension
/// headers.
pub(crate) fn verifies(packet: &[u8]) -> bool {
    let length = usize::from(packet[4]) << 8 | usize::from(packet[5]);
    let mut all = pseudo_header(packet, packet[6]);
    all.extend(&packet[40..]);
    let udp_length_holds = packet[6] != 17 || (packet[44..46] == packet[4..6]);
    let udp_zero = packet[6] == 17 && packet[46..48] == [0, 0];
    length == packet.len() - 40 && udp_length_holds && !udp_zero && ones_complement(&all) == 0
}

fn ipv6(protocol: u8, transport: Vec<u8>) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((transport.len() as u16).to_be_bytes());
    packet.extend([protocol, 64]);
    packet.extend(SOURCE);
    packet.extend(DESTINATION);
    packet.extend(transport);
    let mut all = pseudo_header(&packet, protocol);
    all.extend(&packet[40..]);
    let field = if protocol == 6 { 56 } else { 46 };
    let checksum = match ones_complement(&all) {
        0 => 0xffff,
        value => value,
    };
    packet[field..field + 2].copy_from_slice(&checksum.to_be_bytes());
    packet
}

/// A whole TCP packet with a timestamp option, ports 1000 and 2000.
pub(crate) fn tcp_packet(sequence: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    tcp_packet_acknowledging(sequence, 0x0102_0304, flags, payload)
}

pub(crate) fn tcp_packet_acknowledging(sequence: u32, acknowledgment: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut tcp = vec![0x03, 0xe8, 0x07, 0xd0];
    tcp.extend(sequence.to_be_bytes());
    tcp.extend(acknowledgment.to_be_bytes());
    tcp.extend([0x80, flags, 0xff, 0xff, 0, 0, 0, 0]);
    tcp.extend([1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]);
    tcp.extend(payload);
    ipv6(6, tcp)
}

/// A whole UDP packet, ports 1000 and 2000.
pub(crate) fn udp_packet(payload: &[u8]) -> Vec<u8> {
    let mut udp = vec![0x03, 0xe8, 0x07, 0xd0];
    udp.extend(((payload.len() + 8) as u16).to_be_bytes());
    udp.extend([0, 0]);
    udp.extend(payload);
    ipv6(17, udp)
}

/// What a kernel leaves that counts on hardware: the folded sum of the
/// pseudo-header, not complemented.
pub(crate) fn make_partial(packet: &mut [u8]) {
    let protocol = packet[6];
    let sum = !ones_complement(&pseudo_header(packet, protocol));
    let field = if protocol == 6 { 56 } else { 46 };
    packet[field..field + 2].copy_from_slice(&sum.to_be_bytes());
}

pub(crate) fn tcp_sequence(packet: &[u8]) -> u32 {
    packet[44..48].iter().fold(0, |n, &b| n << 8 | u32::from(b))
}

pub(crate) fn tcp_flags(packet: &[u8]) -> u8 {
    packet[53]
}

/// The payload behind IPv6 and the TCP or UDP header.
pub(crate) fn payload(packet: &[u8]) -> &[u8] {
    let header = if packet[6] == 17 { 8 } else { usize::from(packet[52] >> 4) * 4 };
    &packet[40 + header..]
}
