//! AAAA records of a host in the zone of BIND, which judges signatures and prerequisites.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::common::peers::{PREFIX, isatap_address};
use crate::common::{Daemon, Lab, Namespace, Node, PATIENCE, Wire, isatap, isatap_binary, status, wait_until};

const OTHER_PREFIX: &str = "2001:db8:0:9::";
const NAME: &str = "host.example.net";

/// BIND at 10.0.0.53 with the zone example.net, which the key `host` may change the AAAA records of
/// host.example.net in. Gives the key's file.
fn bind(lab: &Lab, wire: &Wire<'_>) -> (Namespace, Daemon, String) {
    let server = lab.namespace("server");
    wire.join(&server, "eth0", "10.0.0.53/24");
    let key = server.ok("tsig-keygen -a hmac-sha256 host");
    let key_file = server.file("host.key", &key);
    fs::set_permissions(&key_file, fs::Permissions::from_mode(0o640)).unwrap();
    let zone = server.file(
        "example.net",
        "$TTL 300\n@ SOA ns admin 1 3600 600 86400 60\n@ NS ns\nns A 10.0.0.53\nhost A 10.0.0.2\n\
         taken AAAA 2001:db8:99::1\n",
    );
    let folder = server.directory().display().to_string();
    let configuration = server.file(
        "named.conf",
        &format!(
            "options {{ directory \"{folder}\"; listen-on {{ any; }}; listen-on-v6 {{ none; }}; recursion no; \
             pid-file \"{folder}/named.pid\"; session-keyfile none; dnssec-validation no; }};\n{key}\n\
             key \"other\" {{ algorithm hmac-sha256; secret \"b3RoZXIgc2VjcmV0IG9mIDE2IGJ5dGVz\"; }};\n\
             zone \"example.net\" {{ type primary; file \"{zone}\"; \
             update-policy {{ grant host name {NAME} AAAA; grant host name taken.example.net AAAA; }}; }};\n"
        ),
    );
    let mut named = Daemon::start(&server, "named", "named", &["-g", "-c", &configuration]);
    named.wait_for_line("running", PATIENCE);
    (server, named, key_file)
}

/// The text of a file for `isatap run`: a tunnel with an address, and the update that puts it into a zone.
fn update(zone: &str, name: &str, server: &str, key: &str) -> String {
    format!(
        "[[tunnel]]\nlocal = \"10.0.0.2\"\nremote = \"10.0.0.9\"\naddress = \"2001:db8:a::1/64\"\n\
         [[dns-update]]\nzone = \"{zone}\"\nname = \"{name}\"\nserver = \"{server}\"\nkey-file = \"{key}\"\n"
    )
}

