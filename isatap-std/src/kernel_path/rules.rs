//! Rules of routing (`ip rule`) that select by what a question about a route cannot carry.
//!
//! The kernel is asked by which device packets leave, with their addresses, mark and device (RTM_GETROUTE). It takes no
//! protocol 41, and what it says of a user is about who asks. So where a rule looks at that, or at anything that is
//! not known here, nobody knows the way of packets that it may concern: they stay in user space.

use super::messages::{Attributes, dump};
use crate::proto41_socket::Bound;
use netlink_sys::protocols::NETLINK_ROUTE;
use std::io;
use std::net::Ipv4Addr;

const RTM_NEWRULE: u16 = 32;
const RTM_GETRULE: u16 = 34;
/// `struct fib_rule_hdr`: family, two lengths of prefixes, TOS, table, two that are not used, action, flags.
const HEADER: usize = 12;
const FIB_RULE_INVERT: u32 = 2;
const FRA_DST: u16 = 1;
const FRA_SRC: u16 = 2;
const FRA_IIFNAME: u16 = 3;
const FRA_FWMARK: u16 = 10;
const FRA_FWMASK: u16 = 16;
const FRA_OIFNAME: u16 = 17;
/// What a question carries, and what selects nothing: those above, FRA_GOTO, FRA_PRIORITY, FRA_FLOW, two that suppress
/// routes, FRA_TABLE, FRA_PAD, FRA_L3MDEV, FRA_PROTOCOL (who made it).
const ANSWERED: [u16; 15] =
    [FRA_DST, FRA_SRC, FRA_IIFNAME, 4, 6, FRA_FWMARK, 11, 13, 14, 15, FRA_FWMASK, FRA_OIFNAME, 18, 19, 21];

/// Those rules of a namespace; `None`: they cannot be asked for.
#[derive(Debug)]
pub(super) struct Rules(Option<Vec<Rule>>);

/// Which packets of this machine's own a rule may concern.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Rule {
    source: (u32, u32),
    destination: (u32, u32),
    mark: (u32, u32),
    /// Packets of sockets that are bound to a device.
    is_of_bound: bool,
}

impl Rules {
    /// Those that there are now.
    pub(super) fn ask() -> Self {
        let mut rules = Vec::new();
        let mut body = [0; HEADER];
        body[0] = u8::try_from(libc::AF_INET).unwrap_or_default();
        let asked = dump(NETLINK_ROUTE, RTM_GETRULE, &body, &mut |kind, body| {
            rules.extend((kind == RTM_NEWRULE).then(|| rule_of(body)).flatten());
        });
        match asked {
            Ok(()) => Self(Some(rules)),
            // A kernel without rules.
            Err(error) if is_without(&error) => Self(Some(Vec::new())),
            Err(_) => Self(None),
        }
    }

    /// Whether they could be asked for.
    pub(super) fn are_known(&self) -> bool {
        self.0.is_some()
    }

    /// Whether any may concern packets with these addresses.
    pub(super) fn concern(&self, [source, destination]: [Ipv4Addr; 2], bound: Bound) -> bool {
        let fits = |(value, mask): (u32, u32), of: u32| of & mask == value & mask;
        let concerns = |rule: &Rule| {
            fits(rule.source, source.to_bits())
                && fits(rule.destination, destination.to_bits())
                && fits(rule.mark, bound.mark)
                && (!rule.is_of_bound || bound.interface != 0)
        };
        self.0.as_ref().is_none_or(|rules| rules.iter().any(concerns))
    }
}

fn is_without(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EAFNOSUPPORT))
}

