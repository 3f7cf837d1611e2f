//! Where the IP header is in bytes that nobody says the link layer of.

use std::ops::Range;

/// How sure it is that an IP packet starts somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    /// The header could be one.
    Weak,
    /// The header is one: its checksum or its length says so.
    Good,
    /// And the packet is whole.
    Whole,
}

/// The IP packet in `bytes`, or what they are instead.
pub(super) fn at(bytes: &[u8]) -> Result<Range<usize>, String> {
    let found: Vec<(usize, Fit)> =
        starts(bytes).filter_map(|start| Some((start, fit(bytes.get(start..)?, start)?))).collect();
    let Some(best) = found.iter().map(|(_, fit)| *fit).max() else { return Err(what_else(bytes)) };
    let mut best = found.iter().filter(|(_, fit)| *fit == best);
    let Some((start, fit)) = best.next() else { return Err(what_else(bytes)) };
    if best.next().is_some() {
        return Err(
            "the bytes can be an IP packet or a frame with one in it: write 0x and the bytes of the IP packet \
                    in one line"
                .to_owned(),
        );
    }
    if *fit == Fit::Weak {
        return Err(format!(
            "{} bytes that hardly begin with an IP header, whose length, checksum or addresses do not fit: write 0x and \
             the bytes in one line if they do",
            bytes.len()
        ));
    }
    let packet = bytes.get(*start..).unwrap_or(&[]);
    // What a frame has behind the packet is padding.
    let end = match stated(packet) {
        Some(stated) if *start > 0 && stated > 0 => packet.len().min(stated),
        _ => packet.len(),
    };
    if let (0, Some(stated)) = (*start, stated(packet))
        && stated > 0
        && packet.get(stated..).is_some_and(|behind| fit_of(behind) == Some(Fit::Whole))
    {
        return Err("two packets without an empty line between them: separate them".to_owned());
    }
    Ok(*start..start.saturating_add(end))
}

/// Whether `bytes` are one whole packet, with a link layer or without.
pub(super) fn is_whole(bytes: &[u8]) -> bool {
    starts(bytes).any(|start| bytes.get(start..).and_then(|packet| fit(packet, start)) == Some(Fit::Whole))
}

/// Whether an IP header is in front.
pub(super) fn is_ip(bytes: &[u8]) -> bool {
    matches!(bytes.first().map(|first| first >> 4), Some(4 | 6))
}

/// Where link layers that say so have an IP packet; 0 in any case.
fn starts(bytes: &[u8]) -> impl Iterator<Item = usize> + '_ {
    let is_ip_type = |at: usize| matches!(u16_at(bytes, at), Some(0x0800 | 0x86dd));
    // Ethernet, with up to two VLAN tags.
    let tags = (0..2).take_while(|tag| matches!(u16_at(bytes, 12 + 4 * tag), Some(0x8100 | 0x88a8 | 0x9100))).count();
    let ethernet = is_ip_type(12 + 4 * tags).then_some(14 + 4 * tags);
    // Linux "any", of either version: the packet's type is 0 to 4.
    let cooked = (u16_at(bytes, 0).is_some_and(|kind| kind <= 4) && is_ip_type(14)).then_some(16);
    let cooked2 = (is_ip_type(0) && u16_at(bytes, 2) == Some(0)).then_some(20);
    // The address family, in either byte order.
    let family = bytes.first_chunk::<4>().map(|family| u32::from_be_bytes(*family));
    let null = family.filter(|family| matches!(family.min(&family.swap_bytes()), 2 | 10 | 24 | 28 | 30)).map(|_| 4);
    [Some(0), ethernet, cooked, cooked2, null].into_iter().flatten()
}

fn fit(packet: &[u8], start: usize) -> Option<Fit> {
    let found = fit_of(packet)?;
    // Behind the packet in a frame is padding.
    let is_padded = start > 0 && found == Fit::Good && stated(packet).is_some_and(|stated| stated <= packet.len());
    Some(if is_padded { Fit::Whole } else { found })
}

fn fit_of(packet: &[u8]) -> Option<Fit> {
    let stated = stated(packet)?;
    let is_whole = stated == 0 || stated == packet.len();
    if packet.first()? >> 4 == 6 {
        // No checksum tells: text that begins with a letter could be one.
        let is_known = matches!(packet.get(6)?, 0 | 4 | 6 | 17 | 41 | 43 | 44 | 47 | 50 | 51 | 58 | 59 | 60 | 132);
        let is_unicast = matches!(packet.get(8)?, 0 | 0x20..=0x3f | 0xfc..=0xfe);
        return Some(match (is_whole, is_known && is_unicast) {
            (true, _) => Fit::Whole,
            (false, true) => Fit::Good,
            (false, false) => Fit::Weak,
        });
    }
    let header = packet.get(..usize::from(packet.first()? & 15) * 4)?;
    let is_unset = u16_at(packet, 10) == Some(0);
    let is_valid = is_unset || sum(header) == 0xffff;
    Some(match (is_whole, is_valid) {
        (true, true) => Fit::Whole,
        (true, false) | (false, true) => Fit::Good,
        (false, false) => Fit::Weak,
    })
}

/// The length that an IP header states, 0 where hardware or an option is to
/// say it; nothing when there is no header.
fn stated(packet: &[u8]) -> Option<usize> {
    match packet.first()? >> 4 {
        4 => {
            let header = usize::from(packet.first()? & 15) * 4;
            let total = usize::from(u16_at(packet, 2)?);
            (header >= 20 && packet.len() >= header && (total == 0 || total >= header)).then_some(total)
        }
        6 => {
            let payload = usize::from(u16_at(packet, 4)?);
            let is_open = payload == 0 && *packet.get(6)? != 59;
            (packet.len() >= 40).then_some(if is_open { 0 } else { payload + 40 })
        }
        _ => None,
    }
}

/// The ones' complement sum of a header: all ones when its checksum holds.
fn sum(header: &[u8]) -> u32 {
    let sum: u32 = header.chunks_exact(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    (sum & 0xffff) + (sum >> 16)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|field| u16::from_be_bytes(*field))
}

fn what_else(bytes: &[u8]) -> String {
    let hint = "write 0x and the bytes of an IP packet in one line";
    match (bytes.len(), u16_at(bytes, 12)) {
        (..20, _) => format!("{} bytes, fewer than an IP header has: {hint}", bytes.len()),
        (_, Some(0x0806)) => format!("an Ethernet frame with ARP, no IP packet: {hint}"),
        (length, _) => {
            format!("{length} bytes that begin with no IPv4 or IPv6 header, nor a link layer in front of one: {hint}")
        }
    }
}
