//! Whether the kernel carries packets of known flows itself.

use super::Run;
use crate::driver::Shortcut;
use crate::error::Error;
use crate::service::{Member, Notice};
use crate::spec::{KernelPath, LinkSpec};
use std::fmt;

/// What carries packets of known flows in the kernel: loaded, and at no device yet.
#[derive(Debug)]
pub struct LoadedKernelPath(Carrier);

/// What carries packets of the links of a process, of those too that begin later.
#[derive(Debug, Default)]
pub(super) enum Carrier {
    /// Nobody but the daemon, as is wanted.
    #[default]
    None,
    /// The same, though it is not wanted.
    Refused(Error),
    Kernel {
        is_required: bool,
        ways: Ways,
    },
}

/// Makes a shorter way for a service of links, without privileges.
pub(super) struct Ways(Box<dyn Fn() -> Result<Box<dyn Shortcut>, Error> + Send>);

impl fmt::Debug for Ways {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ways")
    }
}

/// Decisions in each direction.
const ROWS: u32 = 16_384;
/// The same of a client of Teredo, which has one for each of its 1,024 peers; the kernel keeps some rows back for each
/// processor.
const ROWS_OF_CLIENT: u32 = 2_048;

/// How many decisions about packets of a link there can be; a server of Teredo has no flows of data.
fn rows_of(link: &LinkSpec) -> u32 {
    match link {
        LinkSpec::TeredoServer(_) => 0,
        LinkSpec::TeredoClient(_) => ROWS_OF_CLIENT,
        _ => ROWS,
    }
}

impl LoadedKernelPath {
    /// Has the kernel take the programs for these links from this process, as `mode` says. It takes a tenth of a second, so
    /// it is to be done before there is any device whose packets would wait; and before privileges are given up: it needs
    /// CAP_BPF and CAP_PERFMON.
    ///
    /// # Errors
    ///
    /// The kernel does not, and it is [required](KernelPath::Require).
    pub fn load(mode: KernelPath, links: &[LinkSpec]) -> Result<Self, Error> {
        let rows = links.iter().map(rows_of).fold(0, u32::saturating_add);
        Self::load_rows(mode, rows.min(ROWS))
    }

    /// The same for a process that may be told of other links later.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub fn load_for_any(mode: KernelPath) -> Result<Self, Error> {
        Self::load_rows(mode, ROWS)
    }

    fn load_rows(mode: KernelPath, rows: u32) -> Result<Self, Error> {
        let is_required = mode == KernelPath::Require;
        if mode == KernelPath::Off || rows == 0 {
            return Ok(Self(Carrier::None));
        }
        match load(!is_required, rows) {
            Ok(ways) => Ok(Self(Carrier::Kernel { is_required, ways })),
            Err(error) if is_required => Err(error),
            Err(error) => Ok(Self(Carrier::Refused(error))),
        }
    }
}

impl Run {
    /// Has the kernel carry packets of known flows by programs, of links too that begin later. Call it once.
    ///
    /// Where it cannot be, all is as without it: a [`Notice`] says why, and so does what the links say of themselves.
    ///
    /// # Errors
    ///
    /// It cannot be, and is [required](KernelPath::Require).
    pub fn kernel_path(&mut self, loaded: LoadedKernelPath) -> Result<(), Error> {
        self.carrier = loaded.0;
        if let Carrier::Refused(error) = &self.carrier {
            self.observer.notice(None, &Notice::Info(format!("the kernel carries no packets: {error}")));
        }
        // One that waits for its device finds its own later.
        let alone = self.links.iter_mut().filter(|begun| rows_of(&begun.wanted.link) > 0);
        let alone = alone.filter_map(|begun| begun.home.alone());
        let proto41 = self.proto41.iter_mut().map(|proto41| &mut **proto41 as &mut dyn Member);
        for member in proto41.chain(alone) {
            let told = self.carrier.serve(member)?;
            told.into_iter().for_each(|notice| self.observer.notice(None, &notice));
        }
        Ok(())
    }
}

impl Carrier {
    /// The same of a service for this link alone.
    ///
    /// # Errors
    ///
    /// As [`serve`](Self::serve).
    pub(super) fn serve_alone(&self, member: &mut dyn Member, link: &LinkSpec) -> Result<Option<Notice>, Error> {
        if rows_of(link) > 0 { self.serve(member) } else { Ok(None) }
    }

