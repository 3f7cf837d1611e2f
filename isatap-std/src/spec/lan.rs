//! LANs behind a 6to4 router or a 6rd customer edge: each gets a /64 of the prefix that the
//! IPv4 address brings, and its hosts are told. [RFC 3056 §5.1, RFC 5969 §7.1.1]
//!
//! On the device of a LAN this program puts the router's address and the on-link route,
//! answers Router Solicitations, and advertises the prefix at the times of RFC 4861 §6.2. It
//! is no default router there before the kernel forwards and the tunnel has a default route.
//! When the IPv4 address changes, or the program ends, hosts hear that the old prefix is not
//! to be used any more: preferred lifetime zero, valid for two hours at most. No lifetime is
//! longer than that of the IPv4 address, as far as the kernel knows one, such as a lease.
//!
//! ```
//! use isatap_std::spec::LanOptions;
//!
//! // The LAN of eth1, with the number of the interface; that of eth2 with 0xa0.
//! let lans: [LanOptions; 2] = ["eth1".parse()?, "eth2:a0".parse()?];
//! assert_eq!(lans[1].subnet, Some(0xa0));
//! # Ok::<(), isatap_std::Error>(())
//! ```
//!
//! # What it cannot do
//!
//! No DHCPv6 and no DNS in advertisements; other routers' advertisements on the LAN are not
//! compared with ours. The device has to have a link-local address, as every device has for
//! which IPv6 is not switched off.

use super::{Refusals, check_device};
use crate::error::Error;
use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;

/// A LAN to be given a prefix.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct LanOptions {
    /// Its device, which exists already.
    pub device: String,
    /// Which /64 of the delegated prefix is its, from 1; `None`: the one with the number of
    /// the device's interface. `S64-2`
    pub subnet: Option<u16>,
}

impl LanOptions {
    /// The LAN of a device, with the number of its interface.
    #[must_use]
    pub fn new(device: impl Into<String>) -> Self {
        Self { device: device.into(), subnet: None }
    }
}

/// `DEV` or `DEV:SUBNET`, the subnet in hexadecimal, as it stands in the address.
impl FromStr for LanOptions {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (device, subnet) = match text.split_once(':') {
            None => (text, None),
            Some((device, subnet)) => (device, Some(subnet)),
        };
        check_device(device)?;
        let subnet = subnet.map(|subnet| {
            let digits_alone = subnet.bytes().all(|byte| byte.is_ascii_hexdigit());
            let number = u16::from_str_radix(subnet, 16).ok().and_then(NonZeroU16::new).filter(|_| digits_alone);
            number.map(NonZeroU16::get).ok_or_else(|| {
                let why = format!("{subnet:?} is no subnet");
                Error::usage("give a prefix to the LAN", text, why).with_advice("write 1 to ffff, as in eth1:a0")
            })
        });
        Ok(Self { device: device.to_owned(), subnet: subnet.transpose()? })
    }
}

impl fmt::Display for LanOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.subnet {
            Some(subnet) => write!(f, "{}:{subnet:x}", self.device),
            None => f.write_str(&self.device),
        }
    }
}

/// Whether the LANs of one tunnel can be on any machine. `delegated`: how long the prefixes
/// are that it delegates.
pub(super) fn check(lans: &[LanOptions], delegated: u8, refusals: &mut Refusals) {
    for (at, lan) in lans.iter().enumerate() {
        refusals.note("lan", check_device(&lan.device));
        let before = lans.get(..at).unwrap_or_default();
        let same_subnet = before.iter().find(|other| lan.subnet.is_some() && other.subnet == lan.subnet);
        let (why, advice) = if before.iter().any(|other| other.device == lan.device) {
            ("the device is named twice".to_owned(), "name each device once")
        } else if let Some(other) = same_subnet {
            (format!("{} has this subnet already", other.device), "give each LAN its own, as in eth1:1")
        } else if let Err(why) = fits(lan.subnet, delegated) {
            (why, "give another subnet, or a prefix that is shorter")
        } else if delegated == 64 && at > 0 {
            ("a delegated /64 is one LAN's whole".to_owned(), "name one LAN")
        } else {
            continue;
        };
        refusals.add("lan", Error::usage("give a prefix to the LAN", lan, why).with_advice(advice));
    }
}

/// Whether a subnet has a /64 in a prefix of `delegated` bits; why not.
pub(crate) fn fits(subnet: Option<u16>, delegated: u8) -> Result<(), String> {
    let Some(room) = 64_u8.checked_sub(delegated) else {
        return Err(format!("a delegated /{delegated} is too small for a LAN, which needs a /64"));
    };
    match subnet {
        Some(subnet) if room > 0 && room < 16 && subnet >> room != 0 => {
            Err(format!("subnet {subnet:x} has no place in a /{delegated}: the last is {:x}", (1_u32 << room) - 1))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lans(texts: &[&str]) -> Vec<LanOptions> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn s64_2_a_subnet_is_written_as_it_stands_in_the_address_and_is_never_0() {
        assert_eq!("eth1".parse::<LanOptions>().unwrap(), LanOptions::new("eth1"));
        for (text, subnet) in [("eth1:1", 1), ("eth1:a0", 0xa0), ("eth1:FFFF", 0xffff)] {
            let lan: LanOptions = text.parse().unwrap();
            assert_eq!((lan.device.as_str(), lan.subnet), ("eth1", Some(subnet)));
            assert_eq!(lan.to_string(), text.to_lowercase());
        }
        for text in ["", ":1", "eth1:", "eth1:0", "eth1:10000", "eth1:+1", "eth1:1:2", "a/b", "sixteen-bytes-xx"] {
            let error = text.parse::<LanOptions>().unwrap_err();
            assert_eq!(error.class(), crate::error::Class::Usage, "{text}: {error}");
        }
    }

    #[test]
    fn s6r_2_a_subnet_has_room_in_the_delegated_prefix_or_is_refused() {
        let refused = |texts: &[&str], delegated: u8| {
            let mut refusals = Refusals::default();
            check(&lans(texts), delegated, &mut refusals);
            refusals.0.iter().map(|refusal| refusal.error.to_string()).collect::<Vec<_>>()
        };
        assert!(refused(&["eth1", "eth2:ffff", "eth3:1"], 48).is_empty());
        assert!(refused(&["eth1:ff"], 56).is_empty());
        assert!(refused(&["eth1:100"], 56)[0].contains("the last is ff"));
        assert!(refused(&["eth1:7"], 64).is_empty(), "a /64 is the LAN's whole");
        for (texts, length) in
            [(&["eth1", "eth2"][..], 64), (&["eth1"], 65), (&["eth1", "eth1:2"], 48), (&["eth1:2", "eth2:2"], 48)]
        {
            assert_eq!(refused(texts, length).len(), 1, "{texts:?} {length}");
        }
    }
}
