//! The TUN device: where the kernel and the core exchange IPv6 packets.
//!
//! The device exists while the [`Tun`] does. The kernel removes it when the
//! process ends, however it ends, and with it its addresses and routes.
//!
//! It is opened with `IFF_VNET_HDR`: each packet comes with a [`VirtioHeader`]
//! that says what is left to do (see [`offload`](crate::offload)), so a TCP stream
//! crosses in packets of up to 64 KiB.
//!
//! Why three ioctls of our own and not the crate `tun-rs` 2.8: it does not use
//! `IFF_TUN_EXCL`, without which a stale device of the same name is taken over in
//! silence, nor `TUN_F_TSO_ECN`; and its `recv_multiple` hands out packets that are cut
//! already, each copied and each to be decided anew, where here the core decides once
//! about a super-packet and [`Segments`](crate::offload::Segments) copies no payload. The
//! ioctls go through `nix`, which knows the encoding of their numbers.

use crate::device::check_device;
use crate::error::Error;
use crate::offload::{BUFFER_LEN, Joined, OffloadError, VirtioHeader};
use isatap_core::packet::HEADROOM;
use nix::errno::Errno;
use nix::sys::uio::writev;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, IoSlice, Read};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// A TUN device of this process, non-blocking.
#[derive(Debug)]
pub struct Tun {
    file: File,
    name: String,
    udp_segmentation: bool,
}

/// A packet that the kernel sent to the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Where the packet is in the caller's buffer: it starts at [`HEADROOM`].
    pub range: Range<usize>,
    /// What the kernel left to be done to it.
    pub header: VirtioHeader,
}

impl Tun {
    /// Makes the device `name`, of at most 15 bytes. It is down, without addresses.
    ///
    /// # Errors
    ///
    /// A bad name is a usage error. A device of that name that exists already is
    /// never taken over: the error says whether it is persistent, held by another
    /// process (and which), or no TUN device at all.
    pub fn create(name: &str) -> Result<Self, Error> {
        check_device(name)?;
        let file = open()?;
        match attach(&file, name, libc::IFF_TUN_EXCL) {
            Ok(()) => Self::with_offloads(file, name),
            Err(Errno::EBUSY) => Err(exists_already(name)),
            Err(errno) => Err(Error::refused("create the TUN device", name, errno.into())),
        }
    }

    /// Attaches to a persistent TUN device that was made beforehand, as by
    /// `ip tuntap add dev NAME mode tun vnet_hdr user USER`: this needs no privilege when
    /// the device belongs to this user.
    ///
    /// # Errors
    ///
    /// There is no such device (a usage error), another process holds it, or it is
    /// something else.
    pub fn adopt(name: &str) -> Result<Self, Error> {
        check_device(name)?;
        if nix::net::if_::if_nametoindex(name).is_err() {
            return Err(Error::usage("adopt the TUN device", name, "there is none")
                .with_advice(format!("ip tuntap add dev {name} mode tun")));
        }
        let file = open()?;
        attach(&file, name, 0).map_err(|errno| match errno {
            Errno::EBUSY | Errno::EINVAL => exists_already(name),
            _ => Error::refused("attach to the TUN device", name, errno.into()),
        })?;
        Self::with_offloads(file, name)
    }

    /// The name of the device.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The interface index.
    ///
    /// # Errors
    ///
    /// The device was deleted by another program.
    pub fn index(&self) -> Result<u32, Error> {
        nix::net::if_::if_nametoindex(self.name.as_str())
            .map_err(|errno| Error::refused("find the device", &self.name, errno.into()))
    }

    /// Whether the kernel hands out UDP super-packets too (Linux 6.2 and later).
    /// TCP super-packets it always does.
    pub fn has_udp_segmentation(&self) -> bool {
        self.udp_segmentation
    }

