//! The steps of a Teredo client, server and relay.

use super::shared::{
    LATELY, carried, kernel_addresses, kernel_mtu, kernel_routes, reconfigured, refused_lately, restarted,
};
use super::{Facts, Finding, Step, TeredoAnswer};
use crate::service::evidence::{NameFailureKind, RefusedFrom};
use crate::service::status::Teredo;
use isatap_core::drop_reason::DropReason;
use isatap_core::teredo::addr::SERVER_PORT;
use std::net::Ipv4Addr;

/// An IPv6 packet of 1280 bytes under UDP and IPv4.
const LONGEST_OUTER: u16 = 1280 + 28;

pub(super) fn judge(facts: &Facts, step: Step) -> Finding {
    let Some(teredo) = &facts.evidence.status.teredo else {
        return Finding::bad(step, "the daemon says nothing of Teredo", "restart it: it is of another version");
    };
    match step {
        Step::Name => name(facts),
        Step::Socket => socket(facts, teredo),
        Step::RsSent => rs_sent(facts, teredo),
        Step::Answered => answered(facts, teredo),
        Step::Nat => nat(facts, teredo),
        Step::Address => address(facts),
        Step::Route => route(facts),
        Step::Mtu => mtu(facts),
        _ => peer(facts, teredo),
    }
}

fn server(facts: &Facts, teredo: &Teredo) -> String {
    match (&facts.evidence.names, teredo.server) {
        (Some(names), Some(server)) => format!("{} ({server})", names.names.join(", ")),
        (_, server) => server.map_or_else(|| "the server".to_owned(), |server| server.to_string()),
    }
}

/// Whether it has qualified, so that the server answers and everything before is as it should be.
fn is_qualified(teredo: &Teredo) -> bool {
    teredo.state == "qualified"
}

fn name(facts: &Facts) -> Finding {
    let Some(names) = &facts.evidence.names else {
        return Finding::good(Step::Name, "not needed: the server is given by address");
    };
    let asked = names.names.join(", ");
    let known = facts.evidence.status.teredo.as_ref().and_then(|teredo| teredo.server);
    let by_address = || restarted(facts, "--server", "V4");
    match (&names.failure, known) {
        (None, Some(server)) => Finding::good(Step::Name, format!("{asked}: {server}")),
        // An address that was known is used on.
        (Some(failure), Some(server)) => Finding::good(Step::Name, format!("{asked}: {server}"))
            .warn(Some(format!("looking up {asked} fails now: {}", failure.text))),
        (None, None) => Finding::bad(
            Step::Name,
            format!("{asked} is being looked up; {} have not answered yet", names.nameservers.join(", ")),
            "wait for the answer and run isatap doctor again",
        ),
        (Some(failure), None) => {
            let servers = names.nameservers.join(", ");
            match failure.kind {
                NameFailureKind::NoSuchName | NameFailureKind::NoUsableAddress => Finding::bad(
                    Step::Name,
                    format!("the name servers {servers} know no IPv4 address of a Teredo server for {asked}"),
                    format!("correct the name, or add a line `V4 {asked}` to /etc/hosts, or {}", by_address()),
                ),
                NameFailureKind::NoServer | NameFailureKind::BadServer | NameFailureKind::Conflict => Finding::bad(
                    Step::Name,
                    format!("{asked} cannot be looked up: {} ({servers})", failure.text),
                    format!("name a DNS server that answers in /etc/resolv.conf: nameserver V4; or {}", by_address()),
                ),
                NameFailureKind::Local => Finding::bad(
                    Step::Name,
                    format!("{asked} cannot be looked up: {}", failure.text),
                    "make /etc/hosts and /etc/resolv.conf readable for the daemon, and restart it",
                ),
            }
        }
    }
}

fn socket(facts: &Facts, teredo: &Teredo) -> Finding {
    let evidence = &facts.evidence;
    let here = &evidence.status.locators;
    if let Some(gone) = evidence.wanted_locators.iter().find(|wanted| !here.contains(wanted)) {
        return Finding::bad(
            Step::Socket,
            format!("this machine no longer has the IPv4 address {gone}: nothing is sent or heard there"),
            format!("ip address add {gone}/LEN dev DEV"),
        );
    }
    if here.is_empty() {
        let first = teredo.server.map(|server| server.to_string()).unwrap_or_default();
        return Finding::bad(
            Step::Socket,
            format!("no IPv4 address of this machine leads to {}", server(facts, teredo)),
            format!("give this machine an IPv4 route: see ip route get {first}"),
        );
    }
    let ends: Vec<String> = here.iter().map(|address| format!("{address}:{}", teredo.port)).collect();
    Finding::good(Step::Socket, format!("UDP {}", ends.join(", ")))
}

