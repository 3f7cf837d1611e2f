use super::*;
use crate::spec::MOST_LINKS;
use isatap_core::isatap::CheckNeighbors;
use isatap_core::route::Preference;
use std::net::Ipv4Addr;

fn problems(text: &str) -> Vec<String> {
    Config::parse("node.toml", text).unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn a_process_holds_so_many_links_and_says_at_which_line_there_are_too_many() {
    let tunnels = |count: usize| -> String {
        let tunnel = |at| format!("[[tunnel]]\ndev = \"t{at}\"\nlocal = \"192.0.2.1\"\nremote = \"192.0.2.{at}\"\n");
        (10..10 + count).map(tunnel).collect()
    };
    assert_eq!(Config::parse("node.toml", &tunnels(15)).unwrap().links.len(), MOST_LINKS);
    let problems = problems(&tunnels(17));
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].starts_with("node.toml:61: one process has at most 15 links"), "{problems:?}");
}

#[test]
fn a_file_describes_what_the_commands_do() {
    let config = Config::parse(
        "node.toml",
        r#"
        [[isatap-router]]
        local = ["10.0.0.1"]
        prefix = ["2001:db8:0:7::/64"]
        advertise-route = ["2001:db8:0:8::/64"]
        default-route = false
        valid-lifetime = 7200
        preferred-lifetime = 3600
        preference = "high"
        search = ["corp.example"]
        member = ["10.0.0.0/8"]

        [[isatap-host]]
        dev = "isatap1"
        via = "eth0"
        router = ["192.0.2.1", "isatap.example."]
        mtu = 1400
        min-router-solicit-interval = 3

        [[native]]
        dev = "eth1"
        forwarding = true
        "#,
    )
    .unwrap();
    let [LinkSpec::IsatapRouter(router), LinkSpec::IsatapHost(host)] = config.links.as_slice() else {
        panic!("{config:?}");
    };
    assert_eq!((host.dev.as_str(), router.dev.as_str()), ("isatap1", "isatap0"));
    assert_eq!((host.via.as_deref(), host.router.len(), host.mtu), (Some("eth0"), 2, Some(1400)));
    assert_eq!((host.min_router_solicit_interval, host.prl_refresh_interval), (3, 3600));
    assert_eq!((router.valid_lifetime, router.default_route, router.ttl.to_string()), (7200, false, "64".to_owned()));
    assert_eq!((router.preference, router.check_neighbors), (Preference::High, CheckNeighbors::WhereBlind));
    assert_eq!(router.member, ["10.0.0.0/8".parse().unwrap()]);
    let native = &config.natives[0];
    assert_eq!((native.dev.as_str(), native.forwarding), ("eth1", true));
}

#[test]
fn a_file_describes_clients_servers_and_relays_of_teredo() {
    let text = r#"
        [[teredo-server]]
        dev = "teredo-server"
        primary = "198.51.100.1"
        known-server = "203.0.113.9"
        secret-file = "/etc/isatap/clients"

        [[teredo-relay]]
        dev = "teredo-relay"
        local = "198.51.100.9"
        bind = ":41000"
        serve = ["2001:db8:1::/48"]
        accept-bogons = true

        [[teredo-relay]]
        dev = "old-spelling"
        local = "198.51.100.9"
        port = 41001

        [[teredo-client]]
        server = "teredo.example.net"
        bind = ":40000"
        refresh-interval = 20
        symmetric-nat = false
        port-mapping = "off"
    "#;
    let config = Config::parse("node.toml", text).unwrap();
    let [
        LinkSpec::TeredoServer(server),
        LinkSpec::TeredoRelay(relay),
        LinkSpec::TeredoRelay(old),
        LinkSpec::TeredoClient(client),
    ] = config.links.as_slice()
    else {
        panic!("{config:?}");
    };
    assert_eq!(server.secondary(), Ipv4Addr::new(198, 51, 100, 2));
    assert_eq!(
        (server.known_server.as_slice(), server.config().known_servers[0]),
        (&[Ipv4Addr::new(203, 0, 113, 9)][..], Ipv4Addr::new(203, 0, 113, 9))
    );
    assert_eq!(config.links[0].secret_file().unwrap().to_str(), Some("/etc/isatap/clients"));
    assert_eq!(
        (relay.socket().to_string(), old.socket().to_string()),
        ("198.51.100.9:41000".into(), "198.51.100.9:41001".into())
    );
    assert!(relay.accept_bogons && !old.accept_bogons);
    assert_eq!((client.socket().port(), client.refresh_interval, client.symmetric_nat), (40_000, 20, false));
    let config = client.config(1);
    assert_eq!((config.qualify.refresh_interval.as_secs(), config.qualify.symmetric_nat), (20, false));
}