    /// Takes the next packet that the kernel sent to the device, to `buffer` at
    /// [`HEADROOM`]; `buffer` has at least [`BUFFER_LEN`] bytes. `None`: none waits.
    ///
    /// It may be an IPv4 packet if someone gave the device IPv4 routes.
    ///
    /// # Errors
    ///
    /// `EBADFD` when the device was deleted by another program: nothing will come any
    /// more. `InvalidInput` for a short buffer. `InvalidData` for a packet that asks
    /// for what was never offered; it is gone, and the next call gives the next.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<Option<Received>> {
        if buffer.len() < BUFFER_LEN {
            return Err(ErrorKind::InvalidInput.into());
        }
        let begin = HEADROOM - VirtioHeader::LEN;
        let Some(space) = buffer.get_mut(begin..) else {
            return Err(ErrorKind::InvalidInput.into());
        };
        let length = loop {
            match (&self.file).read(space) {
                Ok(length) => break length,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            }
        };
        let invalid = |error: OffloadError| io::Error::new(ErrorKind::InvalidData, error);
        let header = space
            .get(..length)
            .and_then(|read| read.first_chunk())
            .ok_or(OffloadError::Truncated)
            .and_then(VirtioHeader::parse)
            .map_err(invalid)?;
        Ok(Some(Received { range: HEADROOM..begin + length, header }))
    }

    /// Gives the kernel a packet as if it had come in by the device. `header` is the
    /// default for a plain packet, or what [`classify`](crate::offload::classify)
    /// says.
    ///
    /// # Errors
    ///
    /// `EIO` while the device is down; `EINVAL` when `header` does not fit the
    /// packet; `ENOBUFS` or `WouldBlock` when the kernel is short of memory. The
    /// packet is lost: count it.
    pub fn write(&self, packet: &[u8], header: &VirtioHeader) -> io::Result<()> {
        let header = header.emit();
        self.write_pieces(&[IoSlice::new(&header), IoSlice::new(packet)])
    }

    /// Gives the kernel what a [`Coalescer`](crate::offload::Coalescer) joined; `packet`
    /// finds the packets by their numbers.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub fn write_joined<'p>(&self, joined: &Joined<'_>, packet: impl Fn(usize) -> &'p [u8]) -> io::Result<()> {
        // Most often.
        if let ([], [part]) = (joined.headers, joined.parts) {
            let bytes = packet(part.packet).get(part.range.clone()).ok_or(ErrorKind::InvalidInput)?;
            return self.write(bytes, &joined.header);
        }
        let header = joined.header.emit();
        let mut pieces = Vec::with_capacity(joined.parts.len() + 2);
        pieces.push(IoSlice::new(&header));
        pieces.push(IoSlice::new(joined.headers));
        for part in joined.parts {
            let bytes = packet(part.packet).get(part.range.clone());
            pieces.push(IoSlice::new(bytes.ok_or(ErrorKind::InvalidInput)?));
        }
        self.write_pieces(&pieces)
    }

    fn write_pieces(&self, pieces: &[IoSlice<'_>]) -> io::Result<()> {
        loop {
            match writev(&self.file, pieces) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn with_offloads(file: File, name: &str) -> Result<Self, Error> {
        let refused = |errno: Errno| {
            Error::refused("switch on the offloads of", name, errno.into())
                .with_advice("a Linux kernel from 2.6.38 on is needed")
        };
        // The header's size and the offloads belong to the device, not to the
        // descriptor: an adopted device may come with somebody else's.
        let size = libc::c_int::try_from(VirtioHeader::LEN).unwrap_or_default();
        // SAFETY: the ioctl reads one int behind the pointer, which outlives the call.
        unsafe { ioctl::set_vnet_header_size(file.as_raw_fd(), &raw const size) }.map_err(refused)?;
        let tcp = libc::TUN_F_CSUM | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN;
        // The kernel takes the two UDP bits together only.
        let udp = libc::TUN_F_USO4 | libc::TUN_F_USO6;
        let with_udp = set_offloads(&file, tcp | udp);
        if with_udp.is_err() {
            set_offloads(&file, tcp).map_err(refused)?;
        }
        Ok(Self { file, name: name.to_owned(), udp_segmentation: with_udp.is_ok() })
    }
}

impl AsFd for Tun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn open() -> Result<File, Error> {
    const PATH: &str = "/dev/net/tun";
    OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(PATH).map_err(|error| {
        let missing = matches!(error.kind(), ErrorKind::NotFound) || error.raw_os_error() == Some(libc::ENODEV);
        let error = Error::refused("open", PATH, error);
        if missing { error.with_advice("load the kernel module: modprobe tun") } else { error }
    })
}

fn attach(file: &File, name: &str, extra: libc::c_int) -> Result<(), Errno> {
    let flags = libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_VNET_HDR | extra;
    let mut request = libc::ifreq {
        ifr_name: [0; libc::IFNAMSIZ],
        ifr_ifru: libc::__c_anonymous_ifr_ifru {
            // The field is 16 bits wide and so are these flags.
            ifru_flags: u16::try_from(flags).unwrap_or_default().cast_signed(),
        },
    };
    // One byte stays zero: `check_device` has been asked.
    let room = libc::IFNAMSIZ - 1;
    for (to, from) in request.ifr_name.iter_mut().take(room).zip(name.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    // SAFETY: the ioctl reads and writes one `ifreq` behind the pointer, which
    // outlives the call; the name in it ends in a zero byte.
    unsafe { ioctl::set_interface(file.as_raw_fd(), &raw mut request) }.map(drop)
}

fn set_offloads(file: &File, offloads: libc::c_uint) -> Result<(), Errno> {
    // SAFETY: the argument of this ioctl is a number, no pointer.
    unsafe { ioctl::set_offload(file.as_raw_fd(), offloads.cast_signed()) }.map(drop)
}

/// Whether a device of this name can be made.
///
/// # Errors
///
/// There is one already.
pub(crate) fn check_free(name: &str) -> Result<(), Error> {
    if Path::new("/sys/class/net").join(name).exists() { Err(exists_already(name)) } else { Ok(()) }
}

/// Whether a device that exists is such as a running daemon of ours has. Whose it is only its
/// process knows.
#[cfg(feature = "file")]
pub(crate) fn may_be_ours(name: &str) -> bool {
    let flags = std::fs::read_to_string(Path::new("/sys/class/net").join(name).join("tun_flags"));
    flags.is_ok_and(|flags| is_of_a_process(&flags))
}

/// Whether these are the flags of a TUN device, no TAP, that goes with its process.
#[cfg(feature = "file")]
fn is_of_a_process(flags: &str) -> bool {
    /// The kernel's `IFF_PERSIST`.
    const PERSISTENT: i32 = 0x0800;
    let flags = flags.trim().strip_prefix("0x").and_then(|digits| i32::from_str_radix(digits, 16).ok());
    flags.is_some_and(|flags| flags & libc::IFF_TUN != 0 && flags & PERSISTENT == 0)
}

fn exists_already(name: &str) -> Error {
    let refused = Error::refused("create the TUN device", name, Errno::EBUSY.into());
    if let Some((pid, command)) = holder(name) {
        return refused.with_advice(format!("process {pid} ({command}) holds it: stop it or choose another --dev"));
    }
    // Whether anybody holds it, and what it is, shows only by trying.
    let advice = match open().map(|file| attach(&file, name, 0)) {
        Ok(Ok(())) => {
            format!("it is persistent and nobody uses it: remove it (ip link delete {name}) or choose another --dev")
        }
        Ok(Err(Errno::EINVAL)) => "a device of another kind has this name: choose another --dev".to_owned(),
        _ => "another process holds it: stop it or choose another --dev".to_owned(),
    };
    refused.with_advice(advice)
}

/// The process that has the device open, by what `/proc` says of its descriptors;
/// other users' processes show only to root. Another network namespace may have a device of
/// the same name: whoever has no thread in ours does not count.
fn holder(name: &str) -> Option<(u32, String)> {
    let line = format!("iff:\t{name}");
    let namespace = |thread: &Path| fs::metadata(thread.join("ns/net")).map(|net| (net.dev(), net.ino())).ok();
    let ours = namespace(Path::new("/proc/thread-self"))?;
    fs::read_dir("/proc").ok()?.flatten().find_map(|process| {
        let pid: u32 = process.file_name().to_str()?.parse().ok()?;
        let infos = fs::read_dir(process.path().join("fdinfo")).ok()?;
        let holds = infos
            .flatten()
            .any(|info| fs::read_to_string(info.path()).is_ok_and(|text| text.lines().any(|other| other == line)));
        let mut threads = fs::read_dir(process.path().join("task")).ok()?.flatten();
        let is_here = holds && threads.any(|thread| namespace(&thread.path()) == Some(ours));
        is_here.then(|| {
            let command = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            (pid, command.trim().to_owned())
        })
    })
}

#[allow(missing_docs, reason = "nix's macros make public functions in a private module")]
mod ioctl {
    // From the Linux UAPI header if_tun.h: _IOW('T', 202, int) and so on.
    nix::ioctl_readwrite_bad!(
        set_interface,
        nix::request_code_write!(b'T', 202, size_of::<libc::c_int>()),
        libc::ifreq
    );
    nix::ioctl_write_int_bad!(set_offload, nix::request_code_write!(b'T', 208, size_of::<libc::c_uint>()));
    nix::ioctl_write_ptr_bad!(
        set_vnet_header_size,
        nix::request_code_write!(b'T', 216, size_of::<libc::c_int>()),
        libc::c_int
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Class;

    /// As Linux 6.18 shows them.
    #[test]
    #[cfg(feature = "file")]
    fn a_device_that_goes_with_its_process_may_be_ours() {
        for flags in ["0x5001\n", "0x1001\n"] {
            assert!(is_of_a_process(flags), "{flags}");
        }
        // A TAP device, a persistent one, none.
        for flags in ["0x1002\n", "0x1801\n", ""] {
            assert!(!is_of_a_process(flags), "{flags}");
        }
        assert!(!may_be_ours("lo"));
    }

    #[test]
    fn bad_names_are_usage_errors() {
        for name in ["", "sixteen-bytes-xx", "a/b", "tun%d", "a b", "..", "a:b", "a\n"] {
            let error = Tun::create(name).unwrap_err();
            assert_eq!(error.class(), Class::Usage, "{name:?}");
        }
        check_device("fifteen-bytes-x").unwrap();
        check_device("isatap0").unwrap();
    }
}
