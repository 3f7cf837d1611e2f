//! The kernel's switches for IPv6 on a device, under `/proc/sys/net/ipv6/conf`.

use crate::error::Error;
use std::fs;
use std::path::PathBuf;

const ROOT: &str = "/proc/sys/net/ipv6/conf";

/// The value of a switch; `device` may be `all` or `default`.
///
/// # Errors
///
/// There is no such device or switch, or the kernel has no IPv6.
pub fn ipv6(device: &str, name: &str) -> Result<i64, Error> {
    let path = path(device, name);
    let text = fs::read_to_string(&path).map_err(|error| Error::refused("read", path.display(), error))?;
    text.trim().parse().map_err(|_| Error::usage("read", path.display(), "it holds no number"))
}

/// Sets a switch; one that has the value already is not written, so a read-only
/// `/proc/sys`, as in a container, does no harm then.
///
/// # Errors
///
/// As [`ipv6`], or no privilege.
pub fn set_ipv6(device: &str, name: &str, value: i64) -> Result<(), Error> {
    if ipv6(device, name)? == value {
        return Ok(());
    }
    let path = path(device, name);
    fs::write(&path, value.to_string()).map_err(|error| {
        let read_only = error.kind() == std::io::ErrorKind::ReadOnlyFilesystem;
        let error = Error::refused(format!("set {value} in"), path.display(), error);
        if read_only {
            error.with_advice(format!("set it outside the container: sysctl net.ipv6.conf.{device}.{name}={value}"))
        } else {
            error
        }
    })
}

/// What every tunnel device needs before it goes up: IPv6 on, no kernel autoconfiguration,
/// no duplicate address detection, no redirects. What routers and
/// addresses there are on the tunnel is the core's to say (RFC 5214 §8.3.4).
///
/// # Errors
///
/// As [`set_ipv6`].
pub fn prepare_tunnel(device: &str) -> Result<(), Error> {
    for (name, value) in [
        ("disable_ipv6", 0),
        ("accept_ra", 0),
        ("autoconf", 0),
        ("accept_dad", 0),
        ("dad_transmits", 0),
        ("router_solicitations", 0),
        ("accept_redirects", 0),
    ] {
        set_ipv6(device, name, value)?;
    }
    Ok(())
}

/// Tells the kernel that a device is a host's, where all others are a router's. It forwards
/// from there all the same as long as `all` says so: what is for others is the core's to drop
/// (RTE-7). So where `/proc/sys` is read-only, nothing is lost.
///
/// # Errors
///
/// As [`ipv6`].
pub fn be_a_host(device: &str) -> Result<(), Error> {
    ipv6(device, "forwarding")?;
    let _ = set_ipv6(device, "forwarding", 0);
    Ok(())
}

/// Whether the kernel forwards what comes in by a device.
///
/// What it heeds was tried on Linux 6.18, with a router between two hosts, and a test repeats
/// it. `all` decides: at 1 the kernel forwards whatever the devices' own switches say, at 0 it
/// forwards nothing, whatever they say. At 0 it forwards all the same what comes in by a device
/// whose `force_forwarding` is 1, which there is since Linux 6.17. The `forwarding` of a device
/// says as what the kernel shows itself there: 1 sets the router flag of its Neighbor
/// Advertisements.
#[must_use]
pub fn forwards(device: &str) -> bool {
    is_on("all", "forwarding") || is_on(device, "force_forwarding")
}

/// Whether the kernel [`forwards`] what comes in by a device, and what returns by another: without
/// `all`, `force_forwarding` of one device alone lets nothing return. By which device that is,
/// is not known here: any other will do.
#[must_use]
pub fn forwards_both_ways(device: &str) -> bool {
    is_on("all", "forwarding") || (is_on(device, "force_forwarding") && others(device).any(|other| forwards(&other)))
}

/// Whether this node is a router on a device: the kernel [`forwards_both_ways`], and the
/// device's own switch says so too, which is ours to heed (RTE-7): where it says no, the core
/// drops what is for others, and hosts hear of no default router (NDP-67).
#[must_use]
pub fn is_router(device: &str) -> bool {
    forwards_both_ways(device) && is_on(device, "forwarding")
}

/// [`is_router`]; `None`: there is no such device any more, so that nothing is known.
pub(crate) fn is_router_if_there(device: &str) -> Option<bool> {
    // In this order: a device may go at any time.
    is_router(device).then_some(true).or_else(|| path(device, "forwarding").exists().then_some(false))
}

/// The other devices from which there is something to forward. The switches of `all` and
/// `default` are those of no device.
fn others(device: &str) -> impl Iterator<Item = String> {
    let names =
        fs::read_dir(ROOT).into_iter().flatten().flatten().filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(move |name| ![device, "all", "default", "lo"].contains(&name.as_str()))
}

fn is_on(device: &str, name: &str) -> bool {
    ipv6(device, name).is_ok_and(|value| value != 0)
}

fn path(device: &str, name: &str) -> PathBuf {
    [ROOT, device, name].iter().collect()
}
