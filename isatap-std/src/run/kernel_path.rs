//! Whether the kernel carries packets of known flows itself.

use super::Run;
use crate::driver::Shortcut;
use crate::error::Error;
use crate::service::Notice;
use crate::spec::KernelPath;

/// Whether the kernel takes the programs from this process: what [`Run::kernel_path`] would say of
/// [`Require`](KernelPath::Require), before there is any device.
///
/// # Errors
///
/// It does not.
pub fn check_kernel_path() -> Result<(), Error> {
    load(KernelPath::Require).map(drop)
}

impl Run {
    /// Has the kernel carry packets of known flows, of all links that speak protocol 41, by programs. Call it
    /// once, and before privileges are given up: loading them needs CAP_BPF and CAP_PERFMON.
    ///
    /// Where it cannot be, all is as without it: a [`Notice`] says why, and so does what the links say of themselves.
    ///
    /// # Errors
    ///
    /// It cannot be, and is [required](KernelPath::Require).
    pub fn kernel_path(&mut self, mode: KernelPath) -> Result<(), Error> {
        let loaded = match mode {
            KernelPath::Off => return Ok(()),
            KernelPath::Auto | KernelPath::Require => load(mode),
        };
        let shortened = match (loaded, &mut self.proto41) {
            (Ok(way), Some(proto41)) => proto41.shorten(Ok(way)),
            (Ok(way), None) => {
                self.shorter = Some(Ok(way));
                Ok(())
            }
            (Err(error), _) => Err(error),
        };
        match shortened {
            Err(error) if mode == KernelPath::Auto => {
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
