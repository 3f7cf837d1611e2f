//! This machine's addresses, routes and tunnels, for `isatap select`.

use std::net::IpAddr;
use std::path::Path;

use isatap_core::select::{PolicyRow, Source};
use isatap_std::netlink::{self, Netlink, sysctl};
use isatap_std::policy::{GAI_CONF, System};
use isatap_std::runtime_dir::RuntimeDir;

use crate::exit::Failure;

/// The kernel, asked.
pub(super) struct Machine(Netlink);

impl Machine {
    pub(super) fn open() -> Result<Self, Failure> {
        Ok(Machine(Netlink::open()?))
    }

    pub(super) fn sources(&self) -> Result<Vec<Source>, Failure> {
        Ok(self.0.sources()?)
    }

    pub(super) fn devices(&self) -> Result<Vec<(String, u32)>, Failure> {
        Ok(self.0.links()?.into_iter().map(|link| (link.name, link.index)).collect())
    }

    /// The kernel's tunnels, and those of our daemons: SEL-10.
    pub(super) fn tunnels(&self) -> Result<Vec<u32>, Failure> {
        let mut tunnels = self.0.kernel_tunnels()?;
        let ours = RuntimeDir::new().devices();
        tunnels.extend(self.devices()?.iter().filter(|(name, _)| ours.contains(name)).map(|(_, index)| *index));
        Ok(tunnels)
    }

    /// How the kernel would send; `None`: no route.
    pub(super) fn path(&self, to: IpAddr, device: u32) -> Result<Option<netlink::Path>, Failure> {
        Ok(self.0.path(to, device)?)
    }

    /// What the kernel does by rule 7 of sources.
    pub(super) fn prefers_temporary(&self, device: Option<&str>) -> bool {
        device.is_some_and(|device| sysctl::ipv6(device, "use_tempaddr").is_ok_and(|value| value >= 2))
    }

    /// The rows for sources, the kernel's, and those for destinations, the C library's.
    pub(super) fn tables() -> Result<[Vec<PolicyRow>; 2], Failure> {
        let system = System::read(true, Some(Path::new(GAI_CONF)))?;
        Ok([system.kernel_rows(), system.file().rows()])
    }
}
