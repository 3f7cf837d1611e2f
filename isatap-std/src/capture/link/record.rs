//! Records that a program or a card wraps around what it saw.

use super::{NotIp, Walk, link_type};

impl Walk<'_> {
    /// Packets of netfilter's logger, as fields of the capturing machine's byte order.
    pub(super) fn nflog(&mut self) -> Result<(), NotIp> {
        const PAYLOAD: u16 = 9;
        let family = self.u8(0)?;
        self.skip(4)?;
        let payload = [u16::from_le_bytes, u16::from_be_bytes].into_iter().find_map(|read| {
            let mut rest = self.rest;
            while let [a, b, c, d, ..] = *rest {
                let (length, kind) = (usize::from(read([a, b])), read([c, d]));
                if length < 4 {
                    return None;
                }
                if kind & 0x7fff == PAYLOAD {
                    // What the snap length has cut is not there.
                    return rest.get(4..length).or(rest.get(4..));
                }
                rest = rest.get(length.next_multiple_of(4)..)?;
            }
            None
        });
        self.rest = payload.ok_or(NotIp::Opaque("an entry of netfilter's log without a packet"))?;
        self.of_family(family.into())
    }

    /// Endace's records.
    pub(super) fn erf(&mut self) -> Result<(), NotIp> {
        let kind = self.u8(8)?;
        self.skip(16)?;
        let mut more = kind & 0x80 != 0;
        while more {
            self.deeper()?;
            more = self.u8(0)? & 0x80 != 0;
            self.skip(8)?;
        }
        match kind & 0x7f {
            // Types of Ethernet have an offset and a byte of padding.
            2 | 11 | 16 => self.skip(2).and_then(|()| self.ethernet()),
            1 | 10 => match self.u8(0)? {
                0x0f | 0x8f => self.cisco_hdlc(),
                _ => self.ppp_framed(),
            },
            22 | 23 => self.raw(),
            other => Err(NotIp::OtherProtocol(other.into())),
        }
    }

    pub(super) fn juniper(&mut self, link_type: u16) -> Result<(), NotIp> {
        const EXTENSIONS: u8 = 0x80;
        const NO_LINK_LAYER: u8 = 0x02;
        if !self.rest.starts_with(b"MGC") {
            return Err(NotIp::Opaque("no header of Juniper's"));
        }
        let flags = self.u8(3)?;
        self.skip(4)?;
        if flags & EXTENSIONS != 0 {
            let length = self.u16(0)?;
            self.skip(2 + usize::from(length))?;
        }
        if flags & NO_LINK_LAYER != 0 {
            return self.skip(4).and_then(|()| self.raw());
        }
        match link_type {
            link_type::JUNIPER_ETHER => self.ethernet(),
            link_type::JUNIPER_PPP => self.skip(2).and_then(|()| self.ppp_framed()),
            link_type::JUNIPER_FRELAY => self.frame_relay(),
            _ => self.cisco_hdlc(),
        }
    }

    /// What Wireshark exports: fields, and a payload of the protocol that one of them names.
    pub(super) fn exported(&mut self) -> Result<(), NotIp> {
        let mut is_ip = false;
        loop {
            let (kind, length) = (self.u16(0)?, self.u16(2)?);
            self.skip(4)?;
            let value = self.rest.get(..usize::from(length)).ok_or(NotIp::Short)?;
            self.skip(usize::from(length))?;
            match kind {
                0 if is_ip => return Ok(()),
                0 => return Err(NotIp::Opaque("an exported PDU of another protocol")),
                12 => is_ip = matches!(value.trim_ascii_end(), b"ip" | b"ipv6") || value.starts_with(b"ip\0"),
                _ => {}
            }
        }
    }
}
