//! Trailers: what stands behind the IPv6 packet. [RFC 6081 §4]

use core::net::SocketAddrV4;

use super::at_most_255;
use crate::drop_reason::DropReason;
use crate::wire::field::{Writer, ipv4_at, u16_at};

/// Trailer types. [RFC 6081 §4, §9]
pub mod trailer_type {
    /// A nonce.
    pub const NONCE: u8 = 0x01;
    /// The number of the random port in RFC 6081 §9, which §4.5 contradicts.
    pub const RANDOM_PORT_IANA: u8 = 0x02;
    /// Further addresses of the sender.
    pub const ALTERNATE_ADDRESS: u8 = 0x03;
    /// A Neighbor Discovery option: asks for, or is, a sign of life.
    pub const NEIGHBOR_DISCOVERY_OPTION: u8 = 0x04;
    /// The random port of a peer behind a symmetric NAT.
    pub const RANDOM_PORT: u8 = 0x05;
}

/// One trailer. [RFC 6081 §4]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trailer<'a> {
    /// Four bytes that the answer repeats.
    Nonce([u8; 4]),
    /// Where else the sender may be reached.
    AlternateAddress(AlternateAddresses<'a>),
    /// Asks for a sign of life, or is one.
    NeighborDiscovery(SignOfLife),
    /// The port from which, and at which, the sender also speaks to this
    /// peer.
    RandomPort(u16),
    /// A trailer of unknown type or unusual length, to be skipped.
    Skipped {
        /// Its type.
        trailer_type: u8,
        /// Its value.
        value: &'a [u8],
    },
    /// A trailer of unknown type that asks to drop the packet.
    Discard {
        /// Its type: 0x40 to 0x7f.
        trailer_type: u8,
    },
}

/// What a Neighbor Discovery trailer says. [RFC 6081 §4.4]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignOfLife {
    /// Are you there?
    Solicitation,
    /// I am.
    Advertisement,
}

impl<'a> Trailer<'a> {
    /// What a trailer of this type and value says.
    pub(crate) fn read(trailer_type: u8, value: &'a [u8]) -> Self {
        let skipped = Trailer::Skipped { trailer_type, value };
        match (trailer_type, value) {
            (trailer_type::NONCE, [a, b, c, d]) => Trailer::Nonce([*a, *b, *c, *d]),
            (trailer_type::ALTERNATE_ADDRESS, value) => Trailer::AlternateAddress(AlternateAddresses { value }),
            (trailer_type::NEIGHBOR_DISCOVERY_OPTION, [0, _, _, _]) => {
                Trailer::NeighborDiscovery(SignOfLife::Solicitation)
            }
            (trailer_type::NEIGHBOR_DISCOVERY_OPTION, [1, _, _, _]) => {
                Trailer::NeighborDiscovery(SignOfLife::Advertisement)
            }
            // TER-20: RFC 6081 says 5 in one place and 2 in another.
            (trailer_type::RANDOM_PORT | trailer_type::RANDOM_PORT_IANA, [a, b]) => {
                Trailer::RandomPort(u16::from_be_bytes([*a, *b]))
            }
            // [RFC 6081 §4.1]: the upper two bits of an unknown type are 01.
            (0x40..=0x7f, _) => Trailer::Discard { trailer_type },
            _ => skipped,
        }
    }

    /// Writes the trailer. A value is cut to 255 bytes.
    pub fn emit(&self, writer: &mut Writer<'_>) {
        match *self {
            Trailer::Nonce(nonce) => {
                writer.bytes(&[trailer_type::NONCE, 4]);
                writer.bytes(&nonce);
            }
            Trailer::AlternateAddress(alternates) => {
                let value = at_most_255(alternates.value);
                writer.bytes(&[trailer_type::ALTERNATE_ADDRESS, value.1]);
                writer.bytes(value.0);
            }
            Trailer::NeighborDiscovery(kind) => {
                let kind = match kind {
                    SignOfLife::Solicitation => 0,
                    SignOfLife::Advertisement => 1,
                };
                writer.bytes(&[trailer_type::NEIGHBOR_DISCOVERY_OPTION, 4, kind, 0, 0, 0]);
            }
            // TER-20: RFC 6081 §4.5 (a MUST) over its own §9.
            Trailer::RandomPort(port) => {
                writer.bytes(&[trailer_type::RANDOM_PORT, 2]);
                writer.u16(port);
            }
            Trailer::Skipped { trailer_type, value } => {
                let value = at_most_255(value);
                writer.bytes(&[trailer_type, value.1]);
                writer.bytes(value.0);
            }
            Trailer::Discard { trailer_type } => writer.bytes(&[trailer_type, 0]),
        }
    }
}

