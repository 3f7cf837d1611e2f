use super::*;
use crate::doctor::{Device, Kernel, TeredoProbe, Unsent, diagnose};
use crate::service::evidence::{Evidence, RefusedFrom};
use crate::service::status::{Packets, Status};
use serde_json::json;

const SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

/// A qualified client, as its daemon and the kernel tell it.
fn qualified() -> Facts {
    let address = "2001:0:c633:6401:0:63bf:34ff:8efe";
    let status: Status = serde_json::from_value(json!({
        "dev": "teredo", "role": "teredo-client", "up": true, "locators": ["192.168.1.2"],
        "addresses": [{"address": address, "prefix_length": 32, "preferred": null, "valid": null}],
        "routers": [], "prl": [], "prl_error": null, "mtu": 1280, "underlay_mtu": 1500,
        "routes": [
            {"prefix": "2001::/32", "via": null, "origin": "automatic", "preference": "medium", "lifetime": null},
        ],
        "dns": {"servers": [], "search": [], "applied": false}, "forwarding": false, "advertises": null,
        "counters": {}, "packets": {"entered": 4, "tunnelled": 2, "delivered": 1, "consumed": 1, "dropped": 0}, "io": {},
        "teredo": {
            "state": "qualified", "reason": null, "server": SERVER, "secondary": "198.51.100.2", "port": 40000,
            "mapped": "203.0.113.1:40000", "nat": "restricted", "server_heard": 3, "peers": [],
        },
    }))
    .unwrap();
    let device = Device {
        is_up: true,
        mtu: 1280,
        addresses: vec![address.parse().unwrap()],
        routes: vec![("2001::/32".to_owned(), None)],
    };
    Facts {
        evidence: Evidence {
            status,
            pid: 77,
            wanted_locators: Vec::new(),
            taken: Vec::new(),
            advertised_mtu: None,
            names: None,
            refused: Vec::new(),
            icmpv4: Vec::new(),
            neighbors: Vec::new(),
        },
        command: Some("isatap teredo client --server 198.51.100.1".to_owned()),
        unsent: Unsent::default(),
        elapsed: 4,
        answered: vec![SERVER],
        before: Packets { entered: 4, tunnelled: 2, delivered: 1, consumed: 1, held: 0, dropped: 0 },
        arrived: None,
        kernel: Kernel { device: Some(device), ..Kernel::default() },
        probes: Vec::new(),
        teredo: None,
    }
}

fn teredo(facts: &mut Facts) -> &mut Teredo {
    facts.evidence.status.teredo.as_mut().unwrap()
}

/// The same client, off-line.
fn offline(answer: TeredoAnswer, ping: Option<bool>) -> Facts {
    let mut facts = qualified();
    facts.evidence.status.addresses.clear();
    facts.evidence.status.routes.clear();
    let teredo = teredo(&mut facts);
    (teredo.state, teredo.reason) = ("offline".to_owned(), Some("server-silent".to_owned()));
    (teredo.mapped, teredo.server_heard, teredo.asked_again) = (None, None, Some(90));
    facts.teredo = Some(TeredoProbe { server: SERVER, answer, ping });
    facts
}

#[test]
fn a_qualified_client_passes_every_step() {
    let findings = diagnose(&qualified());
    assert_eq!(findings.iter().map(|finding| finding.step).collect::<Vec<_>>(), Step::OF_TEREDO_CLIENT);
    assert!(findings.iter().all(|finding| finding.ok && finding.seen.is_some()), "{findings:#?}");
    assert!(findings.iter().all(|finding| finding.warning.is_none()), "{findings:#?}");
}

