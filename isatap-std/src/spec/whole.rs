//! What links cannot be beside each other in one process.

use super::{Bind, IsatapHost, LinkSpec, Native, SixRd, Tunnel};
use crate::device::Binding;
use crate::resolve::Entry;
use isatap_core::prefix::Ipv6Prefix;
use std::net::{Ipv4Addr, SocketAddrV4};

/// Tunnels and LANs of one process.
pub const MOST_LINKS: usize = 15;

/// What one link cannot be beside the others.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Conflict {
    /// Which link, the later of the two; behind the last of them are the natives.
    pub link: usize,
    /// Its field, as the key of a file; `""`: no one field alone.
    pub key: &'static str,
    /// The value of that, as it is written.
    pub value: String,
    /// What is wrong, and what to write instead.
    pub text: String,
}

/// What these links cannot be together, whatever each is by itself; nothing where all is well.
#[must_use]
pub fn conflicts(links: &[LinkSpec], natives: &[Native]) -> Vec<Conflict> {
    let mut found = Vec::new();
    let mut add = |link: usize, key: &'static str, value: &dyn ToString, text: String| {
        found.push(Conflict { link, key, value: value.to_string(), text });
    };
    for (at, link) in links.iter().enumerate() {
        let before = links.get(..at).unwrap_or_default();
        let device = link.device();
        if before.iter().any(|other| other.device() == device) {
            add(at, "dev", &device, format!("a second link has the device {device}: give each its own dev"));
        }
        if let Some((path, text)) = recording(link, before) {
            add(at, "pcap", &path, text);
        }
        if let Some((key, value, text)) = before.iter().find_map(|other| same_ends(link, other)) {
            add(at, key, &value, text);
        }
        for service in link.answer_by() {
            if let Some(other) = before.iter().find(|other| other.answer_by().contains(service)) {
                let other = other.device();
                let text = format!(
                    "{other} answers by {service} already, and one router of a machine can: leave {service} out of \
                     answer-by here, and let the hosts find this router by the DNS"
                );
                add(at, "answer-by", service, text);
            }
        }
        if let LinkSpec::IsatapHost(host) = link {
            let others = || links.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, other)| other);
            for router in host.addresses().filter(|router| others().any(|other| other.locals().contains(router))) {
                let text = format!("{router} is an address of this machine's by this file: name another machine's");
                add(at, "router", &router, text);
            }
        }
        if let Some(via) = link.via().filter(|via| links.iter().any(|link| link.device() == *via)) {
            add(at, "via", &via, format!("{via} is made by this file: name the device that has the IPv4 address"));
        }
        // That it is the link's own is told already.
        let bound = link.binding().device.filter(|bound| bound != device);
        if let Some(bound) = bound.filter(|bound| links.iter().any(|link| link.device() == bound)) {
            let text = format!("{bound} is made by this file and carries IPv6 alone: {}", Binding::INSTEAD);
            add(at, "bind-device", &bound, text);
        }
    }
    of_lans(links, &mut add);
    for (at, native) in natives.iter().enumerate() {
        let (place, device) = (links.len() + at, native.dev.as_str());
        if let Some(link) = links.iter().find(|link| link.device() == device) {
            let text = format!("{device} is the {} of this file: name a device that carries IPv6 itself", link.kind());
            add(place, "dev", &device, text);
        }
        if natives.get(..at).unwrap_or_default().iter().any(|other| other.dev == device) {
            add(place, "dev", &device, format!("a second [[native]] has the device {device}: write it once"));
        }
    }
    found
}

