//! The least that carries IPv6 in IPv4 from user space: one packet a system call, and a copy. It is
//! what the time of a tunnel in user space is made of when nobody saves any.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd;
use std::thread;

use socket2::{Domain, Protocol, Socket, Type};

use crate::Result;

nix::ioctl_write_ptr_bad!(
    /// Attaches to a device of this name, which is made where there is none.
    tun_set_iff,
    libc::TUNSETIFF,
    libc::ifreq
);

/// Protocol 41 between `local` and `remote` on the TUN device `device`, for ever. What goes out has a
/// thread for each of its queues; a raw socket has one for what comes in, whatever is done.
pub fn forward(device: &str, local: &str, remote: &str, queues: &str) -> Result<()> {
    let queues: usize = queues.parse()?;
    let tuns = (0..queues.max(1)).map(|_| tun(device, queues > 1)).collect::<Result<Vec<File>>>()?;
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(libc::IPPROTO_IPV6)))?;
    let address = |text: &str| -> Result<_> { Ok(SocketAddrV4::new(text.parse::<Ipv4Addr>()?, 0).into()) };
    socket.bind(&address(local)?)?;
    socket.connect(&address(remote)?)?;
    thread::scope(|scope| {
        for mut tun in &tuns {
            let socket = &socket;
            scope.spawn(move || {
                let mut buffer = [0; 65536];
                loop {
                    let length = tun.read(&mut buffer).expect("the device is there");
                    // What does not fit, and what nobody has room for, is lost.
                    let _ = socket.send(&buffer[..length]);
                }
            });
        }
        let mut buffer = [0; 65536];
        loop {
            let Ok(length) = (&socket).read(&mut buffer) else { continue };
            let header = usize::from(buffer[0] & 15) * 4;
            let _ = (&tuns[0]).write(&buffer[header.min(length)..length]);
        }
    })
}

/// A TUN device for packets alone, or a queue of it.
fn tun(device: &str, is_queue: bool) -> Result<File> {
    let file = OpenOptions::new().read(true).write(true).open("/dev/net/tun")?;
    // SAFETY: a request of integers and bytes, for which zeros are values.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(device.bytes().take(libc::IFNAMSIZ - 1)) {
        *to = from as libc::c_char;
    }
    let queue = if is_queue { libc::IFF_MULTI_QUEUE } else { 0 };
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI | queue) as libc::c_short;
    // SAFETY: the request lives through the call, and the kernel writes no more than one.
    unsafe { tun_set_iff(file.as_raw_fd(), &request) }?;
    Ok(file)
}
