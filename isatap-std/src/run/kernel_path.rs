//! Whether the kernel carries packets of known flows itself.

use super::Run;
use crate::driver::Shortcut;
use crate::error::Error;
use crate::service::Notice;
use crate::spec::KernelPath;

/// What carries packets of known flows in the kernel: loaded, and at no device yet.
#[derive(Debug)]
pub struct LoadedKernelPath {
    is_required: bool,
    /// `None`: nobody wants it.
    way: Option<Result<Box<dyn Shortcut>, Error>>,
}

impl LoadedKernelPath {
    /// Has the kernel take the programs from this process, as `mode` says. It takes a tenth of a second, so it is to be done
    /// before there is any device whose packets would wait; and before privileges are given up: it needs CAP_BPF and
    /// CAP_PERFMON.
    ///
    /// # Errors
    ///
    /// The kernel does not, and it is [required](KernelPath::Require).
    pub fn load(mode: KernelPath) -> Result<Self, Error> {
        let is_required = mode == KernelPath::Require;
        let way = match mode {
            KernelPath::Off => None,
            KernelPath::Auto | KernelPath::Require => Some(load(mode)),
        };
        match way {
            Some(Err(error)) if is_required => Err(error),
            way => Ok(Self { is_required, way }),
        }
    }
}

impl Run {
    /// Has the kernel carry packets of known flows, of all links that speak protocol 41, by programs. Call it
    /// once.
    ///
    /// Where it cannot be, all is as without it: a [`Notice`] says why, and so does what the links say of themselves.
    ///
    /// # Errors
    ///
    /// It cannot be, and is [required](KernelPath::Require).
    pub fn kernel_path(&mut self, loaded: LoadedKernelPath) -> Result<(), Error> {
        let LoadedKernelPath { is_required, way } = loaded;
        let shortened = match (way, &mut self.proto41) {
            (None, _) => return Ok(()),
            (Some(Ok(way)), Some(proto41)) => proto41.shorten(Ok(way)),
            (Some(Ok(way)), None) => {
                self.shorter = Some(Ok(way));
                Ok(())
            }
            (Some(Err(error)), _) => Err(error),
        };
        match shortened {
            Err(error) if !is_required => {
                let why = error.to_string();
                self.observer.notice(None, &Notice::Info(format!("the kernel carries no packets: {why}")));
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
