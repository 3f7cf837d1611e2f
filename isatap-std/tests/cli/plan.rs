//! The tool `isatap plan` as a user runs it.

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

/// A file of a test's own.
struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("isatap-plan-{}-{name}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

const TUNNEL: &str = "[[tunnel]]\nlocal = \"192.0.2.1\"\nremote = \"192.0.2.9\"\naddress = \"2001:db8:77::1/64\"\n\n\
     [[isatap-router]]\nlocal = \"10.0.0.1\"\nprefix = \"2001:db8:0:7::/64\"\n";

fn plan(arguments: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_isatap")).arg("plan").args(arguments.split(' ')).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn a_plan_that_lacks_something_says_so_and_ends_with_3() {
    let file = File::new("tunnel.toml", TUNNEL);
    let path = file.0.display();
    let output = plan(&format!("{path} --for iproute2 --link tun6in4"));
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output).contains("not known: the other end's address in 2001:db8:77::/64; give --address V6/64"));
    let output = plan(&format!("{path} --for iproute2 --link tun6in4 --address 2001:db8:77::2/64"));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let commands: Vec<String> =
        text(&output).lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
    assert_eq!(
        commands,
        [
            "ip tunnel add tun6in4 mode sit local 192.0.2.9 remote 192.0.2.1 ttl 64",
            "ip link set dev tun6in4 up",
            "ip -6 address add 2001:db8:77::2/64 dev tun6in4",
        ]
    );
    let undo = plan(&format!("{path} --for iproute2 --link tun6in4 --address 2001:db8:77::2/64 --undo"));
    assert_eq!(text(&undo), "# the tunnel's other end: undo: Make the tunnel.\nip tunnel del tun6in4\n");
}

#[test]
fn each_step_is_an_object() {
    let file = File::new("object.toml", TUNNEL);
    let output = plan(&format!("{} --for windows -j --link isatap0", file.0.display()));
    let step: Value = serde_json::from_str(text(&output).trim_end()).unwrap();
    assert_eq!(step["for"], "windows");
    assert_eq!(step["on"], "an ISATAP host");
    assert_eq!(step["link"], "isatap0");
    assert_eq!(step["command"], "netsh interface isatap set router 10.0.0.1");
    assert_eq!(step["undo"], "netsh interface isatap set router default");
}

#[test]
fn what_cannot_be_planned_is_refused_with_what_to_write() {
    let file = File::new("refused.toml", TUNNEL);
    let rules = File::new("rules.toml", "[[portproxy]]\nlisten = \"[::]:8080\"\nconnect = \"[2001:db8::1]:80\"\n");
    let mistaken = File::new("mistaken.toml", "[[tunnel]]\nlocal = \"10.0.0.300\"\n");
    let path = file.0.display();
    for (arguments, told) in [
        (format!("{path} --for iproute2 --link tun0"), "has no link tun0: it has tun6in4, isatap0"),
        (format!("{path} --for iproute2 --address 2001:db8:99::2/64"), "no tunnel of"),
        (format!("{path} --for cisco-ios"), "write windows, powershell, iproute2,"),
        (format!("{path} --link isatap0 --local 10.0.0.1"), "it is this end's own address, of isatap0"),
        (format!("{path} --link tun6in4 --local 10.0.0.77"), "the other end of tun6in4 is 192.0.2.9 by the file"),
        (format!("{path} --isatap-interface=-x"), "name or the index of an interface"),
        (mistaken.0.display().to_string(), ":2:"),
        (rules.0.display().to_string(), "has no link, so nothing has another end"),
        ("/no/such/file.toml".to_owned(), "reading /no/such/file.toml"),
        ("recipe direct-access-native --server 131.107.0.2 --interface 3 --for cisco".to_owned(), "give --for windows"),
        (
            "recipe direct-access-native --server 131.107.0.2 --interface=-x".to_owned(),
            "name or the index of an interface",
        ),
    ] {
        let output = plan(&arguments);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments}: {error}");
        assert!(error.contains(told), "{arguments}: {error}");
    }
}

#[test]
fn platforms_and_recipes_are_listed() {
    let listed = text(&plan("--list"));
    for name in ["windows", "networkd", "direct-access-manage-out", "direct-access-native"] {
        assert!(listed.lines().any(|line| line.split_whitespace().nth(1) == Some(name)), "{listed}");
    }
    let guide = plan(
        "recipe direct-access-native --server 131.107.0.2 --interface Intranet --address 2002:836b:2:3333::2/64 \
         --client client1 --for powershell",
    );
    assert_eq!(guide.status.code(), Some(0), "{guide:?}");
    assert!(text(&guide).contains("-DestinationPrefix 2002:836b:2:1000::/64 -InterfaceAlias Intranet"));
}

#[test]
fn the_end_of_a_tunnel_is_no_host_of_its_router_too() {
    let both = TUNNEL.replace("10.0.0.1", "192.0.2.1");
    let file = File::new("both.toml", &both);
    let output = plan(&format!("{} --link isatap0 --local 192.0.2.9", file.0.display()));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let told = "192.0.2.9 cannot be an ISATAP host of this router: tun6in4 takes all protocol 41 between both";
    assert!(text(&output).contains(told), "{}", text(&output));
    let other = plan(&format!("{} --link isatap0 --local 192.0.2.10", file.0.display()));
    assert!(!text(&other).contains("cannot be an ISATAP host"), "{}", text(&other));
}

#[test]
fn a_plan_that_ends_with_its_process_has_nothing_to_take_back() {
    let file = File::new("process.toml", TUNNEL);
    let undo = plan(&format!("{} --for isatap --link isatap0 --local 10.0.0.2 --undo", file.0.display()));
    assert_eq!((undo.status.code(), text(&undo).starts_with("# Nothing to take back")), (Some(0), true), "{undo:?}");
}