/// The router of an ISATAP host that is the end of a tunnel of ours, too.
fn behind_tunnel(link: &LinkSpec, links: &[LinkSpec]) -> Option<String> {
    let LinkSpec::IsatapHost(host) = link else { return None };
    links.iter().find_map(|other| {
        let LinkSpec::Tunnel(Tunnel { remote: Entry::Address(remote), local, dev, .. }) = other else { return None };
        let is_same = host.local.is_empty() || local.is_some_and(|local| host.local.contains(&local));
        let is_same = is_same
            && match (link.binding().device, other.binding().device) {
                (Some(own), Some(others)) => own == others,
                _ => true,
            };
        (is_same && host.addresses().any(|router| router == *remote)).then(|| {
            format!(
                "{dev} takes all protocol 41 of {remote}, so the router {remote} is not heard; keep one of the two, or \
                 give one its own IPv4 address at both ends"
            )
        })
    })
}

/// Links of which one takes what is the other's, and what is wrong, for people: an ISATAP host and
/// a tunnel to its router; tunnels whose on-link prefixes share addresses, of which the kernel
/// sends to one alone (the later one of each two).
#[must_use]
pub fn overlaps(links: &[LinkSpec]) -> Vec<(&LinkSpec, String)> {
    let on_link = |link: &LinkSpec| -> Vec<Ipv6Prefix> {
        match link {
            LinkSpec::Tunnel(tunnel) => tunnel.address.iter().filter_map(|own| own.0.prefix()).collect(),
            LinkSpec::IsatapRouter(router) => router.prefix.iter().map(|own| own.prefix).collect(),
            _ => Vec::new(),
        }
    };
    // Who shares a prefix tells its hosts apart by their members.
    let shares = |link: &LinkSpec| matches!(link, LinkSpec::IsatapRouter(router) if !router.member.is_empty());
    let mut found: Vec<(&LinkSpec, String)> =
        links.iter().filter_map(|link| Some((link, behind_tunnel(link, links)?))).collect();
    for (at, link) in links.iter().enumerate() {
        for other in links.get(..at).unwrap_or_default().iter().filter(|other| !(shares(link) && shares(other))) {
            let overlap = on_link(link).into_iter().find_map(|own| {
                let first = on_link(other).into_iter();
                let mut first = first.filter(|first| own.contains(&first.address()) || first.contains(&own.address()));
                first.next().map(|first| (own, first))
            });
            if let Some((own, first)) = overlap {
                let device = other.device();
                found.push((link, format!("{own} overlaps {first} of {device}, so packets to one of the two can leave by the other; give each its own prefix")));
            }
        }
    }
    found
}

/// Links that speak protocol 41 have one recording; of Teredo each has its own.
fn recording(link: &LinkSpec, before: &[LinkSpec]) -> Option<(String, String)> {
    let path = link.pcap()?;
    let others = before.iter().filter_map(|other| Some((other, other.pcap()?)));
    let clash = others.clone().find_map(|(other, recorded)| match (link.is_teredo(), other.is_teredo()) {
        (false, false) => (recorded != path).then_some((recorded, "give pcap once")),
        _ => (recorded == path).then_some((recorded, "give Teredo its own file")),
    });
    let (recorded, advice) = clash?;
    let text = format!("packets are recorded into {} already: {advice}", recorded.display());
    Some((path.display().to_string(), text))
}

