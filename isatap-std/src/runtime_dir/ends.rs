//! Tunnel ends, which one daemon of a network namespace has.

use super::RuntimeDir;
use super::lock::{ELSEWHERE, Holder, Lock};
use crate::error::Error;
use isatap_core::prefix::Ipv6Prefix;
use std::fmt;
use std::fs;
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
    /// What the names of their files begin with.
    fn stem(&self) -> String {
        let stem = match self {
            Ends::Isatap { local } => format!("isatap-{local}"),
            Ends::Configured { local, remote } => format!("tunnel-{local}-{remote}"),
            Ends::Compatible { local } => format!("compatible-{local}"),
            Ends::SixRd { local, prefix, ipv4_mask_len } => format!("6rd-{local}-{prefix}-{ipv4_mask_len}"),
            Ends::SixToFour { local } => format!("6to4-{local}"),
        };
        stem.replace('/', "_")
    }

    /// Bound to a device, or to none.
    fn file_name(&self, by: Option<&str>) -> String {
        let by = by.map(|by| format!("{BOUND}{by}")).unwrap_or_default();
        format!("{}{by}.ends", self.stem())
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

/// Stands in front of a device's name.
const BOUND: char = '@';

impl RuntimeDir {
    /// Takes tunnel ends for `device`, until drop: no other daemon has them meanwhile. `by`: what comes by this device
    /// alone; another daemon may have what comes by another.
    ///
    /// # Errors
    ///
    /// Another daemon has them (the error names it, of kind [`ErrorKind::AddrInUse`]), or as [`claim`](Self::claim).
    pub(crate) fn claim_ends(&self, ends: &Ends, by: Option<&str>, device: &str) -> Result<Lock, Error> {
        let other = ends.other();
        let what = by.map_or(ends.to_string(), |by| format!("{ends} by {by}"));
        let refused = |holder, or: String| {
            let (kind, cause, advice) = match holder {
                Holder::Process { pid, device } => (
                    ErrorKind::AddrInUse,
                    format!(
                        "process {pid} does that already, with the device {device}; each packet would arrive twice"
                    ),
                    format!("stop it (kill {pid}) or {or}"),
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
                    format!("stop it or {or}"),
                ),
            };
            Error::refused("run", &what, io::Error::new(kind, cause)).with_advice(advice)
        };
        let locked = self.lock(&ends.file_name(by), device)?;
        let lock = locked.map_err(|holder| refused(holder, format!("choose {other}")))?;
        // Only now: of two that begin at once one sees the other.
        match self.overlapping(ends, by) {
            Some(holder) => Err(refused(holder, "give both a bind-device of their own".to_owned())),
            None => Ok(lock),
        }
    }

    /// Another process that has these ends bound to a device where they are wanted by all, or the other way round.
    fn overlapping(&self, ends: &Ends, by: Option<&str>) -> Option<Holder> {
        let names: Vec<String> = match by {
            Some(_) => vec![ends.file_name(None)],
            None => {
                let start = format!("{}{BOUND}", ends.stem());
                let all = fs::read_dir(self.path()).into_iter().flatten().flatten();
                let names = all.filter_map(|entry| entry.file_name().into_string().ok());
                names.filter(|name| name.starts_with(&start)).collect()
            }
        };
        let files = names.into_iter().filter_map(|name| fs::File::open(self.path().join(name)).ok());
        files.map(Holder::of).find(|holder| matches!(holder, Holder::Process { pid, .. } if *pid != std::process::id()))
    }
}
