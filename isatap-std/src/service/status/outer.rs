//! What outer packets of a link say, and how they leave.

#[cfg(feature = "doctor")]
use crate::device::route_options;
use crate::spec::{Binding, Ecn, Mark, Tos, Ttl};
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
    /// The mark that they leave with; absent: none.
    #[cfg_attr(feature = "control", serde(default, skip_serializing_if = "Option::is_none"))]
    pub mark: Option<String>,
    /// The device that they leave by and come by; absent: any.
    #[cfg_attr(feature = "control", serde(default, skip_serializing_if = "Option::is_none"))]
    pub bind_device: Option<String>,
}

impl OuterStatus {
    /// The packets of a link with this policy.
    pub(in crate::service) fn of(policy: &OuterPolicy) -> Self {
        let (ttl, tos, ecn) = (Ttl(policy.ttl), Tos(policy.tos), Ecn(policy.ecn));
        Self { ttl: ttl.to_string(), tos: tos.to_string(), ecn: ecn.to_string(), mark: None, bind_device: None }
    }

    /// Adds how they leave and come.
    pub(in crate::service) fn bind(&mut self, binding: &Binding) {
        self.mark = (binding.mark != 0).then(|| Mark(binding.mark).to_string());
        self.bind_device.clone_from(&binding.device);
    }

    /// What `ip route get` has to be told, to find the way of the packets.
    #[cfg(feature = "doctor")]
    pub(crate) fn route_options(&self) -> String {
        route_options(self.bind_device.as_deref(), self.mark.as_deref())
    }
}