/// What the zone says of a name, sorted.
fn records(server: &Namespace, name: &str) -> Vec<String> {
    let told = server.ok(&format!("dig +short +tries=3 @10.0.0.53 {name} AAAA"));
    let mut records: Vec<String> = told.lines().map(str::to_owned).collect();
    records.sort();
    records
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn bind_takes_the_addresses_of_a_host_as_they_change_and_loses_them_at_the_end() {
    let lab = Lab::new();
    let intranet = lab.wire();
    let (server, _named, key) = bind(&lab, &intranet);
    let (router, host) = (lab.namespace("router"), lab.namespace("host"));
    intranet.join(&router, "eth0", "10.0.0.1/24");
    intranet.join(&host, "eth0", "10.0.0.2/24");
    router.ok("sysctl -qw net.ipv6.conf.all.forwarding=1");
    host.etc("resolv.conf", "nameserver 10.0.0.53\n");
    let first = Daemon::isatap(&router, &format!("router --local 10.0.0.1 --prefix {PREFIX}/64"));
    // The server is found by the SOA record, and the daemon is nobody.
    let options = format!("--dns-update example.net --dns-name host --dns-key {key} --user nobody");
    let mut daemon = Daemon::isatap(&host, &format!("host --local 10.0.0.2 --router 10.0.0.1 {options}"));
    let own = |prefix: &str| isatap_address(prefix, "10.0.0.2").to_string();
    wait_until("the record", PATIENCE, || records(&server, NAME) == [own(PREFIX)]);
    daemon.wait_for_line(&format!("DNS: {NAME} has {} AAAA by 10.0.0.53:53", own(PREFIX)), PATIENCE);
    assert!(server.ok(&format!("dig +noall +answer @10.0.0.53 {NAME} AAAA")).contains("\t300\tIN\tAAAA"));
    let is_told = format!(".dns_updates == [.dns_updates[0]] and .dns_updates[0].addresses == [\"{}\"]", own(PREFIX));
    assert!(status(&host, &is_told));
    assert!(isatap(&host, "status").text.contains(&format!("dns name {NAME} {} at 10.0.0.53:53", own(PREFIX))));

    // Renumbered: another router with another prefix. Both addresses, until the first lapses.
    drop(first);
    let _second = Daemon::isatap(&router, &format!("router --local 10.0.0.1 --prefix {OTHER_PREFIX}/64"));
    let mut both = vec![own(PREFIX), own(OTHER_PREFIX)];
    both.sort();
    wait_until("both records", PATIENCE, || {
        isatap(&host, "solicit isatap0");
        records(&server, NAME) == both
    });

    // A daemon that was killed leaves them; the next one knows them for its own, after a restart of the
    // machine too, and at another address.
    daemon.kill();
    assert_eq!(records(&server, NAME), both);
    host.ok("rm -r $ISATAP_RUNTIME_DIR; ip address add 10.0.0.3/24 dev eth0");
    let daemon = Daemon::isatap(&host, &format!("host --local 10.0.0.3 --router 10.0.0.1 {options}"));
    let new = isatap_address(OTHER_PREFIX, "10.0.0.3").to_string();
    wait_until("the new record alone", PATIENCE, || records(&server, NAME) == [new.clone()]);
    daemon.kill();
    host.ok("rm -r $ISATAP_RUNTIME_DIR");
    // No router answers there, and no address comes: what was left goes all the same.
    let daemon = Daemon::isatap(&host, &format!("host --local 10.0.0.2 --router 10.0.0.99 {options}"));
    wait_until("no record", PATIENCE * 3, || records(&server, NAME).is_empty());
    assert!(daemon.terminate(PATIENCE).success());
    assert_eq!(server.ok(&format!("dig +short @10.0.0.53 {NAME} A")).trim(), "10.0.0.2", "another record went too");
    assert_eq!(host.ok("ls -A $ISATAP_RUNTIME_DIR $ISATAP_STATE_DIR | grep -v :").trim(), "");
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_folder_that_nothing_can_be_remembered_in_is_told_and_no_harm() {
    let lab = Lab::new();
    let wire = lab.wire();
    let (server, _named, key) = bind(&lab, &wire);
    let node = lab.namespace("node");
    wire.join(&node, "eth0", "10.0.0.2/24");
    let text = update("example.net", "host", "10.0.0.53", &key);
    let file = node.file("node.toml", &format!("user = \"nobody\"\n{text}"));
    let state = node.directory().join("state");
    // A file in its place, as on a disk that is read-only: nobody, root neither, makes it.
    node.file("state", "");
    let mut daemon = Daemon::start(&node, "run", isatap_binary(), &["run", &file]);
    let line = daemon.wait_for_line("warning: DNS: cannot make the folder ", PATIENCE);
    let advice = "write StateDirectory=isatap into the unit, or set ISATAP_STATE_DIR to a folder of your own";
    assert!(line.contains(&state.display().to_string()) && line.contains(advice), "{line}");
    wait_until("the record", PATIENCE, || records(&server, NAME) == ["2001:db8:a::1"]);
    assert!(isatap(&node, "status").text.contains("        not known to the next daemon: cannot make the folder "));
    assert!(status(&node, ".dns_updates[0].forgotten != null"));
    assert!(daemon.terminate(PATIENCE).success());
    assert_eq!(records(&server, NAME), Vec::<String>::new());

    // What a daemon of root has left when it was killed is handed to the user of the next one.
    fs::remove_file(&state).unwrap();
    let text = fs::read_to_string(&file).unwrap();
    let of_root = node.file("root.toml", &text.replace("user = \"nobody\"\n", "").replace("a::1/64", "a::5/64"));
    let daemon = Daemon::start(&node, "root", isatap_binary(), &["run", &of_root]);
    wait_until("root's record", PATIENCE, || records(&server, NAME) == ["2001:db8:a::5"]);
    daemon.kill();
    let about = node.ok("stat -c '%U %a' $ISATAP_STATE_DIR; stat -c '%U %a' $ISATAP_STATE_DIR/host.example.net.dns");
    assert_eq!(about, "root 755\nroot 600\n");

    // It is there for the daemon's user, and goes while the daemon runs.
    let mut daemon = Daemon::start(&node, "run", isatap_binary(), &["run", &file]);
    wait_until("the record", PATIENCE, || records(&server, NAME) == ["2001:db8:a::1"]);
    let about = node.ok("stat -c '%U %a' $ISATAP_STATE_DIR; stat -c '%U %a' $ISATAP_STATE_DIR/host.example.net.dns");
    assert_eq!(about, "root 1775\nnobody 600\n");
    node.ok("rm -r $ISATAP_STATE_DIR");
    let text = fs::read_to_string(&file).unwrap().replace("2001:db8:a::1/64", "2001:db8:a::7/64");
    fs::write(&file, text).unwrap();
    daemon.signal("HUP");
    daemon.wait_for_line(&format!("warning: DNS: cannot keep {}/{NAME}.dns: ", state.display()), PATIENCE);
    wait_until("the other record", PATIENCE, || records(&server, NAME) == ["2001:db8:a::7"]);
    assert!(daemon.terminate(PATIENCE).success());
    assert_eq!(records(&server, NAME), Vec::<String>::new());
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn what_bind_refuses_is_told_with_the_reason_and_foreign_records_stay() {
    let lab = Lab::new();
    let wire = lab.wire();
    let (server, _named, key) = bind(&lab, &wire);
    let node = lab.namespace("node");
    wire.join(&node, "eth0", "10.0.0.2/24");
    let key_of = |name: &str, text: &str| {
        let file = node.file(name, text);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        file
    };
    let good = fs::read_to_string(&key).unwrap();
    let other_name = key_of("name.key", &good.replace("\"host\"", "\"nobody\""));
    let other_secret =
        key_of("secret.key", "key \"host\" { algorithm hmac-sha256; secret \"b3RoZXIgc2VjcmV0IG9mIDE2IGJ5dGVz\"; };");
    let not_allowed =
        key_of("other.key", "key \"other\" { algorithm hmac-sha256; secret \"b3RoZXIgc2VjcmV0IG9mIDE2IGJ5dGVz\"; };");
    for (zone, name, key, server_address, why) in [
        (
            "example.net",
            "host",
            &other_name,
            "10.0.0.53",
            "10.0.0.53:53 does not know the key nobody, or knows it with another algorithm (BADKEY)",
        ),
        (
            "example.net",
            "host",
            &other_secret,
            "10.0.0.53",
            "10.0.0.53:53 has another secret for the key host (BADSIG)",
        ),
        (
            "example.net",
            "host",
            &not_allowed,
            "10.0.0.53",
            "10.0.0.53:53 refuses it: allow the key other to change host.example.net",
        ),
        (
            "example.org",
            "host",
            &key,
            "10.0.0.53",
            "10.0.0.53:53 is not the server of the zone example.org: name its primary server",
        ),
        (
            "example.net",
            "taken",
            &key,
            "10.0.0.53",
            "it has AAAA records that this daemon did not make (2001:db8:99::1): remove them",
        ),
        ("example.net", "host", &key, "10.0.0.53:54", "asking 10.0.0.53:54: Connection refused"),
    ] {
        let file = node.file("node.toml", &update(zone, name, server_address, key));
        let mut daemon = Daemon::start(&node, "run", isatap_binary(), &["run", &file]);
        let line = daemon.wait_for_line("warning: no DNS update of ", PATIENCE);
        assert!(line.contains(why), "{line}");
        wait_until("its status to say so", PATIENCE, || status(&node, ".dns_updates[0].failure | length > 0"));
        if why.contains("refuses it") {
            let doctor = isatap(&node, "doctor");
            let told = "FAIL dns-update host.example.net is not up to date: 10.0.0.53:53 refuses it\n       fix:     allow the key";
            assert!(doctor.status == 3 && doctor.text.contains(told), "{doctor:?}");
        }
        assert!(daemon.terminate(PATIENCE).success());
    }
    assert_eq!(records(&server, "taken.example.net"), ["2001:db8:99::1"]);

    let text = update("example.net", "taken", "10.0.0.53", &key) + "replace = true\nttl = 77\n";
    let file = node.file("node.toml", &text);
    let daemon = Daemon::start(&node, "run", isatap_binary(), &["run", &file]);
    wait_until("the record in place of the other", PATIENCE, || {
        records(&server, "taken.example.net") == ["2001:db8:a::1"]
    });
    assert!(server.ok("dig +noall +answer @10.0.0.53 taken.example.net AAAA").contains("\t77\tIN\tAAAA"));
    assert!(daemon.terminate(PATIENCE).success());
    assert_eq!(records(&server, "taken.example.net"), Vec::<String>::new());
    // A key that everybody may read is refused, with its place.
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let refused = node.run(&format!("{} run {file}", isatap_binary()));
    assert_eq!(refused.status, 1);
    let why = format!("cannot use the key in {key}: everybody may read the file; chmod 640 {key}");
    assert!(refused.text.contains("node.toml:") && refused.text.contains(&why), "{refused:?}");
}
