//! Which Router Advertisements count.

use core::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};

use super::QualifyConfig;
use crate::drop_reason::DropReason;
use crate::nd::option::NdOption;
use crate::nd::validate;
use crate::teredo::addr::{self, SERVER_PORT};
use crate::teredo::ingress::{Path, is_usable};
use crate::teredo::packet::Datagram;

/// An advertisement that is valid by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advertisement {
    /// The server's address that sent it.
    pub from: Ipv4Addr,
    /// The link-local address that it was sent to.
    pub destination: Ipv6Addr,
    /// The nonce that it repeats.
    pub nonce: [u8; 8],
    /// How the NAT shows the client.
    pub mapping: SocketAddrV4,
    /// The IPv4 address in the prefix: the server's.
    pub server: Ipv4Addr,
}

/// Whether a Router Advertisement is one that can qualify a client.
///
/// `TER-32 [RFC 4380 §5.2.1]`. Of it only prefix, origin and MTU count
/// (`TER-106`): a router lifetime of 0 and a prefix that is not on-link are
/// what every server sends. The MTU can only be 1,280: `NDP-14`.
///
/// # Errors
/// The first rule that it breaks.
pub fn judge(config: &QualifyConfig, path: Path, datagram: &Datagram<'_>) -> Result<Advertisement, DropReason> {
    let refused = DropReason::TeredoAdvertisement;
    let servers = config.servers();
    if path.from.port() != SERVER_PORT || !servers.contains(path.from.ip()) {
        return Err(refused);
    }
    // RFC 4380 §5.2.2: MUST discard on another nonce; without one too, since
    // one is always sent.
    let nonce = datagram.authentication().ok_or(DropReason::TeredoNonce)?.nonce;
    let received = crate::interface::neighbor_discovery(datagram.ipv6()).ok_or(DropReason::NdMalformed)?;
    // NDP-21
    let advertisement = validate::router_advertisement(&received)?;
    // TER-33 [RFC 4380 §4]: a global address embeds nothing but a global one.
    let mapping = datagram.origin().ok_or(refused)?;
    if !is_usable(*mapping.ip(), config.accept_bogons) || mapping.port() == 0 {
        return Err(DropReason::TeredoOrigin);
    }
    let mut prefix = None;
    for option in advertisement.options() {
        match option.map_err(|_| DropReason::NdMalformed)? {
            NdOption::PrefixInformation(information) if prefix.is_none() => prefix = Some(information.prefix),
            // Exactly one.
            NdOption::PrefixInformation(_) => return Err(refused),
            _ => {}
        }
    }
    // What lies behind the 64 bits means nothing, and was cut off already.
    let prefix = prefix.filter(|prefix| prefix.length() == 64).ok_or(refused)?.address();
    let obsolete = || addr::Address::from_obsolete_ipv6(&prefix).filter(|_| config.accept_obsolete_prefix);
    let server = addr::Address::from_ipv6(&prefix).or_else(obsolete).ok_or(refused)?.server;
    if !servers.contains(&server) {
        return Err(refused);
    }
    Ok(Advertisement { from: *path.from.ip(), destination: received.destination, nonce, mapping, server })
}
