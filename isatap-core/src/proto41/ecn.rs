//! Traffic class and congestion notification in and out of a tunnel.
//! [RFC 4213 §3.5, RFC 6040]

use crate::drop_reason::DropReason;

/// What a packet says about congestion: the lower two bits of TOS and
/// traffic class. [RFC 3168 §5]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Ecn {
    /// 00: the transport does not understand congestion marks.
    NotEct = 0,
    /// 01: it does.
    Ect1 = 1,
    /// 10: it does.
    Ect0 = 2,
    /// 11: congestion was experienced.
    Ce = 3,
}

impl Ecn {
    /// The codepoint in the lower two bits of a TOS or traffic-class octet.
    #[inline]
    #[must_use]
    pub const fn of(octet: u8) -> Self {
        match octet & 3 {
            0 => Ecn::NotEct,
            1 => Ecn::Ect1,
            2 => Ecn::Ect0,
            _ => Ecn::Ce,
        }
    }

    /// The two bits.
    #[inline]
    #[must_use]
    pub const fn bits(self) -> u8 {
        match self {
            Ecn::NotEct => 0,
            Ecn::Ect1 => 1,
            Ecn::Ect0 => 2,
            Ecn::Ce => 3,
        }
    }
}

/// What the outer header says about congestion. [RFC 6040 §4.3]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum EcnMode {
    /// The inner codepoint: to peers that are known to propagate marks.
    Normal,
    /// Nothing: to peers that may be older than RFC 6040 and lose marks.
    #[default]
    Compatibility,
}

/// What the outer header says about the class of traffic. `TUN-50`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TosMode {
    /// The same DSCP, 0 to 63, for all packets.
    Fixed(u8),
    /// The inner DSCP. 6rd does so by default. [RFC 5969 §9]
    CopyTrafficClass,
}

impl Default for TosMode {
    /// `TUN-50 [RFC 4213 §3.5]`: zero unless specified.
    fn default() -> Self {
        TosMode::Fixed(0)
    }
}

/// The outer TOS octet of a packet whose inner traffic class is
/// `traffic_class`. `TUN-50`, `TUN-51`
#[inline]
#[must_use]
pub const fn outer_tos(tos: TosMode, ecn: EcnMode, traffic_class: u8) -> u8 {
    let (fixed, copied) = tos_bits(tos, ecn);
    fixed | traffic_class & copied
}

/// The outer TOS octet's bits that are set in any case, and those that the inner
/// traffic class gives.
#[inline]
pub(crate) const fn tos_bits(tos: TosMode, ecn: EcnMode) -> (u8, u8) {
    let (fixed, dscp) = match tos {
        TosMode::Fixed(dscp) => (dscp << 2, 0),
        TosMode::CopyTrafficClass => (0, 0xfc),
    };
    let ecn = match ecn {
        EcnMode::Normal => 3,
        EcnMode::Compatibility => 0,
    };
    (fixed, dscp | ecn)
}

/// The outer codepoint of a packet that enters a tunnel.
/// `TUN-51 [RFC 6040 §4.1]`
#[inline]
#[must_use]
pub const fn enter(mode: EcnMode, inner: Ecn) -> Ecn {
    match mode {
        EcnMode::Normal => inner,
        EcnMode::Compatibility => Ecn::NotEct,
    }
}

/// What becomes of a packet's congestion notification where it leaves a
/// tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Exit {
    /// What the packet says from here on.
    pub ecn: Ecn,
    /// Whether no tunnel entry should have made this combination.
    /// `TUN-53`: worth a log line, seldom and if wanted.
    pub log: bool,
}