/// Whether both would take the same packets: the field of the later one, its value, and what is
/// wrong.
fn same_ends(link: &LinkSpec, other: &LinkSpec) -> Option<(&'static str, String, String)> {
    // What comes by one device is no other's; and of both, who is bound to it comes first.
    if link.binding().device != other.binding().device {
        return None;
    }
    let shared = || link.locals().into_iter().find(|local| other.locals().contains(local));
    let device = other.device();
    match (link, other) {
        (LinkSpec::IsatapHost(host), LinkSpec::IsatapHost(first)) => {
            let is_open = |host: &IsatapHost| host.local.is_empty() && host.via.is_none();
            if let Some(local) = shared() {
                return Some((
                    "local",
                    local.to_string(),
                    format!(
                        "{device} is an ISATAP host at {local}, and advertisements reach one of them: give each its own local, or \
                     all routers to one"
                    ),
                ));
            }
            if let Some(via) = host.via.as_ref().filter(|_| host.via == first.via) {
                return Some((
                    "via",
                    via.clone(),
                    format!(
                        "{device} has the addresses of {via} already, and advertisements reach one of them: keep one"
                    ),
                ));
            }
            // Toward the same router both send from the same address.
            let by_name = host.router.is_empty() && first.router.is_empty();
            let router = host.router.iter().find(|router| first.router.contains(router));
            let router = router.map(ToString::to_string).or_else(|| by_name.then(|| "isatap".to_owned()));
            let router = router.filter(|_| is_open(host) && is_open(first))?;
            let text = format!(
                "{device} is an ISATAP host of the router {router} already: keep one, or give each its own local"
            );
            Some(("router", router, text))
        }
        (LinkSpec::IsatapRouter(router), LinkSpec::IsatapRouter(first)) => {
            // What is of one site alone is refused by the other's link.
            let of_one_site = router.member.iter().all(|own| {
                first.member.iter().all(|other| !own.contains(other.address()) && !other.contains(own.address()))
            });
            if of_one_site && !router.member.is_empty() && !first.member.is_empty() {
                return None;
            }
            let local = shared()?;
            Some((
                "local",
                local.to_string(),
                format!(
                    "{device} is an ISATAP router at {local}, and solicitations reach one of them: give each its own local, \
                 or members that the other does not have, or both prefixes to one"
                ),
            ))
        }
        (LinkSpec::IsatapHost(_) | LinkSpec::IsatapRouter(_), LinkSpec::IsatapHost(_) | LinkSpec::IsatapRouter(_)) => {
            let local = shared()?;
            Some((
                "local",
                local.to_string(),
                format!(
                    "{device} is an {} at {local}, and packets reach one of them: a host and a router need a local each",
                    other.kind()
                ),
            ))
        }
        (LinkSpec::Tunnel(tunnel), LinkSpec::Tunnel(first)) => {
            let is_same = (tunnel.local, &tunnel.via, &tunnel.remote) == (first.local, &first.via, &first.remote);
            let from = from_where(link);
            is_same.then(|| {
                (
                    "remote",
                    tunnel.remote.to_string(),
                    format!(
                        "{device} goes from {from} to {} already, and packets reach one of them: keep one, or give each a \
                         bind-device of its own",
                        tunnel.remote
                    ),
                )
            })
        }
        (LinkSpec::Compatible(_), LinkSpec::Compatible(_)) => {
            let local = shared()?;
            let text = format!("{device} tunnels to IPv4-compatible addresses at {local} already: keep one");
            Some(("local", local.to_string(), text))
        }
        (LinkSpec::SixRd(sixrd), LinkSpec::SixRd(first)) => {
            let ends = |link: &SixRd| (link.local, link.via.clone(), link.prefix, link.dhcp_lease.clone());
            let at = from_where(link);
            let (key, of) = match (&sixrd.dhcp_lease, sixrd.prefix) {
                (Some(lease), _) => ("dhcp-lease", lease.display().to_string()),
                (None, prefix) => ("prefix", prefix.map(|prefix| prefix.to_string()).unwrap_or_default()),
            };
            let text = format!("{device} is in the domain of {of} at {at} already: keep one");
            (ends(sixrd) == ends(first)).then_some((key, of, text))
        }
        (LinkSpec::SixToFour(_), LinkSpec::SixToFour(_)) => {
            let (own, others) = (link.locals(), other.locals());
            if own.is_empty() || others.is_empty() {
                let text =
                    format!("{device} speaks 6to4 already, and one of the two has all addresses: give each its local");
                return Some(("", String::new(), text));
            }
            let local = shared()?;
            Some((
                "local",
                local.to_string(),
                format!("{device} speaks 6to4 at {local} already: give each its own local"),
            ))
        }
        _ => {
            let (own, first) = (sockets(link), sockets(other));
            let any = |address: &Ipv4Addr| address.is_unspecified();
            let overlaps = |a: &SocketAddrV4, b: &SocketAddrV4| {
                a.port() == b.port() && (a.ip() == b.ip() || any(a.ip()) || any(b.ip()))
            };
            let socket = own.iter().find(|socket| first.iter().any(|other| overlaps(socket, other)))?;
            let text = format!("{device} has the UDP port {socket} already: give each its own port or address");
            let key = if matches!(link, LinkSpec::TeredoServer(_)) { "primary" } else { "bind" };
            Some((key, String::new(), text))
        }
    }
}

