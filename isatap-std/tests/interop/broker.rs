//! A tunnel broker that speaks dyndns2: Python's HTTP server behind HAProxy's TLS, which changes the
//! kernel's end of the tunnel.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use crate::common::{Daemon, Lab, Namespace, Node, PATIENCE, isatap, isatap_binary, peers, status, wait_until};

const PASSWORD: &str = "s3cret:word";
const NAME: &str = "broker.example";

/// The broker's program: it takes the tunnel 123 of the user `me`, the tunnel `slow` after 4 seconds, and for other
/// ones answers what they are called. It writes the address into the file that is its first argument, in one go.
const BROKER: &str = r#"
import base64, http.server, os, sys, time, urllib.parse
known = None
class Broker(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        global known
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        source = self.headers.get("X-Forwarded-For", self.client_address[0])
        address, tunnel = query.get("myip", [source])[0], query["hostname"][0]
        print("asked for", address, flush=True)
        if tunnel == "slow":
            time.sleep(4)
            tunnel = "123"
        login = "Basic " + base64.b64encode(b"me:s3cret:word").decode()
        if self.headers.get("Authorization") != login:
            answer = "badauth"
        elif tunnel != "123":
            answer = tunnel
        else:
            answer = ("nochg " if known == address else "good ") + address
            known = address
            with open(sys.argv[1] + ".new", "w") as file:
                print(address, file=file)
            os.rename(sys.argv[1] + ".new", sys.argv[1])
        print("call from", source, "for", address, "is", answer, flush=True)
        body = answer.encode() + b"\r\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("", 8080), Broker).serve_forever()
"#;

/// A broker with the file of its CA's certificate, and a machine on its wire that knows it by name.
fn neighbors(lab: &Lab) -> (Namespace, String, Namespace) {
    let wire = lab.wire();
    let [broker, ours] = [("broker", 2), ("ours", 1)].map(|(name, number)| {
        let namespace = lab.namespace(name);
        wire.join(&namespace, "eth0", &format!("192.0.2.{number}/24"));
        namespace
    });
    let authority = start(&broker, &broker.directory().join("endpoint"));
    ours.etc("hosts", &format!("192.0.2.2 {NAME}\n"));
    (broker, authority, ours)
}

/// Starts it, with TLS at port 443; gives the file with its CA's certificate.
fn start(node: &Namespace, endpoint: &Path) -> String {
    let program = node.file("broker.py", BROKER);
    node.start("broker", &format!("python3 {program} {}", endpoint.display()));
    let folder = node.directory();
    let folder = folder.display();
    node.ok(&format!(
        "set -e; cd {folder}; key='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2'; \
         openssl req -x509 $key -keyout ca.key -out ca.pem -subj /CN=ca; \
         openssl req $key -keyout broker.key -out broker.csr -subj /CN=broker; \
         echo subjectAltName=DNS:{NAME} >names; \
         openssl x509 -req -in broker.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out broker.crt; \
         cat broker.crt broker.key >broker.pem"
    ));
    let text = format!(
        "defaults\n mode http\n timeout client 20s\n timeout server 20s\n timeout connect 5s\n\
         frontend tls\n bind :443 ssl crt {folder}/broker.pem\n option forwardfor\n default_backend broker\n\
         backend broker\n server python 127.0.0.1:8080\n"
    );
    let file = node.file("haproxy.cfg", &text);
    node.start("haproxy", &format!("haproxy -db -f {file}"));
    wait_until("the broker", PATIENCE, || node.succeeds("ss -ltn | grep -q :443 && ss -ltn | grep -q :8080"));
    format!("{folder}/ca.pem")
}

/// What the tunnel server does with the addresses that the broker gives it.
const FOLLOW: &str = "while sleep 0.2; do address=$(cat /run/share/endpoint 2>/dev/null) && [ \"$address\" != \"$last\" ] && \
    ip tunnel change p2p local 192.0.2.2 remote $address && last=$address; done";

/// What the broker was called for, a line a call.
fn calls(broker: &Namespace) -> Vec<String> {
    broker.log("broker").lines().filter(|line| line.starts_with("call ")).map(str::to_owned).collect()
}

/// A node's file with one tunnel.
fn node(ours: &Namespace, keys: &str) -> String {
    let text = format!("[[tunnel]]\nvia = \"eth0\"\nremote = \"192.0.2.9\"\naddress = \"2001:db8:77::1/64\"\n{keys}");
    ours.file("node.toml", &text)
}

fn login(node: &Namespace, text: &str) -> String {
    let file = node.file("login", text);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    file
}

/// The tunnel's other end is a kernel that has no address of ours but what the broker tells it.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_broker_is_called_when_the_address_changes_and_the_tunnel_goes_on() {
    let lab = Lab::new();
    let wire = lab.wire();
    let kernel = lab.guest("kernel", &[&wire]);
    peers::ipv4(&kernel, "192.0.2.2/24");
    peers::point_to_point(&kernel, "192.0.2.2", "192.0.2.99", "2001:db8:77::2".parse().unwrap());
    let follow = kernel.file("follow.sh", FOLLOW);
    kernel.start("follow", &format!("sh {follow}"));
    let broker = lab.namespace("broker");
    wire.join(&broker, "eth0", "192.0.2.3/24");
    let authority = start(&broker, &kernel.shared().join("endpoint"));
    let ours = lab.namespace("ours");
    wire.join(&ours, "eth0", "192.0.2.1/24");
    ours.etc("hosts", &format!("192.0.2.3 {NAME}\n"));
    let login = login(&ours, &format!("me:{PASSWORD}\n"));
    let capture = wire.capture("tcp port 443");
    let options = format!("--update-url https://{NAME}/nic/update?hostname=123 --update-login {login}");
    let mut daemon = Daemon::isatap(
        &ours,
        &format!(
            "tunnel --via eth0 --remote 192.0.2.2 --address 2001:db8:77::1/64 {options} --update-ca {authority} --user nobody"
        ),
    );
    daemon.wait_for_line(&format!("the tunnel broker {NAME} answers for 192.0.2.1: good 192.0.2.1"), PATIENCE);
    let works = || {
        wait_until("the tunnel", PATIENCE, || ours.succeeds("ping -6 -n -c 1 -W 1 2001:db8:77::2"));
        peers::ping(&kernel, "2001:db8:77::1");
    };
    works();

    ours.ok("ip address delete 192.0.2.1/24 dev eth0 && ip address add 192.0.2.7/24 dev eth0");
    daemon.wait_for_line(&format!("the tunnel broker {NAME} answers for 192.0.2.7: good 192.0.2.7"), PATIENCE);
    works();
    // That the other end was silent meanwhile is no reason to call any more.
    wait_until("its status", PATIENCE, || {
        status(
            &ours,
            ".update | .host == \"broker.example\" and .address == \"192.0.2.7\" and .answer == \"good 192.0.2.7\" and \
         .failure == null and .again == null",
        )
    });
    assert!(isatap(&ours, "status").text.contains(&format!("tunnel broker {NAME} has 192.0.2.7: good 192.0.2.7")));
    // The doctor says so, and calls nobody for that.
    let doctor = isatap(&ours, "doctor");
    assert!(doctor.text.contains(&format!("broker   {NAME} has 192.0.2.7: good 192.0.2.7, ")), "{doctor:#?}");
    // A person may ask; nobody else does.
    assert!(isatap(&ours, "solicit tun6in4").success());
    daemon.wait_for_line("answers for 192.0.2.7: nochg 192.0.2.7", PATIENCE);
    assert_eq!(
        calls(&broker),
        [
            "call from 192.0.2.1 for 192.0.2.1 is good 192.0.2.1",
            "call from 192.0.2.7 for 192.0.2.7 is good 192.0.2.7",
            "call from 192.0.2.7 for 192.0.2.7 is nochg 192.0.2.7",
        ]
    );

    // The password is for the broker alone.
    let told = daemon.output() + &isatap(&ours, "status").text + &isatap(&ours, "status -j").text;
    let shown = fs::read_to_string(format!("/proc/{}/cmdline", daemon.id())).unwrap();
    assert!(!told.contains("s3cret") && !shown.contains("s3cret"), "{told}");
    assert_eq!(capture.so_far().count("http"), 0);
    assert!(daemon.terminate(PATIENCE).success());
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_broker_that_refuses_is_left_alone_until_something_is_configured() {
    let lab = Lab::new();
    let (broker, authority, ours) = neighbors(&lab);
    let file = login(&ours, "me:wrong\n");
    let node =
        |url: &str, more: &str| node(&ours, &format!("update-url = \"{url}\"\nupdate-login = \"{file}\"\n{more}"));
    let ca = format!("update-ca = \"{authority}\"\n");
    let url = |tunnel: &str| format!("https://{NAME}/nic/update?hostname={tunnel}&myip={{address}}");
    for (url, more, why) in [
        (url("abuse"), &ca, "it has locked this tunnel for too many calls (abuse); it is not called again"),
        (url("911"), &ca, "it has a problem (911); it is called again in 1800 s"),
        (url("123"), &String::new(), "invalid peer certificate: UnknownIssuer; it is called again in 10 s"),
        (url("123").replace(NAME, "192.0.2.2"), &ca, "invalid peer certificate: "),
        (url("123").replace(NAME, "192.0.2.2:444"), &ca, "calling 192.0.2.2:444: Connection refused"),
        (
            url("123").replace("https", "http").replace(NAME, "192.0.2.2:443"),
            &String::new(),
            "it hung up before it answered",
        ),
        (url("123").replace(NAME, "nobody.example"), &ca, "no IPv4 address of nobody.example"),
    ] {
        login(&ours, &format!("me:{PASSWORD}\n"));
        let mut daemon = Daemon::start(&ours, "run", isatap_binary(), &["run", &node(&url, more)]);
        let line = daemon.wait_for_line(" does not take 192.0.2.1: ", PATIENCE);
        assert!(line.contains("warning: ") && line.contains(why), "{line}");
        assert!(status(&ours, ".update | (.failure | length > 0) and (.fix | length > 0)"));
        // The doctor says so, and has nobody called for that. It takes its time with the other end.
        if why.contains("(abuse)") || why.contains("UnknownIssuer") {
            let finding =
                "select(.step == \"broker\" and .ok == false) | (.cause | length > 0) and (.fix | length > 0)";
            let before = calls(&broker).len();
            assert!(ours.succeeds(&format!("{} doctor -j | jq -e '{finding}'", isatap_binary())), "{url}");
            assert_eq!(calls(&broker).len(), before);
        }
        assert!(daemon.terminate(PATIENCE).success());
    }

    login(&ours, "me:wrong\n");
    let before = calls(&broker).len();
    let url = url("123").replace("https", "http").replace(NAME, &format!("{NAME}:8080"));
    let mut daemon = Daemon::start(&ours, "run", isatap_binary(), &["run", "--verbose", &node(&url, "")]);
    daemon.wait_for_line("update-url sends the password unencrypted", PATIENCE);
    daemon.wait_for_line("the user name or the password is wrong (badauth)", PATIENCE);
    ours.ok("ip address delete 192.0.2.1/24 dev eth0 && ip address add 192.0.2.7/24 dev eth0");
    // Told where the daemon looks between the two, or behind both.
    daemon.wait_for_line("tun6in4: sends from 192.0.2.7", PATIENCE);
    // Longer than a change would wait after the last call.
    std::thread::sleep(Duration::from_secs(12));
    assert_eq!(calls(&broker).len(), before + 1);
    // TUN-67: the link is another, and not what the broker has refused.
    node(&url, "mtu = 1400\n");
    daemon.signal("HUP");
    daemon.wait_for_line("tun6in4: the tunnel broker broker.example has refused, and is not called: ", PATIENCE);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(calls(&broker).len(), before + 1);
    assert!(status(&ours, ".mtu == 1400 and (.update.failure | contains(\"badauth\")) and .update.again == null"));
    // The password is another, and nothing else.
    login(&ours, &format!("me:{PASSWORD}\n"));
    daemon.signal("HUP");
    daemon.wait_for_line(&format!("the tunnel broker {NAME} answers for 192.0.2.7: good 192.0.2.7"), PATIENCE);
    assert_eq!(calls(&broker).last().unwrap(), "call from 192.0.2.7 for 192.0.2.7 is good 192.0.2.7");
    assert!(daemon.terminate(PATIENCE).success());
    // A file that everybody may read is refused, with its place.
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let refused = ours.run(&format!("{} run {}", isatap_binary(), ours.directory().join("node.toml").display()));
    assert_eq!(refused.status, 1);
    let why = format!("cannot use the password in {file}: everybody may read the file; chmod 640 {file}");
    assert!(refused.text.contains("node.toml:") && refused.text.contains(&why), "{refused:?}");
    // So is one that others may have written, by whoever reads it; the CA's certificate too.
    let check = |owner: u32, mode: u32, text: &str| {
        fs::write(&file, text).unwrap();
        std::os::unix::fs::chown(&file, Some(owner), None).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        ours.run(&format!("{} config check {}", isatap_binary(), ours.directory().join("node.toml").display()))
    };
    let good = format!("me:{PASSWORD}\n");
    assert!(check(0, 0o640, &good).success());
    for (owner, mode, why) in [
        (0, 0o660, format!("cannot use the password in {file}: others may write to it; chmod go-w {file}")),
        (4711, 0o600, format!("cannot use the password in {file}: it belongs to another user; chown root {file}")),
    ] {
        let refused = check(owner, mode, &good);
        assert_eq!(refused.status, 3);
        assert!(refused.text.contains("node.toml:") && refused.text.contains(&why), "{refused:?}");
    }
    // The user that the daemon becomes may keep its own file.
    let user = ours.file("user.toml", &format!("user = \"nobody\"\n{}", fs::read_to_string(node(&url, "")).unwrap()));
    std::os::unix::fs::chown(&file, Some(65_534), None).unwrap();
    let mut daemon = Daemon::start(&ours, "run", isatap_binary(), &["run", "--verbose", &user]);
    daemon.wait_for_line("answers for 192.0.2.7: ", PATIENCE);
    assert!(daemon.terminate(PATIENCE).success());
}

/// The slow broker takes the old address while a reload has changed URL and address; the new call waits for that.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn tun_66_a_reload_during_a_call_has_the_new_address_told_last() {
    let lab = Lab::new();
    let (broker, _, ours) = neighbors(&lab);
    let endpoint = broker.directory().join("endpoint");
    let file = login(&ours, &format!("me:{PASSWORD}\n"));
    let keys = |tunnel: &str| {
        let url = format!("http://192.0.2.2:8080/nic/update?hostname={tunnel}");
        format!("update-url = \"{url}\"\nupdate-login = \"{file}\"\n")
    };
    let mut daemon = Daemon::start(&ours, "run", isatap_binary(), &["run", "--verbose", &node(&ours, &keys("slow"))]);
    wait_until("a call", PATIENCE, || broker.log("broker").contains("asked for 192.0.2.1"));
    ours.ok("ip address delete 192.0.2.1/24 dev eth0 && ip address add 192.0.2.7/24 dev eth0");
    node(&ours, &keys("123"));
    daemon.signal("HUP");
    daemon.wait_for_line("tun6in4: the tunnel broker 192.0.2.2 answers for 192.0.2.7: good 192.0.2.7", PATIENCE);
    assert_eq!(calls(&broker).last().unwrap(), "call from 192.0.2.7 for 192.0.2.7 is good 192.0.2.7");
    assert_eq!(fs::read_to_string(&endpoint).unwrap(), "192.0.2.7\n");
    // The end waits for no broker.
    node(&ours, &keys("slow"));
    daemon.signal("HUP");
    let asked = || broker.log("broker").matches("asked for").count();
    wait_until("the slow call", PATIENCE, || asked() == 3);
    assert!(daemon.terminate(PATIENCE).success());
    assert_eq!(calls(&broker).len(), 2, "it has not answered");
}

