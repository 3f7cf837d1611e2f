//! Packets at a chosen rate from a thread of the test, until it is stopped.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::Namespace;

/// A flood; stopped when dropped.
pub struct Flood {
    shared: Arc<Shared>,
    begin: Instant,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    /// Packets a second.
    rate: AtomicU32,
    sent: AtomicU64,
    stop: AtomicBool,
}

/// Who had to wait for a processor does not make up for more than this: in one burst it would
/// only overrun the kernel's queues.
const ARREARS: Duration = Duration::from_millis(20);

impl Flood {
    /// Sends whole IPv4 or IPv6 packets, `rate` a second; `write` writes the one of a number
    /// over the one before.
    pub fn start(from: &Namespace, rate: u32, mut write: impl FnMut(u64, &mut Vec<u8>) + Send + 'static) -> Self {
        let shared = Arc::new(Shared { rate: rate.into(), ..Shared::default() });
        let told = shared.clone();
        let mut packet = Vec::new();
        write(0, &mut packet);
        let raw = from.inside(|| raw_socket(&packet));
        let body = move || {
            let (mut due, mut last, mut number) = (0.0_f64, Instant::now(), 0);
            while !told.stop.load(Ordering::Relaxed) {
                let rate = f64::from(told.rate.load(Ordering::Relaxed));
                due += last.elapsed().min(ARREARS).as_secs_f64() * rate;
                last = Instant::now();
                while due >= 1.0 {
                    due -= 1.0;
                    write(number, &mut packet);
                    number += 1;
                    let sent = raw.send_to(&packet, &destination(&packet)).is_ok();
                    told.sent.fetch_add(u64::from(sent), Ordering::Relaxed);
                }
                thread::sleep(Duration::from_millis(1));
            }
        };
        Self { shared, begin: Instant::now(), thread: Some(thread::spawn(body)) }
    }

    /// From here on half as many a second; how many that are.
    pub fn halve(&self) -> u32 {
        self.shared.rate.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |rate| Some(rate / 2)).unwrap() / 2
    }

    /// Ends it: how many were sent, and how many a second that were in truth.
    pub fn stop(mut self) -> (u64, f64) {
        self.end();
        let sent = self.shared.sent.load(Ordering::Relaxed);
        (sent, sent as f64 / self.begin.elapsed().as_secs_f64())
    }

    fn end(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.end();
    }
}

/// A socket for packets like this one, header and all.
pub fn raw_socket(packet: &[u8]) -> Socket {
    let domain = if packet[0] >> 4 == 4 { Domain::IPV4 } else { Domain::IPV6 };
    Socket::new(domain, Type::RAW, Some(Protocol::from(libc::IPPROTO_RAW))).unwrap()
}

/// Where a packet goes by its header.
pub fn destination(packet: &[u8]) -> SockAddr {
    if packet[0] >> 4 == 4 {
        let address: [u8; 4] = packet[16..20].try_into().unwrap();
        SocketAddrV4::new(Ipv4Addr::from(address), 0).into()
    } else {
        let address: [u8; 16] = packet[24..40].try_into().unwrap();
        SocketAddrV6::new(Ipv6Addr::from(address), 0, 0, 0).into()
    }
}