/// What a rule concerns; `None`: no packets of this machine's own, or it is among what is answered.
fn rule_of(body: &[u8]) -> Option<Rule> {
    // One that is cut off may concern anything.
    let all = Some(Rule::default());
    let Some((header, attributes)) = body.split_first_chunk::<HEADER>() else { return all };
    let [_, destination_len, source_len, tos, .., a, b, c, d] = *header;
    let attributes: Vec<_> = Attributes(attributes).collect();
    let value = |wanted: u16| attributes.iter().find(|(kind, _)| *kind == wanted).map(|(_, value)| *value);
    // Packets with other values of it than the ones that are asked about: those that are inherited, say.
    if tos == 0 && attributes.iter().all(|(kind, _)| ANSWERED.contains(kind)) {
        return None;
    }
    if u32::from_ne_bytes([a, b, c, d]) & FIB_RULE_INVERT != 0 {
        return all;
    }
    // What this machine sends comes in by lo, as rules have it.
    if value(FRA_IIFNAME).is_some_and(|name| name.strip_suffix(&[0]).unwrap_or(name) != b"lo") {
        return None;
    }
    let chunk = |kind| value(kind).and_then(|value| value.first_chunk::<4>()).copied();
    let prefix = |kind, len: u8| {
        let mask = u32::MAX.checked_shl(32_u32.saturating_sub(len.into())).unwrap_or_default();
        (chunk(kind).map_or(0, u32::from_be_bytes), if chunk(kind).is_some() { mask } else { 0 })
    };
    let mark = chunk(FRA_FWMARK)
        .map_or((0, 0), |mark| (u32::from_ne_bytes(mark), chunk(FRA_FWMASK).map_or(u32::MAX, u32::from_ne_bytes)));
    Some(Rule {
        source: prefix(FRA_SRC, source_len),
        destination: prefix(FRA_DST, destination_len),
        mark,
        is_of_bound: value(FRA_OIFNAME).is_some(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::messages::made::attribute;
    use super::*;

    const IP_PROTO: (u16, &[u8]) = (22, &[41]);

    fn rule(lens: [u8; 2], tos: u8, flags: u32, attributes: &[(u16, &[u8])]) -> Option<Rule> {
        let mut body = vec![2, lens[0], lens[1], tos, 254, 0, 0, 1];
        body.extend(flags.to_ne_bytes());
        body.extend(attributes.iter().flat_map(|(kind, value)| attribute(*kind, value)));
        rule_of(&body)
    }

    fn concerns(rule: Option<Rule>, source: [u8; 4], destination: [u8; 4], bound: Bound) -> bool {
        Rules(Some(rule.into_iter().collect())).concern([source.into(), destination.into()], bound)
    }

    #[test]
    fn what_a_question_carries_is_answered() {
        // As Linux dumps its three.
        let table = 254_u32.to_ne_bytes();
        for attributes in [
            &[(15, &table[..]), (14, &[255; 4]), (21, &[2])][..],
            &[(15, &table), (6, &[0; 4]), (FRA_SRC, &[192, 0, 2, 1]), (FRA_FWMARK, &[1, 0, 0, 0])],
        ] {
            assert_eq!(rule([0, 32], 0, 0, attributes), None);
        }
    }

    #[test]
    fn a_rule_that_names_a_protocol_concerns_what_it_may_select() {
        let (a, b, c) = ([192, 0, 2, 1], [198, 51, 100, 2], [203, 0, 113, 3]);
        let none = Bound::default();
        assert!(concerns(rule([0, 0], 0, 0, &[IP_PROTO]), a, b, none));
        // FRA_TUN_ID, FRA_UID_RANGE, ports, FRA_DSCP, and one that nobody knows yet; a TOS.
        for kind in [12, 20, 23, 24, 25, 99] {
            assert!(concerns(rule([0, 0], 0, 0, &[(kind, &[0; 8])]), a, b, none), "{kind}");
        }
        assert!(concerns(rule([0, 0], 16, 0, &[]), a, b, none));
        let from = rule([0, 24], 0, 0, &[IP_PROTO, (FRA_SRC, &[192, 0, 2, 0])]);
        assert!(concerns(from, a, b, none) && !concerns(from, c, b, none));
        let to = rule([32, 0], 0, 0, &[IP_PROTO, (FRA_DST, &b)]);
        assert!(concerns(to, a, b, none) && !concerns(to, a, c, none));
        // All but these.
        assert!(concerns(rule([32, 0], 0, FIB_RULE_INVERT, &[IP_PROTO, (FRA_DST, &b)]), a, c, none));
        let marked = rule([0, 0], 0, 0, &[IP_PROTO, (FRA_FWMARK, &5_u32.to_ne_bytes()), (FRA_FWMASK, &[255; 4])]);
        assert!(!concerns(marked, a, b, none) && concerns(marked, a, b, Bound { mark: 5, ..none }));
        let of_device = rule([0, 0], 0, 0, &[IP_PROTO, (FRA_OIFNAME, b"eth0\0")]);
        assert!(!concerns(of_device, a, b, none) && concerns(of_device, a, b, Bound { interface: 2, ..none }));
        // What is forwarded; what this machine sends.
        assert!(!concerns(rule([0, 0], 0, 0, &[IP_PROTO, (FRA_IIFNAME, b"eth0\0")]), a, b, none));
        assert!(concerns(rule([0, 0], 0, 0, &[IP_PROTO, (FRA_IIFNAME, b"lo\0")]), a, b, none));
        // Rules that cannot be asked for.
        assert!(Rules(None).concern([a.into(), b.into()], none));
    }
}