/// The routes lead to where no broker is.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_call_leaves_by_the_device_that_the_tunnel_is_bound_to() {
    let lab = Lab::new();
    let wires = [lab.wire(), lab.wire()];
    let broker = lab.namespace("broker");
    wires[1].join(&broker, "eth0", "198.51.100.2/24");
    broker.ok("ip address add 203.0.113.3/32 dev eth0");
    start(&broker, &broker.directory().join("endpoint"));
    let ours = lab.namespace("ours");
    wires[0].join(&ours, "eth0", "192.0.2.1/24");
    wires[1].join(&ours, "eth1", "198.51.100.1/24");
    ours.ok("ip route add 203.0.113.3 via 192.0.2.9 metric 1 && ip route add 203.0.113.3 via 198.51.100.2 metric 2");
    let file = login(&ours, &format!("me:{PASSWORD}\n"));
    let elsewhere = wires[0].capture("host 203.0.113.3 or arp host 192.0.2.9");
    let mut daemon = Daemon::isatap(
        &ours,
        &format!(
            "tunnel --local 198.51.100.1 --remote 198.51.100.9 --address 2001:db8:77::1/64 --bind-device eth1 --user nobody \
             --update-url http://203.0.113.3:8080/nic/update?hostname=123 --update-login {file}"
        ),
    );
    daemon.wait_for_line("answers for 198.51.100.1: good 198.51.100.1", PATIENCE);
    assert_eq!(calls(&broker), ["call from 198.51.100.1 for 198.51.100.1 is good 198.51.100.1"]);
    assert_eq!(elsewhere.so_far().count("ip or arp"), 0);
    assert!(daemon.terminate(PATIENCE).success());
}

