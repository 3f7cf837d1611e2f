//! Packets of a flow arrive as they were sent: what keeps it in the kernel takes none out of it.

use std::time::Duration;

use super::{REQUIRED, pair};
use crate::common::teredo::{Internet, our_client};
use crate::common::tunnel::THEIRS;
use crate::common::{Lab, Namespace, Node, PATIENCE, peers, status, wait_until};

/// 5,000 datagrams a second for longer than a row is good; those that came behind a later one, of the last 13 seconds.
const RECEIVE: &str = r#"
import socket, sys
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
SO_RCVBUFFORCE = 33
s.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 24)
s.bind(("::", 7))
last = late = seen = 0
while True:
    number = int.from_bytes(s.recv(64)[:4], "big")
    if number == 0:
        break
    if number > 10_000:
        seen += 1
        late += number < last
    last = max(last, number)
print(seen, late)
"#;
const SEND: &str = r#"
import socket, sys, time
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
to = (sys.argv[1], 7)
start = time.monotonic()
for number in range(1, 75_000):
    while time.monotonic() - start < number / 5_000:
        pass
    s.sendto(number.to_bytes(4, "big") + bytes(60), to)
for _ in range(20):
    time.sleep(0.1)
    s.sendto(bytes(64), to)
"#;

fn none_is_overtaken(from: &Namespace, to: &Namespace, address: &str) {
    let [send, receive] = [(from, "send.py", SEND), (to, "receive.py", RECEIVE)]
        .map(|(namespace, name, script)| namespace.file(name, script));
    let counted = to.directory().join("counted");
    to.start("receiver", &format!("sh -c 'exec python3 {receive} > {}'", counted.display()));
    wait_until("a receiver", PATIENCE, || to.succeeds("ss -uln | grep -q ':7 '"));
    let sent = from.run_for(Duration::from_secs(60), &format!("python3 {send} {address}"));
    assert_eq!(sent.status, 0, "{sent:#?}");
    let read = || std::fs::read_to_string(&counted).unwrap_or_default();
    wait_until("the end of it", PATIENCE, || !read().is_empty());
    let numbers: Vec<u64> = read().split_whitespace().map(|number| number.parse().unwrap()).collect();
    let [seen, late] = numbers[..] else { panic!("{numbers:?}") };
    assert!(seen > 50_000, "{seen} of 65,000 arrived");
    assert_eq!(late, 0, "of {seen}");
    for namespace in [from, to] {
        assert!(status(namespace, ".kernel_path | .sent + .received > 60000"), "the kernel carried few of them");
    }
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn no_packet_of_a_tunnel_is_overtaken() {
    let lab = Lab::new();
    let wire = lab.wire();
    let ([left, right], _daemons) = pair(&lab, &wire, REQUIRED);
    peers::ping(&left, THEIRS);
    none_is_overtaken(&left, &right, THEIRS);
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn no_packet_of_teredo_is_overtaken() {
    let lab = Lab::new();
    let internet = Internet::new(&lab);
    let _server = internet.our_server();
    let [left, right] = [("left", 1), ("right", 2)].map(|(name, number)| internet.host(name, number));
    let [_of_left, (_of_right, address)] = [&left, &right].map(|namespace| our_client(namespace, REQUIRED));
    let address = address.to_string();
    peers::ping(&left, &address);
    none_is_overtaken(&left, &right, &address);
}
