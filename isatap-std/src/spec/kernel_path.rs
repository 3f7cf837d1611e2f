//! Whether the kernel carries packets of known flows itself.

/// Whether the kernel carries packets of known flows itself, by programs that the daemon loads (Linux 6.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "args", derive(clap::ValueEnum))]
#[cfg_attr(feature = "file", derive(serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum KernelPath {
    /// No: all packets come to the daemon.
    Off,
    /// Where it can, and as long as IPv4 has no firewall that outer packets would have to pass; isatap status says
    /// why not.
    #[default]
    Auto,
    /// Yes, past the rules of a firewall too, or the daemon does not start.
    Require,
}
