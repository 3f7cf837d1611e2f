//! Whether this namespace has rules for packets of IPv4, which the programs would go past.

use super::attributes::Attributes;
use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// The tables of iptables (not those of its successor, which nf_tables tells of) that are in use.
const LEGACY: &str = "/proc/self/net/ip_tables_names";

/// `NFNL_SUBSYS_NFTABLES` with `NFT_MSG_GETCHAIN`, and what answers it.
const GET_CHAIN: u16 = 10 << 8 | 4;
const NEW_CHAIN: u16 = 10 << 8 | 3;
/// `NLM_F_REQUEST | NLM_F_DUMP`
const DUMP: u16 = 0x301;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// `struct nlmsghdr`, and `struct nfgenmsg` behind it.
const HEADER: usize = 16;
const FAMILY: usize = 4;
/// `NFTA_CHAIN_HOOK` with `NFTA_HOOK_HOOKNUM` in it.
const CHAIN_HOOK: u16 = 4;
const HOOK_NUMBER: u16 = 1;

/// `NFNLGRP_NFTABLES`: who hears what changes there.
const CHANGES: u32 = 7;

/// Hears of changes of nftables, where the kernel has that; of other rules nobody tells.
#[derive(Debug)]
pub(super) struct Firewall(Option<Socket>);

impl Firewall {
    pub(super) fn open() -> Self {
        let open = || {
            let mut socket = Socket::new(NETLINK_NETFILTER)?;
            socket.bind_auto()?;
            socket.add_membership(CHANGES)?;
            socket.set_non_blocking(true)?;
            Ok::<_, io::Error>(socket)
        };
        Self(open().ok())
    }

    /// Readable when something has changed.
    pub(super) fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.0.as_ref().map(AsFd::as_fd)
    }

    /// Takes what was heard: what it says is asked for anew.
    pub(super) fn drain(&mut self) {
        let Some(socket) = &self.0 else { return };
        let mut told = Vec::with_capacity(1 << 12);
        // More than the socket holds is an error, once.
        for _ in 0..1 << 10 {
            told.clear();
            if socket.recv_from(&mut told, 0).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
                return;
            }
        }
    }
}

/// What has rules; `None`: nothing, or a kernel without a firewall.
pub(super) fn rules() -> Option<&'static str> {
    match fs::read_to_string(LEGACY) {
        Ok(tables) if !tables.trim().is_empty() => return Some("iptables has tables (iptables-legacy -S)"),
        // It is there, and this user may not look.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Some("iptables may have tables (iptables-legacy -S; rmmod ip_tables)");
        }
        _ => {}
    }
    match nf_tables() {
        Ok(false) => None,
        Ok(true) => Some("nftables has rules for what comes or goes by IPv4 (nft list ruleset)"),
        // A kernel without netfilter.
        Err(error) if error.raw_os_error() == Some(libc::EPROTONOSUPPORT) => None,
        Err(_) => Some("nftables cannot be asked for its rules"),
    }
}

fn nf_tables() -> io::Result<bool> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    let mut request = Vec::with_capacity(HEADER + FAMILY);
    request.extend(u32::try_from(HEADER + FAMILY).unwrap_or_default().to_ne_bytes());
    request.extend([GET_CHAIN, DUMP].map(u16::to_ne_bytes).concat());
    request.resize(HEADER + FAMILY, 0);
    socket.send_to(&request, &SocketAddr::new(0, 0), 0)?;
    let mut answer = Vec::with_capacity(1 << 16);
    let mut found = false;
    loop {
        answer.clear();
        socket.recv_from(&mut answer, 0)?;
        let (end, is_there) = chains_in(&answer);
        found |= is_there;
        if let Some(end) = end {
            return end.map(|()| found);
        }
    }
}

