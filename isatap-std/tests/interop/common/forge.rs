//! Packets that no well-behaved machine sends, from a namespace that has no tunnel.

use std::time::Duration;

use super::{Namespace, Node};

/// An ICMPv6 echo request in protocol 41.
pub struct Forged<'a> {
    pub outer: [&'a str; 2],
    /// Options of the outer header, in whole words.
    pub options: &'a [u8],
    /// Inner source and destination.
    pub inner: [&'a str; 2],
}

impl Forged<'_> {
    /// Sends it once. The kernel writes the outer checksum and looks at no option.
    #[track_caller]
    pub fn send(&self, from: &Namespace) {
        assert_eq!(self.run(from, 0), 0);
    }

    /// Sends it five times a second until an answer comes, which must be within `limit`.
    pub fn is_answered(&self, from: &Namespace, limit: Duration) -> bool {
        match self.run(from, limit.as_secs()) {
            0 => true,
            3 => false,
            other => panic!("the sender ended with {other}"),
        }
    }

    fn run(&self, from: &Namespace, seconds: u64) -> i32 {
        let script = from.file("forge.py", SCRIPT);
        let options: String = self.options.iter().map(|byte| format!("{byte:02x}")).collect();
        let [(outer_source, outer_destination), (inner_source, inner_destination)] =
            [self.outer, self.inner].map(|[source, destination]| (source, destination));
        let command = format!(
            "python3 {script} {outer_source} {outer_destination} {inner_source} {inner_destination} {seconds} {options}"
        );
        let output = from.run_for(Duration::from_secs(seconds + 20), &command);
        assert!([0, 3].contains(&output.status), "{output:#?}");
        output.status
    }
}

const SCRIPT: &str = r#"
import os, socket, struct, sys, time
outer_source, outer_destination, source, destination, seconds = sys.argv[1:6]
options = bytes.fromhex(sys.argv[6]) if len(sys.argv) > 6 else b""

def checksum(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff

v4, v6 = (lambda text: socket.inet_aton(text)), (lambda text: socket.inet_pton(socket.AF_INET6, text))
name = os.urandom(8)
message = bytes([128, 0, 0, 0]) + name
pseudo = v6(source) + v6(destination) + struct.pack("!II", len(message), 58)
message = message[:2] + struct.pack("!H", checksum(pseudo + message)) + message[4:]
inner = struct.pack("!IHBB", 6 << 28, len(message), 58, 64) + v6(source) + v6(destination) + message
words = 5 + len(options) // 4
packet = struct.pack("!BBHHHBBH", 0x40 | words, 0, words * 4 + len(inner), 0, 0, 64, 41, 0)
packet += v4(outer_source) + v4(outer_destination) + options + inner

answers = socket.socket(socket.AF_INET, socket.SOCK_RAW, 41)
answers.settimeout(0.2)
sender = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
until = time.monotonic() + float(seconds)
while True:
    sender.sendto(packet, (outer_destination, 0))
    if seconds == "0":
        sys.exit(0)
    try:
        if name in answers.recv(65536)[-8:]:
            sys.exit(0)
    except TimeoutError:
        pass
    if time.monotonic() > until:
        sys.exit(3)
"#;