fn rs_sent(facts: &Facts, teredo: &Teredo) -> Finding {
    let to = server(facts, teredo);
    if is_qualified(teredo) {
        return Finding::good(Step::RsSent, format!("to {to}"));
    }
    match facts.teredo.as_ref().map(|probe| probe.answer) {
        Some(TeredoAnswer::NotPermitted) => Finding::bad(
            Step::RsSent,
            format!("a firewall of this machine forbids it to send UDP to port {SERVER_PORT} (EPERM)"),
            firewall_fix(facts),
        ),
        Some(TeredoAnswer::Unreachable) => Finding::bad(
            Step::RsSent,
            format!("there is no way to {to}: network or host unreachable"),
            format!("ip route get {}", teredo.server.unwrap_or(Ipv4Addr::UNSPECIFIED)),
        ),
        _ => Finding::good(Step::RsSent, format!("to {to}")),
    }
}

fn firewall_fix(facts: &Facts) -> String {
    let chains = &facts.kernel.output_chains;
    let rule = |chain: &String| format!("nft insert rule {chain} udp dport {SERVER_PORT} accept");
    let commands: Vec<String> = chains.iter().map(rule).collect();
    let iptables = || format!("iptables -I OUTPUT -p udp --dport {SERVER_PORT} -j ACCEPT");
    if commands.is_empty() { iptables() } else { commands.join(" && ") }
}

fn answered(facts: &Facts, teredo: &Teredo) -> Finding {
    let step = Step::Answered;
    let to = server(facts, teredo);
    let reason = teredo.reason.as_deref();
    let is_fresh = teredo.server.is_some_and(|server| facts.answered.contains(&server));
    if (is_qualified(teredo) && is_fresh) || reason == Some("symmetric-nat") {
        let heard = teredo.server_heard.map(|seconds| format!(", {seconds} s ago")).unwrap_or_default();
        return Finding::good(step, format!("by {to}{heard}"));
    }
    let other = restarted(facts, "--server", "HOST");
    if let Some(finding) = authentication(facts, teredo) {
        return finding;
    }
    if reason == Some("secondary-silent") || teredo.state == "asking-secondary" {
        let secondary = teredo.secondary.map(|address| address.to_string()).unwrap_or_default();
        return Finding::bad(
            step,
            format!("{to} answers, and its second address {secondary} does not"),
            format!("a Teredo server needs two addresses: {}, or {other}", restarted(facts, "--secondary", "V4")),
        );
    }
    let Some(probe) = &facts.teredo else {
        return Finding::bad(step, format!("{to} has not answered yet"), "run isatap doctor again");
    };
    match probe.answer {
        TeredoAnswer::Answered => match teredo.asked_again {
            Some(seconds) => Finding::bad(
                step,
                format!("{to} was silent and answers now; it is asked again in {seconds} s"),
                format!("wait, or {}", reconfigured(facts)),
            ),
            None => Finding::bad(step, format!("{to} is being asked"), "run isatap doctor again"),
        },
        TeredoAnswer::Refused => Finding::bad(
            step,
            format!("{to} says that nobody listens at UDP port {SERVER_PORT}: there is no Teredo server"),
            format!("start one there: isatap teredo server --primary {}; or {other}", probe.server),
        ),
        _ if probe.ping == Some(true) => Finding::bad(
            step,
            format!(
                "{to} answers an IPv4 ping, and nothing comes back from its UDP port {SERVER_PORT}, not even an error: a \
                 filter on the way drops it{}",
                match &teredo.client_id {
                    Some(id) => format!(", or the server does not know the secret of {id}"),
                    None => ", or the server wants a secret".to_owned(),
                }
            ),
            format!(
                "allow UDP to port {SERVER_PORT} of {} and its answers on the way, NAT included: nft insert rule inet \
                 filter forward udp dport {SERVER_PORT} accept; or {other}",
                probe.server
            ),
        ),
        _ => Finding::bad(
            step,
            format!("no answer of any kind from {to}"),
            format!("see ping {}: switch it on, correct the name, or {other}", probe.server),
        ),
    }
}

/// It was heard, and its answers were not believed.
fn authentication(facts: &Facts, teredo: &Teredo) -> Option<Finding> {
    let reason = teredo.reason.as_deref();
    // The daemon's own word is about its last attempt, however long ago that was.
    let told = reason == Some("authentication-failed");
    let explains = told || matches!(reason, None | Some("server-silent" | "secondary-silent"));
    let refused = facts.evidence.refused.iter().filter(|row| explains && (told || row.age <= LATELY)).find(|row| {
        let from_server = [teredo.server, teredo.secondary].contains(&Some(row.from));
        from_server && row.reason == DropReason::TeredoAuthentication.as_str()
    })?;
    let id = teredo.client_id.as_deref().unwrap_or_default();
    Some(Finding::bad(
        Step::Answered,
        format!(
            "{} answers, and not with the secret of {id}: its answers are dropped ({})",
            refused.from, refused.reason
        ),
        format!("write the secret that the server has for {id} into the file of --secret-file, and restart the daemon"),
    ))
}