/// Writes an alternate-address trailer: at most two addresses.
///
/// RFC 6081 §4.3 wants no more than 14 bytes of value; four can be read.
pub fn emit_alternates(writer: &mut Writer<'_>, addresses: &[SocketAddrV4]) {
    let addresses = addresses.get(..2).unwrap_or(addresses);
    let len: u8 = match addresses {
        [] => return,
        [_] => 8,
        _ => 14,
    };
    writer.bytes(&[trailer_type::ALTERNATE_ADDRESS, len, 0, 0]);
    for address in addresses {
        writer.ipv4(*address.ip());
        writer.u16(address.port());
    }
}

/// The trailers behind an IPv6 packet: a fused iterator.
///
/// `[RFC 6081 §4.1, §5.1.2]`: in order; what is malformed ends the walk, and
/// what was read before it counts.
#[derive(Clone, Debug)]
pub struct Trailers<'a> {
    rest: &'a [u8],
}

impl<'a> Trailers<'a> {
    /// The trailers in `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Trailers { rest: bytes }
    }

    /// Reads them all; of several of one kind the first counts.
    ///
    /// # Errors
    /// A trailer asks to drop the packet: [`DropReason::TeredoTrailer`].
    pub fn collect_known(self) -> Result<KnownTrailers<'a>, DropReason> {
        let mut known = KnownTrailers::default();
        for trailer in self {
            match trailer {
                Trailer::Nonce(nonce) => known.nonce = known.nonce.or(Some(nonce)),
                Trailer::AlternateAddress(addresses) => known.alternates = known.alternates.or(Some(addresses)),
                Trailer::NeighborDiscovery(kind) => known.sign_of_life = known.sign_of_life.or(Some(kind)),
                Trailer::RandomPort(port) => known.random_port = known.random_port.or(Some(port)),
                Trailer::Skipped { .. } => {}
                Trailer::Discard { .. } => return Err(DropReason::TeredoTrailer),
            }
        }
        Ok(known)
    }
}

impl<'a> Iterator for Trailers<'a> {
    type Item = Trailer<'a>;

    fn next(&mut self) -> Option<Trailer<'a>> {
        let Some((trailer_type, value, rest)) = cut(self.rest) else {
            self.rest = &[];
            return None;
        };
        self.rest = rest;
        Some(Trailer::read(trailer_type, value))
    }
}

impl core::iter::FusedIterator for Trailers<'_> {}

/// Type and value of the first trailer, and what is behind it; `None`: it is
/// malformed, or there is none.
pub(crate) fn cut(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let ([trailer_type, len], rest) = bytes.split_first_chunk::<2>()?;
    let (value, rest) = rest.split_at_checked(usize::from(*len))?;
    Some((*trailer_type, value, rest))
}

/// The trailers that mean something here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KnownTrailers<'a> {
    /// The nonce; zero bytes are no nonce to who never sends them.
    pub nonce: Option<[u8; 4]>,
    /// The alternate addresses, not looked into.
    pub alternates: Option<AlternateAddresses<'a>>,
    /// A question for a sign of life, or the sign.
    pub sign_of_life: Option<SignOfLife>,
    /// The sender's random port.
    pub random_port: Option<u16>,
}

/// The value of an alternate-address trailer. [RFC 6081 §4.3]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlternateAddresses<'a> {
    value: &'a [u8],
}

impl<'a> AlternateAddresses<'a> {
    /// The entries, whatever they say: for who shows them to people.
    pub(crate) fn entries(&self) -> impl Iterator<Item = SocketAddrV4> + use<'a> {
        let (entries, _) = self.value.get(2..).unwrap_or(&[]).as_chunks::<6>();
        entries.iter().map(read_entry)
    }

    /// The most addresses that one trailer may have: the limit of what one
    /// bubble makes its receiver send.
    pub const MAX: usize = 4;

    /// The addresses, one to four.
    ///
    /// `TER-21 [RFC 6081 §5.6.4.2, §7]`
    ///
    /// # Errors
    /// [`DropReason::TeredoAlternates`]: the length is none of 8, 14, 20 and
    /// 26, a port is zero, or an address is not unicast. The bubble is dropped.
    pub fn addresses(&self) -> Result<impl Iterator<Item = SocketAddrV4> + 'a, DropReason> {
        let refused = DropReason::TeredoAlternates;
        let (_reserved, entries) = self.value.split_first_chunk::<2>().ok_or(refused)?;
        let (entries, rest) = entries.as_chunks::<6>();
        let usable = |entry: &[u8; 6]| {
            let address = ipv4_at::<0, 6>(entry);
            u16_at::<4, 6>(entry) != 0 && !crate::prefix::is_never_unicast(address)
        };
        if !rest.is_empty() || entries.is_empty() || entries.len() > Self::MAX || !entries.iter().all(usable) {
            return Err(refused);
        }
        Ok(entries.iter().map(read_entry))
    }
}

fn read_entry(entry: &[u8; 6]) -> SocketAddrV4 {
    SocketAddrV4::new(ipv4_at::<0, 6>(entry), u16_at::<4, 6>(entry))
}
