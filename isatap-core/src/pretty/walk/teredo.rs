//! What Teredo puts in front of an IPv6 packet and behind it.

use super::{Carrier, Layers, Next};
use crate::error::{self, ParseErrorKind};
use crate::pretty::check;
use crate::pretty::layer::{Content, Data, Layer, Origin, Trailer};
use crate::pretty::warning::{Warning, Warnings};
use crate::teredo::packet;

impl<'a> Layers<'a> {
    /// One step in front of or at the IPv6 packet in a Teredo datagram.
    pub(super) fn teredo(&mut self, authentication: bool, origin: bool) -> Option<Layer<'a>> {
        let mut warnings = Warnings::NONE;
        match self.rest {
            [0, 1, ..] if authentication => {
                let (header, len) = match packet::Authentication::parse(self.rest) {
                    Ok(parsed) => parsed,
                    Err(_) if self.around.is_partial => return Some(self.cut(error::Layer::Teredo.as_str())),
                    Err(error) => {
                        warnings.add(Warning::TeredoMalformed);
                        return Some(self.malformed(error.layer, error.kind, error.offset, warnings));
                    }
                };
                warnings.add_if(header.confirmation != 0, Warning::TeredoConfirmation);
                let layer = self.layer(Content::TeredoAuthentication(header), warnings);
                self.advance(len, Next::Teredo { authentication: false, origin });
                Some(layer)
            }
            [0, 0, ..] if origin && self.rest.len() >= packet::ORIGIN_LEN => {
                let origin = self.rest.first_chunk().map(packet::origin_from)?;
                let origin = Origin { port: origin.port(), address: *origin.ip() };
                let layer = self.layer(Content::TeredoOrigin(origin), warnings);
                if let Carrier::Teredo { has_origin, .. } = &mut self.around.carrier {
                    *has_origin = true;
                }
                self.advance(packet::ORIGIN_LEN, Next::Teredo { authentication: false, origin: false });
                Some(layer)
            }
            [first, ..] if first >> 4 == 6 => {
                self.next = Next::Ipv6;
                None
            }
            _ if self.around.is_partial && self.rest.len() < packet::ORIGIN_LEN => {
                Some(self.cut(error::Layer::Teredo.as_str()))
            }
            // TER-10 [RFC 4380 §5.1.1]
            _ => {
                warnings.add(Warning::TeredoMalformed);
                Some(self.malformed(error::Layer::Teredo, ParseErrorKind::Type, 0, warnings))
            }
        }
    }

    pub(super) fn trailer(&mut self) -> Option<Layer<'a>> {
        let mut warnings = Warnings::NONE;
        if self.rest.len() < 2 {
            // One stray byte: the walk ends.
            self.next = if self.rest.is_empty() { Next::End } else { Next::Data(None) };
            return None;
        }
        let Some((trailer_type, value, _)) = packet::cut_trailer(self.rest) else {
            if self.around.is_partial {
                return Some(self.cut("Teredo trailer"));
            }
            warnings.add(Warning::TrailerMalformed);
            return Some(self.rest_as(Content::Data(Data { protocol: None, bytes: self.rest }), warnings));
        };
        let trailer = Trailer { trailer_type, value };
        check::trailer(&trailer, &mut warnings);
        let layer = self.layer(Content::TeredoTrailer(trailer), warnings);
        self.advance(value.len().saturating_add(2), Next::Trailer);
        Some(layer)
    }
}
