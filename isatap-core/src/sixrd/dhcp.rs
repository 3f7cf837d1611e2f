//! The DHCPv4 option that tells a customer edge its 6rd domain.
//! [RFC 5969 §7.1.1]
//!
//! ```text
//! code 212 | length | IPv4MaskLen | 6rdPrefixLen | 6rdPrefix (16) | border relay (4) ...
//! ```
//!
//! The DHCP client is somebody else's: it asks for [`CODE`] in its Parameter
//! Request List (option 55) and hands over what comes.

use core::net::{Ipv4Addr, Ipv6Addr};

use crate::error::{EmitError, Layer, ParseError, ParseErrorKind};
use crate::prefix::{Ipv6Prefix, is_never_unicast};
use crate::wire::field::Writer;

/// OPTION_6RD: in option 55 of every request, and the answer's. `S6R-11`
pub const CODE: u8 = 212;

/// Bytes in front of the border relays.
const FIXED: usize = 18;

/// A checked option 212, without its code and length bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SixRdOption<'a> {
    ipv4_mask_len: u8,
    prefix: Ipv6Prefix,
    relays: &'a [u8],
}

impl<'a> SixRdOption<'a> {
    /// Reads the option's value. `S6R-10`, `S6R-13`
    ///
    /// # Errors
    /// The length is not 18 and four for each border relay; the IPv4MaskLen is
    /// more than 32; the delegated prefix would have more than 128 bits; no
    /// border relay has a unicast address.
    pub fn parse(value: &'a [u8]) -> Result<Self, ParseError> {
        let error = |kind, at| ParseError::new(Layer::Dhcpv4, kind, at);
        let (fixed, relays) =
            value.split_first_chunk::<FIXED>().ok_or(error(ParseErrorKind::Truncated, value.len()))?;
        if relays.is_empty() || relays.len() % 4 != 0 {
            return Err(error(ParseErrorKind::Length, value.len()));
        }
        let [ipv4_mask_len, prefix_len, prefix @ ..] = *fixed;
        if ipv4_mask_len > 32 {
            return Err(error(ParseErrorKind::Value, 0));
        }
        if prefix_len.saturating_add(32_u8.saturating_sub(ipv4_mask_len)) > 128 {
            return Err(error(ParseErrorKind::Value, 1));
        }
        // Bits behind the length are ignored.
        let prefix =
            Ipv6Prefix::new(Ipv6Addr::from_octets(prefix), prefix_len).ok_or(error(ParseErrorKind::Value, 1))?;
        let option = SixRdOption { ipv4_mask_len, prefix, relays };
        if option.relays().next().is_none() {
            return Err(error(ParseErrorKind::Value, FIXED));
        }
        Ok(option)
    }

    /// How many IPv4 bits all customers share.
    #[must_use]
    pub const fn ipv4_mask_len(&self) -> u8 {
        self.ipv4_mask_len
    }

    /// The 6rd prefix.
    #[must_use]
    pub const fn prefix(&self) -> Ipv6Prefix {
        self.prefix
    }

    /// The border relays that can be, in the order of preference. `S6R-13`:
    /// without 0/8, 127/8, multicast and 240/4.
    pub fn relays(&self) -> impl Iterator<Item = Ipv4Addr> + use<'a> {
        self.relays
            .chunks_exact(4)
            .filter_map(|bytes| bytes.first_chunk::<4>().copied())
            .map(Ipv4Addr::from)
            .filter(|relay| !is_never_unicast(*relay))
    }
}

/// Writes a whole option 212 into `out`: its code and length too. Gives the
/// bytes written. `S6R-10`
///
/// # Errors
/// `out` is too short, or there are no border relays or more than 59.
pub fn emit(ipv4_mask_len: u8, prefix: &Ipv6Prefix, relays: &[Ipv4Addr], out: &mut [u8]) -> Result<usize, EmitError> {
    let length = FIXED.saturating_add(relays.len().saturating_mul(4));
    let len = u8::try_from(length).ok().filter(|_| !relays.is_empty());
    let len = len.ok_or(EmitError::new(length, usize::from(u8::MAX)))?;
    let mut writer = Writer::new(out);
    writer.bytes(&[CODE, len, ipv4_mask_len, prefix.length()]);
    writer.ipv6(&prefix.address());
    for relay in relays {
        writer.ipv4(*relay);
    }
    writer.finish()
}

