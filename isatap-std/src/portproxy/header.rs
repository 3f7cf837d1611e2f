//! HAProxy's PROXY protocol: who the client is, in front of the data. `PPX-8`

use crate::spec::ProxyProtocol;
use std::net::{IpAddr, SocketAddr};

/// What the target reads first. `client` and `listener` are of one IP version: the two ends of the
/// client's connection.
pub(super) fn header(version: ProxyProtocol, client: SocketAddr, listener: SocketAddr) -> Vec<u8> {
    match version {
        ProxyProtocol::V1 => text(client, listener).into_bytes(),
        _ => binary(client, listener),
    }
}

fn text(client: SocketAddr, listener: SocketAddr) -> String {
    let family = if client.is_ipv4() { "TCP4" } else { "TCP6" };
    // Without zones, which mean nothing elsewhere.
    format!("PROXY {family} {} {} {} {}\r\n", client.ip(), listener.ip(), client.port(), listener.port())
}

fn binary(client: SocketAddr, listener: SocketAddr) -> Vec<u8> {
    const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
    const VERSION_2_PROXIED: u8 = 0x21;
    const STREAM_OVER_IPV4: u8 = 0x11;
    const STREAM_OVER_IPV6: u8 = 0x21;
    let mut addresses = Vec::new();
    for end in [client, listener] {
        match end.ip() {
            IpAddr::V4(address) => addresses.extend(address.octets()),
            IpAddr::V6(address) => addresses.extend(address.octets()),
        }
    }
    for end in [client, listener] {
        addresses.extend(end.port().to_be_bytes());
    }
    let family = if client.is_ipv4() { STREAM_OVER_IPV4 } else { STREAM_OVER_IPV6 };
    let length = u16::try_from(addresses.len()).unwrap_or_default();
    let mut header = SIGNATURE.to_vec();
    header.extend([VERSION_2_PROXIED, family]);
    header.extend(length.to_be_bytes());
    header.extend(addresses);
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(version: ProxyProtocol, client: &str, listener: &str) -> Vec<u8> {
        header(version, client.parse().unwrap(), listener.parse().unwrap())
    }

    #[test]
    fn ppx_8_the_header_is_a_line_or_sixteen_bytes_and_addresses() {
        let line = of(ProxyProtocol::V1, "192.0.2.7:4000", "192.0.2.1:80");
        assert_eq!(line, b"PROXY TCP4 192.0.2.7 192.0.2.1 4000 80\r\n");
        let line = of(ProxyProtocol::V1, "[fe80::7%2]:4000", "[fe80::1%2]:80");
        assert_eq!(line, b"PROXY TCP6 fe80::7 fe80::1 4000 80\r\n");
        let bytes = of(ProxyProtocol::V2, "192.0.2.7:4000", "192.0.2.1:80");
        let head = [13, 10, 13, 10, 0, 13, 10, 0x51, 0x55, 0x49, 0x54, 10, 0x21, 0x11, 0, 12];
        assert_eq!(bytes, [&head[..], &[192, 0, 2, 7, 192, 0, 2, 1, 0x0f, 0xa0, 0, 80]].concat());
        let bytes = of(ProxyProtocol::V2, "[2001:db8::7]:4000", "[2001:db8::1]:80");
        assert_eq!((bytes.len(), &bytes[12..16]), (52, &[0x21, 0x21, 0, 36][..]));
    }
}
