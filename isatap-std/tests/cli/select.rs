//! `isatap select` and `isatap policy` where no privileges are needed.

use std::fs;
use std::process::Command;

use serde_json::Value;

fn tool(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_isatap")).args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// The order, and between each two the rule.
fn select(arguments: &[&str]) -> Vec<(String, String, Option<String>)> {
    let (status, out, error) = tool(&[&["select", "-j"], arguments].concat());
    assert_eq!((status, error.as_str()), (Some(0), ""), "{arguments:?}");
    let lines = out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let lines: Vec<_> = lines
        .map(|line| {
            (text(&line["destination"]).unwrap(), text(&line["source"]).unwrap_or_default(), text(&line["rule"]))
        })
        .collect();
    lines
}

#[track_caller]
fn orders(arguments: &[&str], expected: &[(&str, &str, &str)]) {
    let found = select(arguments);
    let found: Vec<_> =
        found.iter().map(|(to, from, rule)| (to.as_str(), from.as_str(), rule.as_deref().unwrap_or(""))).collect();
    assert_eq!(found, expected, "{arguments:?}");
}

/// The white paper's preferences, by both tables.
#[test]
fn sel_11_select_orders_transition_addresses() {
    let from = ["--source", "2002:9d3c:1::9d3c:1", "-s", "157.60.0.1"];
    let to = ["2002:836b:1::836b:1", "131.107.0.1"];
    let ipv4 = ("131.107.0.1", "157.60.0.1");
    let sixtofour = ("2002:836b:1::836b:1", "2002:9d3c:1::9d3c:1");
    orders(&[&from[..], &to].concat(), &[(ipv4.0, ipv4.1, "6"), (sixtofour.0, sixtofour.1, "")]);
    orders(
        &[&from[..], &to, &["--policy", "rfc3484"]].concat(),
        &[(sixtofour.0, sixtofour.1, "6"), (ipv4.0, ipv4.1, "")],
    );
    orders(
        &[
            "-s",
            "2001:db8:0:7:0:5efe:10.0.0.1/64,tunnel",
            "-s",
            "2001:db8:1::1%eth0",
            "2001:db8:0:7:0:5efe:a00:2",
            "2001:db8:1::2",
        ],
        &[("2001:db8:1::2", "2001:db8:1::1", "7"), ("2001:db8:0:7:0:5efe:a00:2", "2001:db8:0:7:0:5efe:a00:1", "")],
    );
}

#[test]
fn sel_16_sel_18_the_own_site_comes_first_where_that_is_asked_for() {
    let all = ["-s", "2001:db8:1::1", "-s", "fd11:1111:1111:1::1", "2001:db8:2::2", "fd11:1111:1111:2::2"];
    let (native, site) = (("2001:db8:2::2", "2001:db8:1::1"), ("fd11:1111:1111:2::2", "fd11:1111:1111:1::1"));
    orders(&all, &[(native.0, native.1, "6"), (site.0, site.1, "")]);
    orders(&[&all[..], &["--site-rows"]].concat(), &[(site.0, site.1, "6"), (native.0, native.1, "")]);
    // A file that has a row for the site keeps it.
    let file = std::env::temp_dir().join(format!("isatap-select-{}", std::process::id()));
    fs::write(&file, "label ::/0 1\nlabel fd11:1111:1111::/48 9\nprecedence fd11:1111:1111::/48 2\n").unwrap();
    orders(
        &[&all[..], &["--site-rows", "--policy", file.to_str().unwrap()]].concat(),
        &[(native.0, native.1, "6"), (site.0, site.1, "")],
    );
    fs::remove_file(file).unwrap();
}

#[test]
fn sel_19_a_source_is_used_or_refused() {
    let given = ["-s", "2001:db8:1::1", "-s", "2001:db8:2::1", "2001:db8:1::9"];
    orders(&given, &[("2001:db8:1::9", "2001:db8:1::1", "")]);
    orders(&[&given[..], &["--from", "2001:db8:2::1"]].concat(), &[("2001:db8:1::9", "2001:db8:2::1", "")]);
    for from in ["2001:db8:3::1", "10.0.0.1"] {
        let (status, out, error) = tool(&[&["select"], &given[..], &["--from", from]].concat());
        assert_eq!((status, out.as_str()), (Some(1), ""));
        let told = format!("isatap: cannot send to 2001:db8:1::9 from {from}: ");
        assert!(error.starts_with(&told) && error.lines().count() == 1, "{error}");
    }
    // Nor is it replaced for the one destination of a list that it does not go with.
    let mixed = ["select", "-s", "2001:db8::1", "-s", "10.1.2.3/24", "--from", "2001:db8::1"];
    for list in [["10.1.2.9", "2001:db8:9::9"], ["2001:db8:9::9", "10.1.2.9"]] {
        let (status, out, error) = tool(&[&mixed[..], &list].concat());
        assert_eq!((status, out.as_str()), (Some(1), ""));
        assert!(error.starts_with("isatap: cannot send to 10.1.2.9 from 2001:db8::1: "), "{error}");
    }
}

#[test]
fn select_says_why_in_words() {
    let (status, out, _) = tool(&["select", "-s", "2001:db8::1", "10.0.0.1", "2001:db8::2"]);
    let expected = "\
1. 2001:db8::2
   from 2001:db8::1: there is no other candidate
   before the next by rule 1: the next one cannot be used
2. 10.0.0.1
   from no address: none can be used
";
    assert_eq!((status, out.as_str()), (Some(0), expected));
    // What is given twice is tried once.
    let (_, twice, _) = tool(&["select", "-s", "2001:db8::1", "10.0.0.1", "2001:db8::2", "10.0.0.1"]);
    assert_eq!(twice, expected);
}

/// As `ip route get` says `local`: by the loopback device, whatever routes and tunnels there are.
#[test]
fn the_host_itself_is_local() {
    let own = ["-s", "fd00::1%eth0", "-s", "2001:db8::1%t0,tunnel", "-s", "10.0.0.1"];
    let to = ["2001:db8::1", "::1", "127.0.0.9", "10.0.0.1", "2001:db8::2"];
    let (status, out, _) = tool(&[&["select"], &own[..], &to].concat());
    let expected = "\
1. ::1 by lo, local
   from ::1, by source rule 1: it is the destination itself
   before the next by rule 6: its precedence is higher
2. 2001:db8::1 by lo, local
   from 2001:db8::1, by source rule 1: it is the destination itself
   before the next by rule 7: the next one is reached through a tunnel
3. 2001:db8::2 by t0, a tunnel
   from 2001:db8::1, by source rule 6: it has the label of the destination
   before the next by rule 6: its precedence is higher
4. 127.0.0.9 by lo, local
   from 127.0.0.1, by source rule 2: its scope fits better
   before the next by rule 8: its scope is smaller
5. 10.0.0.1 by lo, local
   from 10.0.0.1: there is no other candidate
";
    assert_eq!((status, out.as_str()), (Some(0), expected));
    let (_, out, _) = tool(&["select", "-j", "-s", "2001:db8::1%eth0", "2001:db8::1", "2001:db8::2"]);
    let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |line: &Value| (line["dev"].as_str().unwrap().to_owned(), line["local"].as_bool().unwrap());
    assert_eq!([of(&lines[0]), of(&lines[1])], [("lo".to_owned(), true), ("eth0".to_owned(), false)]);
}

#[test]
fn mistakes_are_told_what_to_write_instead() {
    for (arguments, told) in [
        (&["select", "-s", "2001:db8::1/129", "::1"][..], "129 is no prefix length: write a number from 0 to 128"),
        (&["select", "-s", "10.0.0.1/33", "::1"], "33 is no prefix length: write a number from 0 to 32"),
        (&["select", "-s", "eth0", "::1"], "eth0 is no address: write 2001:db8::1/64 or 10.0.0.1/24"),
        (
            &["select", "-s", "::1,old", "::1"],
            "old is unknown: write deprecated, temporary, home, advertised or tunnel",
        ),
        (&["select", "-s", "fe80::1%eth0", "fe80::2%eth1"], "there is no device eth1 for fe80::2: write one of eth0"),
        (&["select", "-s", "::1", "::1", "--policy", "rfc"], "give rfc6724, rfc3484, system or a file like gai.conf"),
        (&["policy", "set", "2001:db8::1/32", "1", "1"], "2001:db8::/32"),
        (&["policy", "set", "2001:db8::/32", "x", "1"], "write a whole number"),
    ] {
        let (status, out, error) = tool(arguments);
        assert_eq!((status, out.as_str()), (Some(1), ""), "{arguments:?}");
        assert!(error.contains(told) && error.lines().count() == 1, "{arguments:?}: {error}");
    }
}

/// It must not give the kernel the C library's defaults instead.
#[test]
fn sel_1_policy_apply_refuses_a_file_that_is_not_there() {
    let (status, out, error) = tool(&["policy", "apply", "--gai-conf", "/nonexistent/gai.conf"]);
    assert_eq!((status, out.as_str()), (Some(2), ""));
    assert!(error.contains("cannot read /nonexistent/gai.conf: No such file"), "{error}");
}

/// Tables are complete, comments stay, and a change that fails leaves the file alone.
#[test]
fn sel_1_policy_changes_a_file() {
    let folder = std::env::temp_dir().join(format!("isatap-policy-cli-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("gai.conf");
    let policy = |arguments: &[&str]| {
        let (status, out, error) =
            tool(&[&["policy"], arguments, &["--file-only", "--gai-conf", file.to_str().unwrap()]].concat());
        (status, out + &error)
    };
    fs::write(&file, "# mine\n").unwrap();
    assert_eq!(policy(&["add", "10.0.0.0/8", "60", "4"]), (Some(0), String::new()));
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.starts_with("# mine\n") && text.contains("precedence ::ffff:10.0.0.0/104  60\n"), "{text}");
    assert_eq!(text.lines().filter(|line| line.starts_with("label")).count(), 9, "{text}");
    assert_eq!(policy(&["add", "10.0.0.0/8", "60", "4"]).0, Some(1));
    let (_, shown) = policy(&["show"]);
    assert!(shown.contains("::ffff:10.0.0.0/104"), "{shown}");
    assert_eq!(policy(&["reset"]), (Some(0), String::new()));
    let (_, shown) = policy(&["show", "-j"]);
    assert!(shown.lines().count() == 9 && !shown.contains("\"differs\":true"), "{shown}");
    assert_eq!(policy(&["delete", "10.0.0.0/8"]).0, Some(1));
    assert_eq!(policy(&["delete", "2002::/16"]), (Some(0), String::new()));
    assert_eq!(policy(&["reset", "--to", "system"]), (Some(0), String::new()));
    assert_eq!(fs::read_to_string(&file).unwrap(), "# mine\n");
    // What the C library takes otherwise than it seems is said, whatever is done.
    fs::write(&file, "precedence 2001:db8::1 5\nlabel ::/0\n").unwrap();
    let (status, told) = policy(&["show"]);
    let warning = |line: u8, text: &str| format!("isatap: warning: {}:{line}: {text}", file.display());
    let over = warning(1, "glibc passes over this line: 2001:db8::1 has no length: write 2001:db8::1/128");
    let zero = warning(2, "the label is missing: glibc takes 0; write it");
    assert!(status == Some(0) && told.contains(&over) && told.contains(&zero), "{told}");
    assert!(policy(&["set", "::1/128", "50", "0"]).1.contains(&over));
    fs::remove_dir_all(&folder).unwrap();
}
