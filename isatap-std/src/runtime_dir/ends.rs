//! Tunnel ends, which one daemon of a network namespace has.

use super::RuntimeDir;
use super::lock::{ELSEWHERE, Holder, Lock};
use crate::error::Error;
use isatap_core::prefix::Ipv6Prefix;
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::Ipv4Addr;

/// The ends of a tunnel, by which its packets are told from those of others on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    Isatap {
        local: Ipv4Addr,
    },
    Configured {
        local: Ipv4Addr,
        remote: Ipv4Addr,
    },
    Compatible {
        local: Ipv4Addr,
    },
    /// Several domains can share an address: their inner addresses differ.
    SixRd {
        local: Ipv4Addr,
        prefix: Ipv6Prefix,
        ipv4_mask_len: u8,
    },
    SixToFour {
        local: Ipv4Addr,
    },
}

impl Ends {
    fn file_name(&self) -> String {
        let name = match self {
            Ends::Isatap { local } => format!("isatap-{local}.ends"),
            Ends::Configured { local, remote } => format!("tunnel-{local}-{remote}.ends"),
            Ends::Compatible { local } => format!("compatible-{local}.ends"),
            Ends::SixRd { local, prefix, ipv4_mask_len } => format!("6rd-{local}-{prefix}-{ipv4_mask_len}.ends"),
            Ends::SixToFour { local } => format!("6to4-{local}.ends"),
        };
        name.replace('/', "_")
    }

    /// What another link would have.
    fn other(&self) -> &'static str {
        match self {
            Ends::Configured { .. } => "another --local or --remote",
            _ => "another --local",
        }
    }
}

impl fmt::Display for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ends::Isatap { local } => write!(f, "ISATAP at {local}"),
            Ends::Configured { local, remote } => write!(f, "the tunnel from {local} to {remote}"),
            Ends::Compatible { local } => write!(f, "the tunnel to IPv4-compatible addresses at {local}"),
            Ends::SixRd { local, prefix, .. } => write!(f, "6rd of {prefix} at {local}"),
            Ends::SixToFour { local } => write!(f, "6to4 at {local}"),
        }
    }
}

impl RuntimeDir {
    /// Takes tunnel ends for `device`, until drop: no other daemon has them meanwhile.
    ///
    /// # Errors
    ///
    /// Another daemon has them (the error names it, of kind [`ErrorKind::AddrInUse`]), or as [`claim`](Self::claim).
    pub(crate) fn claim_ends(&self, ends: &Ends, device: &str) -> Result<Lock, Error> {
        self.lock(&ends.file_name(), device)?.map_err(|holder| {
            let other = ends.other();
            let (kind, cause, advice) = match holder {
                Holder::Process { pid, device } => (
                    ErrorKind::AddrInUse,
                    format!(
                        "process {pid} does that already, with the device {device}; each packet would arrive twice"
                    ),
                    format!("stop it (kill {pid}) or choose {other}"),
                ),
                // It gets other packets.
                Holder::Elsewhere => (
                    ErrorKind::WouldBlock,
                    "a process of another network namespace has the lock".to_owned(),
                    ELSEWHERE.to_owned(),
                ),
                Holder::Unknown => (
                    ErrorKind::AddrInUse,
                    "another process does that already; each packet would arrive twice".to_owned(),
                    format!("stop it or choose {other}"),
                ),
            };
            Error::refused("run", ends, io::Error::new(kind, cause)).with_advice(advice)
        })
    }
}
