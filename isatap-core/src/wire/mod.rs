//! Wire formats: checked views over bytes, and emitters.
//!
//! A view's only constructor checks; afterwards its fixed part is an array
//! and its getters cannot fail. An emitter writes every byte, reserved ones
//! too, and never reads what was in the buffer.

pub mod field;