/// Collects option 212 from the options of a DHCP message, which follow its
/// magic cookie: its parts are put together in `out`. Gives how many bytes
/// [`SixRdOption::parse`] is to see; `None`: there is no such option.
/// `S6R-13 [RFC 3396 §5]`
///
/// # Errors
/// An option reaches beyond the end, or `out` is too short.
pub fn gather(options: &[u8], out: &mut [u8]) -> Result<Option<usize>, ParseError> {
    let error = |kind, at| ParseError::new(Layer::Dhcpv4, kind, at);
    let mut found: Option<usize> = None;
    let mut at = 0_usize;
    while let Some(&code) = options.get(at) {
        match code {
            PAD => at = at.saturating_add(1),
            END => break,
            _ => {
                let start = at.saturating_add(2);
                let len = options.get(at.saturating_add(1)).copied();
                let len = len.map(usize::from).ok_or(error(ParseErrorKind::Truncated, options.len()))?;
                let end = start.saturating_add(len);
                let value = options.get(start..end).ok_or(error(ParseErrorKind::Truncated, options.len()))?;
                if code == CODE {
                    let from = found.unwrap_or(0);
                    let room = out.get_mut(from..).and_then(|rest| rest.split_at_mut_checked(value.len()));
                    room.ok_or(error(ParseErrorKind::Length, at))?.0.copy_from_slice(value);
                    found = Some(from.saturating_add(len));
                }
                at = end;
            }
        }
    }
    Ok(found)
}

