//! What outer packets of a link say.

use crate::spec::{Ecn, Tos, Ttl};
use isatap_core::link::OuterPolicy;

/// How outer packets are made, in the words of the options.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "control", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct OuterStatus {
    /// The time to live, or `inherit`.
    pub ttl: String,
    /// The TOS without ECN, or `inherit`.
    pub tos: String,
    /// `normal` or `compatibility`.
    pub ecn: String,
}

impl OuterStatus {
    /// The packets of a link with this policy.
    pub(in crate::service) fn of(policy: &OuterPolicy) -> Self {
        Self { ttl: Ttl(policy.ttl).to_string(), tos: Tos(policy.tos).to_string(), ecn: Ecn(policy.ecn).to_string() }
    }
}