fn nat(facts: &Facts, teredo: &Teredo) -> Finding {
    let kind = teredo.nat.as_deref().unwrap_or("unknown");
    if teredo.reason.as_deref() == Some("symmetric-nat") {
        return Finding::bad(
            Step::Nat,
            "the NAT is symmetric: it shows this machine at another port to each server, and this client is told to do \
             without such NATs",
            match facts.command.as_deref().filter(|command| command.contains("--no-symmetric-nat")) {
                Some(command) => {
                    let words = command.split(' ').filter(|word| *word != "--no-symmetric-nat");
                    format!("restart it: {}", words.collect::<Vec<_>>().join(" "))
                }
                None => "leave out symmetric-nat = false in its file, and reload it".to_owned(),
            },
        );
    }
    let seen = teredo.mapped.map(|mapped| format!(": seen as {mapped}")).unwrap_or_default();
    let opened = teredo.port_mapping.as_ref().and_then(|mapping| mapping.external);
    let warning = (kind == "symmetric" && opened.is_none()).then(|| {
        "behind a symmetric NAT peers behind other NATs than cone ones are mostly not reached; --port-mapping auto helps \
         where the NAT can do it"
            .to_owned()
    });
    Finding::good(Step::Nat, format!("{kind}{seen}")).warn(warning)
}

fn address(facts: &Facts) -> Finding {
    if let Some(finding) = kernel_addresses(facts, Step::Address) {
        return finding;
    }
    let addresses = facts.evidence.status.addresses.iter().map(|address| address.address.to_string());
    Finding::good(Step::Address, addresses.collect::<Vec<_>>().join(", "))
}

fn route(facts: &Facts) -> Finding {
    let status = &facts.evidence.status;
    if let Some(finding) = kernel_routes(facts) {
        return finding;
    }
    match status.role.as_str() {
        "teredo-server" if !status.forwarding => {
            let cause = "the kernel does not forward IPv6, so clients cannot find the relay of any native host";
            return Finding::bad(Step::Route, cause, "sysctl -w net.ipv6.conf.all.forwarding=1");
        }
        "teredo-server" => return Finding::good(Step::Route, "the kernel forwards"),
        "teredo-relay" if !status.forwarding => {
            let seen = "serves this machine alone: the kernel does not forward IPv6";
            return Finding::good(Step::Route, seen);
        }
        _ => {}
    }
    let routes = status.routes.iter().map(|route| route.prefix.as_str()).collect::<Vec<_>>().join(", ");
    Finding::good(Step::Route, routes)
}

fn mtu(facts: &Facts) -> Finding {
    let status = &facts.evidence.status;
    if let Some(finding) = kernel_mtu(facts) {
        return finding;
    }
    // DF is never set, so it works all the same.
    let warning = status.underlay_mtu.filter(|mtu| *mtu < LONGEST_OUTER).map(|mtu| {
        format!(
            "the IPv4 network underneath has an MTU of {mtu}: packets of more than {} bytes are fragmented",
            mtu - 28
        )
    });
    Finding::good(Step::Mtu, format!("{} bytes", status.mtu)).warn(warning)
}

fn peer(facts: &Facts, teredo: &Teredo) -> Finding {
    let status = &facts.evidence.status;
    if facts.unsent.not_permitted > 0 {
        let cause = "a firewall of this machine forbids it to send UDP (EPERM)";
        let port = teredo.port;
        let rule = |chain: &String| format!("nft insert rule {chain} udp sport {port} accept");
        let commands: Vec<String> = facts.kernel.output_chains.iter().map(rule).collect();
        let iptables = format!("iptables -I OUTPUT -p udp --sport {port} -j ACCEPT");
        return Finding::bad(Step::Peer, cause, if commands.is_empty() { iptables } else { commands.join(" && ") });
    }
    let packets = &status.packets;
    let seen = match status.role.as_str() {
        "teredo-server" => format!(
            "{} packets carried, {} solicitations and echos answered",
            packets.tunnelled + packets.delivered,
            packets.consumed
        ),
        _ => {
            let reachable = teredo.peers.iter().filter(|peer| peer.reachable).count();
            format!(
                "{reachable} of {} peers heard in the last 30 s; {} packets tunnelled, {} delivered",
                teredo.peers.len(),
                packets.tunnelled,
                packets.delivered
            )
        }
    };
    let is_unauthorised =
        |row: &&RefusedFrom| row.age <= LATELY && row.reason == DropReason::TeredoAuthentication.as_str();
    let unauthorised = facts.evidence.refused.iter().filter(is_unauthorised);
    let unauthorised: Vec<String> = unauthorised.map(|row| row.from.to_string()).collect();
    let is_busy = carried(facts).is_some()
        || match status.role.as_str() {
            "teredo-client" => teredo.peers.iter().any(|peer| peer.reachable),
            _ => packets.consumed > facts.before.consumed,
        };
    let warning = match unauthorised.as_slice() {
        [] => refused_lately(facts),
        list => Some(format!(
            "solicitations without a known secret are refused from {}: add the client's line to the file of --secret-file",
            list.join(", ")
        )),
    };
    let finding = match is_busy {
        true => Finding::good(Step::Peer, seen),
        false => Finding::unknown(Step::Peer, format!("nobody was heard meanwhile; {seen}")),
    };
    finding.warn(warning)
}

#[cfg(test)]
mod tests;
