//! What the tool says of mistakes on the command line: one line, with what to write instead.

use std::process::Command;

/// Runs a command that is wrong; the one line that it prints, without the program's name.
fn refusal(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_isatap")).args(arguments).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {error}");
    assert!(output.stdout.is_empty(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
    let lines: Vec<&str> = error.lines().collect();
    let [line] = lines.as_slice() else { panic!("{arguments:?}: {error}") };
    line.strip_prefix("isatap: ").unwrap_or_else(|| panic!("{arguments:?}: {error}")).to_owned()
}

/// A command, the value that it gives to an option, and what is said of it.
///
/// Each command has a device name that no device can have, so that nothing would start if the
/// value were taken.
#[test]
fn a_wrong_value_is_told_what_to_write_instead() {
    const HOST: &[&str] = &["host"];
    const ROUTER: &[&str] = &["router", "--local", "10.0.0.1", "--prefix", "2001:db8:0:7::/64"];
    const TUNNEL: &[&str] = &["tunnel", "--local", "192.0.2.1", "--remote", "192.0.2.2"];
    const SIXRD: &[&str] = &["6rd", "--prefix", "2001:db8::/32", "--local", "10.0.0.1"];
    const CLIENT: &[&str] = &["teredo", "client", "--server", "192.0.2.1"];
    for (command, option, value, told) in [
        // Names.
        (HOST, "--router", "", "a name is missing: write one, for example isatap.example.net"),
        (
            HOST,
            "--router",
            "a..b",
            "a label is missing between two dots, or before the first: write a name like isatap.example.net",
        ),
        (HOST, "--router", "10.0.0", "not an IPv4 address: write four numbers from 0 to 255, for example 10.0.0.2"),
        (HOST, "--router", "fe80::1", "an IPv6 address is not allowed here: write an IPv4 address or a name"),
        (
            HOST,
            "--router",
            "10.0.0.1/24",
            "a prefix length is not allowed here: write only the IPv4 address or the name",
        ),
        (HOST, "--router", "10.0.0.1,10.0.0.2", "this is more than one: write each as its own value"),
        (
            HOST,
            "--router",
            "isatap.example.net:53",
            "a port is not allowed here: write only the IPv4 address or the name",
        ),
        (
            HOST,
            "--router",
            "https://isatap/",
            "a URL is not allowed here: write only the IPv4 address or the name in it",
        ),
        (
            HOST,
            "--router",
            "b\u{fc}ro",
            "character 2 is not allowed in a name: use letters, digits and hyphens, and the xn-- form of an \
             international name",
        ),
        (
            &["6to4"],
            "--relay",
            "192.88.99.1/24",
            "a prefix length is not allowed here: write only the IPv4 address or the name",
        ),
        (
            &["teredo", "client"],
            "--server",
            "192.0.2.1:3545",
            "a Teredo server has port 3544: write 192.0.2.1 or 192.0.2.1:3544",
        ),
        (
            &["teredo", "client"],
            "--server",
            "teredo.example:x",
            "a Teredo server has port 3544: write teredo.example or teredo.example:3544",
        ),
        (
            &["teredo", "client"],
            "--server",
            "2001:db8::1",
            "an IPv6 address is not allowed here: write an IPv4 address or a name",
        ),
        (&["teredo", "client"], "--server", ":53", "a name is missing in front of the port: write one"),
        // Addresses.
        (HOST, "--local", "10.0.0.2 ", "remove the blanks: write 10.0.0.2"),
        (HOST, "--local", "10.0.0.2/24", "a prefix length is not allowed here: write 10.0.0.2"),
        (HOST, "--local", "10.0.0.2:53", "a port is not allowed here: write 10.0.0.2"),
        (HOST, "--local", "eth0", "this is a name: write an IPv4 address, for example 10.0.0.2"),
        (HOST, "--local", "::1", "this is an IPv6 address: write the machine's IPv4 address, for example 10.0.0.2"),
        (HOST, "--local", "010.0.0.2", "a number starts with 0: write 10.0.0.2 if you mean decimal"),
        (ROUTER, "--dns", "8.8.8.8", "this is an IPv4 address: write an IPv6 address, for example 2001:db8::1"),
        (ROUTER, "--dns", "2001:db8::53/64", "a prefix length is not allowed here: write 2001:db8::53"),
        (TUNNEL, "--address", "2001:db8::1", "the prefix length is missing: write 2001:db8::1/64, or 2001:db8::1/128 "),
        (TUNNEL, "--address", "2001:db8::1/129", "a prefix length is 0 to 128: write 2001:db8::1/64, for example"),
        (TUNNEL, "--address", "10.0.0.1/24", "this is an IPv4 address: write an IPv6 address, for example 2001:db8::1"),
        (
            CLIENT,
            "--bind",
            "40000x",
            "a port is a number of 0 to 65535: write [V4]:PORT, such as 192.0.2.1:40000 or :40000",
        ),
        // Prefixes.
        (HOST, "--member", "10.0.0.1/8", "has bits behind its length: write 10.0.0.0/8"),
        (HOST, "--member", "10.0.0.0", "the length is missing: for example, write 10.0.0.0/24"),
        (
            &["router", "--local", "10.0.0.1"],
            "--prefix",
            "2001:db8::",
            "the length is missing: for example, write 2001:db8::/64",
        ),
        (
            &["router", "--local", "10.0.0.1"],
            "--prefix",
            "10.0.0.0/8",
            "an IPv6 prefix was expected: write one as 2001:db8::/64",
        ),
        (&["6to4"], "--client", "131.107.0.0/33", "the length behind the slash is 0 to 32"),
        // Numbers.
        (HOST, "--mtu", "big", "write a whole number from 1280 to 65515"),
        (HOST, "--mtu", "70000", "write a whole number from 1280 to 65515"),
        (HOST, "--ttl", "256", "write a whole number from 1 to 255, or inherit"),
        (TUNNEL, "--tos", "0xb9", "the two lowest bits are those of ECN, which has a key of its own: write 0xb8"),
        (TUNNEL, "--tos", "af44", "write 0x00 to 0xfc, a name such as ef, af41 or cs6, or inherit"),
        (TUNNEL, "--ecn", "on", "expected normal or compatibility"),
        (TUNNEL, "--mark", "1/0xff", "write 0x0 to 0xffffffff, or the same in decimal digits"),
        (ROUTER, "--router-lifetime", "30m", "write seconds without a unit: 1800"),
        (ROUTER, "--router-lifetime", "70000", "write a whole number of seconds from 0 to 65535"),
        // One of some.
        (HOST, "--prl-refresh-interval", "99999999999999999999", "the number of seconds is too large"),
        (SIXRD, "--role", "pe", "write ce or br"),
        (&["6to4"], "--role", "realy", "write host-router, router or relay"),
        (ROUTER, "--preference", "hihg", "expected low, medium or high"),
        (CLIENT, "--port-mapping", "nat", "expected off, auto, pcp or upnp"),
        // LANs.
        (SIXRD, "--lan", "eth0:g", "\"g\" is no subnet; write 1 to ffff, as in eth1:a0"),
    ] {
        let device = ["--dev", "a-name-of-over-15-bytes"];
        let line = refusal(&[command, &[option, value], &device].concat());
        let (about, text) = line.split_once(": ").unwrap();
        assert!(about.starts_with(&format!("invalid value '{value}' for '{option} <")), "{line}");
        assert!(text.contains(told) && text.ends_with("; see --help"), "{line}");
    }
}

#[test]
fn a_wrong_value_of_a_link_of_check_is_told_the_same() {
    const ISATAP: &[&str] = &["--link", "isatap", "--local", "10.0.0.1"];
    for (link, option, value, told) in [
        (&["--link", "isatap"][..], "--local", "10.0.0.1/24", "a prefix length is not allowed here: write 10.0.0.1"),
        (ISATAP, "--router", "isatap.example", "this is a name: write an IPv4 address, for example 10.0.0.2"),
        (ISATAP, "--prefix", "2001:db8::1/64", "has bits behind its length: write 2001:db8::/64"),
        (
            &["--link", "6rd", "--local", "10.0.0.1", "--prefix", "2001:db8::/32"],
            "--v4-mask-len",
            "x",
            "write a whole number from 0 to 32",
        ),
        (&["--link", "teredo", "--server", "192.0.2.1"], "--local", "10.0.0.1", "expected V4:PORT, as 192.0.2.1:40000"),
        (
            &["--link", "configured", "--local", "192.0.2.1", "--remote", "192.0.2.2"],
            "--address",
            "2001:db8::1",
            "write 2001:db8::1/64, or 2001:db8::1/128",
        ),
    ] {
        let line = refusal(&[&["check"], link, &[option, value, "no-such.pcap"]].concat());
        let about = match option {
            "--router" => format!("--link isatap: {option} {value}: "),
            _ => format!("--link {}: invalid value '{value}' for '{option} <", link[1]),
        };
        assert!(line.starts_with(&about) && line.contains(told), "{line}");
    }
    let line = refusal(&[&["check"], ISATAP, &["--role", "ruter", "no-such.pcap"]].concat());
    assert_eq!(line, "--role ruter: expected host or router");
    // Whatever a link's own command says is wrong, check says too.
    let line = refusal(&[&["check"], ISATAP, &["--mtu", "1000", "no-such.pcap"]].concat());
    assert!(line.starts_with("cannot set the MTU 1000: a tunnel carries 1280 to 65515 bytes"), "{line}");
}

#[test]
fn what_is_missing_or_unknown_is_named() {
    for (arguments, told) in [
        (&["hots"][..], "unrecognized subcommand 'hots'; a similar subcommand exists: 'host'"),
        (
            &["host", "--ruoter", "10.0.0.1"],
            "unexpected argument '--ruoter' found; a similar argument exists: '--router'",
        ),
        (&["host", "--user"], "a value is required for '--user <NAME>' but none was supplied"),
        (&["host", "--local", "10.0.0.1", "--via", "eth0"], "'--local <V4>' cannot be used with '--via <DEV>'"),
        (&["router", "--local", "10.0.0.1"], "required arguments were not provided: --prefix <PREFIX/64>"),
        (&["teredo", "client"], "required arguments were not provided: --server <HOST[:PORT]>"),
        (
            &["teredo", "qualify", "a..b"],
            "a label is missing between two dots, or before the first: write a name like isatap.example.net",
        ),
        (&["config", "chekc"], "unrecognized subcommand 'chekc'; a similar subcommand exists: 'check'"),
        (
            &["run", "no-such.toml"],
            "reading no-such.toml: No such file or directory (os error 2); give a readable TOML file",
        ),
        (&["host", "--local", "10.0.0.2\n10.0.0.3"], "invalid value \"10.0.0.2\\n10.0.0.3\" for "),
        (&["lab", "nonsense"], "no scenario is called nonsense: choose one of 6rd, 6to4, "),
        (&["explain"], "required arguments were not provided: <TARGET>..."),
        (
            &["check", "no-such.pcap"],
            "no link is given: add --link isatap, 6rd, 6to4, tunnel (a configured one), compatible or teredo",
        ),
        (
            &["check", "--link", "isatap", "no-such.pcap"],
            "its IPv4 addresses are known only while it runs; name them: --local V4",
        ),
    ] {
        let line = refusal(arguments);
        assert!(line.contains(told), "{arguments:?}: {line}");
    }
}

/// What the tool prints on standard output, and how it ends.
fn printed(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_isatap")).args(arguments).output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn help_has_every_command_once_and_colours_where_they_are_asked_for() {
    let (status, help) = printed(&["--help"]);
    assert_eq!(status, Some(0));
    for command in [
        "explain",
        "check",
        "status",
        "monitor",
        "doctor",
        "solicit",
        "lab",
        "host",
        "router",
        "tunnel",
        "compatible",
        "6rd",
        "6to4",
        "teredo",
        "run",
        "config",
        "man",
        "completions",
    ] {
        let lines = help.lines().filter(|line| line.starts_with(&format!("  {command} ")));
        assert_eq!(lines.count(), 1, "{command}: {help}");
    }
    assert!(!help.contains('\x1b') && help.contains("Exit status: 0 done"), "{help}");
    assert!(printed(&["--color", "always", "host", "--help"]).1.contains('\x1b'));
    assert!(!printed(&["host", "--help", "--color=never"]).1.contains('\x1b'));
    // No identifiers of requirements, which nobody can look up here.
    for command in ["host", "router", "tunnel", "compatible", "6rd", "6to4", "check", "run", "lab"] {
        let (_, help) = printed(&[command, "--help"]);
        assert!(!help.contains("SEC-") && !help.contains("S64-") && !help.contains("ISA-"), "{command}: {help}");
    }
    // A switch says what it switches off.
    assert!(printed(&["host", "--help"]).1.contains("Do not ask neighbours whether they are still there"));
}

#[test]
fn a_url_that_is_refused_is_told_without_what_may_be_secret() {
    for (url, told) in [
        ("https://me:SECRET@b.example/x?y=SECRET", "cannot call https://b.example/x: a password in a URL is seen"),
        ("https://b.example/x?apikey=SECRET", "cannot call https://b.example/x: a password in a URL is seen"),
        ("https://me:SECRET", "cannot call https://…: behind the colon stands no port"),
        ("me:SECRET@b.example/", "cannot call b.example/: write https://"),
    ] {
        for arguments in [vec!["--update-url".to_owned(), url.to_owned()], vec![format!("--update-url={url}")]] {
            let mut all = vec!["tunnel", "--local", "192.0.2.1", "--remote", "192.0.2.2", "--dev", "far/too/long"];
            all.extend(arguments.iter().map(String::as_str));
            let refused = refusal(&all);
            assert!(refused.starts_with(&format!("invalid value for '--update-url <URL>': {told}")), "{refused}");
            assert!(!refused.contains("SECRET"), "{refused}");
        }
    }
}

#[test]
fn every_command_has_a_manual_page_and_every_shell_its_completions() {
    let folder = std::env::temp_dir().join(format!("isatap-man-{}", std::process::id()));
    assert_eq!(printed(&["man", folder.to_str().unwrap()]), (Some(0), String::new()));
    for (page, word) in [("isatap.1", "explain"), ("isatap-host.1", "prl"), ("isatap-teredo-client.1", "server")] {
        let text = std::fs::read_to_string(folder.join(page)).unwrap();
        assert!(text.starts_with(".ie") && text.contains(word), "{page}: {text}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let (status, text) = printed(&["completions", shell]);
        assert!(status == Some(0) && text.contains("check-neighbors"), "{shell}: {text}");
    }
    assert_eq!(printed(&["man", "/proc/no/such"]).0, Some(2));
}