/// Combines the codepoints of a packet that leaves a tunnel.
///
/// # Errors
/// `TUN-52`: [`DropReason::EcnNotCapable`] when congestion was experienced
/// and the inner packet cannot say so; the drop then tells its sender.
#[inline]
pub const fn exit(inner: Ecn, outer: Ecn) -> Result<Exit, DropReason> {
    // Most outer headers say nothing: one comparison instead of a table.
    if matches!(outer, Ecn::NotEct) {
        return Ok(Exit { ecn: inner, log: false });
    }
    // TUN-52 [RFC 6040 §4.2]
    let (ecn, log) = match (inner, outer) {
        (inner, Ecn::NotEct) => (inner, false),
        (Ecn::NotEct, Ecn::Ce) => return Err(DropReason::EcnNotCapable),
        (Ecn::NotEct, Ecn::Ect0 | Ecn::Ect1) => (Ecn::NotEct, true),
        (Ecn::Ect0, Ecn::Ect0) => (Ecn::Ect0, false),
        (Ecn::Ect0, Ecn::Ect1) => (Ecn::Ect1, false),
        (Ecn::Ect1, Ecn::Ect1) => (Ecn::Ect1, false),
        (Ecn::Ect1, Ecn::Ect0) => (Ecn::Ect1, true),
        (Ecn::Ect0 | Ecn::Ect1, Ecn::Ce) => (Ecn::Ce, false),
        (Ecn::Ce, outer) => (Ecn::Ce, matches!(outer, Ecn::Ect1)),
    };
    Ok(Exit { ecn, log })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]
    use super::*;

    const ALL: [Ecn; 4] = [Ecn::NotEct, Ecn::Ect1, Ecn::Ect0, Ecn::Ce];

    #[test]
    fn codepoints_are_those_of_the_wire() {
        for octet in 0..=255_u8 {
            assert_eq!(Ecn::of(octet).bits(), octet & 3);
        }
        assert_eq!((Ecn::Ect0.bits(), Ecn::Ect1.bits()), (2, 1));
    }

    #[test]
    fn tun_52_all_sixteen_cells() {
        // Rows as in the specification: inner; columns: outer 00, 10, 01, 11.
        // `!` is logged, `drop` is dropped.
        let table = [
            ("00", ["00", "00!", "00!", "drop"]),
            ("10", ["10", "10", "01", "11"]),
            ("01", ["01", "01!", "01", "11"]),
            ("11", ["11", "11", "11!", "11"]),
        ];
        let parse = |text: &str| Ecn::of(u8::from_str_radix(&text[..2], 2).unwrap());
        for (inner, row) in table {
            for (outer, expected) in ["00", "10", "01", "11"].into_iter().zip(row) {
                let expected = match expected {
                    "drop" => Err(DropReason::EcnNotCapable),
                    cell => Ok(Exit { ecn: parse(cell), log: cell.ends_with('!') }),
                };
                assert_eq!(exit(parse(inner), parse(outer)), expected, "{inner} {outer}");
            }
        }
    }

    #[test]
    fn tun_51_entry() {
        for inner in ALL {
            assert_eq!(enter(EcnMode::Normal, inner), inner);
            assert_eq!(enter(EcnMode::Compatibility, inner), Ecn::NotEct);
        }
        assert_eq!(EcnMode::default(), EcnMode::Compatibility);
    }

    #[test]
    fn tun_50_tos() {
        assert_eq!(outer_tos(TosMode::default(), EcnMode::default(), 0xff), 0);
        assert_eq!(outer_tos(TosMode::CopyTrafficClass, EcnMode::Normal, 0xb9), 0xb9);
        assert_eq!(outer_tos(TosMode::CopyTrafficClass, EcnMode::Compatibility, 0xbb), 0xb8);
        assert_eq!(outer_tos(TosMode::Fixed(46), EcnMode::Normal, 0x03), 0xbb);
        assert_eq!(outer_tos(TosMode::Fixed(46), EcnMode::Compatibility, 0x03), 0xb8);
    }

    #[test]
    fn tun_52_a_mark_made_inside_the_tunnel_survives_it() {
        for mode in [EcnMode::Normal, EcnMode::Compatibility] {
            for inner in ALL {
                // Unmarked, the packet leaves as it came in, without a log line.
                assert_eq!(exit(inner, enter(mode, inner)), Ok(Exit { ecn: inner, log: false }));
            }
        }
        assert_eq!(exit(Ecn::Ect0, Ecn::Ce).map(|exit| exit.ecn), Ok(Ecn::Ce));
    }
}
