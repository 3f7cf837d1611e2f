//! Which options an outer header may have.

use crate::drop_reason::DropReason;
use crate::wire::ipv4::options::{CIPSO, Options, RECORD_ROUTE, ROUTER_ALERT, RawOption, TIMESTAMP};

/// Judges the options of an outer header, as an IPv4 host does before it looks
/// at what the packet carries: what is in order is skipped, whatever it asks
/// of routers.
///
/// The rules are Linux's (`ip_options_compile`), so that firmware, captures
/// and a Linux host agree: nothing comes in here that the kernel drops.
///
/// # Errors
/// [`DropReason::OuterOptions`]; [`DropReason::OuterSourceRoute`] where
/// nothing else is wrong.
pub(crate) fn check_options(options: &[u8]) -> Result<(), DropReason> {
    let malformed = DropReason::OuterOptions;
    let (mut source_routes, mut record_routes, mut timestamps) = (0_u8, 0_u8, 0_u8);
    for option in Options::new(options) {
        let option = option.map_err(|_| malformed)?;
        let (count, is_sound) = match option.kind {
            // SEC-12 [RFC 1122 §3.2.1.8c]: a second one must not be there; the header is malformed then.
            _ if option.is_source_route() => (&mut source_routes, pointer(&option).is_some_and(|at| at >= 4)),
            RECORD_ROUTE => (&mut record_routes, is_record_route(&option)),
            TIMESTAMP => (&mut timestamps, is_timestamp(&option)),
            // A label is of a domain of interpretation that its host is configured for, and no
            // node of ours is.
            CIPSO => return Err(malformed),
            ROUTER_ALERT if option.bytes.len() < 4 => return Err(malformed),
            _ => continue,
        };
        *count = count.saturating_add(1);
        if !is_sound || *count > 1 {
            return Err(malformed);
        }
    }
    // SEC-12 [RFC 7126 §4.3, 4.4]: pending or done, a source route lets its sender choose who
    // is asked and who is answered.
    if source_routes == 0 { Ok(()) } else { Err(DropReason::OuterSourceRoute) }
}

/// The pointer of an option that records: its third byte, counted from 1.
fn pointer(option: &RawOption<'_>) -> Option<usize> {
    option.bytes.get(2).copied().map(usize::from)
}

/// Whether there is room for `more` bytes where the option's pointer is.
fn has_room(option: &RawOption<'_>, pointer: usize, more: usize) -> bool {
    pointer.saturating_add(more) <= option.bytes.len().saturating_add(1)
}

/// Full, or with room for one more address.
fn is_record_route(option: &RawOption<'_>) -> bool {
    pointer(option).is_some_and(|at| at >= 4 && (at > option.bytes.len() || has_room(option, at, 4)))
}

