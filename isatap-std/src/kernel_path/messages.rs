//! Netlink messages as they lie there: what is asked and heard here is judged by what it does not have, so nothing
//! may be left out because a library cannot read it.

use netlink_sys::{Socket, SocketAddr};
use std::io;

/// `struct nlmsghdr`
const HEADER: usize = 16;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// `NLM_F_REQUEST | NLM_F_DUMP`
const DUMP: u16 = 0x301;
/// `NLM_F_DUMP_INTR`: it changed while it was told.
const INTERRUPTED: u16 = 0x10;
/// How often what changes meanwhile is asked for again.
const ATTEMPTS: usize = 4;

/// Attributes of a message: a length, a kind with flags, a value. It ends where one is cut off.
pub(super) struct Attributes<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let [a, b, c, d] = *self.0.first_chunk()?;
        let len = usize::from(u16::from_ne_bytes([a, b]));
        let value = self.0.get(4..len)?;
        self.0 = self.0.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_ne_bytes([c, d]) & 0x3fff, value))
    }
}

impl<'a> Attributes<'a> {
    /// The first of this kind.
    pub(super) fn value(mut self, wanted: u16) -> Option<&'a [u8]> {
        self.find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
    }
}

/// Asks for all of something and hands on each message of the answer, with its kind.
///
/// # Errors
///
/// The kernel has no such thing, or does not tell.
pub(super) fn dump(protocol: isize, kind: u16, body: &[u8], each: &mut dyn FnMut(u16, &[u8])) -> io::Result<()> {
    let mut request = u32::try_from(HEADER + body.len()).unwrap_or_default().to_ne_bytes().to_vec();
    request.extend([kind, DUMP].map(u16::to_ne_bytes).concat());
    request.resize(HEADER, 0);
    request.extend(body);
    let mut answer = Vec::with_capacity(1 << 16);
    for _ in 0..ATTEMPTS {
        // What is left of an answer goes with its socket.
        let mut socket = Socket::new(protocol)?;
        socket.bind_auto()?;
        socket.send_to(&request, &SocketAddr::new(0, 0), 0)?;
        let mut told = Vec::new();
        let end = loop {
            answer.clear();
            socket.recv_from(&mut answer, 0)?;
            told.extend_from_slice(&answer);
            if let Some(end) = play(&answer, &mut |_, _| {}) {
                break end;
            }
        };
        match end {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            end => {
                let _ = play(&told, each);
                return end;
            }
        }
    }
    Err(io::ErrorKind::Interrupted.into())
}

/// Hands on each message of an answer; how it ends, if it does here.
pub(super) fn play(mut answer: &[u8], each: &mut dyn FnMut(u16, &[u8])) -> Option<io::Result<()>> {
    let mut is_interrupted = false;
    while let Some(header) = answer.first_chunk::<HEADER>() {
        let [a, b, c, d, e, f, g, h, ..] = *header;
        let len = usize::try_from(u32::from_ne_bytes([a, b, c, d])).unwrap_or_default();
        let Some(message) = answer.get(HEADER..len) else { return Some(Err(io::ErrorKind::InvalidData.into())) };
        is_interrupted |= u16::from_ne_bytes([g, h]) & INTERRUPTED != 0;
        match u16::from_ne_bytes([e, f]) {
            NLMSG_DONE if is_interrupted => return Some(Err(io::ErrorKind::Interrupted.into())),
            NLMSG_DONE | NLMSG_ERROR => return Some(outcome(message)),
            kind => each(kind, message),
        }
        answer = answer.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    is_interrupted.then(|| Err(io::ErrorKind::Interrupted.into()))
}

/// What the last message says: a number, negative, or zero.
fn outcome(message: &[u8]) -> io::Result<()> {
    match message.first_chunk().map_or(-libc::EINVAL, |number| i32::from_ne_bytes(*number)) {
        0 => Ok(()),
        number => Err(io::Error::from_raw_os_error(number.saturating_neg())),
    }
}

/// For tests: messages and attributes.
#[cfg(test)]
pub(super) mod made {
    use super::HEADER;

    pub(crate) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = u16::try_from(value.len() + 4).unwrap().to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    pub(crate) fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = u32::try_from(HEADER + body.len()).unwrap().to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.resize(HEADER, 0);
        bytes.extend(body);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::made::message;
    use super::*;

    #[test]
    fn an_answer_that_was_interrupted_is_none() {
        let mut part = message(36, &[1; 4]);
        part[6..8].copy_from_slice(&INTERRUPTED.to_ne_bytes());
        let answer = [part, message(NLMSG_DONE, &[0; 4])].concat();
        let end = play(&answer, &mut |_, _| {}).unwrap();
        assert_eq!(end.unwrap_err().kind(), io::ErrorKind::Interrupted);
        let refused = play(&message(NLMSG_DONE, &(-libc::EPERM).to_ne_bytes()), &mut |_, _| {}).unwrap();
        assert_eq!(refused.unwrap_err().raw_os_error(), Some(libc::EPERM));
    }
}
