//! What the recipes beside this file share: the filter of a server that fetches what its users name.
//!
//! Each recipe is an HTTP client that connects only where a [`Filter`] permits it, and says which mistake its library
//! invites. Copy [`Filter`] and the recipe. Five rules, each of which a filter was once broken for the lack of:
//!
//! 1. The name is resolved once, by the call that gives the addresses to connect to. Between check and connect nobody
//!    asks the DNS again, whose second answer can be another one (DNS rebinding).
//! 2. Every address is asked, and one bad address condemns the name: libraries try them all.
//! 3. An address is asked with everything that is hidden in it.
//! 4. What is connected to is an address that was asked, never the name. So a host that is a number already
//!    (`127.0.0.1`, `2130706433`, `0x7f.1`, `[::ffff:127.0.0.1]`) is asked like any other.
//! 5. A redirect is a new target, and a proxy connects in the filter's place: it is off.
//!
//! TLS, which these clients are built without, stands above the connection and changes nothing of this.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::{fmt, io};

use isatap_core::embedded::{Known, permits};
use isatap_core::prefix::is_public;

pub mod loopback;

/// Where a client may connect to.
#[derive(Clone)]
pub struct Filter {
    /// What is said of an address, and of every IPv4 address in it.
    pub allow: fn(IpAddr) -> bool,
    /// Every address of a host, with the port.
    pub resolve: Arc<Resolve>,
}

/// From a host, which is a name or a number, to addresses.
pub type Resolve = dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync;

impl Filter {
    /// Public addresses only, by the system's resolver.
    #[must_use]
    pub fn public() -> Self {
        Filter { allow: is_public, resolve: Arc::new(|host, port| Ok((host, port).to_socket_addrs()?.collect())) }
    }

    /// Every address of a host, if each of them is permitted. `host` may be in brackets.
    ///
    /// # Errors
    /// `PermissionDenied`: one is not. Others: the host has none.
    pub fn addresses(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let addresses = (self.resolve)(host, port)?;
        let refused = addresses.iter().find(|address| !self.permits(address.ip()));
        let error = match refused {
            Some(refused) => (io::ErrorKind::PermissionDenied, format!("{host}: {} is refused", refused.ip())),
            // Nothing found is nothing permitted.
            None if addresses.is_empty() => (io::ErrorKind::NotFound, format!("{host}: no address")),
            None => return Ok(addresses),
        };
        Err(io::Error::new(error.0, error.1))
    }

    /// Whether an address may be connected to.
    #[must_use]
    pub fn permits(&self, address: IpAddr) -> bool {
        // In place of NONE: the NAT64 prefixes and 6rd domains of the network that this runs in.
        permits(address, &Known::NONE, self.allow)
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Filter")
    }
}
