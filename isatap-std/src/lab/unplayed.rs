//! What a link can be told on a machine and not in the lab, and why.

use crate::error::Error;
use crate::resolve::Entry;
use crate::spec::{LinkSpec, PortMapping, Refusal, SixToFour, Tunnel, list};
#[cfg(feature = "file")]
use crate::spec::{PortProxy, TargetHost};

/// The keys of a rule of the port proxy that no node of the lab has, each with the reason.
#[cfg(feature = "file")]
pub(super) fn rule_refusals(rule: &PortProxy) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    let mut add = |key: &'static str, on: String, why: &'static str, advice: &'static str| {
        let error = Error::usage(format!("play {key} ="), on, why).with_advice(advice);
        refusals.push(Refusal { key, error });
    };
    const ZONE: (&str, &str) = ("the lab's nodes have no devices", "write an address without a zone");
    let connect = || rule.connect.as_ref().map(ToString::to_string).unwrap_or_default();
    match rule.connect.as_ref().and_then(|target| target.host.as_ref()) {
        Some(TargetHost::Name(_)) => {
            add("connect", connect(), "the lab's names are those of routers", "write the target's address");
        }
        Some(TargetHost::Address(address)) if address.zone.is_some() => add("connect", connect(), ZONE.0, ZONE.1),
        _ => {}
    }
    if rule.listen.address.as_ref().is_some_and(|address| address.zone.is_some()) {
        add("listen", rule.listen.to_string(), ZONE.0, ZONE.1);
    }
    refusals
}

/// The keys of a link that no node of the lab has, each with the reason.
pub(super) fn refusals(link: &LinkSpec) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    let mut add = |key: &'static str, on: &dyn ToString, why: &'static str, advice: &'static str| {
        let error = Error::usage(format!("play {key} ="), on.to_string(), why).with_advice(advice);
        refusals.push(Refusal { key, error });
    };
    if let Some(path) = link.pcap() {
        let advice = "leave it out; isatap lab --pcap FILE records";
        add("pcap", &path.display(), "one file has the packets of a whole scenario", advice);
    }
    if let Some(path) = link.secret_file() {
        add("secret-file", &path.display(), "a scenario reads no other file", "leave it out");
    }
    if let Some(path) = link.dhcp_lease() {
        add("dhcp-lease", &path.display(), "a scenario reads no other file", "leave it out; write prefix and br");
    }
    if let Some(lan) = link.lans().first() {
        let advice = "leave it out; give the node a LAN, and the address that it is to have there";
        add("lan", lan, "the lab's LANs have no Router Advertisements", advice);
    }
    if let Some((resolve_by, wins, refuse_conflicts, devolution)) = match link {
        LinkSpec::IsatapHost(host) => Some((&host.resolve_by, &host.wins, host.refuse_conflicts, host.devolution)),
        LinkSpec::SixToFour(router) => {
            Some((&router.resolve_by, &router.wins, router.refuse_conflicts, router.devolution))
        }
        _ => None,
    } {
        let mut refuse = |key, on: &dyn ToString| {
            add(key, on, "the lab's names have one source, the scenario", "leave it out; write [[name]]");
        };
        // Steps that need more are told by what they need.
        if !wins.is_empty() {
            refuse("wins", &list(wins));
        } else if let Some(file) = link.lmhosts() {
            refuse("lmhosts", &file.display());
        } else if refuse_conflicts {
            refuse("refuse-conflicts", &refuse_conflicts);
        } else if !resolve_by.is_empty() {
            refuse("resolve-by", &list(resolve_by));
        }
        if devolution {
            refuse("devolution", &devolution);
        }
    }
    if let Some(via) = link.via() {
        add(
            "via",
            &via,
            "the lab's nodes have no IPv4 devices",
            "leave it out; write local, one of the node's IPv4 addresses",
        );
    }
    let binding = link.binding();
    if binding.mark != 0 {
        add("mark", &binding.mark, "the lab's nodes have no policy routing", "leave it out");
    }
    if let Some(device) = &binding.device {
        add("bind-device", device, "the lab's nodes have no IPv4 devices", "leave it out");
    }
    if link.full_table() {
        add(
            "full-table",
            &true,
            "no program puts routes on the devices of the lab's nodes",
            "leave it out; write [[node.route]]",
        );
    }
    match link {
        LinkSpec::IsatapHost(host) if host.legacy_name => {
            add("legacy-name", &host.legacy_name, "the lab knows the name isatap only", "leave it out");
        }
        LinkSpec::IsatapRouter(router) => {
            let why = "the lab's names have one source, the scenario";
            if !router.wins.is_empty() {
                add("wins", &list(&router.wins), why, "leave it out; write [[name]]");
            } else if !router.answer_by.is_empty() {
                add("answer-by", &list(&router.answer_by), why, "leave it out; write [[name]]");
            }
        }
        LinkSpec::Tunnel(Tunnel { remote: remote @ Entry::Name(_), .. }) => {
            add("remote", remote, "only ISATAP hosts of the lab ask for names", "write the IPv4 address");
        }
        LinkSpec::Tunnel(Tunnel { update_url: Some(url), update_login, update_ca, .. }) => {
            // What is read for the call is told before the call.
            match [("update-login", update_login), ("update-ca", update_ca)]
                .into_iter()
                .find(|(_, file)| file.is_some())
            {
                Some((key, file)) => {
                    let file = file.as_ref().map(|file| file.display().to_string()).unwrap_or_default();
                    add(key, &file, "a scenario reads no other file", "leave it out");
                }
                None => add("update-url", url, "the lab has no TCP", "leave it out"),
            }
        }
        LinkSpec::SixToFour(SixToFour { relay: Some(relay @ Entry::Name(_)), .. }) => {
            add("relay", relay, "only ISATAP hosts of the lab ask for names", "write the IPv4 address");
        }
        LinkSpec::TeredoClient(client) => {
            if let server @ Entry::Name(_) = client.server.entry() {
                add("server", server, "only ISATAP hosts of the lab ask for names", "write the IPv4 address");
            }
            if client.port_mapping != PortMapping::Off {
                add("port-mapping", &client.port_mapping, "the lab's NATs map no port on request", "leave it out");
            }
        }
        _ => {}
    }
    refusals
}

/// Whether a node of the lab can have the link.
///
/// # Errors
/// A usage error: it can be on no machine, or only on a real one.
pub(super) fn check(link: &LinkSpec) -> Result<(), Error> {
    link.check_first()?;
    refusals(link).into_iter().next().map_or(Ok(()), |refusal| Err(refusal.error))
}
