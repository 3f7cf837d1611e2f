//! The operating-system side of `isatap-core`.

pub mod resolve;
