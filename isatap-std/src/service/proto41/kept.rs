//! What is kept for links that are bound to devices, also while they are remade.

use super::{Proto41Role, Service};
use crate::driver::Reserved;
use crate::error::Error;
use crate::netlink::NetDevice;
use crate::resolve::Entry;
use crate::spec::LinkSpec;
use isatap_core::packet::LinkId;

/// What all links together want to hear, whether they have devices of their own at the moment or not.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// By the names of the devices that they are bound to: the indices change.
    by: Vec<(String, Reserved)>,
    /// Some are bound to none.
    takes_rest: bool,
}

impl Kept {
    /// Of these links; those without a number are to be made.
    pub(super) fn of(links: &[(Option<LinkId>, &LinkSpec)]) -> Self {
        let by = links.iter().filter_map(|(link, spec)| {
            let remote = match spec {
                LinkSpec::Tunnel(tunnel) => match tunnel.remote {
                    Entry::Address(remote) => Some(remote),
                    Entry::Name(_) => None,
                },
                _ => None,
            };
            let reserved = Reserved { link: *link, interface: 0, locals: spec.locals(), remote };
            Some((spec.binding().device?, reserved))
        });
        Self { by: by.collect(), takes_rest: links.iter().any(|(_, spec)| spec.binding().device.is_none()) }
    }

    /// By the devices that there are.
    fn on(&self, devices: &[NetDevice]) -> Vec<Reserved> {
        let index = |name: &str| devices.iter().find(|device| device.name == name).map(|device| device.index);
        let reserved =
            |(name, reserved): &(String, Reserved)| Some(Reserved { interface: index(name)?, ..reserved.clone() });
        self.by.iter().filter_map(reserved).collect()
    }
}

impl Service<Proto41Role> {
    /// Has the driver keep what is kept, by the devices that there are now.
    pub(super) fn reserve(&mut self) -> Result<(), Error> {
        let reserved = self.common.kept.on(&self.netlink.links()?);
        self.driver.reserve(reserved, self.common.kept.takes_rest);
        Ok(())
    }
}