/// How the answer ends, if it does here, and whether this part names a chain that packets of a known flow would pass.
fn chains_in(mut answer: &[u8]) -> (Option<io::Result<()>>, bool) {
    let mut found = false;
    while let Some(header) = answer.first_chunk::<HEADER>() {
        let [a, b, c, d, e, f, ..] = *header;
        let len = usize::try_from(u32::from_ne_bytes([a, b, c, d])).unwrap_or_default();
        let Some(message) = answer.get(HEADER..len) else {
            return (Some(Err(io::ErrorKind::InvalidData.into())), found);
        };
        match u16::from_ne_bytes([e, f]) {
            NLMSG_DONE => return (Some(Ok(())), found),
            NLMSG_ERROR => return (Some(refusal(message)), found),
            NEW_CHAIN => found |= is_passed(message),
            _ => {}
        }
        answer = answer.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    (None, found)
}

/// What an error message says; a kernel without nftables has no rules of it.
fn refusal(message: &[u8]) -> io::Result<()> {
    let number = message.first_chunk().map_or(libc::EINVAL, |number| i32::from_ne_bytes(*number).saturating_neg());
    match number {
        0 | libc::EINVAL | libc::EOPNOTSUPP => Ok(()),
        number => Err(io::Error::from_raw_os_error(number)),
    }
}

/// Whether a chain is at a hook that outer packets pass. One of NAT sees the first packet of a flow alone, and changes all.
fn is_passed(chain: &[u8]) -> bool {
    let Some((family, attributes)) = chain.split_first_chunk::<FAMILY>() else { return false };
    let of = |attributes, wanted| Attributes(attributes).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
    let number =
        of(attributes, CHAIN_HOOK).and_then(|hook| of(hook, HOOK_NUMBER)).and_then(|value| value.first_chunk());
    let Some(hook) = number.copied().map(u32::from_be_bytes) else { return false };
    match family[0] {
        // NFPROTO_INET and NFPROTO_IPV4: all but what is forwarded.
        1 | 2 => hook != 2,
        // NFPROTO_NETDEV: what a device receives; what it sends passes it as ever.
        5 => hook == 0,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = u16::try_from(value.len() + 4).unwrap().to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    /// As `nft list hooks` was answered by Linux 6.18: table, name, handle, hook with priority, policy, type.
    fn chain(family: u8, hook: Option<u32>, kind: &str) -> Vec<u8> {
        let hook = hook.map(|hook| [attribute(1, &hook.to_be_bytes()), attribute(2, &[0; 4])].concat());
        let kind = format!("{kind}\0");
        let body = [
            vec![family, 0, 0, 2],
            attribute(1, b"f\0"),
            attribute(3, b"i\0"),
            hook.map(|hook| attribute(CHAIN_HOOK | 0x8000, &hook)).unwrap_or_default(),
            attribute(7, kind.as_bytes()),
        ];
        message(NEW_CHAIN, &body.concat())
    }

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = u32::try_from(HEADER + body.len()).unwrap().to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.resize(HEADER, 0);
        bytes.extend(body);
        bytes
    }

    #[test]
    fn chains_that_outer_packets_pass_are_found() {
        let end = message(NLMSG_DONE, &[0; 4]);
        let found = |chain: Vec<u8>| chains_in(&[chain, end.clone()].concat());
        for (family, hook, kind, is_passed) in [
            (1, Some(1), "filter", true),
            (2, Some(0), "filter", true),
            (2, Some(3), "route", true),
            (2, Some(4), "filter", true),
            (2, Some(4), "nat", true),
            (1, Some(2), "filter", false),
            (10, Some(1), "filter", false),
            (5, Some(0), "filter", true),
            (5, Some(1), "filter", false),
            // Another chain jumps to it.
            (2, None, "filter", false),
        ] {
            let (end, is_there) = found(chain(family, hook, kind));
            assert!(end.unwrap().is_ok() && is_there == is_passed, "{family} {hook:?} {kind}");
        }
        assert!(matches!(chains_in(&chain(1, Some(1), "filter")), (None, true)));
        let refused = |number: i32| chains_in(&message(NLMSG_ERROR, &(-number).to_ne_bytes())).0.unwrap();
        assert!(refused(libc::EINVAL).is_ok() && refused(libc::EPERM).is_err() && refused(libc::ENOBUFS).is_err());
        let whole = chain(1, Some(1), "filter");
        for len in 0..whole.len() {
            assert!(!chains_in(&whole[..len]).1, "{len} bytes");
        }
    }
}
