//! The services by which a router answers to its name.

use std::fmt;
use std::str::FromStr;

use crate::advice;

/// By what a router answers to its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum NameService {
    /// LLMNR \[RFC 4795\].
    Llmnr,
    /// NetBIOS, by broadcast and with WINS servers \[RFC 1002\].
    Netbios,
}

impl NameService {
    /// Both.
    pub const ALL: [NameService; 2] = [NameService::Llmnr, NameService::Netbios];

    /// As it is written in a file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            NameService::Llmnr => "llmnr",
            NameService::Netbios => "netbios",
        }
    }
}

impl fmt::Display for NameService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for NameService {
    type Err = NameServiceError;

    fn from_str(text: &str) -> Result<Self, NameServiceError> {
        let named = NameService::ALL.into_iter().find(|service| service.as_str() == text);
        named.ok_or_else(|| NameServiceError(text.to_owned()))
    }
}

/// A text that is no [`NameService`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameServiceError(String);

impl fmt::Display for NameServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = NameService::ALL.map(NameService::as_str);
        match advice::nearest(&self.0, names.into_iter()) {
            Some(meant) => write!(f, "there is no such service: write {meant}"),
            None => f.write_str("there is no such service: write llmnr or netbios"),
        }
    }
}

impl std::error::Error for NameServiceError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_written_as_it_is_read() {
        for service in NameService::ALL {
            assert_eq!(service.as_str().parse(), Ok(service));
        }
        assert!("wins".parse::<NameService>().unwrap_err().to_string().contains("llmnr or netbios"));
        assert!("netbos".parse::<NameService>().unwrap_err().to_string().contains("write netbios"));
    }
}