/// [RFC 2132 §3.1]
const PAD: u8 = 0;
/// [RFC 2132 §3.2]
const END: u8 = 255;

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]
    use super::*;
    use proptest::prelude::*;
    use std::string::ToString;
    use std::vec::Vec;

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect()
    }

    const ONE_RELAY: &str = "d416082020010db80000000000000000000000000a000001";
    const TWO_RELAYS: &str = "d41a001820010db8000000000000000000000000c0000201c0000202";

    #[test]
    fn s6r_10_s6r_11_the_options_of_the_vectors() {
        let wire = bytes(ONE_RELAY);
        assert_eq!((wire[0], usize::from(wire[1])), (CODE, wire.len() - 2));
        let option = SixRdOption::parse(&wire[2..]).unwrap();
        assert_eq!((option.ipv4_mask_len(), option.prefix().to_string().as_str()), (8, "2001:db8::/32"));
        assert_eq!(option.relays().collect::<Vec<_>>(), [Ipv4Addr::new(10, 0, 0, 1)]);
        let mut out = [0; 64];
        let len = emit(8, &option.prefix(), &[Ipv4Addr::new(10, 0, 0, 1)], &mut out).unwrap();
        assert_eq!(out[..len], wire[..]);

        let wire = bytes(TWO_RELAYS);
        let option = SixRdOption::parse(&wire[2..]).unwrap();
        assert_eq!((option.ipv4_mask_len(), option.prefix().to_string().as_str()), (0, "2001:d00::/24"));
        assert_eq!(option.relays().map(|relay| relay.to_string()).collect::<Vec<_>>(), ["192.0.2.1", "192.0.2.2"]);
    }

    #[test]
    fn s6r_10_options_to_reject() {
        let wire = bytes(ONE_RELAY)[2..].to_vec();
        for len in [0, 1, 17, 18, 19, 20, 21] {
            assert!(SixRdOption::parse(&wire[..len]).is_err(), "{len}");
        }
        let mut longer = wire.clone();
        longer.push(0);
        assert_eq!(SixRdOption::parse(&longer).unwrap_err().kind, ParseErrorKind::Length);
        let with = |at: usize, value: u8| {
            let mut wire = wire.clone();
            wire[at] = value;
            wire
        };
        assert_eq!(SixRdOption::parse(&with(0, 33)).unwrap_err().offset, 0);
        assert_eq!(SixRdOption::parse(&with(1, 105)).unwrap_err().offset, 1);
        assert!(SixRdOption::parse(&with(1, 104)).is_ok());
        let mut no_mask = with(1, 97);
        no_mask[0] = 0;
        assert!(SixRdOption::parse(&no_mask).is_err(), "32 - 0 + 97 = 129");
    }

    #[test]
    fn s6r_13_relays_that_cannot_be_are_left_out() {
        for refused in [[0, 0, 0, 0], [224, 0, 0, 1], [255, 255, 255, 255], [127, 0, 0, 1]] {
            let mut wire = bytes(TWO_RELAYS)[2..].to_vec();
            wire[18..22].copy_from_slice(&refused);
            let option = SixRdOption::parse(&wire).unwrap();
            assert_eq!(option.relays().collect::<Vec<_>>(), [Ipv4Addr::new(192, 0, 2, 2)]);
            assert!(SixRdOption::parse(&wire[..22]).is_err(), "none is left");
        }
    }

    #[test]
    fn s6r_13_an_option_in_parts_is_put_together() {
        let wire = bytes(TWO_RELAYS);
        let mut message = std::vec![PAD, 53, 1, 5, CODE, 10];
        message.extend_from_slice(&wire[2..12]);
        message.extend_from_slice(&[51, 4, 0, 0, 14, 16, CODE, 16]);
        message.extend_from_slice(&wire[12..]);
        message.extend_from_slice(&[END, CODE, 1, 1]);
        let mut out = [0; 64];
        let len = gather(&message, &mut out).unwrap().unwrap();
        assert_eq!(out[..len], wire[2..]);
        assert_eq!(gather(&[53, 1, 5, END], &mut out), Ok(None));
        assert!(gather(&[53, 1], &mut out).is_err() && gather(&[53], &mut out).is_err());
        assert!(gather(&message, &mut [0; 20]).is_err());
    }

    proptest! {
        #[test]
        fn s6r_10_what_is_written_is_read(
            mask in 0_u8..=32, length in 0_u8..=96, bits: u128, relays in prop::collection::vec(0x0100_0000_u32..0x7f00_0000, 1..59)
        ) {
            let prefix = Ipv6Prefix::new(Ipv6Addr::from_bits(bits), length).unwrap();
            let relays: Vec<Ipv4Addr> = relays.into_iter().map(Ipv4Addr::from_bits).collect();
            let mut out = [0; 257];
            let len = emit(mask, &prefix, &relays, &mut out).unwrap();
            prop_assert_eq!(usize::from(out[1]) + 2, len);
            let option = SixRdOption::parse(&out[2..len]).unwrap();
            prop_assert_eq!((option.ipv4_mask_len(), option.prefix()), (mask, prefix));
            prop_assert_eq!(option.relays().collect::<Vec<_>>(), relays);
            let mut gathered = [0; 255];
            prop_assert_eq!(gather(&out[..len], &mut gathered), Ok(Some(len - 2)));
            prop_assert_eq!(&gathered[..len - 2], &out[2..len]);
        }

        #[test]
        fn s6r_10_any_bytes(options: Vec<u8>) {
            let mut out = [0; 300];
            if let Ok(Some(len)) = gather(&options, &mut out)
                && let Ok(option) = SixRdOption::parse(&out[..len])
            {
                prop_assert!(option.relays().count() > 0);
            }
            let _ = SixRdOption::parse(&options);
        }
    }

    #[test]
    fn s6r_10_no_option_without_relays_or_with_too_many() {
        let prefix = "2001:db8::/32".parse().unwrap();
        assert!(emit(8, &prefix, &[], &mut [0; 400]).is_err());
        assert!(emit(8, &prefix, &[Ipv4Addr::new(10, 0, 0, 1); 60], &mut [0; 400]).is_err());
        assert!(emit(8, &prefix, &[Ipv4Addr::new(10, 0, 0, 1)], &mut [0; 23]).is_err());
    }
}