/// Its IPv4 address, or the device that has it.
fn from_where(link: &LinkSpec) -> String {
    link.locals().first().map(ToString::to_string).or(link.via().map(str::to_owned)).unwrap_or_default()
}

/// The UDP sockets of Teredo whose ports are given.
fn sockets(link: &LinkSpec) -> Vec<SocketAddrV4> {
    use isatap_core::teredo::addr::SERVER_PORT;
    match link {
        LinkSpec::TeredoClient(client) => {
            client.bind.iter().map(|Bind(bind)| *bind).filter(|bind| bind.port() != 0).collect()
        }
        LinkSpec::TeredoServer(server) => {
            [server.primary, server.secondary()].map(|address| SocketAddrV4::new(address, SERVER_PORT)).to_vec()
        }
        LinkSpec::TeredoRelay(relay) => Some(relay.socket()).filter(|socket| socket.port() != 0).into_iter().collect(),
        _ => Vec::new(),
    }
}

/// A LAN has one subnet and is no tunnel; a process has room for so many.
fn of_lans(links: &[LinkSpec], add: &mut impl FnMut(usize, &'static str, &dyn ToString, String)) {
    let mut lans: Vec<&super::LanOptions> = Vec::new();
    let mut tunnels = 0;
    let mut is_full = false;
    for (at, link) in links.iter().enumerate() {
        for lan in link.lans() {
            // That a device is named twice by one link is that link's mistake, told already.
            match lans.iter().find(|known| known.device == lan.device) {
                Some(known) if known.subnet != lan.subnet && !link.lans().contains(known) => {
                    let text = format!("the LAN {lan} is {known} at another link: write the same at both");
                    add(at, "lan", lan, text);
                }
                Some(_) => {}
                None => lans.push(lan),
            }
            if links.iter().any(|link| link.device() == lan.device) {
                let text = format!("{} is made by this file and no LAN: name a device with hosts", lan.device);
                add(at, "lan", lan, text);
            }
        }
        tunnels += usize::from(!link.is_teredo());
        if !is_full && tunnels + lans.len() > MOST_LINKS {
            is_full = true;
            add(
                at,
                "",
                &"",
                format!("one process has at most {MOST_LINKS} links and LANs: put this one into another file"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Compatible, IsatapRouter, SixRd, SixToFour, TeredoClient, TeredoRelay, TeredoServer};
    use super::*;

    fn v4(text: &str) -> Ipv4Addr {
        text.parse().unwrap()
    }

    fn found(links: &[LinkSpec], natives: &[Native]) -> Vec<(usize, &'static str)> {
        conflicts(links, natives).iter().map(|conflict| (conflict.link, conflict.key)).collect()
    }

    fn host(dev: &str, local: &str, router: &str) -> LinkSpec {
        let mut host = IsatapHost::new();
        (host.dev, host.local, host.router) = (dev.into(), vec![v4(local)], vec![router.parse().unwrap()]);
        host.into()
    }

    fn router(dev: &str, local: &str, prefix: &str) -> LinkSpec {
        let mut router = IsatapRouter::new(vec![v4(local)], vec![prefix.parse().unwrap()]);
        router.dev = dev.into();
        router.into()
    }

    fn toward(dev: &str, via: Option<&str>, router: &str) -> LinkSpec {
        let router = vec![router.parse().unwrap(), "isatap.example".parse().unwrap()];
        IsatapHost { dev: dev.into(), via: via.map(str::to_owned), router, ..IsatapHost::new() }.into()
    }

    fn of_site(dev: &str, member: &str) -> LinkSpec {
        let mut router = IsatapRouter::new(vec![v4("10.0.0.3")], vec!["2001:db8:0:7::/64".parse().unwrap()]);
        (router.dev, router.member) = (dev.into(), vec![member.parse().unwrap()]);
        router.into()
    }

    fn tunnel(dev: &str, local: &str, remote: &str) -> LinkSpec {
        Tunnel { dev: dev.into(), local: Some(v4(local)), ..Tunnel::new(v4(remote).into()) }.into()
    }

    #[test]
    fn links_that_would_take_the_same_packets_are_refused() {
        let sixtofour = |dev: &str, locals: &[&str]| -> LinkSpec {
            SixToFour { dev: dev.into(), local: locals.iter().map(|text| v4(text)).collect(), ..SixToFour::new() }
                .into()
        };
        let compatible = |dev: &str, local: &str| -> LinkSpec {
            Compatible { dev: dev.into(), ..Compatible::new(vec![v4(local)]) }.into()
        };
        let sixrd = |dev: &str, prefix: &str| -> LinkSpec {
            SixRd { dev: dev.into(), local: Some(v4("10.0.0.9")), prefix: prefix.parse().ok(), ..SixRd::new() }.into()
        };
        for (links, expected) in [
            ([host("a", "10.0.0.2", "10.0.0.1"), host("b", "10.0.0.2", "10.0.0.1")], &[(1, "local")][..]),
            ([host("a", "10.0.0.2", "10.0.0.1"), host("b", "10.0.0.2", "10.9.0.1")], &[(1, "local")]),
            ([host("a", "10.0.0.2", "10.0.0.1"), host("b", "10.0.0.3", "10.0.0.1")], &[]),
            ([toward("a", None, "10.0.0.1"), toward("b", None, "10.0.0.1")], &[(1, "router")]),
            (
                [
                    toward("a", None, "10.0.0.1"),
                    IsatapHost { dev: "b".into(), router: vec!["10.0.0.9".parse().unwrap()], ..IsatapHost::new() }
                        .into(),
                ],
                &[],
            ),
            ([toward("a", Some("eth0"), "10.0.0.1"), toward("b", Some("eth0"), "10.0.0.1")], &[(1, "via")]),
            ([toward("a", Some("eth0"), "10.0.0.1"), toward("b", Some("eth1"), "10.0.0.1")], &[]),
            ([of_site("a", "10.1.0.0/16"), of_site("b", "10.2.0.0/16")], &[]),
            ([of_site("a", "10.1.0.0/16"), of_site("b", "10.0.0.0/8")], &[(1, "local")]),
            ([host("a", "10.0.0.2", "10.0.0.1"), router("b", "10.0.0.2", "2001:db8:0:7::/64")], &[(1, "local")]),
            (
                [router("a", "10.0.0.2", "2001:db8:0:7::/64"), router("b", "10.0.0.2", "2001:db8:0:8::/64")],
                &[(1, "local")],
            ),
            ([router("a", "10.0.0.1", "2001:db8:0:7::/64"), host("b", "10.0.0.2", "10.0.0.1")], &[(1, "router")]),
            ([tunnel("a", "192.0.2.1", "192.0.2.2"), tunnel("b", "192.0.2.1", "192.0.2.2")], &[(1, "remote")]),
            ([tunnel("a", "192.0.2.1", "192.0.2.2"), tunnel("b", "192.0.2.1", "192.0.2.3")], &[]),
            ([tunnel("a", "10.0.0.2", "192.0.2.2"), host("b", "10.0.0.2", "10.0.0.1")], &[]),
            ([compatible("a", "10.0.0.2"), compatible("b", "10.0.0.2")], &[(1, "local")]),
            ([compatible("a", "10.0.0.2"), compatible("b", "10.0.0.3")], &[]),
            ([compatible("a", "10.0.0.2"), host("b", "10.0.0.2", "10.0.0.1")], &[]),
            ([sixtofour("a", &["131.107.0.1"]), sixtofour("b", &["131.107.0.1"])], &[(1, "local")]),
            ([sixtofour("a", &["131.107.0.1"]), sixtofour("b", &[])], &[(1, "")]),
            ([sixtofour("a", &["131.107.0.1"]), sixtofour("b", &["131.107.0.2"])], &[]),
            ([sixrd("a", "2001:db8::/32"), sixrd("b", "2001:db8::/32")], &[(1, "prefix")]),
            ([sixrd("a", "2001:db8::/32"), sixrd("b", "2001:db9::/32")], &[]),
        ] {
            assert_eq!(found(&links, &[]), expected, "{links:?}");
        }
    }

    #[test]
    fn links_of_the_same_ends_have_devices_of_their_own() {
        let bound = |dev: &str, by: Option<&str>| -> LinkSpec {
            let tunnel = Tunnel { local: Some(v4("192.0.2.1")), ..Tunnel::new(v4("192.0.2.2").into()) };
            Tunnel { dev: dev.into(), bind_device: by.map(str::to_owned), ..tunnel }.into()
        };
        assert_eq!(found(&[bound("a", Some("eth0")), bound("b", Some("eth1")), bound("c", None)], &[]), []);
        assert_eq!(found(&[bound("a", Some("eth0")), bound("b", Some("eth0"))], &[]), [(1, "remote")]);
        // No tunnel of the file is a device for the packets of another.
        let inside = [bound("a", Some("b")), bound("b", Some("eth0"))];
        assert_eq!(found(&inside, &[]), [(0, "bind-device")]);
        let text = &conflicts(&inside, &[])[0].text;
        let expected =
            "b is made by this file and carries IPv6 alone: name the VRF or the device that leads to the other end";
        assert_eq!(text, expected);
        // An ISATAP host hears its router by another device than the tunnel's.
        let host = |by: Option<&str>| -> LinkSpec {
            let mut host = IsatapHost::new();
            (host.router, host.bind_device) = (vec!["192.0.2.2".parse().unwrap()], by.map(str::to_owned));
            host.into()
        };
        for (tunnel, host, is_told) in
            [(bound("a", Some("eth0")), host(Some("eth1")), false), (bound("a", None), host(Some("eth1")), true)]
        {
            assert_eq!(overlaps(&[tunnel, host]).len(), usize::from(is_told));
        }
    }

    #[test]
    fn one_router_answers_by_a_service() {
        use crate::resolve::NameService::{Llmnr, Netbios};
        let router = |dev: &str, local: &str, services: &[_]| -> LinkSpec {
            let mut router = IsatapRouter::new(vec![v4(local)], vec!["2001:db8:0:7::/64".parse().unwrap()]);
            (router.dev, router.answer_by) = (dev.into(), services.to_vec());
            router.into()
        };
        let first = router("a", "10.0.0.1", &[Llmnr]);
        assert_eq!(found(&[first.clone(), router("b", "10.1.0.1", &[Netbios])], &[]), []);
        let both = [first, router("b", "10.1.0.1", &[Llmnr, Netbios]), router("c", "10.2.0.1", &[Netbios])];
        assert_eq!(found(&both, &[]), [(1, "answer-by"), (2, "answer-by")]);
        let conflicts = conflicts(&both, &[]);
        assert_eq!(conflicts[0].value, "llmnr");
        assert!(conflicts[0].text.contains("leave llmnr out of answer-by"), "{conflicts:?}");
    }

    #[test]
    fn teredo_links_have_ports_of_their_own() {
        let server = || LinkSpec::from(TeredoServer { dev: "s".into(), ..TeredoServer::new(v4("198.51.100.1")) });
        let relay = |bind: &str| {
            let mut relay = TeredoRelay::new(v4("198.51.100.1"));
            (relay.dev, relay.bind) = ("r".into(), Some(bind.parse().unwrap()));
            LinkSpec::from(relay)
        };
        let client = |bind: &str| {
            let mut client = TeredoClient::new("198.51.100.9".parse().unwrap());
            client.bind = Some(bind.parse().unwrap());
            LinkSpec::from(client)
        };
        assert_eq!(found(&[server(), relay(":4000")], &[]), []);
        assert_eq!(found(&[relay(":4000"), client(":4000")], &[]), [(1, "bind")]);
        assert_eq!(found(&[relay(":4000"), client(":0")], &[]), []);
        assert_eq!(found(&[server(), client("198.51.100.2:3544")], &[]), [(1, "bind")]);
    }

    #[test]
    fn devices_are_one_links_each_and_no_native_ones() {
        let twice = [tunnel("a", "192.0.2.1", "192.0.2.2"), tunnel("a", "192.0.2.1", "192.0.2.3")];
        assert_eq!(found(&twice, &[]), [(1, "dev")]);
        let natives = [Native::new("eth1".into()), Native::new("a".into()), Native::new("eth1".into())];
        assert_eq!(found(&twice[..1], &natives), [(2, "dev"), (3, "dev")]);
        let mut by_it = IsatapHost::new();
        by_it.via = Some("a".into());
        assert_eq!(found(&[twice[0].clone(), by_it.into()], &[]), [(1, "via")]);
    }

    #[test]
    fn tunnels_whose_prefixes_share_addresses_are_told() {
        let tunnel = |dev: &str, address: &str| -> LinkSpec {
            let mut tunnel = Tunnel { local: Some(v4("192.0.2.1")), ..Tunnel::new(v4("192.0.2.2").into()) };
            (tunnel.dev, tunnel.address) = (dev.into(), vec![address.parse().unwrap()]);
            tunnel.into()
        };
        let told = |links: &[LinkSpec]| -> Vec<String> { overlaps(links).into_iter().map(|(_, text)| text).collect() };
        let first = tunnel("a", "2001:db8:77::1/64");
        assert!(told(&[first.clone(), tunnel("b", "2001:db8:78::1/64")]).is_empty());
        for (other, how) in [
            (tunnel("b", "2001:db8:77::9/64"), "2001:db8:77::/64 overlaps 2001:db8:77::/64 of a"),
            (tunnel("b", "2001:db8::1/32"), "2001:db8::/32 overlaps 2001:db8:77::/64 of a"),
            (tunnel("b", "2001:db8:77::2/127"), "2001:db8:77::2/127 overlaps 2001:db8:77::/64 of a"),
            (router("b", "10.0.0.1", "2001:db8:77::/64"), "2001:db8:77::/64 overlaps 2001:db8:77::/64 of a"),
        ] {
            let told = told(&[first.clone(), other]);
            assert!(told.len() == 1 && told[0].starts_with(how), "{told:#?}");
        }
        let host = |router: &str| {
            let mut host = IsatapHost::new();
            (host.dev, host.router) = ("h".into(), vec![router.parse().unwrap()]);
            LinkSpec::from(host)
        };
        assert!(told(&[first.clone(), host("192.0.2.3")]).is_empty());
        let hidden = told(&[first.clone(), host("192.0.2.2")]);
        assert!(hidden.len() == 1 && hidden[0].starts_with("a takes all protocol 41 of 192.0.2.2"), "{hidden:#?}");
        assert!(told(&[of_site("a", "10.1.0.0/16"), of_site("b", "10.2.0.0/16")]).is_empty());
    }
}
