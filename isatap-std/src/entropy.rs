//! Randomness for the machines of the core: nonces, jitter, identifiers.
//!
//! It comes from the operating system's generator, so that an off-path attacker
//! cannot guess a nonce (RFC 4086).

use crate::error::Error;
use isatap_core::engine::Entropy;

/// The operating system's random generator, known to work.
#[derive(Clone, Copy, Debug)]
pub struct OsEntropy(());

impl OsEntropy {
    /// Draws once, to see that the generator works.
    ///
    /// # Errors
    ///
    /// The system has none: a container without the system call and without
    /// `/dev/urandom`.
    pub fn open() -> Result<Self, Error> {
        let mut trial = [0; 16];
        getrandom::fill(&mut trial)
            .map_err(|error| Error::refused("read random bytes from", "the operating system", error.into()))?;
        Ok(Self(()))
    }
}

impl Entropy for OsEntropy {
    /// # Panics
    ///
    /// When a generator that has worked fails: no known system does that, and to go on
    /// with bytes that can be foreseen would be worse.
    fn fill(&mut self, out: &mut [u8]) {
        if let Err(error) = getrandom::fill(out) {
            panic!("the random generator of the operating system failed: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_all_of_it_and_never_the_same() {
        let (mut a, mut b) = ([0_u8; 64], [0_u8; 64]);
        let mut entropy = OsEntropy::open().unwrap();
        entropy.fill(&mut a);
        entropy.fill(&mut b);
        assert_ne!(a, b);
        // A run of 16 zero bytes has a chance of 2^-122 in 64 random bytes.
        assert!(!a.windows(16).any(|run| run == [0; 16]));
    }
}
