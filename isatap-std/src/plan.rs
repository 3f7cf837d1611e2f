//! The commands for the other end of what a file describes, each with what takes it back.
//!
//! A link has two ends, and a file of `isatap run` describes one of them. [`of_link`] says what the
//! other end has to be ([`spec`](crate::spec) of the link, seen from there) and how a
//! [`Platform`] is told so; [`recipe`] puts the ends of a whole set-up into order. A plan is a list
//! of [`Step`]s; [`script`] makes text of it that can be pasted.
//!
//! ```
//! use isatap_std::plan::{Given, Platform, of_link};
//! use isatap_std::spec::IsatapRouter;
//!
//! let router = IsatapRouter::new(vec!["192.168.39.1".parse()?], vec!["2001:db8:0:7::/64".parse()?]);
//! let steps = of_link(&router.into(), Platform::Windows, &Given::default());
//! assert_eq!(steps[0].command.as_deref(), Some("netsh interface isatap set router 192.168.39.1"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it cannot do
//!
//! It asks no machine anything and guesses nothing: what neither the file nor the caller says is a
//! step without a command ([`Step::is_open`]) that names what is missing. The commands of iproute2,
//! networkd and of this tool are carried out by tests; those of other platforms are written after
//! their documentation.

mod cisco;
mod end;
mod iproute2;
mod kame;
mod networkd;
mod openwrt;
mod own;
mod quote;
pub mod recipe;
pub mod script;
mod steps;
mod windows;

use std::fmt;
use std::net::Ipv4Addr;

use isatap_core::prefix::Ipv6Prefix;
use serde::{Serialize, Serializer};

use crate::resolve::Entry;
use crate::spec::{AddressWithLength, LinkSpec, Tunnel};
use end::OtherEnd;
use steps::Steps;

/// What runs at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "args", derive(clap::ValueEnum))]
#[non_exhaustive]
pub enum Platform {
    /// Windows: netsh, in a command prompt of an administrator
    Windows,
    /// Windows: cmdlets, and netsh where there are none
    #[cfg_attr(feature = "args", value(name = "powershell"))]
    PowerShell,
    /// Linux: ip, until the next boot
    #[cfg_attr(feature = "args", value(name = "iproute2"))]
    Iproute2,
    /// Linux: files of systemd-networkd
    Networkd,
    /// Cisco IOS, in configuration mode
    Cisco,
    /// OpenWrt: uci
    #[cfg_attr(feature = "args", value(name = "openwrt"))]
    OpenWrt,
    /// KAME and the BSDs
    Kame,
    /// This tool
    Isatap,
}

impl Platform {
    /// All of them.
    pub const ALL: [Platform; 8] = [
        Platform::Windows,
        Platform::PowerShell,
        Platform::Iproute2,
        Platform::Networkd,
        Platform::Cisco,
        Platform::OpenWrt,
        Platform::Kame,
        Platform::Isatap,
    ];

    /// The name, as options have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Platform::Windows => "windows",
            Platform::PowerShell => "powershell",
            Platform::Iproute2 => "iproute2",
            Platform::Networkd => "networkd",
            Platform::Cisco => "cisco",
            Platform::OpenWrt => "openwrt",
            Platform::Kame => "kame",
            Platform::Isatap => "isatap",
        }
    }

    /// What it is.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Platform::Windows => "Windows: netsh, in a command prompt of an administrator",
            Platform::PowerShell => "Windows: cmdlets, and netsh where there are none",
            Platform::Iproute2 => "Linux: ip, until the next boot",
            Platform::Networkd => "Linux: files of systemd-networkd",
            Platform::Cisco => "Cisco IOS, in configuration mode",
            Platform::OpenWrt => "OpenWrt: uci",
            Platform::Kame => "KAME and the BSDs",
            Platform::Isatap => "this tool",
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Platform {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// One thing to do at the other end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Step {
    /// What runs there.
    #[serde(rename = "for")]
    pub platform: Platform,
    /// The machine.
    pub on: String,
    /// The device of the link at this end; of a recipe nothing.
    pub link: Option<String>,
    /// What it does.
    pub step: String,
    /// The command, of one or several lines; `None`: see [`is_open`](Self::is_open) and the note.
    pub command: Option<String>,
    /// What takes it back; `None`: it goes with what an earlier step made, or stays.
    pub undo: Option<String>,
    /// What to know of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    #[serde(skip)]
    is_open: bool,
}