#[test]
fn every_mistake_has_its_line_and_what_to_do() {
    let text = "[[isatap-host]]\nlocal = [\"10.0.0.2\"]\nvia = \"eth0\"\n\n\
                [[isatap-router]]\nlocal = [\"10.0.0.1\"]\nprefix = [\"2001:db8::/48\"]\n\n\
                [[isatap-router]]\nlocal = [\"10.0.0.1\"]\nprefix = [\"2001:db8::/64\"]\n";
    let found = problems(text);
    assert_eq!(found.len(), 5, "{found:#?}");
    assert_eq!(found[0], "node.toml:3:7: cannot send from eth0: local and via exclude each other; keep one");
    assert!(found[1].starts_with("node.toml:5: a second link has the device isatap0"), "{found:#?}");
    assert!(found[2].starts_with("node.toml:7:11: cannot advertise the prefix 2001:db8::/48: "), "{found:#?}");
    assert!(found[3].starts_with("node.toml:9: a second link has the device isatap0"), "{found:#?}");
}

#[test]
fn values_and_keys_that_cannot_be_are_told_where_they_stand() {
    for (text, expected) in [
        (
            "[[isatap-host]]\nrouter = [\"10.0.0.256\"]\n",
            "node.toml:2:11: 10.0.0.256: not an IPv4 address: write four numbers",
        ),
        (
            "[[isatap-host]]\nprl-refresh-interval = 0\n",
            "node.toml:2:24: cannot wait 0 s: the names of routers would be",
        ),
        (
            "[[isatap-host]]\nmin-router-solicit-interval = 0\n",
            "node.toml:2:31: cannot wait 0 s: a router could have itself asked without end; write 1 or more",
        ),
        ("[[isatap-host]]\nmtu = -1\n", "node.toml:2:7: "),
        ("[[isatap-host]]\nmtu = 1000\n", "node.toml:2:7: cannot set the MTU 1000: a tunnel carries 1280"),
        ("[[isatap-host]]\n\nruoter = []\n", "node.toml:3:1: [[isatap-host]] has no key ruoter: write router"),
        ("[[isatap-router]]\nlocal = []\n", "node.toml:1: missing field `prefix`"),
        ("\n[[isatap-router]]\nlocal = []\nprefix = []\n", "node.toml:3:9: cannot start an ISATAP router: it needs an"),
        ("[[isatap-host]]\nlocal = [\"10.0.0.2\"\n", "node.toml:"),
        ("[[native]]\ndev = \"eth1\"\n", "node.toml:1: nothing to run: add [[isatap-host]] or [[isatap-router]]"),
        ("", "node.toml:1: nothing to run"),
    ] {
        let found = problems(text);
        assert!(found[0].starts_with(expected), "{text:?}: {found:?}");
        assert!(!found[0].contains('\n'));
    }
}

