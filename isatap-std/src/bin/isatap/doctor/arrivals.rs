//! What reaches this machine's devices of protocol 41, in front of every firewall.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use isatap_std::doctor::Arrived;
use isatap_std::netlink::Netlink;
use nix::sys::socket::{LinkAddr, recvfrom};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

/// Listens from its making to [`end`](Self::end).
pub(super) struct Arrivals {
    over: Arc<AtomicBool>,
    listener: JoinHandle<BTreeMap<(Ipv4Addr, usize), u64>>,
}

/// How long the end may have to be waited for.
const PAUSE: Duration = Duration::from_millis(50);

impl Arrivals {
    /// `None`: this process may not listen.
    pub(super) fn listen() -> Option<Self> {
        let every_protocol = i32::from(u16::try_from(libc::ETH_P_ALL).ok()?.to_be());
        let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(every_protocol))).ok()?;
        socket.attach_filter(&FILTER).ok()?;
        socket.set_read_timeout(Some(PAUSE)).ok()?;
        let over = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&over);
        let listener = thread::spawn(move || listen(&socket, &told));
        Some(Self { over, listener })
    }

    /// Who was heard.
    pub(super) fn end(self) -> Option<Vec<Arrived>> {
        self.over.store(true, Ordering::Relaxed);
        let found = self.listener.join().ok()?;
        let links = Netlink::open().ok()?.links().ok()?;
        let name = |index: usize| links.iter().find(|link| usize::try_from(link.index) == Ok(index));
        let arrived = found
            .into_iter()
            .filter_map(|((from, index), count)| Some(Arrived { from, device: name(index)?.name.clone(), count }));
        Some(arrived.collect())
    }
}

fn listen(socket: &Socket, over: &AtomicBool) -> BTreeMap<(Ipv4Addr, usize), u64> {
    const OUTGOING: u8 = libc::PACKET_OUTGOING;
    let mut found = BTreeMap::new();
    let mut packet = [0; 20];
    while !over.load(Ordering::Relaxed) {
        // Time over, most often; whatever else it is, the examination goes on without.
        let Ok((_, Some(from))) = recvfrom::<LinkAddr>(socket.as_raw_fd(), &mut packet) else { continue };
        if from.pkttype() != OUTGOING {
            let [.., a, b, c, d, _, _, _, _] = packet;
            *found.entry((Ipv4Addr::new(a, b, c, d), from.ifindex())).or_default() += 1;
        }
    }
    found
}

/// IPv4 packets of protocol 41, whatever the device's header in front.
const FILTER: [SockFilter; 6] = [
    // The protocol of the frame.
    filter(libc::BPF_LD | libc::BPF_H | libc::BPF_ABS, 0, 0, SKF_AD_PROTOCOL),
    filter(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 3, 0x0800),
    // That of the packet.
    filter(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 0, 0, 9),
    filter(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, 41),
    filter(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX),
    filter(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
];

/// `SKF_AD_OFF + SKF_AD_PROTOCOL` of <linux/filter.h>.
const SKF_AD_PROTOCOL: u32 = 0xffff_f000;

const fn filter(code: u32, yes: u8, no: u8, k: u32) -> SockFilter {
    SockFilter::new(code as u16, yes, no, k)
}
