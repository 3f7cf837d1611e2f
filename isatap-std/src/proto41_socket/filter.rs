//! Classic BPF programs: what a socket does not even queue. On a raw socket they
//! see the packet from its IPv4 header on.

use libc::sock_filter;

// Opcodes of the Linux UAPI headers bpf_common.h and filter.h.
const LOAD_WORD: u16 = 0x20;
const LOAD_BYTE_FROM_X: u16 = 0x50;
const LOAD_X_HEADER_LENGTH: u16 = 0xb1;
const JUMP_IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;

const fn op(code: u16, k: u32) -> sock_filter {
    sock_filter { code, jt: 0, jf: 0, k }
}

const fn if_equal(k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code: JUMP_IF_EQUAL, jt, jf, k }
}

/// SKF_AD_OFF + SKF_AD_IFINDEX of filter.h: the index of the device that a packet came by; of a device in a VRF, the VRF's.
const INTERFACE: u32 = 0xffff_f000 + 8;

/// For a socket that only sends.
pub(super) const DROP_ALL: [sock_filter; 1] = [op(RETURN, 0)];

/// ICMPv4 destination unreachable (3), time exceeded (11) and parameter problem
/// (12) that quote a protocol-41 packet.
pub(super) const ERRORS_ABOUT_PROTOCOL_41: [sock_filter; 9] = [
    op(LOAD_X_HEADER_LENGTH, 0),
    op(LOAD_BYTE_FROM_X, 0),
    if_equal(3, 2, 0),
    if_equal(11, 1, 0),
    if_equal(12, 0, 3),
    // The protocol in the quoted header, behind 8 bytes of ICMP.
    op(LOAD_BYTE_FROM_X, 8 + 9),
    if_equal(41, 0, 1),
    op(RETURN, u32::MAX),
    op(RETURN, 0),
];

/// What came by none of these devices is queued.
pub(super) fn none_of(interfaces: impl Iterator<Item = u32>) -> Vec<sock_filter> {
    let mut program = vec![op(LOAD_WORD, INTERFACE)];
    program.extend(interfaces.flat_map(|interface| [if_equal(interface, 0, 1), op(RETURN, 0)]));
    program.push(op(RETURN, u32::MAX));
    program
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A few lines of the machine that RFC-less BPF is; enough for the programs here.
    fn accepts(program: &[sock_filter], packet: &[u8]) -> bool {
        accepts_by(0, program, packet)
    }

    /// The same of what came by this device.
    fn accepts_by(interface: u32, program: &[sock_filter], packet: &[u8]) -> bool {
        let (mut a, mut x, mut at) = (0_u32, 0_usize, 0);
        loop {
            let op = program[at];
            at += 1;
            match op.code {
                0xb1 => match packet.get(op.k as usize) {
                    Some(byte) => x = usize::from(byte & 15) * 4,
                    None => return false,
                },
                0x50 => match packet.get(x + op.k as usize) {
                    Some(byte) => a = u32::from(*byte),
                    None => return false,
                },
                0x20 => {
                    assert_eq!(op.k, INTERFACE);
                    a = interface;
                }
                0x15 => at += usize::from(if a == op.k { op.jt } else { op.jf }),
                0x06 => return op.k != 0,
                other => panic!("opcode {other:#x}"),
            }
        }
    }

    fn icmp(header_words: u8, kind: u8, protocol: u8) -> Vec<u8> {
        let mut packet = vec![0; usize::from(header_words) * 4];
        packet[0] = 0x40 | header_words;
        packet.extend([kind, 4, 0, 0, 0, 0, 0, 0]);
        packet.extend([0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol]);
        packet
    }

    #[test]
    fn errors_about_us_pass_and_nothing_else() {
        for words in [5, 7, 15] {
            for kind in 0..=255 {
                let error = [3, 11, 12].contains(&kind);
                let packet = icmp(words, kind, 41);
                assert_eq!(accepts(&ERRORS_ABOUT_PROTOCOL_41, &packet), error, "{kind}");
                for protocol in [1, 4, 6, 17, 47] {
                    assert!(!accepts(&ERRORS_ABOUT_PROTOCOL_41, &icmp(words, kind, protocol)));
                }
                let cut = &packet[..packet.len() - 1];
                assert!(!accepts(&ERRORS_ABOUT_PROTOCOL_41, cut));
            }
        }
        assert!(!accepts(&DROP_ALL, &icmp(5, 3, 41)));
    }

    #[test]
    fn what_has_a_socket_of_its_own_is_not_queued_twice() {
        for others in [&[][..], &[7], &[7, 9, 4_000_000_000]] {
            let program = none_of(others.iter().copied());
            for interface in [1, 6, 7, 8, 9, 4_000_000_000] {
                assert_eq!(accepts_by(interface, &program, &icmp(5, 3, 41)), !others.contains(&interface));
            }
        }
    }
}