/// Only what is wrong whatever the value is that cannot be read.
#[test]
fn a_table_with_a_value_that_cannot_be_read_is_checked_as_far_as_that_goes() {
    for (text, expected) in [
        (
            "[[tunnel]]\nlocal = \"10.0.0.300\"\nremote = \"224.0.0.1\"\nmtu = 1000\n",
            &["2:9: 10.0.0.300: ", "3:10: cannot send to 224.0.0.1: ", "4:7: cannot set the MTU 1000: "][..],
        ),
        // Missing, or by a wrong name.
        (
            "[[tunnel]]\nremote = \"192.0.2.2\"\nttl = 0\n",
            &["1: cannot start a tunnel: it has no IPv4 address", "3:7: cannot set the time to live 0"],
        ),
        (
            "[[tunnel]]\nlokal = \"192.0.2.1\"\nremote = \"192.0.2.2\"\nttl = 0\n",
            &["2:1: [[tunnel]] has no key lokal", "4:7: "],
        ),
        (
            "[[isatap-host]]\nttl = 256\nmtu = 1000\n",
            &["2:7: 256: write a whole number from 1 to 255", "3:7: cannot set the MTU 1000: "],
        ),
        (
            "[[isatap-host]]\nrouter = [\"10.0.0.300\", \"127.0.0.1\"]\nlocal = \"224.0.0.1\"\nvia = \"a b\"\n",
            &[
                "2:11: ",
                "3:9: cannot send from 224.0.0.1",
                "4:7: cannot name a device",
                "4:7: cannot send from a b: local and via",
            ],
        ),
        // What the other may be is not known.
        ("[[tunnel]]\nlocal = \"10.0.0.300\"\nremote = \"10.77.0.1\"\n", &["2:9: "]),
        (
            "[[isatap-router]]\nlocal = \"10.0.0.1\"\nprefix = \"2001:db8:0:7::/64\"\nvalid-lifetime = \"x\"\n\
             preferred-lifetime = 3000000\n",
            &["4:18: "],
        ),
        ("[[6to4]]\nrole = \"realy\"\nclient = \"131.107.0.0/16\"\nlan = \"eth1\"\n", &["2:8: "]),
        ("[[6to4]]\naccept-bogons = 7\nlocal = \"192.0.2.1\"\n", &["2:17: "]),
        ("[[6to4]]\naccept-bogons = 7\nlocal = \"127.0.0.1\"\n", &["2:17: ", "3:9: "]),
        ("[[teredo-server]]\nprimary = \"x\"\n", &["2:11: "]),
        ("[[teredo-relay]]\nlocal = \"x\"\nbind = \"192.0.2.1:4000\"\n", &["2:9: "]),
        ("[[6rd]]\nlocal = \"10.0.0.1\"\nprefix = \"x\"\nv4-mask-len = 8\nlan = \"eth1:ffff\"\n", &["3:10: "]),
        // However many cannot be read.
        (
            "[[tunnel]]\nlocal = \"192.0.2.1\"\nremote = \"192.0.2.1\"\nttl = 0\ndev = 5\npcap = 3\n\
             neighbor-probes = \"no\"\n",
            &["3:10: cannot send to 192.0.2.1: ", "4:7: cannot set the time to live 0", "5:7: ", "6:8: ", "7:19: "],
        ),
        (
            "[[teredo-server]]\nprimary = \"192.0.2.1\"\nsecondary = 3\naccept-bogons = 7\ndev = 5\npcap = 3\n",
            &["3:13: ", "4:17: ", "5:7: ", "6:8: "],
        ),
        // Not links alone.
        (
            "[[portproxy]]\nlisten = \"0.0.0.0:80\"\nconnect = \"127.0.0.1:80\"\nmax-connections = \"x\"\n",
            &["3:11: cannot connect to 127.0.0.1:80: the rule listens there itself", "4:19: "],
        ),
        (
            "[[portproxy]]\nlisten = \"x\"\nconnect = \"10.0.0.2\"\nidle-timeout = 0\n",
            &["2:10: ", "4:16: cannot set idle-"],
        ),
        ("[[portproxy]]\nlisten = 80\nconnect-timeout = 700\ndirection = \"v5tov4\"\n", &["3:19: ", "4:13: "]),
        ("[[portproxy]]\nlisten = 80\nconnect = 7.5\nmax-per-source = 0\n", &["1: ", "3:11: ", "4:18: "]),
        ("[[native]]\ndev = \"a b\"\nforwarding = 3\n", &["2:7: cannot name a device", "3:14: "]),
        ("hook = 5\n[[tunnel]]\nlocal = \"192.0.2.1\"\nremote = \"192.0.2.2\"\nmtu = 7\n", &["1:8: ", "5:7: "]),
        (
            "[[dns-update]]\nzone = \"x.\"\nttl = \"y\"\n[[tunnel]]\nlocal = \"192.0.2.1\"\nremote = \"192.0.2.2\"\nmtu = 7\n",
            &["3:7: ", "7:7: "],
        ),
        // The other tables are checked as ever.
        (
            "[[tunnel]]\nlocal = 7\nremote = \"192.0.2.2\"\nmtu = 7\n[[isatap-host]]\nmtu = 7\n",
            &["2:9: ", "4:7: ", "6:7: "],
        ),
    ] {
        let found = problems(text);
        let is_told =
            found.iter().zip(expected).all(|(found, expected)| found.starts_with(&format!("node.toml:{expected}")));
        assert!(is_told && found.len() == expected.len(), "{text}{found:#?}");
    }
}