    /// Has packets of a service carried from now on; or says there why they are not, and here.
    ///
    /// # Errors
    ///
    /// They cannot be, and it is required.
    pub(super) fn serve(&self, member: &mut dyn Member) -> Result<Option<Notice>, Error> {
        match self {
            Self::None => Ok(None),
            Self::Refused(error) => member.shorten(Err(error.to_string())).map(|()| None),
            Self::Kernel { is_required, ways } => match (ways.0)().and_then(|way| member.shorten(Ok(way))) {
                Err(error) if !is_required => {
                    let text = format!("{error}; packets of {} are carried by the daemon", devices(member));
                    member.shorten(Err(error.to_string())).map(|()| Some(Notice::Warning(text)))
                }
                served => served.map(|()| None),
            },
        }
    }

    /// Whether a link cannot do without.
    pub(super) fn is_required(&self) -> bool {
        matches!(self, Self::Kernel { is_required: true, .. })
    }
}

fn devices(member: &dyn Member) -> String {
    let devices: Vec<String> = member.statuses().into_iter().map(|status| status.dev).collect();
    if devices.is_empty() { "links of protocol 41".to_owned() } else { devices.join(", ") }
}

#[cfg(feature = "kernel-path")]
fn load(heeds_firewall: bool, rows: u32) -> Result<Ways, Error> {
    let loaded = crate::kernel_path::Loaded::load(rows)?;
    Ok(Ways(Box::new(move || Ok(Box::new(crate::kernel_path::KernelPath::open(&loaded, heeds_firewall)?)))))
}

#[cfg(not(feature = "kernel-path"))]
fn load(_: bool, _: u32) -> Result<Ways, Error> {
    Err(Error::usage("have packets carried by", "the kernel", "this program was built without it")
        .with_advice("build it with the feature kernel-path"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::Source;
    use crate::service::status::Status;
    use crate::spec::{TeredoClient, TeredoServer};
    use isatap_core::packet::LinkId;
    use isatap_core::time::Instant;

    /// What a service was told.
    #[derive(Default)]
    struct Service(Vec<Result<(), String>>);

    impl Member for Service {
        fn ready(&mut self, _: Source) -> Result<(), Error> {
            Ok(())
        }

        fn advance(&mut self) -> Result<(), Error> {
            Ok(())
        }

        fn take_deleted(&mut self) -> Vec<LinkId> {
            Vec::new()
        }

        fn deadline(&self) -> Option<Instant> {
            None
        }

        fn solicit(&mut self) {}

        fn statuses(&self) -> Vec<Status> {
            Vec::new()
        }

        fn shorten(&mut self, shorter: Result<Box<dyn Shortcut>, String>) -> Result<(), Error> {
            self.0.push(shorter.map(drop));
            Ok(())
        }
    }

    fn full() -> Error {
        Error::usage("have packets carried by", "the kernel", "all places are taken")
    }

    fn kernel(is_required: bool) -> Carrier {
        Carrier::Kernel { is_required, ways: Ways(Box::new(|| Err(full()))) }
    }

    #[test]
    fn a_link_that_comes_later_and_cannot_be_carried_says_so_or_is_refused() {
        let mut service = Service::default();
        let told = kernel(false).serve(&mut service).unwrap();
        let why = full().to_string();
        assert_eq!(service.0, [Err(why.clone())]);
        let told = told.unwrap().to_string();
        assert_eq!(told, format!("{why}; packets of links of protocol 41 are carried by the daemon"));

        let mut service = Service::default();
        assert_eq!(kernel(true).serve(&mut service).unwrap_err().to_string(), why);
        assert!(service.0.is_empty() && kernel(true).is_required() && !kernel(false).is_required());
    }

    #[test]
    fn links_of_a_process_that_could_not_load_the_programs_say_why_and_others_nothing() {
        let mut service = Service::default();
        assert_eq!(Carrier::Refused(full()).serve(&mut service).unwrap(), None, "it was told at the start");
        assert_eq!(service.0, [Err(full().to_string())]);
        service.0.clear();
        assert_eq!(Carrier::None.serve(&mut service).unwrap(), None);
        // It has no flows of data.
        let server = TeredoServer::new("198.51.100.1".parse().unwrap()).into();
        assert_eq!(kernel(true).serve_alone(&mut service, &server).unwrap(), None);
        assert!(service.0.is_empty());
        let client = TeredoClient::new("198.51.100.1".parse().unwrap()).into();
        assert!(kernel(true).serve_alone(&mut service, &client).is_err());
    }
}
