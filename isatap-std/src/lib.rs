//! The operating-system side of `isatap-core`.
