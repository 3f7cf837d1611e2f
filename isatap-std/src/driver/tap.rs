//! A capture of outer packets, for tcpdump and Wireshark.

use crate::error::Error;
use crate::lab::pcap::Pcap;
use crate::proto41_socket::Datagram;
use isatap_core::time::Instant;
use isatap_core::wire::{ipv4, protocol, udp};
use std::fs::File;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Writes packets as they are sent and received. A full disk ends the capture, not the loop.
#[derive(Debug)]
pub(super) struct Tap {
    pcap: Pcap,
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Tap {
    pub(super) fn create(path: &Path) -> Result<Self, Error> {
        let refused = |error| {
            Error::refused("record packets into", path.display(), error)
                .with_advice("choose a file that can be written")
        };
        let file = BufWriter::new(File::create(path).map_err(refused)?);
        let pcap = Pcap::new(Box::new(file)).map_err(refused)?;
        Ok(Self { pcap, path: path.to_owned(), bytes: Vec::with_capacity(2048) })
    }

    pub(super) fn received(&mut self, packet: &[u8]) {
        self.pcap.packet(wall_clock(), packet);
    }

    /// The kernel writes these headers; here they are written a second time, without the
    /// Identification that only the kernel knows.
    pub(super) fn sent(&mut self, datagram: &Datagram<'_>) {
        let udp_header = datagram.ports.and_then(|(source, destination)| {
            let payload = [datagram.headers, datagram.payload].concat();
            udp::Fields { source, destination }.to_bytes_ipv4(datagram.source, datagram.destination, &payload)
        });
        let udp_header = udp_header.as_ref().map(<[u8; _]>::as_slice).unwrap_or_default();
        let Ok(payload_len) = u16::try_from(udp_header.len() + datagram.len()) else { return };
        let header = ipv4::Fields {
            tos: datagram.tos,
            payload_len,
            identification: 0,
            dont_fragment: datagram.dont_fragment,
            more_fragments: false,
            fragment_offset: 0,
            ttl: datagram.ttl,
            protocol: if datagram.ports.is_some() { protocol::UDP } else { protocol::IPV6 },
            source: datagram.source,
            destination: datagram.destination,
        };
        self.bytes.clear();
        self.bytes.extend(header.to_bytes());
        self.bytes.extend(udp_header);
        self.bytes.extend(datagram.headers);
        self.bytes.extend(datagram.payload);
        self.pcap.packet(wall_clock(), &self.bytes);
    }

    /// Once a turn, so that a reader sees what has happened.
    ///
    /// # Errors
    ///
    /// The file can no longer be written: the capture has ended.
    pub(super) fn flush(&mut self) -> Result<(), Error> {
        self.pcap.flush();
        self.pcap.error().map_or(Ok(()), |error| {
            let error = io::Error::new(error.kind(), error.to_string());
            Err(Error::refused("record more packets into", self.path.display(), error)
                .with_advice("the capture ends here, and nothing else does"))
        })
    }
}

/// Captures have the time of day.
fn wall_clock() -> Instant {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Instant::from_micros(u64::try_from(since.as_micros()).unwrap_or_default())
}
