//! Randomness for the machines of the core: nonces, jitter, identifiers.
//!
//! It comes from the operating system's generator, so that an off-path attacker
//! cannot guess a nonce (RFC 4086).

use crate::error::Error;

/// The operating system's random generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct Entropy;

impl Entropy {
    /// Fills `out` with bytes that nobody can foresee.
    ///
    /// # Errors
    ///
    /// Only where the system has no generator at all: a container without the
    /// system call and without `/dev/urandom`.
    pub fn fill(&mut self, out: &mut [u8]) -> Result<(), Error> {
        getrandom::fill(out)
            .map_err(|error| Error::refused("read random bytes from", "the operating system", error.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_all_of_it_and_never_the_same() {
        let (mut a, mut b) = ([0_u8; 64], [0_u8; 64]);
        Entropy.fill(&mut a).unwrap();
        Entropy.fill(&mut b).unwrap();
        assert_ne!(a, b);
        // A run of 16 zero bytes has a chance of 2^-122 in 64 random bytes.
        assert!(!a.windows(16).any(|run| run == [0; 16]));
    }
}
