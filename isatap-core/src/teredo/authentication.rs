//! Secure qualification: who vouches for a solicitation and its answer.
//! [RFC 4380 §5.2.2]
//!
//! The core carries no hash function. Whoever wants secure qualification
//! implements [`Authenticator`] with a library of their choice: firmware that
//! does not want it then links none, and the proof that the core never panics
//! need not rest on another crate.

use crate::wire::field::Writer;

use super::packet::Authentication;

/// Bytes of HMAC-SHA1.
pub const VALUE_LEN: usize = 20;

/// The longest client identifier that is kept, in bytes.
pub const LONGEST_CLIENT_ID: usize = 64;

/// Knows the secrets, and computes HMAC-SHA1 with them.
pub trait Authenticator {
    /// The identifier of this client; `None`: no secure qualification, and
    /// the headers of others are not verified.
    fn client_id(&self) -> Option<&[u8]>;

    /// HMAC-SHA1 with the secret of `client_id` over `parts`, one behind the
    /// other; `None`: no such client.
    ///
    /// `TER-34 [RFC 4380 §5.2.2]`: SHA-1 by section 5.2.2; that section 7.2.1
    /// says MD5 is a misprint. TER-35: the whole secret is the key.
    fn hmac_sha1(&self, client_id: &[u8], parts: &[&[u8]]) -> Option<[u8; VALUE_LEN]>;

    /// Whether solicitations without a valid header are refused by a server.
    fn is_required(&self) -> bool {
        self.client_id().is_some()
    }
}

/// No secure qualification.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Open;

impl Authenticator for Open {
    fn client_id(&self) -> Option<&[u8]> {
        None
    }

    fn hmac_sha1(&self, _client_id: &[u8], _parts: &[&[u8]]) -> Option<[u8; VALUE_LEN]> {
        None
    }
}

/// Whether the value of a header is right for what stands behind it.
///
/// `origin`: the bytes of the origin indication, none without one.
#[must_use]
pub fn is_valid(authenticator: &impl Authenticator, header: &Authentication<'_>, origin: &[u8], ipv6: &[u8]) -> bool {
    let parts = [&header.nonce[..], &[header.confirmation], origin, ipv6];
    match authenticator.hmac_sha1(header.client_id, &parts) {
        // Without a branch on a byte: time tells nothing.
        Some(expected) => {
            header.value.len() == VALUE_LEN
                && expected.iter().zip(header.value).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
        }
        None => false,
    }
}

/// What goes in front of a packet: the header, its value computed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sealed {
    id: [u8; LONGEST_CLIENT_ID],
    id_len: usize,
    value: Option<[u8; VALUE_LEN]>,
    nonce: [u8; 8],
    confirmation: u8,
}

impl Sealed {
    /// A header without identifier.
    #[inline]
    pub(super) fn open(nonce: [u8; 8]) -> Self {
        Sealed { id: [0; LONGEST_CLIENT_ID], id_len: 0, value: None, nonce, confirmation: 0 }
    }

    /// A header of `client_id`; `None` when that is too long.
    #[inline]
    pub(super) fn of(client_id: &[u8], nonce: [u8; 8], confirmation: u8) -> Option<Self> {
        let mut sealed = Sealed { confirmation, ..Sealed::open(nonce) };
        let place = sealed.id.get_mut(..client_id.len())?;
        place.iter_mut().zip(client_id).for_each(|(to, from)| *to = *from);
        sealed.id_len = client_id.len();
        Some(sealed)
    }

    /// Computes the value; without a secret there is none.
    pub(super) fn seal(&mut self, authenticator: &impl Authenticator, origin: &[u8], ipv6: &[u8]) {
        let parts = [&self.nonce[..], &[self.confirmation], origin, ipv6];
        self.value = authenticator.hmac_sha1(self.client_id(), &parts);
    }

    fn client_id(&self) -> &[u8] {
        self.id.get(..self.id_len).unwrap_or(&[])
    }

    pub(super) fn emit(&self, writer: &mut Writer<'_>) {
        let value = self.value.as_ref().map_or(&[][..], |value| &value[..]);
        let header =
            Authentication { client_id: self.client_id(), value, nonce: self.nonce, confirmation: self.confirmation };
        header.emit(writer);
    }
}
