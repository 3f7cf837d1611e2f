//! How much a router wants to be preferred. [RFC 4191 §2.1]

use crate::route::Preference;

/// Two bits on the wire: 01 high, 00 medium, 11 low, 10 reserved.
impl Preference {
    /// The preference in the bits 0x18 of `flags`, where both the header of
    /// an advertisement and the route option have it; `None` for the
    /// reserved value, which the header reads as medium and the option as a
    /// reason to be ignored.
    #[must_use]
    pub const fn from_flags(flags: u8) -> Option<Self> {
        match flags & Self::MASK {
            0x08 => Some(Preference::High),
            0x00 => Some(Preference::Medium),
            0x18 => Some(Preference::Low),
            _ => None,
        }
    }

    /// The bits of the preference, at 0x18 of a flags byte. The reserved
    /// value cannot be written. `NDP-11 [RFC 4191 §2.1]`
    #[must_use]
    pub const fn to_flags(self) -> u8 {
        match self {
            Preference::High => 0x08,
            Preference::Medium => 0x00,
            Preference::Low => 0x18,
        }
    }

    /// The bits that a preference takes in its flags byte.
    pub const MASK: u8 = 0x18;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preferences_are_ordered_and_the_reserved_one_is_none() {
        assert!(Preference::Low < Preference::Medium && Preference::Medium < Preference::High);
        for preference in [Preference::Low, Preference::Medium, Preference::High] {
            assert_eq!(Preference::from_flags(preference.to_flags() | 0xe7), Some(preference));
        }
        assert_eq!(Preference::from_flags(0xf7), None);
    }
}
