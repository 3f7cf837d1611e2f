//! The options of an outer IPv4 header, read a second time: RFC 791 §3.1 and
//! 2113, and what Linux refuses beyond them.

use super::input::Input;

/// What is to be done with a header that has these options.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Answer {
    Skip,
    RefuseSourceRoute,
    RefuseMalformed,
}

/// The bytes behind the first 20 of a header.
pub fn read(options: &[u8]) -> Answer {
    match walk(options, [false; 3]) {
        None => Answer::RefuseMalformed,
        Some([true, ..]) => Answer::RefuseSourceRoute,
        Some(_) => Answer::Skip,
    }
}

/// Which were there of: source route, Record Route, Timestamp. `None`:
/// malformed.
fn walk(options: &[u8], mut seen: [bool; 3]) -> Option<[bool; 3]> {
    match options {
        [] | [0, ..] => Some(seen),
        [1, rest @ ..] => walk(rest, seen),
        [_] | [_, 0 | 1, ..] => None,
        [kind, len, ..] => {
            let option = options.get(..usize::from(*len))?;
            // Which slot is next, and the last byte that it takes, both counted from 1.
            let (which, first, slot) = match kind {
                134 => return None,
                148 if *len < 4 => return None,
                131 | 137 => (0, 4, 0),
                7 => (1, 4, 4),
                68 => (2, 5, if [1, 3].contains(&(option.get(3)? % 16)) { 8 } else { 4 }),
                _ => return walk(&options[option.len()..], seen),
            };
            let next = u32::from(*option.get(2)?);
            let is_full = next > u32::from(*len);
            let fits = is_full || slot == 0 || next + slot <= 1 + u32::from(*len);
            // Fifteen hosts that found no room are as many as can be counted; the ones that are named do not count.
            let overflows = *kind == 68 && is_full && option[3] / 16 == 15 && option[3] % 16 != 3;
            if next < first || !fits || overflows || seen[which] {
                return None;
            }
            seen[which] = true;
            walk(&options[option.len()..], seen)
        }
    }
}

/// Options for a header, in `room` bytes: most are in order, or nearly.
pub fn any(input: &mut Input<'_>, room: usize) -> Vec<u8> {
    let mut options = Vec::new();
    while options.len() < room {
        let kind = input.among(&[1, 7, 68, 148, 7, 68, 222, 131, 137, 134, 0, 130]);
        if kind < 2 {
            options.push(kind);
            continue;
        }
        let shape = input.byte();
        let left = u8::try_from(room - options.len()).unwrap();
        let len = if shape & 0x70 == 0x70 { input.byte() } else { left.min(3 + shape % 16) };
        let next = input.among(&[4, 8, len.wrapping_add(1), len.wrapping_sub(3), 5, 9, shape]);
        let mut option = vec![kind, len, next, input.among(&[0, 1, 3, 0xf0, 0xf3, 0xe1])];
        option.resize(usize::from(len.max(2)), 0);
        options.extend(option);
    }
    options.truncate(room);
    options
}