impl Step {
    /// Whether something is missing, or the platform cannot do it: the note says what.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.is_open
    }
}

/// What is known of the other end beside the file.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Given {
    /// Its IPv4 address.
    pub local: Option<Ipv4Addr>,
    /// Its IPv6 addresses on tunnels, each for the tunnel with its prefix.
    pub address: Vec<AddressWithLength>,
    /// The prefixes that it advertises where it is an ISATAP router.
    pub prefix: Vec<Ipv6Prefix>,
    /// The name by which hosts are to find the ISATAP router, instead of its address.
    pub router_name: Option<Entry>,
    /// Its ISATAP interface, by name or index (Windows).
    pub isatap_interface: Option<String>,
    /// Its interface toward the rest of the network, by name or index.
    pub lan_interface: Option<String>,
}

/// Reads the name or the index of an interface.
///
/// # Errors
///
/// It is none, or begins with a hyphen: it would be an option to many a program.
pub fn interface(text: &str) -> Result<String, &'static str> {
    if text.is_empty() || text.starts_with('-') || text.contains(char::is_control) {
        return Err("the name or the index of an interface was expected");
    }
    Ok(text.to_owned())
}

/// The plan for the other end of a link.
#[must_use]
pub fn of_link(link: &LinkSpec, platform: Platform, given: &Given) -> Vec<Step> {
    of_numbered_link(link, 0, platform, given)
}

/// The same for each link. Platforms that number their devices count through all of them.
#[must_use]
pub fn of_links(links: &[LinkSpec], platform: Platform, given: &Given) -> Vec<Step> {
    of_numbered_links(links, |_| true, platform, given)
}

/// The same for the links of one device. Its number is the one that [`of_links`] gives it, so that
/// what one of the two plans made, the undo of the other takes back, and nothing else.
#[must_use]
pub fn of_device(device: &str, links: &[LinkSpec], platform: Platform, given: &Given) -> Vec<Step> {
    of_numbered_links(links, |link| link.device() == device, platform, given)
}

fn of_numbered_links(
    links: &[LinkSpec],
    is_chosen: impl Fn(&LinkSpec) -> bool,
    platform: Platform,
    given: &Given,
) -> Vec<Step> {
    let is_kernel = matches!(platform, Platform::Iproute2 | Platform::Networkd);
    let mut taken: Vec<(&str, (Ipv4Addr, Option<Ipv4Addr>))> = Vec::new();
    let mut all = Vec::new();
    for (number, link) in links.iter().enumerate().filter(|(_, link)| is_chosen(link)) {
        let end = OtherEnd::of(link, given);
        let ends = end.kernel_ends().filter(|_| is_kernel);
        if let Some((other, _)) = taken.iter().find(|(_, other)| Some(*other) == ends) {
            let mut steps = Steps::new(platform, end.describe(), Some(link.device()), number);
            let how = match link.binding().device {
                // Only here a device tells them apart.
                Some(by) => format!("for the machine behind {by}"),
                None => "and an address of its own (--local)".to_owned(),
            };
            let why = format!(
                "Linux has one tunnel for a pair of ends, and these are {other}'s; plan each with --link {how}"
            );
            steps.cannot("Make the tunnel.", &why);
            all.extend(steps.take());
            continue;
        }
        taken.extend(ends.map(|ends| (link.device(), ends)));
        let mut steps = of_numbered_link(link, number, platform, given);
        if let (Some(first), Some(why)) = (steps.first_mut(), is_hidden_by_tunnel(link, links, given)) {
            first.note = Some(first.note.take().map_or_else(|| why.clone(), |note| format!("{why}; {note}")));
        }
        all.extend(steps);
    }
    all
}

