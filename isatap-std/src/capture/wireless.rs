//! 802.11, and what capturing machines put in front of its frames.

use super::link::{NotIp, Walk};

/// A data frame. `is_padded`: the header is padded to a multiple of four bytes.
pub(super) fn data_frame(walk: &mut Walk<'_>, is_padded: bool) -> Result<(), NotIp> {
    let control = walk.little_u16(0)?;
    let has = |bit: u16| control & bit != 0;
    // Type 2 is data, of which the subtypes with this bit are none.
    if control & 0x000c != 0x0008 {
        return Err(NotIp::Opaque("802.11 management or control"));
    }
    if has(0x0040) {
        return Err(NotIp::Opaque("802.11 without data"));
    }
    if has(0x4000) {
        return Err(NotIp::Opaque("encrypted 802.11"));
    }
    let (is_qos, is_ordered) = (has(0x0080), has(0x8000));
    let mut header = 24;
    if control & 0x0300 == 0x0300 {
        // From one access point to another: a fourth address.
        header += 6;
    }
    let mut is_aggregate = false;
    if is_qos {
        is_aggregate = walk.u8(header)? & 0x80 != 0;
        header += if is_ordered { 6 } else { 2 };
    }
    // The sequence control; later fragments have no LLC.
    if walk.u8(22)? & 0x0f != 0 {
        return Err(NotIp::Opaque("a later fragment of 802.11"));
    }
    walk.skip(if is_padded { header.next_multiple_of(4) } else { header })?;
    if is_aggregate {
        // The first of several frames: addresses and a length.
        walk.skip(14)?;
    }
    walk.llc()
}

/// [radiotap.org]
pub(super) fn radiotap(walk: &mut Walk<'_>) -> Result<(), NotIp> {
    const TIME: u32 = 1;
    const FLAGS: u32 = 2;
    const MORE: u32 = 1 << 31;
    const PADDED: u8 = 0x20;
    let length = usize::from(walk.little_u16(2)?);
    let present = u32::from_le_bytes(walk.array(4)?);
    let mut at = 8;
    let mut word = present;
    while word & MORE != 0 && at < length {
        word = u32::from_le_bytes(walk.array(at)?);
        at += 4;
    }
    if present & TIME != 0 {
        at = at.next_multiple_of(8) + 8;
    }
    let is_padded = present & FLAGS != 0 && walk.u8(at)? & PADDED != 0;
    walk.skip(length)?;
    data_frame(walk, is_padded)
}

/// The header of Prism cards, or that of AVS in its place.
pub(super) fn prism(walk: &mut Walk<'_>) -> Result<(), NotIp> {
    if u32::from_be_bytes(walk.array(0)?) & 0xffff_f000 == 0x8021_1000 {
        return avs(walk);
    }
    // A message's length, in the byte order of the machine.
    let stated = walk.array(4)?;
    let [little, big] = [u32::from_le_bytes(stated), u32::from_be_bytes(stated)];
    walk.skip(usize::try_from(little.min(big)).unwrap_or(usize::MAX))?;
    data_frame(walk, false)
}

/// The header of AVS.
pub(super) fn avs(walk: &mut Walk<'_>) -> Result<(), NotIp> {
    let length = u32::from_be_bytes(walk.array(4)?);
    walk.skip(usize::try_from(length).unwrap_or(usize::MAX))?;
    data_frame(walk, false)
}