/// As where ca-certificates is installed, or a site's own CA is added, while the daemon runs.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_ca_that_the_system_comes_to_believe_is_believed_without_a_restart() {
    const SYSTEM: &str = "ssl/certs/ca-certificates.crt";
    let lab = Lab::new();
    let (_broker, authority, ours) = neighbors(&lab);
    let other = ours.directory().join("other.pem");
    ours.ok(&format!(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=other -keyout /dev/null \
         -out {}",
        other.display()
    ));
    ours.etc(SYSTEM, &fs::read_to_string(other).unwrap());
    let file = login(&ours, &format!("me:{PASSWORD}\n"));
    let mut daemon = Daemon::isatap(
        &ours,
        &format!(
            "tunnel --via eth0 --remote 192.0.2.9 --address 2001:db8:77::1/64 --user nobody \
             --update-url https://{NAME}/nic/update?hostname=123 --update-login {file}"
        ),
    );
    daemon.wait_for_line("invalid peer certificate: UnknownIssuer", PATIENCE);
    ours.etc(SYSTEM, &fs::read_to_string(authority).unwrap());
    // The call after 10 seconds fails, and has the certificates read again for the one 20 seconds later.
    daemon.wait_for_line(&format!("the tunnel broker {NAME} answers for 192.0.2.1: good"), 2 * PATIENCE);
    assert!(daemon.terminate(PATIENCE).success());
}