/// One line each: what is wrong, the step that has to fail, and what cause and fix must say.
#[test]
fn each_failure_is_named_by_its_step_its_cause_and_its_fix() {
    let in_file = {
        let mut facts = offline(TeredoAnswer::Silent, Some(false));
        facts.command = Some("isatap run /etc/isatap.toml --verbose".to_owned());
        facts
    };
    let mut moved = qualified();
    moved.evidence.wanted_locators = vec![Ipv4Addr::new(192, 168, 1, 9)];
    let mut nowhere = offline(TeredoAnswer::Unreachable, None);
    nowhere.evidence.status.locators.clear();
    let mut wrong_secret = offline(TeredoAnswer::Silent, Some(true));
    teredo(&mut wrong_secret).client_id = Some("laptop-7".to_owned());
    let unknown_secret = wrong_secret.clone();
    let row =
        |reason: &str| RefusedFrom { reason: reason.to_owned(), from: SERVER, inner_source: None, count: 3, age: 2 };
    wrong_secret.evidence.refused = vec![row("teredo-authentication")];
    // What was refused before this attempt says nothing of it.
    let mut mended_secret = wrong_secret.clone();
    mended_secret.evidence.refused[0].age = 61;
    // The daemon's own word is about its last attempt.
    let mut paused = mended_secret.clone();
    teredo(&mut paused).reason = Some("authentication-failed".to_owned());
    let mut secondary = offline(TeredoAnswer::Answered, None);
    teredo(&mut secondary).reason = Some("secondary-silent".to_owned());
    let mut symmetric = offline(TeredoAnswer::Answered, None);
    teredo(&mut symmetric).reason = Some("symmetric-nat".to_owned());
    let mut server = qualified();
    server.evidence.status.role = "teredo-server".to_owned();
    for (facts, step, cause, fix) in [
        (moved, Step::Socket, "no longer has the IPv4 address 192.168.1.9", "ip address add 192.168.1.9/LEN"),
        (nowhere, Step::Socket, "no IPv4 address of this machine leads to 198.51.100.1", "ip route get 198.51.100.1"),
        (offline(TeredoAnswer::NotPermitted, None), Step::RsSent, "EPERM", "iptables -I OUTPUT -p udp --dport 3544"),
        (offline(TeredoAnswer::Unreachable, None), Step::RsSent, "no way to 198.51.100.1", "ip route get"),
        (offline(TeredoAnswer::Refused, None), Step::Answered, "nobody listens", "isatap teredo server --primary"),
        (
            offline(TeredoAnswer::Answered, None),
            Step::Answered,
            "asked again in 90 s",
            "restart it: isatap teredo client",
        ),
        (offline(TeredoAnswer::Silent, Some(true)), Step::Answered, "or the server wants a secret", "udp dport 3544"),
        (offline(TeredoAnswer::Silent, Some(false)), Step::Answered, "no answer of any kind", "--server HOST"),
        (in_file, Step::Answered, "no answer", "write server = \"HOST\" into /etc/isatap.toml, and: kill -HUP 77"),
        (wrong_secret, Step::Answered, "not with the secret of laptop-7", "--secret-file"),
        (unknown_secret, Step::Answered, "does not know the secret of laptop-7", "udp dport 3544"),
        (mended_secret, Step::Answered, "does not know the secret of laptop-7", "udp dport 3544"),
        (paused, Step::Answered, "not with the secret of laptop-7", "--secret-file"),
        (secondary, Step::Answered, "its second address 198.51.100.2 does not", "--secondary V4"),
        (symmetric, Step::Nat, "the NAT is symmetric", "symmetric-nat = false"),
        (server, Step::Route, "the kernel does not forward IPv6", "sysctl -w net.ipv6.conf.all.forwarding=1"),
    ] {
        let last = diagnose(&facts).pop().unwrap();
        assert_eq!((last.step, last.ok), (step, false), "{last:#?}");
        assert!(last.cause.as_ref().unwrap().contains(cause), "{last:#?}");
        assert!(last.fix.as_ref().unwrap().contains(fix), "{last:#?}");
    }
}

#[test]
fn what_may_become_a_problem_is_a_warning() {
    let mut facts = qualified();
    teredo(&mut facts).nat = Some("symmetric".to_owned());
    facts.evidence.status.underlay_mtu = Some(1300);
    let findings = diagnose(&facts);
    let warning = |step| findings.iter().find(|finding| finding.step == step).unwrap().warning.clone().unwrap();
    assert!(warning(Step::Nat).contains("--port-mapping auto"), "{findings:#?}");
    assert!(warning(Step::Mtu).contains("more than 1272 bytes are fragmented"), "{findings:#?}");
}
