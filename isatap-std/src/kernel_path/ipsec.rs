//! Whether IPsec has policies in this namespace.

use super::messages::Attributes;
use netlink_sys::protocols::NETLINK_XFRM;
use netlink_sys::{Socket, SocketAddr};

/// `XFRM_MSG_GETSPDINFO`, and its answer.
const GET_INFO: u16 = 0x25;
const INFO: u16 = 0x24;
/// `NLM_F_REQUEST`
const REQUEST: u16 = 1;
/// `struct nlmsghdr` and the flags behind it.
const HEADER: usize = 16;
const FLAGS: usize = 4;
/// `XFRMA_SPD_INFO`: six numbers, of which the first three are those of policies in, out and forwarded.
const SPD_INFO: u16 = 1;

/// Whether there are any: the kernel would ask them about packets that the programs carry past it. A kernel without
/// IPsec has none; one that does not say counts as if it had.
pub(super) fn has_policies() -> bool {
    let mut socket = match Socket::new(NETLINK_XFRM) {
        Ok(socket) => socket,
        Err(error) => return error.raw_os_error() != Some(libc::EPROTONOSUPPORT),
    };
    let mut request = Vec::with_capacity(HEADER + FLAGS);
    request.extend(u32::try_from(HEADER + FLAGS).unwrap_or_default().to_ne_bytes());
    request.extend([GET_INFO, REQUEST].map(u16::to_ne_bytes).concat());
    request.resize(HEADER + FLAGS, 0);
    let mut answer = Vec::with_capacity(4096);
    let asked = socket.bind_auto().and_then(|_| socket.send_to(&request, &SocketAddr::new(0, 0), 0));
    let answered = asked.and_then(|_| socket.recv_from(&mut answer, 0));
    answered.is_err() || policies_in(&answer) != Some(0)
}

/// The sum that an answer tells.
fn policies_in(answer: &[u8]) -> Option<u32> {
    let kind = answer.get(4..6)?;
    if kind != INFO.to_ne_bytes() {
        return None;
    }
    let value = Attributes(answer.get(HEADER + FLAGS..)?).value(SPD_INFO)?;
    let number = |at: usize| Some(u32::from_ne_bytes(*value.get(at..)?.first_chunk()?));
    Some(number(0)?.saturating_add(number(4)?).saturating_add(number(8)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Linux 6.18 answers, with the header of a message in front.
    fn answer(policies: [u32; 3]) -> Vec<u8> {
        let mut answer = vec![0; HEADER + FLAGS];
        answer[4..6].copy_from_slice(&INFO.to_ne_bytes());
        // XFRMA_SPD_HINFO comes behind it; here one of another kind in front, to be skipped.
        answer.extend([12_u16, 2].map(u16::to_ne_bytes).concat());
        answer.extend([0; 8]);
        answer.extend([28_u16, SPD_INFO].map(u16::to_ne_bytes).concat());
        answer.extend(policies.iter().chain(&[7, 7, 7]).flat_map(|number| number.to_ne_bytes()));
        answer
    }

    #[test]
    fn policies_of_sockets_do_not_count() {
        assert_eq!(policies_in(&answer([0, 0, 0])), Some(0));
        assert_eq!(policies_in(&answer([1, 2, 4])), Some(7));
        let whole = answer([0, 0, 0]);
        for len in 0..whole.len() {
            assert_eq!(policies_in(&whole[..len]), None, "{len} bytes");
        }
        let mut refused = whole;
        refused[4..6].copy_from_slice(&2_u16.to_ne_bytes());
        assert_eq!(policies_in(&refused), None);
    }
}
