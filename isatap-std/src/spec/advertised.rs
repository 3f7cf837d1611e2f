//! What a router advertises, as it is written: a prefix with lifetimes, a route.

use isatap_core::prefix::Ipv6Prefix;
use std::fmt;
use std::str::FromStr;

/// A prefix that hosts make addresses of: `PREFIX/64[,valid=SECONDS][,preferred=SECONDS]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OwnPrefix {
    /// The prefix.
    pub prefix: Ipv6Prefix,
    /// How many seconds addresses are valid; `None`: as of the other prefixes.
    pub valid: Option<u32>,
    /// How many seconds addresses are preferred; `None`: as of the other prefixes, and no longer
    /// than they are valid.
    pub preferred: Option<u32>,
}

impl OwnPrefix {
    pub(super) fn has_lifetimes(&self) -> bool {
        self.valid.is_some() || self.preferred.is_some()
    }
}

impl From<Ipv6Prefix> for OwnPrefix {
    fn from(prefix: Ipv6Prefix) -> Self {
        Self { prefix, valid: None, preferred: None }
    }
}

impl FromStr for OwnPrefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (prefix, rest) = text.split_once(',').map_or((text, None), |(prefix, rest)| (prefix, Some(rest)));
        let prefix: Ipv6Prefix = prefix.parse().map_err(|error: isatap_core::prefix::PrefixError| error.to_string())?;
        let mut own = Self::from(prefix);
        for part in rest.into_iter().flat_map(|rest| rest.split(',')) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let place = match name {
                "valid" => &mut own.valid,
                "preferred" => &mut own.preferred,
                _ => return Err(format!("{part:?} is no lifetime: write valid=SECONDS or preferred=SECONDS")),
            };
            let seconds = value.parse();
            let seconds = seconds.map_err(|_| format!("{value:?} is no number of seconds: write {name}=3600"))?;
            if place.replace(seconds).is_some() {
                return Err(format!("{name} is written twice: keep one"));
            }
        }
        Ok(own)
    }
}

impl fmt::Display for OwnPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.prefix.fmt(f)?;
        for (name, lifetime) in [("valid", self.valid), ("preferred", self.preferred)] {
            lifetime.map_or(Ok(()), |seconds| write!(f, ",{name}={seconds}"))?;
        }
        Ok(())
    }
}

/// A route to tell hosts of: `PREFIX[,always]`. `RTE-6`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PublishedRoute {
    /// The destinations.
    pub prefix: Ipv6Prefix,
    /// Whether it is told of while the kernel has no such route too.
    pub always: bool,
}

impl From<Ipv6Prefix> for PublishedRoute {
    fn from(prefix: Ipv6Prefix) -> Self {
        Self { prefix, always: false }
    }
}

impl FromStr for PublishedRoute {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (prefix, always) = match text.split_once(',') {
            None => (text, false),
            Some((prefix, "always")) => (prefix, true),
            Some((prefix, other)) => return Err(format!("{other:?} is nothing here: write {prefix},always")),
        };
        let prefix = prefix.parse().map_err(|error: isatap_core::prefix::PrefixError| error.to_string())?;
        Ok(Self { prefix, always })
    }
}

impl fmt::Display for PublishedRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.prefix, if self.always { ",always" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_may_have_lifetimes_of_its_own() {
        for text in ["2001:db8::/64", "2001:db8::/64,valid=7200", "2001:db8::/64,valid=7200,preferred=0"] {
            assert_eq!(text.parse::<OwnPrefix>().unwrap().to_string(), text);
        }
        let swapped: OwnPrefix = "2001:db8::/64,preferred=60,valid=7200".parse().unwrap();
        assert_eq!((swapped.valid, swapped.preferred), (Some(7200), Some(60)));
        for (wrong, advice) in [
            ("2001:db8::/64,", "write valid=SECONDS"),
            ("2001:db8::/64,lifetime=1", "write valid=SECONDS"),
            ("2001:db8::/64,valid=1h", "write valid=3600"),
            ("2001:db8::/64,valid=1,valid=2", "twice"),
        ] {
            assert!(wrong.parse::<OwnPrefix>().unwrap_err().contains(advice), "{wrong}");
        }
    }

    #[test]
    fn a_route_may_be_told_of_always() {
        for (text, always) in [("2001:db8:1::/48", false), ("2001:db8:1::/48,always", true)] {
            let route: PublishedRoute = text.parse().unwrap();
            assert_eq!((route.always, route.to_string().as_str()), (always, text));
        }
        assert!("2001:db8:1::/48,never".parse::<PublishedRoute>().unwrap_err().contains("2001:db8:1::/48,always"));
    }
}
