//! What crossed a wire: recorded by tcpdump, decoded by tshark.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::{Namespace, PATIENCE, wait_until};

/// A running tcpdump; see [`super::Wire::capture`].
pub struct Capture {
    tcpdump: Child,
    file: PathBuf,
}

impl Capture {
    pub(super) fn start(namespace: &Namespace, device: &str, filter: &str, file: PathBuf) -> Self {
        let log = file.with_extension("log");
        let tcpdump = namespace
            .command("tcpdump")
            // Without immediate mode the last packets stay in the kernel's buffer. With it each
            // packet takes a place of the longest length, and the default buffer has eight: it
            // has to be large, or packets are lost to a tcpdump that waits for a processor.
            .args(["--immediate-mode", "-s", "66000", "-B", "65536"])
            .args(["-U", "-n", "-Z", "root", "-i", device, "-w"])
            .arg(&file)
            .arg(filter)
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let capture = Self { tcpdump, file };
        wait_until("tcpdump", PATIENCE, || fs::read_to_string(&log).unwrap().contains("listening on"));
        capture
    }

    /// What has been recorded so far; recording goes on.
    pub fn so_far(&self) -> Packets {
        Packets::read(self.file.clone())
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = self.tcpdump.kill();
        let _ = self.tcpdump.wait();
    }
}

/// A recording, to be asked by tshark's display filters.
pub struct Packets {
    file: PathBuf,
}

impl Packets {
    /// Those of a file.
    pub fn read(file: PathBuf) -> Self {
        Self { file }
    }

    /// The fields (`ip.src`, `icmpv6.type`) of each packet that passes the filter. A field
    /// that occurs twice in a packet holds both values with a comma between them.
    #[track_caller]
    pub fn fields(&self, filter: &str, fields: &[&str]) -> Vec<Vec<String>> {
        self.fields_as(&[], filter, fields)
    }

    /// The same with further options of tshark's, such as how a port is decoded.
    #[track_caller]
    fn fields_as(&self, options: &[&str], filter: &str, fields: &[&str]) -> Vec<Vec<String>> {
        let mut tshark = Command::new("tshark");
        // The bytes of iperf3 are random, and tshark's guesses sometimes take them for a broken
        // packet of another protocol. It does not guess at a port that it has a protocol for.
        tshark.args(["-d", "tcp.port==5201-5202,data", "-d", "udp.port==5201,data"]);
        // tshark joins TCP segments, and reports an error of its own ("new fragment overlaps old
        // data") over some that arrive twice and out of order.
        tshark.args(["-o", "tcp.desegment_tcp_streams:FALSE"]);
        // tshark verifies these checksums only if asked. It is not asked about UDP's: a veth
        // carries outer datagrams whose checksum the kernel has left to the device.
        tshark.args(["-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE"]);
        tshark.args(options).arg("-n").arg("-r").arg(&self.file).args(["-Y", filter, "-T", "fields"]);
        tshark.args(fields.iter().flat_map(|field| ["-e", field]));
        let output = tshark.stdin(Stdio::null()).output().unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        // A file that ends within a packet is no mistake while tcpdump writes it.
        assert!(output.status.success() || complaint.contains("cut short"), "{filter}: {complaint}");
        let text = String::from_utf8_lossy(&output.stdout);
        text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
    }

    /// How many packets pass the filter.
    #[track_caller]
    pub fn count(&self, filter: &str) -> usize {
        self.fields(filter, &["frame.number"]).len()
    }

    /// Asserts that packets were recorded, and that none is malformed or has a wrong checksum.
    #[track_caller]
    pub fn assert_clean(&self) {
        self.assert_clean_as(&[]);
    }

    /// The same where UDP port `port` is Teredo too.
    #[track_caller]
    pub fn assert_clean_teredo(&self, port: u16) {
        self.assert_clean_as(&["-d", &teredo(port)]);
    }

    #[track_caller]
    fn assert_clean_as(&self, options: &[&str]) {
        // TCP's 0xffff stands for 0: the kernel completes checksums so, as does our daemon. Both
        // sum to the same.
        let wrong = "_ws.malformed || _ws.expert.severity == error || ipv6.plen_exceeds_framing || \
                     ip.checksum.status == \"Bad\" || icmpv6.checksum.status == \"Bad\" || \
                     (tcp.checksum.status == \"Bad\" && !tcp.checksum.ffff)";
        let wrong = self.fields_as(options, wrong, &["frame.number", "ip.src", "ip.dst", "_ws.expert.message"]);
        assert!(wrong.is_empty(), "{wrong:?}");
        // The first ones tell; of a stream all take seconds.
        assert!(!self.fields_as(&["-c", "100"], "ip", &["frame.number"]).is_empty(), "nothing was recorded");
    }

    /// How many packets are Teredo when UDP port `port` is.
    #[track_caller]
    pub fn count_teredo(&self, port: u16) -> usize {
        self.fields_as(&["-d", &teredo(port)], "teredo", &["frame.number"]).len()
    }
}

/// The value of `-d` that makes tshark decode a UDP port as Teredo.
fn teredo(port: u16) -> String {
    format!("udp.port=={port},teredo")
}
