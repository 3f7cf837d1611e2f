//! A Teredo client, server and relay on this machine: IPv6 in UDP, through NATs.
//!
//! ```no_run
//! use isatap_std::signal::Signals;
//! use isatap_std::teredo::Client;
//!
//! let mut client = Client::builder().server("teredo.example.net").open()?;
//! client.run_until(&mut Signals::catch()?)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! All of it is gone when the value is dropped: device, addresses, routes. Needs
//! CAP_NET_ADMIN; [`qualify()`] needs no privilege.
//!
//! | who | device | routes |
//! |---|---|---|
//! | client | its Teredo address while it is qualified | `2001::/32`; a default route with the highest metric |
//! | server | no address: what it delivers, the kernel forwards | none |
//! | relay | a link-local address | `2001::/32` |
//!
//! First packets wait until the peer has answered: 4 of them for a peer, 256 in all.
//!
//! Secure qualification ([`secrets`]) is in the feature `secure-qualification`; asking the NAT to
//! open the port ([`port_mapping`]) in `pcp` and `upnp`.
//!
//! # What it does not do
//!
//! The metric, and whether `2001::/32` is announced to others, is not a relay's to decide: a
//! routing daemon's.
//!
//! # Security limits
//!
//! A client is reachable by everybody through its NAT: run a firewall on the device. Its
//! address shows the NAT's address and port. The server sees who talks to whom at first, and
//! with the networks between it can forge what it likes.

mod client;
mod node;
mod options;
pub mod port_mapping;
pub mod qualify;
mod relay;
pub mod secrets;
mod server;

#[cfg(feature = "cli")]
pub(crate) use node::Member;
pub use options::{ClientOptions, LinkOptions, RelayOptions, RoleOptions, ServerName, ServerOptions};
pub use qualify::qualify;

use crate::driver::attachment::Attachment;
use crate::error::Error;
use crate::node::status::Status;
use crate::signal::Signals;
use client::ClientRole;
use isatap_core::teredo::qualify::Stage;
use node::Node;
use relay::RelayRole;
use server::ServerRole;
use std::fmt;
use std::net::{Ipv6Addr, SocketAddrV4};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// The device when nothing else is asked for.
pub const DEFAULT_DEVICE: &str = "teredo";

/// How to open a [`Client`]; see [`Client::builder`].
#[derive(Debug, Default)]
#[must_use]
pub struct ClientBuilder {
    options: ClientOptions,
    error: Option<Error>,
}

impl ClientBuilder {
    /// The server, by address or name.
    ///
    /// That it is neither is told by [`open`](Self::open).
    pub fn server(mut self, server: impl AsRef<str>) -> Self {
        let server = server.as_ref();
        match server.parse() {
            Ok(name) => self.options.server = Some(name),
            Err(why) => self.error = Some(Error::usage("use the server", server, why)),
        }
        self
    }

    /// Where it sends from; see [`ClientOptions::bind`].
    pub fn bind(mut self, address: SocketAddrV4) -> Self {
        self.options.bind = address;
        self
    }

    /// The device to make: `teredo` if nothing is said.
    pub fn device(mut self, name: impl Into<String>) -> Self {
        self.options.link.device = name.into();
        self
    }

    /// Makes the device and starts.
    ///
    /// # Errors
    ///
    /// As [`ClientOptions::open`].
    pub fn open(self) -> Result<Client, Error> {
        match self.error {
            Some(error) => Err(error),
            None => self.options.open(|_| ()),
        }
    }
}

/// A Teredo client; gone, device and all, when dropped.
pub struct Client(Box<Node<ClientRole>>);

impl Client {
    /// Starts to describe one.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }
}

/// A Teredo server; gone, device and all, when dropped.
pub struct Server(Box<Node<ServerRole>>);

/// A Teredo relay; gone, device and all, when dropped.
pub struct Relay(Box<Node<RelayRole>>);

macro_rules! running {
    ($role:ident) => {
        impl $role {
            /// The name of the device.
            pub fn device(&self) -> &str {
                Attachment::name(self.0.attachment())
            }

            /// The address that it is known by: a client's Teredo address, once it is
            /// qualified; the link-local address of a server or relay.
            pub fn address(&self) -> Option<Ipv6Addr> {
                self.0.address()
            }

            /// What it knows and has counted.
            pub fn status(&self) -> Status {
                self.0.status()
            }

            /// Waits at most `timeout` for something to do, and does it: a batch of packets,
            /// what is due, what the system has changed. `Some(Duration::ZERO)` does not wait.
            ///
            /// # Errors
            ///
            /// Somebody deleted the device. What single packets meet is counted instead.
            pub fn turn(&mut self, timeout: Option<Duration>) -> Result<(), Error> {
                self.0.turn(timeout).map(drop)
            }

            /// Turns until a signal asks to stop.
            ///
            /// # Errors
            ///
            /// As [`turn`](Self::turn).
            pub fn run_until(&mut self, signals: &mut Signals) -> Result<(), Error> {
                self.0.run_until(signals)
            }
        }

        impl AsFd for $role {
            /// Readable when [`turn`](Self::turn) has something to do, deadlines included.
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.0.as_fd()
            }
        }

        impl fmt::Debug for $role {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($role)).field("attachment", self.0.attachment()).finish_non_exhaustive()
            }
        }
    };
}

running!(Client);
running!(Server);
running!(Relay);

/// The stage's name in kebab-case, and why it is off-line; stable.
fn stage_name(stage: Stage) -> (&'static str, Option<&'static str>) {
    match stage {
        Stage::Offline(reason) => ("offline", Some(reason.as_str())),
        Stage::Cone => ("asking-cone", None),
        Stage::Primary => ("asking-server", None),
        Stage::Secondary => ("asking-secondary", None),
        Stage::Qualified | Stage::Maintenance => ("qualified", None),
    }
}
