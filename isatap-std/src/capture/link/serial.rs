//! Links without Ethernet: PPP, HDLC, Frame Relay, ARCNET.

use super::{NotIp, Tag, Walk};

impl Walk<'_> {
    pub(super) fn pppoe(&mut self) -> Result<(), NotIp> {
        let (code, session) = (self.u8(1)?, self.u16(2)?);
        self.skip(6)?;
        if code != 0 {
            return Err(NotIp::Opaque("PPPoE discovery"));
        }
        self.tags.push(Tag::Pppoe { session });
        self.ppp()
    }

    /// PPP with address and control bytes or without. [RFC 1662 §3.1]
    pub(super) fn ppp_framed(&mut self) -> Result<(), NotIp> {
        if self.rest.starts_with(&[0xff, 0x03]) {
            self.skip(2)?;
        }
        self.ppp()
    }

    /// A protocol of one or two bytes, [RFC 1661 §6.5], and its payload.
    pub(super) fn ppp(&mut self) -> Result<(), NotIp> {
        self.deeper()?;
        let first = self.u8(0)?;
        let protocol = if first & 1 == 0 {
            let protocol = self.u16(0)?;
            self.skip(2)?;
            protocol
        } else {
            self.skip(1)?;
            first.into()
        };
        match protocol {
            0x0021 | 0x0057 => Ok(()),
            0x0281 | 0x0283 => self.mpls(),
            // RFC 1990 §3: of a fragment the first that is also the last is all.
            0x003d => match self.u8(0)? {
                flags if flags & 0xc0 == 0xc0 => self.skip(4).and_then(|()| self.ppp()),
                _ => Err(NotIp::Opaque("a fragment of PPP Multilink")),
            },
            // RFC 3518 §4.2
            0x0031 => match (self.u8(0)?, self.u8(1)?) {
                (_, 1) => self.skip(2).and_then(|()| self.bridged()),
                (_, kind) => Err(NotIp::OtherProtocol(kind.into())),
            },
            0x002d | 0x002f => Err(NotIp::Opaque("compressed by Van Jacobson's rules")),
            0x00fd | 0x00fb => Err(NotIp::Opaque("compressed by PPP")),
            0x0053 | 0x0055 => Err(NotIp::Opaque("encrypted by PPP")),
            other => Err(NotIp::OtherProtocol(other.into())),
        }
    }

    pub(super) fn cisco_hdlc(&mut self) -> Result<(), NotIp> {
        let ether_type = self.u16(2)?;
        self.skip(4)?;
        self.ether_type(ether_type)
    }

    pub(super) fn frame_relay(&mut self) -> Result<(), NotIp> {
        // Two to four bytes of address, of which the last has its lowest bit set.
        let length = (1..=4).find(|at| self.u8(at - 1).is_ok_and(|byte| byte & 1 != 0)).ok_or(NotIp::Short)?;
        self.skip(length)?;
        match self.u8(0)? {
            0x03 => self.skip(1).and_then(|()| self.nlpid()),
            // Cisco's.
            _ => self.behind(0),
        }
    }

    pub(super) fn arcnet(&mut self, addresses: usize) -> Result<(), NotIp> {
        let protocol = self.u8(addresses)?;
        self.skip(addresses + 1)?;
        match protocol {
            // RFC 1201 §2: a split flag and a sequence number, of an exception frame four bytes more.
            0xd4 => {
                let flag = self.u8(0)?;
                let (first, length) = if flag == 0xff { (self.u8(4)?, 7) } else { (flag, 3) };
                self.skip(length)?;
                match first {
                    0 => Ok(()),
                    flag if flag & 1 != 0 => Ok(()),
                    _ => Err(NotIp::Opaque("a later fragment of ARCNET")),
                }
            }
            // RFC 1051
            0xf0 => Ok(()),
            other => Err(NotIp::OtherProtocol(other.into())),
        }
    }
}
