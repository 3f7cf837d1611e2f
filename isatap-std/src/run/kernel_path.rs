//! Whether the kernel carries packets of known flows itself.

use super::Run;
use crate::driver::Shortcut;
use crate::error::Error;
use crate::service::{Member, Notice};
use crate::spec::{KernelPath, LinkSpec};

/// What carries packets of known flows in the kernel: loaded, and at no device yet.
#[derive(Debug)]
pub struct LoadedKernelPath {
    mode: KernelPath,
    /// `None`: nobody wants it.
    ways: Option<Result<Ways, Error>>,
}

/// One for all links that speak protocol 41, and one for each of Teredo.
#[derive(Debug)]
struct Ways {
    proto41: Box<dyn Shortcut>,
    teredo: Vec<Box<dyn Shortcut>>,
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
        let all = || {
            let teredo = links.iter().filter(|link| has_flows(link)).map(|_| load(mode));
            Ok(Ways { proto41: load(mode)?, teredo: teredo.collect::<Result<_, Error>>()? })
        };
        let ways = match mode {
            KernelPath::Off => None,
            KernelPath::Auto | KernelPath::Require => Some(all()),
        };
        match ways {
            Some(Err(error)) if mode == KernelPath::Require => Err(error),
            ways => Ok(Self { mode, ways }),
        }
    }
}

impl Run {
    /// Has the kernel carry packets of known flows by programs. Call it once.
    ///
    /// Where it cannot be, all is as without it: a [`Notice`] says why, and so does what the links say of themselves.
    ///
    /// # Errors
    ///
    /// It cannot be, and is [required](KernelPath::Require).
    pub fn kernel_path(&mut self, loaded: LoadedKernelPath) -> Result<(), Error> {
        let LoadedKernelPath { mode, ways } = loaded;
        let Some(ways) = ways else { return Ok(()) };
        match ways.and_then(|ways| self.shorten(mode, ways)) {
            Err(error) if mode == KernelPath::Auto => {
                let why = error.to_string();
                self.observer.notice(None, &Notice::Info(format!("the kernel carries no packets: {why}")));
                self.shorter_of_teredo = Spare { why_not: Some(why.clone()), ..Spare::default() };
                for begun in self.links.iter_mut().filter(|begun| has_flows(&begun.wanted.link)) {
                    begun.home.alone().map_or(Ok(()), |member| member.shorten(Err(why.clone())))?;
                }
                match &mut self.proto41 {
                    Some(proto41) => proto41.shorten(Err(why)),
                    None => {
                        self.shorter = Some(Err(why));
                        Ok(())
                    }
                }
            }
            shortened => shortened,
        }
    }

    fn shorten(&mut self, mode: KernelPath, ways: Ways) -> Result<(), Error> {
        self.shorter_of_teredo = Spare { mode: Some(mode), ways: ways.teredo, why_not: None };
        // One that waits for its device finds its own later.
        for begun in self.links.iter_mut().filter(|begun| has_flows(&begun.wanted.link)) {
            if let Some(member) = begun.home.alone() {
                member.shorten(Ok(self.shorter_of_teredo.take(mode)?))?;
            }
        }
        match &mut self.proto41 {
            Some(proto41) => proto41.shorten(Ok(ways.proto41)),
            None => {
                self.shorter = Some(Ok(ways.proto41));
                Ok(())
            }
        }
    }
}

/// Shorter ways that no link has.
#[derive(Default)]
pub(super) struct Spare {
    /// `None`: no link is to have one.
    mode: Option<KernelPath>,
    /// Loaded while this process might.
    ways: Vec<Box<dyn Shortcut>>,
    why_not: Option<String>,
}

impl Spare {
    /// For a link that begins.
    pub(super) fn give(&mut self, member: &mut dyn Member) -> Result<(), Error> {
        if let Some(why_not) = &self.why_not {
            return member.shorten(Err(why_not.clone()));
        }
        let Some(mode) = self.mode else { return Ok(()) };
        let shortened = self.take(mode).and_then(|way| member.shorten(Ok(way)));
        shortened.or_else(|error| member.shorten(Err(error.to_string())))
    }

    fn take(&mut self, mode: KernelPath) -> Result<Box<dyn Shortcut>, Error> {
        self.ways.pop().map_or_else(|| load(mode), Ok)
    }

    /// Of one that ends.
    pub(super) fn take_back(&mut self, member: &mut dyn Member) {
        self.ways.extend(member.take_shorter().and_then(Result::ok));
    }
}

/// Whether a link of Teredo has flows of data: a server has none.
pub(super) fn has_flows(link: &LinkSpec) -> bool {
    matches!(link, LinkSpec::TeredoClient(_) | LinkSpec::TeredoRelay(_))
}

#[cfg(feature = "kernel-path")]
fn load(mode: KernelPath) -> Result<Box<dyn Shortcut>, Error> {
    Ok(Box::new(crate::kernel_path::KernelPath::open(mode == KernelPath::Auto)?))
}

#[cfg(not(feature = "kernel-path"))]
fn load(_: KernelPath) -> Result<Box<dyn Shortcut>, Error> {
    Err(Error::usage("have packets carried by", "the kernel", "this program was built without it")
        .with_advice("build it with the feature kernel-path"))
}
