//! What a capture says around a packet.

use serde::Serialize;

/// The frame that a packet was captured in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FrameAnswer {
    /// Bytes of the frame that were captured.
    pub captured: usize,
    /// Bytes that it had on the wire.
    pub length: usize,
    /// What stands between link layer and packet: VLANs, MPLS labels.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<TagAnswer>,
}

/// One of the tags of a frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TagAnswer {
    /// `vlan`, `mpls` and so on.
    pub kind: &'static str,
    /// The number of the VLAN, the label of MPLS, the session of PPPoE.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
    /// All of it, for people.
    pub text: String,
}

impl FrameAnswer {
    /// Whether the capture kept only the start of the frame.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.captured < self.length
    }

    /// All tags, as text shows them; `None`: there are none.
    pub(super) fn tags(&self) -> Option<String> {
        let texts: Vec<&str> = self.tags.iter().map(|tag| tag.text.as_str()).collect();
        (!texts.is_empty()).then(|| texts.join(" | "))
    }
}

#[cfg(feature = "capture")]
impl FrameAnswer {
    /// The answer about a frame, and about what was found in front of its packet.
    #[must_use]
    pub fn new(frame: &crate::capture::Frame, tags: &[crate::capture::Tag]) -> Self {
        let tag = |tag: &crate::capture::Tag| TagAnswer { kind: tag.kind(), id: tag.id(), text: tag.to_string() };
        FrameAnswer { captured: frame.bytes.len(), length: frame.original_len, tags: tags.iter().map(tag).collect() }
    }
}
