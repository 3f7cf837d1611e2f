//! smoltcp: IPv4 and IPv6 on Ethernet, ARP, Neighbor Discovery, SLAAC, an ICMP, a UDP and a TCP socket
#![no_std]
#![no_main]

use core::hint::black_box;

use size::Static;
use size::board::setting;
use smoltcp::iface::{Config, Interface, SocketSet, SocketStorage};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::{icmp, tcp, udp};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, IpAddress, IpCidr, Ipv4Address};

static INTERFACE: Static<Interface> = Static::new();
static SOCKETS: Static<[SocketStorage<'static>; 3]> = Static::new();

#[unsafe(no_mangle)]
pub extern "C" fn _start() -> ! {
    let mut config = Config::new(EthernetAddress(setting([0; 6])).into());
    config.random_seed = setting(0);
    config.slaac = true;
    // SAFETY: a board starts once.
    let interface = unsafe { INTERFACE.make(|| Interface::new(config, &mut Board, now())) };
    // SAFETY: the same.
    let sockets = unsafe { SOCKETS.make(|| [SocketStorage::EMPTY; 3]) };
    interface.update_ip_addrs(|addresses| {
        let _ = addresses.push(IpCidr::new(IpAddress::Ipv4(Ipv4Address::from_bits(setting(0))), setting(24)));
    });
    let _ = interface.routes_mut().add_default_ipv4_route(Ipv4Address::from_bits(setting(0)));
    let mut sockets = SocketSet::new(&mut sockets[..]);
    let icmp = sockets.add(icmp::Socket::new(
        icmp::PacketBuffer::new(setting(&mut [][..]), setting(&mut [][..])),
        icmp::PacketBuffer::new(setting(&mut [][..]), setting(&mut [][..])),
    ));
    let udp = sockets.add(udp::Socket::new(
        udp::PacketBuffer::new(setting(&mut [][..]), setting(&mut [][..])),
        udp::PacketBuffer::new(setting(&mut [][..]), setting(&mut [][..])),
    ));
    let tcp = sockets.add(tcp::Socket::new(
        tcp::SocketBuffer::new(setting(&mut [][..])),
        tcp::SocketBuffer::new(setting(&mut [][..])),
    ));
    let _ = sockets.get_mut::<icmp::Socket<'_>>(icmp).bind(icmp::Endpoint::Ident(setting(0)));
    let _ = sockets.get_mut::<udp::Socket<'_>>(udp).bind(setting(0_u16));
    loop {
        interface.poll(now(), &mut Board, &mut sockets);
        let socket = sockets.get_mut::<icmp::Socket<'_>>(icmp);
        if let Ok((bytes, from)) = socket.recv() {
            black_box((bytes, from));
        }
        let _ = socket.send_slice(setting(&[]), setting(IpAddress::v4(0, 0, 0, 0)));
        let socket = sockets.get_mut::<udp::Socket<'_>>(udp);
        if let Ok((bytes, from)) = socket.recv() {
            black_box((bytes, from));
        }
        let _ = socket.send_slice(setting(&[]), (setting(IpAddress::v4(0, 0, 0, 0)), setting(0)));
        let socket = sockets.get_mut::<tcp::Socket<'_>>(tcp);
        match socket.state() {
            tcp::State::Closed if setting(true) => {
                let _ = socket.listen(setting(0_u16));
            }
            tcp::State::Closed => {
                let remote = (setting(IpAddress::v4(0, 0, 0, 0)), setting(0));
                let _ = socket.connect(interface.context(), remote, setting(0_u16));
            }
            tcp::State::CloseWait => socket.close(),
            _ => {
                let _ = socket.recv(|bytes| (black_box(bytes).len(), ()));
                let _ = socket.send_slice(setting(&[]));
            }
        }
        black_box(interface.poll_delay(now(), &sockets));
    }
}

fn now() -> Instant {
    Instant::from_micros(setting(0_i64))
}

/// An Ethernet port of which the optimiser knows nothing.
struct Board;

struct Frame;

impl Device for Board {
    type RxToken<'a> = Frame;
    type TxToken<'a> = Frame;

    fn receive(&mut self, _: Instant) -> Option<(Frame, Frame)> {
        setting(true).then_some((Frame, Frame))
    }

    fn transmit(&mut self, _: Instant) -> Option<Frame> {
        setting(true).then_some(Frame)
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        capabilities
    }
}

impl RxToken for Frame {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, use_frame: F) -> R {
        use_frame(setting(&[]))
    }
}

impl TxToken for Frame {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, use_frame: F) -> R {
        use_frame(setting(&mut [][..]).get_mut(..length).unwrap_or_default())
    }
}

/// smoltcp can panic; what it would say is not kept.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
