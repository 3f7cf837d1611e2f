//! Mappings that a killed daemon leaves, in a file for the next one.

use crate::runtime_dir::{keep, kept};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;

/// So many are remembered, of gateways that were not met again. The oldest are forgotten then.
const MOST: usize = 16;

/// A mapping of the client's own port: where, whose, and as what the world saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) gateway: String,
    pub(super) client: SocketAddrV4,
    pub(super) external: Option<Ipv4Addr>,
}

impl Left {
    pub(super) fn is_same(&self, other: &Self) -> bool {
        (&self.gateway, self.client) == (&other.gateway, other.client)
    }

    /// `GATEWAY CLIENT EXTERNAL`, the last of which may be `-`.
    fn read(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let (gateway, client) = (words.next()?.to_owned(), words.next()?.parse().ok()?);
        Some(Self { gateway, client, external: words.next()?.parse().ok() })
    }

    fn line(&self) -> String {
        let external = self.external.map_or("-".to_owned(), |external| external.to_string());
        format!("{} {} {external}\n", self.gateway, self.client)
    }
}

/// What may be open at gateways, the oldest first.
#[derive(Debug)]
pub(super) struct Memory {
    file: Option<PathBuf>,
    pub(super) left: Vec<Left>,
    failure: Option<String>,
}

impl Memory {
    /// What the daemon before this one has left. `None`: nothing is to be remembered.
    pub(super) fn open(file: Option<PathBuf>) -> Self {
        let mut memory = Self { file, left: Vec::new(), failure: None };
        match memory.file.as_ref().map_or(Ok(String::new()), |file| kept(file)) {
            Ok(text) => memory.left = text.lines().filter_map(Left::read).collect(),
            Err(error) => memory.fail(&error),
        }
        memory
    }

    /// Keeps what is left, and `mapped` with it.
    pub(super) fn keep(&mut self, mapped: Option<&Left>) {
        self.left.drain(..self.left.len().saturating_sub(MOST));
        let Some(file) = &self.file else { return };
        let text: String = self.left.iter().chain(mapped).map(Left::line).collect();
        match keep(file, &text) {
            Ok(()) => self.failure = None,
            Err(error) => self.fail(&error),
        }
    }

    /// Why the next daemon would not know.
    pub(super) fn failure(&self) -> Option<&String> {
        self.failure.as_ref()
    }

    fn fail(&mut self, error: &std::io::Error) {
        let file = self.file.as_deref().unwrap_or(std::path::Path::new(""));
        self.failure = Some(format!("cannot keep {}: {error}", file.display()));
    }
}
