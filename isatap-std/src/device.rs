//! What a device can be called.

use crate::error::Error;

/// The most bytes of a device's name: IFNAMSIZ, its closing zero apart.
const LONGEST_DEVICE: usize = 15;

/// Whether a device can have this name on Linux: `%` would make the kernel number it, and the
/// rest cannot stand in a path of sysfs.
pub(crate) fn check_device(name: &str) -> Result<(), Error> {
    let why = if name.is_empty() || name.len() > LONGEST_DEVICE {
        "a device name has 1 to 15 bytes"
    } else if name == "." || name == ".." {
        "the name is a folder's"
    } else if name.bytes().any(|byte| byte <= b' ' || byte == 0x7f || b"/:%".contains(&byte)) {
        "a device name has no space and none of / : %"
    } else {
        return Ok(());
    };
    Err(Error::usage("name a device", format!("{name:?}"), why))
}

/// How the outer packets of a link leave this machine and come to it, beside what they say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Binding {
    /// The mark that they leave with, for this machine's firewall and policy routing; 0: none.
    pub mark: u32,
    /// The device that they leave by and come by, a VRF's for its devices; `None`: any.
    pub device: Option<String>,
}

impl Binding {
    /// What to write for a device that IPv4 packets neither leave nor come by.
    pub(crate) const INSTEAD: &'static str = "name the VRF or the device that leads to the other end";

    /// The same while its device has this interface index; 0: it has none.
    pub(crate) fn on(&self, interface: u32) -> Bound {
        Bound { mark: self.mark, interface }
    }

    /// What `ip route get` has to be told, to find the way of the packets.
    pub(crate) fn route_options(&self) -> String {
        let mark = (self.mark != 0).then(|| format!("{:#x}", self.mark));
        route_options(self.device.as_deref(), mark.as_deref())
    }
}

/// What `ip route get` has to be told of a device and a mark.
pub(crate) fn route_options(device: Option<&str>, mark: Option<&str>) -> String {
    let device = device.into_iter().map(|device| format!(" oif {device}"));
    device.chain(mark.into_iter().map(|mark| format!(" mark {mark}"))).collect()
}

/// The same on this machine as it is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Bound {
    /// The mark; 0: none.
    pub mark: u32,
    /// The interface index of the device; 0: any.
    pub interface: u32,
}

impl Bound {
    /// A number for it that nothing else has: [`Underlay::way`](isatap_core::proto41::underlay::Underlay::way).
    pub(crate) fn way(self) -> u64 {
        u64::from(self.interface) << 32 | u64::from(self.mark)
    }
}