/// Full, or with room for what its flag asks for. One that is full counts whom
/// it has no room for, up to 15.
fn is_timestamp(option: &RawOption<'_>) -> bool {
    const ADDRESS_AND_TIME: u8 = 1;
    const PRESPECIFIED: u8 = 3;
    let (Some(at), Some(last)) = (pointer(option), option.bytes.get(3)) else { return false };
    let flag = last & 0x0f;
    at >= 5
        && if at > option.bytes.len() {
            flag == PRESPECIFIED || last >> 4 != 15
        } else {
            has_room(option, at, if matches!(flag, ADDRESS_AND_TIME | PRESPECIFIED) { 8 } else { 4 })
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    const GOOD: Result<(), DropReason> = Ok(());
    const MALFORMED: Result<(), DropReason> = Err(DropReason::OuterOptions);
    const SOURCE_ROUTE: Result<(), DropReason> = Err(DropReason::OuterSourceRoute);

    /// An option of `len` bytes whose data begins with `data`.
    fn option(kind: u8, len: u8, data: &[u8]) -> Vec<u8> {
        let mut bytes = std::vec![0; usize::from(len)];
        bytes.iter_mut().zip([kind, len].iter().chain(data)).for_each(|(to, from)| *to = *from);
        bytes
    }

    #[test]
    fn tun_11_options_in_order_are_skipped() {
        assert_eq!(check_options(&[]), GOOD);
        assert_eq!(check_options(&[1; 40]), GOOD);
        assert_eq!(check_options(&[0, 131, 0, 9]), GOOD, "behind the end of the list is padding");
        assert_eq!(check_options(&option(148, 4, &[0, 0])), GOOD, "Router Alert");
        assert_eq!(check_options(&option(130, 11, &[])), GOOD, "the label of RFC 1108");
        for kind in 2..=255 {
            let expected = match kind {
                131 | 137 => SOURCE_ROUTE,
                134 => MALFORMED,
                _ => GOOD,
            };
            assert_eq!(check_options(&option(kind, 11, &[8])), expected, "{kind}");
        }
    }

    #[test]
    fn tun_11_options_of_impossible_lengths_are_refused() {
        for kind in 2..=255 {
            assert_eq!(check_options(&[kind, 0, 1, 1]), MALFORMED, "{kind}: length 0");
            assert_eq!(check_options(&[kind, 1, 1, 1]), MALFORMED, "{kind}: length 1");
            assert_eq!(check_options(&[kind, 5, 4, 0]), MALFORMED, "{kind}: past the end");
            assert_eq!(check_options(&[1, 1, 1, kind]), MALFORMED, "{kind}: no length");
        }
        assert_eq!(check_options(&[148, 3, 0, 0]), MALFORMED, "half a Router Alert");
    }

    #[test]
    fn sec_12_a_source_route_is_refused_pending_or_done() {
        for kind in [131, 137] {
            for at in 4..=255 {
                assert_eq!(check_options(&option(kind, 11, &[at])), SOURCE_ROUTE, "{kind} at {at}");
            }
            assert_eq!(check_options(&option(kind, 3, &[4])), SOURCE_ROUTE, "empty");
            for at in 0..4 {
                assert_eq!(check_options(&option(kind, 11, &[at])), MALFORMED, "{kind} at {at}");
            }
            assert_eq!(check_options(&option(kind, 2, &[])), MALFORMED);
            for second in [131, 137] {
                assert_eq!(check_options(&[option(kind, 7, &[4]), option(second, 7, &[8])].concat()), MALFORMED);
            }
            let behind = [option(7, 11, &[4]), option(kind, 7, &[8])].concat();
            assert_eq!(check_options(&behind), SOURCE_ROUTE, "behind another option");
            let before = [option(kind, 7, &[8]), option(7, 11, &[3])].concat();
            assert_eq!(check_options(&before), MALFORMED, "in front of one that is malformed");
        }
    }

    /// RFC 791: three bytes, then addresses of four.
    #[test]
    fn tun_11_record_route_has_room_for_an_address_or_is_full() {
        for (len, good) in [(3, 4..=255), (7, 4..=4), (9, 4..=6), (11, 4..=8), (40, 4..=37)] {
            for at in 0..=255 {
                let expected = if good.contains(&at) || at > len { GOOD } else { MALFORMED };
                assert_eq!(check_options(&option(7, len, &[at])), expected, "{len} bytes at {at}");
            }
        }
        assert_eq!(check_options(&option(7, 2, &[])), MALFORMED);
        assert_eq!(check_options(&[option(7, 7, &[4]), option(7, 7, &[4])].concat()), MALFORMED, "twice");
    }

    #[test]
    fn tun_11_timestamp_has_room_for_what_its_flag_asks_for_or_is_full() {
        for (flag, len, good) in [(0, 12, 5..=9), (1, 12, 5..=5), (3, 12, 5..=5), (2, 12, 5..=9), (1, 20, 5..=13)] {
            for at in 0..=255 {
                let expected = if good.contains(&at) || at > len { GOOD } else { MALFORMED };
                assert_eq!(check_options(&option(68, len, &[at, flag])), expected, "flag {flag}, {len} bytes at {at}");
            }
        }
        for missed in 0..16_u8 {
            let full = |flag| check_options(&option(68, 8, &[9, missed << 4 | flag]));
            assert_eq!(full(0), if missed == 15 { MALFORMED } else { GOOD });
            assert_eq!(full(3), GOOD, "whoever is not named counts nothing");
        }
        assert_eq!(check_options(&option(68, 3, &[5])), MALFORMED);
        assert_eq!(check_options(&[option(68, 8, &[5, 0]), option(68, 8, &[5, 0])].concat()), MALFORMED, "twice");
    }
}
