//! Who answers for names: systemd-resolved by LLMNR, Samba's nmbd by NetBIOS, and forgers.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::{Namespace, Node, PATIENCE, wait_until};

/// Where `.ci/run` unpacks systemd-resolved and samba, which would take the machine's resolv.conf and
/// start services if they were installed. Without it those of the machine are taken.
pub const UNPACKED: &str = "ISATAP_PEERS";

/// The group and port of LLMNR.
pub const LLMNR_GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 252);
pub const LLMNR: u16 = 5355;
/// The port of the NetBIOS name service.
pub const NETBIOS: u16 = 137;

/// systemd-resolved as a machine of this name: it asks and answers by LLMNR, and has no DNS.
pub fn resolved(node: &Namespace, host_name: &str) {
    let root = std::env::var(UNPACKED).unwrap_or_default();
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let groups = std::fs::read_to_string("/etc/group").unwrap();
    let others = |text: &str| -> String {
        let kept = text.lines().filter(|line| !line.starts_with("systemd-resolve:"));
        kept.flat_map(|line| [line, "\n"]).collect()
    };
    let passwd = node.file("passwd", &format!("{}systemd-resolve:x:64995:64995::/:/bin/false\n", others(&users)));
    let group = node.file("group", &format!("{}systemd-resolve:x:64995:\n", others(&groups)));
    let bus = node.file(
        "bus.conf",
        "<busconfig><type>system</type><listen>unix:path=/run/dbus/system_bus_socket</listen><auth>EXTERNAL</auth>\
         <policy context=\"default\"><allow user=\"*\"/><allow own=\"*\"/><allow send_destination=\"*\"/>\
         <allow receive_sender=\"*\"/></policy></busconfig>",
    );
    let script = node.file(
        "resolved.sh",
        &format!(
            "set -e\n\
             mount -t tmpfs none /run\n\
             mount --bind {passwd} /etc/passwd; mount --bind {group} /etc/group\n\
             mkdir -p /run/dbus /run/systemd/resolved.conf.d\n\
             install -d -o 64995 -g 64995 /run/systemd/resolve\n\
             printf '[Resolve]\\nLLMNR=yes\\nMulticastDNS=no\\nDNSStubListener=no\\nFallbackDNS=\\n' \
             >/run/systemd/resolved.conf.d/test.conf\n\
             hostname {host_name}\n\
             dbus-daemon --config-file={bus} --fork --nopidfile\n\
             exec {root}/lib/systemd/systemd-resolved\n"
        ),
    );
    node.start("resolved", &format!("unshare --mount --uts bash {script}"));
    wait_until("systemd-resolved to listen", PATIENCE, || node.succeeds("ss -lnu | grep -q :5355"));
}

/// The folder of a library that `.ci/run` unpacks, or this machine has.
#[track_caller]
pub fn library_folder(library: &str) -> String {
    let root = std::env::var(UNPACKED).unwrap_or_else(|_| "/usr/lib".to_owned());
    let output = std::process::Command::new("find").args([&root, "-name", library, "-printf", "%h"]).output().unwrap();
    let folder = String::from_utf8(output.stdout).unwrap();
    assert!(!folder.is_empty(), "{root} has no {library}: see UNPACKED_PEERS in .ci/run");
    folder
}

/// What systemd-resolved makes of a name; its exit status too.
pub fn resolvectl(node: &Namespace, arguments: &str) -> super::Output {
    let root = std::env::var(UNPACKED).unwrap_or_default();
    let pid = node.directory().join("resolved.log.pid");
    node.run(&format!(
        "nsenter --mount --target $(cat {}) {root}/usr/bin/resolvectl --no-pager {arguments}",
        pid.display()
    ))
}

/// nmbd as a machine of this name; `extra` are lines of its `[global]` section.
pub fn nmbd(node: &Namespace, name: &str, extra: &str) {
    let folder = node.directory().join("samba");
    std::fs::create_dir_all(&folder).unwrap();
    let folder = folder.display();
    let configuration = node.file(
        "smb.conf",
        &format!(
            "[global]\nnetbios name = {name}\nworkgroup = SITE\ninterfaces = eth0\nlock directory = {folder}\n\
             state directory = {folder}\ncache directory = {folder}\npid directory = {folder}\n\
             private dir = {folder}\nncalrpc dir = {folder}/rpc\nlog file = {folder}/log\n\
             local master = no\n{extra}\n"
        ),
    );
    let root = std::env::var(UNPACKED).unwrap_or_default();
    node.start("nmbd", &format!("{root}/usr/sbin/nmbd -F --no-process-group -s {configuration} --debug-stdout -d 3"));
    wait_until("nmbd to listen", PATIENCE, || node.succeeds("ss -lnu | grep -q ':137 '"));
}

