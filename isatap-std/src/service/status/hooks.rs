//! The process that runs hooks.

/// How hooks run for all links of a process.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "control", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct HooksStatus {
    /// The command; absent: a reload took it out of the file.
    pub command: Option<String>,
    /// Whether the process that runs it is there. It cannot be started again by a daemon that has given
    /// up its privileges.
    pub alive: bool,
    /// How that process ended; absent: it did not.
    pub ended: Option<String>,
    /// Runs that have ended, the failed ones too.
    pub runs: u64,
    /// Runs that have failed.
    pub failures: u64,
    /// What failed last, and why.
    pub last_failure: Option<String>,
    /// Seconds since then.
    pub failed: Option<u64>,
    /// Events that wait for their run, and the one whose run goes on.
    pub waiting: u64,
    /// Events that no run will come of: for want of room while a hook took long, or since the process
    /// has ended.
    pub lost: u64,
}
