use super::*;
use isatap_core::route::Preference;
use isatap_core::time::Lifetime;
use std::time::Duration;

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
    let [Link::IsatapHost(host), Link::IsatapRouter(router)] = config.links.as_slice() else {
        panic!("{config:?}");
    };
    assert_eq!((host.link.device.as_str(), router.link.device.as_str()), ("isatap1", "isatap0"));
    assert_eq!(host.locators, LocatorSource::Device("eth0".into()));
    assert_eq!(host.routers.len(), 2);
    assert_eq!(host.config.solicitation.min_round_interval, Duration::from_secs(3));
    assert_eq!(host.link.mtu, Some(1400));
    assert_eq!(router.prefixes[0].valid_lifetime, Lifetime::from_secs(7200));
    assert!(!router.config.advertise_default_route);
    assert_eq!(router.config.preference, Preference::High);
    assert_eq!(router.link.members, ["10.0.0.0/8".parse().unwrap()]);
    assert_eq!(config.natives, [Native { device: "eth1".into(), forwarding: true }]);
}

#[test]
fn every_mistake_has_its_line_and_what_to_do() {
    let text = "[[isatap-host]]\nlocal = [\"10.0.0.2\"]\nvia = \"eth0\"\n\n\
                [[isatap-router]]\nlocal = [\"10.0.0.1\"]\nprefix = [\"2001:db8::/48\"]\n\n\
                [[isatap-router]]\nlocal = [\"10.0.0.1\"]\nprefix = [\"2001:db8::/64\"]\n";
    let found = problems(text);
    assert_eq!(found.len(), 3, "{found:#?}");
    assert_eq!(found[0], "node.toml:1: local and via exclude each other: keep one");
    assert!(found[1].starts_with("node.toml:7:11: cannot advertise the prefix 2001:db8::/48: "), "{found:#?}");
    assert!(found[2].starts_with("node.toml:9: a second link has the device isatap0"), "{found:#?}");
}

#[test]
fn values_and_keys_that_cannot_be_are_told_where_they_stand() {
    for (text, expected) in [
        (
            "[[isatap-host]]\nrouter = [\"10.0.0.256\"]\n",
            "node.toml:2:11: 10.0.0.256: not an IPv4 address: write four numbers",
        ),
        ("[[isatap-host]]\nprl-refresh-interval = 0\n", "node.toml:1: cannot wait 0 s: the names of routers would be"),
        (
            "[[isatap-host]]\nmin-router-solicit-interval = 0\n",
            "node.toml:1: cannot wait 0 s: a router could have itself asked without end; write 1 or more",
        ),
        ("[[isatap-host]]\nmtu = -1\n", "node.toml:2:7: "),
        ("[[isatap-host]]\nmtu = 1000\n", "node.toml:2:7: cannot set the MTU 1000: a tunnel carries 1280"),
        ("[[isatap-host]]\n\nruoter = []\n", "node.toml:3:1: [[isatap-host]] has no key ruoter: write router"),
        ("[[isatap-router]]\nlocal = []\n", "node.toml:1: missing field `prefix`"),
        ("\n[[isatap-router]]\nlocal = []\nprefix = []\n", "node.toml:2: cannot start an ISATAP router: it needs an"),
        ("[[isatap-host]]\nlocal = [\"10.0.0.2\"\n", "node.toml:"),
        ("[[native]]\ndev = \"eth1\"\n", "node.toml:1: nothing to run: add [[isatap-host]] or [[isatap-router]]"),
        ("", "node.toml:1: nothing to run"),
    ] {
        let found = problems(text);
        assert!(found[0].starts_with(expected), "{text:?}: {found:?}");
        assert!(!found[0].contains('\n'));
    }
}
