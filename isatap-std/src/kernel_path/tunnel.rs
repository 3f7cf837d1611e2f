//! The device of a link's tunnel, and whether it has its program.

use super::programs::{Programs, Side};
use crate::error::Error;
use crate::netlink::NetDevice;
use isatap_core::packet::LinkId;
use nix::net::if_::if_nametoindex;

/// The device of a link.
#[derive(Debug)]
pub(super) struct Tunnel {
    pub(super) link: LinkId,
    pub(super) index: u32,
    name: String,
    pub(super) is_attached: bool,
    /// Why the last packet that could have had a row has none, of those that go out.
    pub(super) why_not_out: Option<&'static str>,
    /// The same of those that come in.
    pub(super) why_not_in: Option<&'static str>,
}

impl Tunnel {
    /// Without a program.
    ///
    /// # Errors
    ///
    /// There is no such device.
    pub(super) fn find(link: LinkId, name: &str) -> Result<Self, Error> {
        let index = if_nametoindex(name).map_err(|errno| Error::refused("find the device", name, errno.into()))?;
        Ok(Self { link, index, name: name.to_owned(), is_attached: false, why_not_out: None, why_not_in: None })
    }

    /// Puts the program there.
    ///
    /// # Errors
    ///
    /// The kernel's refusal.
    pub(super) fn attach(&mut self, programs: &Programs) -> Result<(), Error> {
        let attached = programs.attach(self.index, &self.name, Side::Tunnel);
        self.is_attached = attached.is_ok();
        attached
    }

    /// Something was heard of the device with its number: what it is by now, if it is there. One that is there again
    /// by its name was moved away and back.
    pub(super) fn follow(&mut self, programs: &Programs, device: Option<&NetDevice>) {
        match device {
            None => self.is_attached = false,
            Some(device) if self.is_attached => self.name.clone_from(&device.name),
            Some(device) if device.name == self.name => _ = self.attach(programs),
            Some(_) => {}
        }
    }
}
