//! Whether this namespace has rules for packets of IPv4, which the programs would go past.

use super::messages::{self, Attributes};
use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_NETFILTER;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// The tables of iptables (not those of its successor, which nf_tables tells of) that are in use.
const LEGACY: &str = "/proc/self/net/ip_tables_names";

/// `NFNL_SUBSYS_NFTABLES` with `NFT_MSG_GETCHAIN`, and what answers it.
const GET_CHAIN: u16 = 10 << 8 | 4;
const NEW_CHAIN: u16 = 10 << 8 | 3;
/// `struct nfgenmsg`, in front of the attributes.
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

    /// Takes what was heard, if anything was: what it says is asked for anew.
    pub(super) fn drain(&mut self) -> bool {
        let Some(socket) = &self.0 else { return false };
        let mut told = Vec::with_capacity(1 << 12);
        // More than the socket holds is an error, once.
        for count in 0..1 << 10 {
            told.clear();
            if socket.recv_from(&mut told, 0).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
                return count > 0;
            }
        }
        true
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
    let mut found = false;
    let end = messages::dump(NETLINK_NETFILTER, GET_CHAIN, &[0; FAMILY], &mut |kind, body| {
        found |= kind == NEW_CHAIN && is_passed(body);
    });
    end.or_else(pardon).map(|()| found)
}

/// A kernel without nftables has no rules of it.
fn pardon(error: io::Error) -> io::Result<()> {
    match error.raw_os_error() {
        Some(libc::EINVAL | libc::EOPNOTSUPP) => Ok(()),
        _ => Err(error),
    }
}

/// Whether a chain is at a hook that outer packets pass. One of NAT sees the first packet of a flow alone, and changes all.
fn is_passed(chain: &[u8]) -> bool {
    let Some((family, attributes)) = chain.split_first_chunk::<FAMILY>() else { return false };
    let number = Attributes(attributes).value(CHAIN_HOOK).and_then(|hook| Attributes(hook).value(HOOK_NUMBER));
    let Some(hook) = number.and_then(|value| value.first_chunk()).copied().map(u32::from_be_bytes) else {
        return false;
    };
    match family[0] {
        // NFPROTO_INET and NFPROTO_IPV4: all but what is forwarded.
        1 | 2 => hook != 2,
        // NFPROTO_NETDEV: what a device receives, and what it sends, since the kernel asks nobody about a packet that
        // a program has redirected.
        5 => hook <= 1,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::messages::made::{attribute, message};
    use super::*;

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
        body.concat()
    }

    #[test]
    fn chains_that_outer_packets_pass_are_found() {
        for (family, hook, kind, expected) in [
            (1, Some(1), "filter", true),
            (2, Some(0), "filter", true),
            (2, Some(3), "route", true),
            (2, Some(4), "filter", true),
            (2, Some(4), "nat", true),
            (1, Some(2), "filter", false),
            (10, Some(1), "filter", false),
            (5, Some(0), "filter", true),
            (5, Some(1), "filter", true),
            (5, Some(2), "filter", false),
            // Another chain jumps to it.
            (2, None, "filter", false),
        ] {
            assert_eq!(is_passed(&chain(family, hook, kind)), expected, "{family} {hook:?} {kind}");
        }
        let refused = |number: i32| {
            let end = messages::play(&message(2, &(-number).to_ne_bytes()), &mut |_, _| {}).unwrap();
            end.or_else(pardon)
        };
        assert!(refused(libc::EINVAL).is_ok() && refused(libc::EPERM).is_err() && refused(libc::ENOBUFS).is_err());
        let whole = message(NEW_CHAIN, &chain(1, Some(1), "filter"));
        for len in 0..=whole.len() {
            let mut found = false;
            let _ = messages::play(&whole[..len], &mut |_, body| found |= is_passed(body));
            assert_eq!(found, len == whole.len(), "{len} bytes");
        }
    }
}
