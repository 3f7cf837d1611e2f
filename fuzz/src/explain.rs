//! Explaining any bytes.

use isatap_core::pretty::{Layers, Packet};

/// Nothing panics, loops or grows without bound, and both shapes of the text
/// can be made.
pub fn explain(data: &[u8]) {
    let layers = Layers::new(data).count();
    // Each layer takes at least a byte, but for one that says what is wrong.
    assert!((1..=data.len() + 2).contains(&layers), "{layers} layers of {} bytes", data.len());
    let (line, lines) = (Packet(data).to_string(), format!("{:#}", Packet(data)));
    assert!(!line.contains('\n'), "{line}");
    for text in [line, lines] {
        assert!(!text.is_empty() && text.len() < 4096 + 64 * data.len(), "{} bytes of text", text.len());
    }
}