/// Why the other end can be no host of this ISATAP router: a tunnel of ours to it takes all.
fn is_hidden_by_tunnel(link: &LinkSpec, links: &[LinkSpec], given: &Given) -> Option<String> {
    let (LinkSpec::IsatapRouter(router), Some(host)) = (link, given.local) else { return None };
    let is_to_host = |other: &&LinkSpec| {
        matches!(other, LinkSpec::Tunnel(Tunnel { remote: Entry::Address(remote), local: Some(local), .. })
            if *remote == host && router.local.contains(local))
    };
    let tunnel = links.iter().find(is_to_host)?.device();
    Some(format!(
        "{host} cannot be an ISATAP host of this router: {tunnel} takes all protocol 41 between both; give the host \
         another IPv4 address (--local)"
    ))
}

/// The addresses that no link has the prefix of.
#[must_use]
pub fn without_link<'g>(links: &[&LinkSpec], given: &'g Given) -> Vec<&'g AddressWithLength> {
    let takes = |address: &AddressWithLength| links.iter().any(|link| end::takes_address(link, address));
    given.address.iter().filter(|address| !takes(address)).collect()
}

/// Why the address of [`Given::local`] cannot be the other end's; `links` are those to be planned of
/// `all` of the file. It is this end's own, or every link that has an other end with an address says another.
#[must_use]
pub fn wrong_local(links: &[&LinkSpec], all: &[LinkSpec], given: &Given) -> Option<String> {
    let local = given.local?;
    if let Some(own) = all.iter().find(|link| link.locals().contains(&local)) {
        let device = own.device();
        return Some(format!("it is this end's own address, of {device}; give the other end's"));
    }
    let mut said = links.iter().map(|link| end::said_locals(link));
    let first = links.iter().zip(said.clone()).find(|(_, said)| !said.is_empty());
    let (link, addresses) = first.filter(|_| said.all(|said| !said.is_empty() && !said.contains(&local)))?;
    let (device, addresses) = (link.device(), crate::spec::list(&addresses));
    Some(format!("the other end of {device} is {addresses} by the file; leave --local out, or correct the file"))
}

fn of_numbered_link(link: &LinkSpec, number: usize, platform: Platform, given: &Given) -> Vec<Step> {
    let end = OtherEnd::of(link, given);
    let mut steps = Steps::new(platform, end.describe(), Some(link.device()), number);
    if let LinkSpec::Tunnel(Tunnel { remote: remote @ Entry::Name(_), .. }) = link {
        let what = format!("the IPv4 address of {remote}");
        steps.not_known("Make the tunnel.", &what, "name it as remote");
        return steps.take();
    }
    if let Some(lease) = link.dhcp_lease() {
        let what = format!("the 6rd domain, which is that of the lease {}", lease.display());
        steps.not_known("Make the tunnel.", &what, "the provider has the other end already");
        return steps.take();
    }
    if let (LinkSpec::Tunnel(_) | LinkSpec::SixRd(_), Some(via)) = (link, link.via()) {
        let what = format!("this end's IPv4 address, which is that of {via}");
        steps.not_known("Make the tunnel.", &what, "name it as local, and make the other end again when it changes");
        return steps.take();
    }
    match platform {
        Platform::Windows | Platform::PowerShell => windows::plan(&end, &mut steps),
        Platform::Iproute2 => iproute2::plan(&end, &mut steps),
        Platform::Networkd => networkd::plan(&end, &mut steps),
        Platform::Cisco => cisco::plan(&end, &mut steps),
        Platform::OpenWrt => openwrt::plan(&end, &mut steps),
        Platform::Kame => kame::plan(&end, &mut steps),
        Platform::Isatap => own::plan(&end, &mut steps),
    }
    steps.take()
}

#[cfg(test)]
mod tests;
