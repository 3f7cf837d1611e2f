//! What of a link's packets the kernel carries itself.

use crate::driver::{Carriage, Shortcut};
use isatap_core::packet::LinkId;

/// Whether the kernel carries packets of known flows, and how many.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "control", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct KernelPathStatus {
    /// Whether it does.
    pub on: bool,
    /// Why not.
    #[cfg_attr(feature = "control", serde(default, skip_serializing_if = "Option::is_none"))]
    pub why: Option<String>,
    /// Decisions that it has: of this link if it is one of Teredo, else of all of protocol 41 together.
    pub rows: usize,
    /// Packets of the link that it has encapsulated. They are among those of `packets`, as one that
    /// stands for several.
    pub sent: u64,
    /// The same of packets that it has decapsulated.
    pub received: u64,
}

impl KernelPathStatus {
    pub(in crate::service) fn of(
        way: Option<Result<&dyn Shortcut, &str>>,
        link: LinkId,
        carried: Carriage,
    ) -> Option<Self> {
        let (why, rows) = match way? {
            Ok(way) => (way.obstacle(link).map(str::to_owned), way.rows()),
            Err(why_not) => (Some(why_not.to_owned()), 0),
        };
        Some(Self { on: why.is_none(), why, rows, sent: carried.sent, received: carried.received })
    }
}
