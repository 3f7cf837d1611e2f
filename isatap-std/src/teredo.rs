//! A Teredo client, server and relay on this machine: IPv6 in UDP, through NATs.
//!
//! ```no_run
//! use isatap_std::run::Run;
//! use isatap_std::signal::Signals;
//! use isatap_std::spec::TeredoClient;
//!
//! let client = TeredoClient::new("teredo.example.net".parse()?);
//! let mut run = Run::open(&[client.into()], |_| ())?;
//! run.run_until(&mut Signals::catch()?)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Needs CAP_NET_ADMIN; [`qualify()`] needs no privilege.
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

pub(crate) mod filtering;
pub mod port_mapping;
pub mod qualify;
pub mod secrets;

pub use qualify::qualify;

use isatap_core::teredo::qualify::Stage;

/// The stage's name in kebab-case, and why it is off-line; stable.
pub(crate) fn stage_name(stage: Stage) -> (&'static str, Option<&'static str>) {
    match stage {
        Stage::Offline(reason) => ("offline", Some(reason.as_str())),
        Stage::Cone => ("asking-cone", None),
        Stage::Primary => ("asking-server", None),
        Stage::Secondary => ("asking-secondary", None),
        Stage::Qualified | Stage::Maintenance => ("qualified", None),
    }
}
