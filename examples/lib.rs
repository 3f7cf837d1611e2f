//! See the targets of this package's Cargo.toml.
