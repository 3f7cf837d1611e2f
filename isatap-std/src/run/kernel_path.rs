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
    ways: Option<Result<Vec<Way>, Error>>,
}

/// For which links, and what carries their packets.
type Way = (Kind, Box<dyn Shortcut>);

/// Which links may have a way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// All that speak protocol 41, together.
    Proto41,
    /// Each one alone.
    TeredoClient,
    /// The same.
    TeredoRelay,
}

impl Kind {
    /// `None`: a link without flows of data, as a server of Teredo has none.
    pub(super) fn of(link: &LinkSpec) -> Option<Self> {
        match link {
            LinkSpec::TeredoClient(_) => Some(Kind::TeredoClient),
            LinkSpec::TeredoRelay(_) => Some(Kind::TeredoRelay),
            link => (!link.is_teredo()).then_some(Kind::Proto41),
        }
    }

    /// Decisions in each direction. A client has one for each of its 1,024 peers; the kernel keeps some rows back for each
    /// processor.
    #[cfg(feature = "kernel-path")]
    fn rows(self) -> u32 {
        match self {
            Kind::TeredoClient => 2_048,
            Kind::Proto41 | Kind::TeredoRelay => 16_384,
        }
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
        Self::load_for(mode, links.iter().filter_map(Kind::of).collect())
    }

    /// The same for a process that may be told of other links later: there is something for those of protocol 41, and for
    /// one more of Teredo.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub fn load_with_spare(mode: KernelPath, links: &[LinkSpec]) -> Result<Self, Error> {
        let spare = [Kind::Proto41, Kind::TeredoClient];
        Self::load_for(mode, links.iter().filter_map(Kind::of).chain(spare).collect())
    }

    fn load_for(mode: KernelPath, mut kinds: Vec<Kind>) -> Result<Self, Error> {
        let has_proto41 = kinds.contains(&Kind::Proto41);
        kinds.retain(|kind| *kind != Kind::Proto41);
        kinds.extend(has_proto41.then_some(Kind::Proto41));
        let all = || kinds.into_iter().map(|kind| load(mode, kind).map(|way| (kind, way))).collect();
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
        match ways.and_then(|ways| self.shorten(Spare { mode: Some(mode), ways, why_not: None })) {
            Err(error) if mode == KernelPath::Auto => {
                let why = error.to_string();
                self.observer.notice(None, &Notice::Info(format!("the kernel carries no packets: {why}")));
                self.shorten(Spare { why_not: Some(why), ..Spare::default() })
            }
            shortened => shortened,
        }
    }

    /// One that waits for its device finds its own later.
    fn shorten(&mut self, spare: Spare) -> Result<(), Error> {
        self.shorter = spare;
        for begun in &mut self.links {
            if let (Some(kind), Some(member)) = (Kind::of(&begun.wanted.link), begun.home.alone()) {
                member.shorten(self.shorter.take(kind)?)?;
            }
        }
        match &mut self.proto41 {
            Some(proto41) => proto41.shorten(self.shorter.take(Kind::Proto41)?),
            None => Ok(()),
        }
    }
}

/// Shorter ways that no link has.
#[derive(Default)]
pub(super) struct Spare {
    /// `None`: no link is to have one.
    mode: Option<KernelPath>,
    /// Loaded while this process might.
    ways: Vec<Way>,
    why_not: Option<String>,
}

impl Spare {
    /// For links that begin.
    pub(super) fn give(&mut self, member: &mut dyn Member, kind: Kind) -> Result<(), Error> {
        if self.mode.is_none() && self.why_not.is_none() {
            return Ok(());
        }
        let shortened = self.take(kind).and_then(|way| member.shorten(way));
        shortened.or_else(|error| member.shorten(Err(error.to_string())))
    }

    /// One of that kind, or why there is none.
    fn take(&mut self, kind: Kind) -> Result<Result<Box<dyn Shortcut>, String>, Error> {
        let Some(mode) = self.mode else { return Ok(Err(self.why_not.clone().unwrap_or_default())) };
        if let Some(at) = self.ways.iter().position(|(of, _)| *of == kind) {
            return Ok(Ok(self.ways.swap_remove(at).1));
        }
        // A process without privileges loads nothing any more: then a client's is as good for a relay, though smaller.
        let of_teredo = |(of, _): &Way| ![*of, kind].contains(&Kind::Proto41);
        load(mode, kind)
            .or_else(|error| {
                let at = self.ways.iter().position(of_teredo).ok_or(error)?;
                Ok(self.ways.swap_remove(at).1)
            })
            .map(Ok)
    }

    /// Of links that end.
    pub(super) fn take_back(&mut self, member: &mut dyn Member, kind: Kind) {
        self.ways.extend(member.take_shorter().and_then(Result::ok).map(|way| (kind, way)));
    }
}

#[cfg(feature = "kernel-path")]
fn load(mode: KernelPath, kind: Kind) -> Result<Box<dyn Shortcut>, Error> {
    Ok(Box::new(crate::kernel_path::KernelPath::open(mode == KernelPath::Auto, kind.rows())?))
}

#[cfg(not(feature = "kernel-path"))]
fn load(_: KernelPath, _: Kind) -> Result<Box<dyn Shortcut>, Error> {
    Err(Error::usage("have packets carried by", "the kernel", "this program was built without it")
        .with_advice("build it with the feature kernel-path"))
}