/// Samba's question for a NetBIOS name; the addresses that it prints.
pub fn nmblookup(node: &Namespace, arguments: &str) -> Vec<Ipv4Addr> {
    let configuration = node.file("client.conf", "[global]\nnetbios name = ASKER\ninterfaces = eth0\n");
    let text = node.run(&format!("nmblookup -s {configuration} {arguments}")).text;
    let address = |line: &str| line.split_once(' ').filter(|(_, name)| name.contains('<'))?.0.parse().ok();
    text.lines().filter_map(address).collect()
}

/// A responder of the test's own; gone with the value.
pub struct Forger {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// What a forger answers, and whether from the port that was asked.
pub type Forged = Vec<(Vec<u8>, bool)>;

impl Forger {
    /// Hears what comes to a port of a machine with this address, groups and broadcasts too.
    pub fn udp(
        node: &Namespace,
        address: Ipv4Addr,
        port: u16,
        mut answer: impl FnMut(&[u8]) -> Forged + Send + 'static,
    ) -> Self {
        let (socket, other) = node.inside(|| {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap();
            socket.join_multicast_v4(&LLMNR_GROUP, &address).unwrap();
            (socket, UdpSocket::bind((address, 0)).unwrap())
        });
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        Self::run(move |stop| {
            let mut buffer = [0; 2048];
            while !stop.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
                for (bytes, from_port) in answer(&buffer[..length]) {
                    let sender = if from_port { &socket } else { &other };
                    sender.send_to(&bytes, from).unwrap();
                }
            }
        })
    }

    /// Answers questions by TCP as the DNS does: each message behind its length.
    pub fn tcp(node: &Namespace, port: u16, mut answer: impl FnMut(&[u8]) -> Vec<u8> + Send + 'static) -> Self {
        let listener = node.inside(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap());
        listener.set_nonblocking(true).unwrap();
        Self::run(move |stop| {
            while !stop.load(Ordering::Relaxed) {
                let Ok((mut stream, _)) = listener.accept() else {
                    thread::sleep(Duration::from_millis(5));
                    continue;
                };
                stream.set_nonblocking(false).unwrap();
                let mut length = [0; 2];
                stream.read_exact(&mut length).unwrap();
                let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
                stream.read_exact(&mut question).unwrap();
                let bytes = answer(&question);
                let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
                stream.write_all(&[&length[..], &bytes].concat()).unwrap();
            }
        })
    }

    fn run(work: impl FnOnce(&AtomicBool) + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let of_thread = stop.clone();
        Self { stop, threads: vec![thread::spawn(move || work(&of_thread))] }
    }
}

impl Drop for Forger {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended: Vec<_> = self.threads.drain(..).map(JoinHandle::join).collect();
        assert!(thread::panicking() || ended.iter().all(Result::is_ok), "a forger has failed");
    }
}

/// An LLMNR answer to a query, with the flags of the second word and these addresses.
pub fn llmnr_answer(query: &[u8], flags: u16, addresses: &[[u8; 4]]) -> Vec<u8> {
    let mut answer = query[..2].to_vec();
    answer.extend(flags.to_be_bytes());
    answer.extend([0, 1]);
    answer.extend(u16::try_from(addresses.len()).unwrap().to_be_bytes());
    answer.extend([0, 0, 0, 0]);
    // isatap, type and class.
    answer.extend(&query[12..12 + 8 + 4]);
    for address in addresses {
        answer.extend([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 30, 0, 4]);
        answer.extend(address);
    }
    answer
}

/// A NetBIOS answer to a query: flags, TTL and the entries' flags and addresses.
pub fn netbios_answer(query: &[u8], flags: u16, ttl: u32, entries: &[(u16, [u8; 4])]) -> Vec<u8> {
    let mut answer = query[..2].to_vec();
    answer.extend(flags.to_be_bytes());
    answer.extend([0, 0, 0, 1, 0, 0, 0, 0]);
    answer.extend(&query[12..12 + 34]);
    answer.extend([0, 0x20, 0, 1]);
    answer.extend(ttl.to_be_bytes());
    answer.extend(u16::try_from(entries.len() * 6).unwrap().to_be_bytes());
    for (flags, address) in entries {
        answer.extend(flags.to_be_bytes());
        answer.extend(address);
    }
    answer
}