/// Rules beside links: read, judged, and each mistake where it stands.
#[test]
fn ppx_2_ppx_5_ppx_12_a_file_has_rules_and_says_what_is_wrong_with_them() {
    let text = "[[portproxy]]\nlisten = 8080\ndirection = \"v4tov6\"\nmax-connections = 5\nproxy-protocol = \"v2\"\n\
                [[portproxy]]\nlisten = \"[::]:8080\"\nconnect = \"www.example.net\"\ndirection = \"v6tov4\"\n";
    let config = Config::parse("node.toml", text).unwrap();
    assert!(config.links.is_empty());
    let keys: Vec<String> = config.portproxies.iter().map(PortProxy::key).collect();
    assert_eq!(keys, ["0.0.0.0:8080", "[::]:8080"]);
    assert_eq!(config.portproxies[0].max_connections, 5);
    for (text, told) in [
        (
            "[[portproxy]]\nconnect = 80\n",
            "node.toml:1: missing field `listen`: for example, write listen = \"0.0.0.0:8080\"",
        ),
        (
            "[[portproxy]]\nlisten = \"[::]:80\"\nprotocol = \"udp\"\n",
            "node.toml:3:12: udp: a port proxy carries TCP alone",
        ),
        ("[[portproxy]]\nlistenport = 80\n", "node.toml:2:1: [[portproxy]] has no key listenport: write listen"),
        ("[[portproxy]]\nlisten = \"[::]:80\"\nconnect = \"[::1]:80\"\n", "node.toml:3:11: cannot connect to [::1]:80"),
        ("[[portproxy]]\nlisten = 80\n", "node.toml:1: cannot carry connections of *:80"),
        (
            "[[portproxy]]\nlisten = \"[::]:80\"\nconnect = \"10.0.0.1\"\nconnect-timeout = 700\n",
            "node.toml:4:19: cannot wait for a target 700 s",
        ),
        (
            "[[portproxy]]\nlisten = \"[::]:80\"\nconnect = \"10.0.0.1\"\n[[portproxy]]\nlisten = 80\nconnect = \"10.0.0.2\"\ndirection = \"v6tov4\"\n",
            "node.toml:5:10: a second rule listens at [::]:80",
        ),
    ] {
        let problems = problems(text);
        assert!(problems.iter().any(|problem| problem.starts_with(told)), "{told}: {problems:#?}");
    }
}

#[test]
fn a_url_that_is_refused_is_told_without_what_may_be_secret() {
    let table = "[[tunnel]]\nlocal = \"192.0.2.1\"\nremote = \"192.0.2.2\"\n";
    for (line, why) in [
        ("update-url = \"https://me:SECRET@b.example/x?y=SECRET\"", "cannot call https://b.example/x: a password"),
        ("update-url = \"https://b.example/x?token=SECRET\"", "write token={password}"),
        ("update-url = \"https://me:SECRET/\"", "behind the colon stands no port"),
        ("update-url = \"me:SECRET@b.example\"", "cannot call b.example: write https"),
        ("update-url = \"https://b.example/{user}?x=SECRET\"", "cannot call https://b.example/{user}: nobody says"),
    ] {
        let told = problems(&format!("{table}{line}\n")).join("\n");
        assert!(told.contains(why) && !told.contains("SECRET"), "{line}: {told}");
    }
}
