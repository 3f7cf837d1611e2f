//! The steps by which a name is resolved, and what each of them brought.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use super::{Conflict, Failure};
use crate::advice;

/// A step of the resolution of a name; the order is that of the steps (NAM-1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Step {
    /// This host itself has the name: its own addresses. Never for a router that is listed.
    HostName,
    /// The hosts file.
    Hosts,
    /// The DNS, with the search domains.
    Dns,
    /// LLMNR: whoever has the name on a link of this host \[RFC 4795\].
    Llmnr,
    /// NetBIOS names that are known already: lines of lmhosts with `#PRE`, and earlier answers.
    NetbiosCache,
    /// WINS servers: NetBIOS queries by unicast \[RFC 1002\].
    Wins,
    /// NetBIOS queries by broadcast on the links of this host \[RFC 1002\].
    Broadcast,
    /// The lmhosts file.
    Lmhosts,
}

impl Step {
    /// All of them, in their order.
    pub const ALL: [Step; 8] = [
        Step::HostName,
        Step::Hosts,
        Step::Dns,
        Step::Llmnr,
        Step::NetbiosCache,
        Step::Wins,
        Step::Broadcast,
        Step::Lmhosts,
    ];

    /// Those that are taken unless others are asked for. NAM-35: LLMNR and NetBIOS are not among
    /// them, since anybody on the link may answer, and broadcasts tell the whole link what is asked.
    pub const DEFAULT: [Step; 3] = [Step::HostName, Step::Hosts, Step::Dns];

    /// The step as it is written in a file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Step::HostName => "host-name",
            Step::Hosts => "hosts",
            Step::Dns => "dns",
            Step::Llmnr => "llmnr",
            Step::NetbiosCache => "netbios-cache",
            Step::Wins => "wins",
            Step::Broadcast => "broadcast",
            Step::Lmhosts => "lmhosts",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Step {
    type Err = StepError;

    fn from_str(text: &str) -> Result<Self, StepError> {
        Step::ALL.into_iter().find(|step| step.as_str() == text).ok_or_else(|| StepError(text.to_owned()))
    }
}

/// A text that is no [`Step`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepError(String);

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Step::ALL.map(Step::as_str);
        match advice::nearest(&self.0, names.into_iter()) {
            Some(meant) => write!(f, "there is no such step: write {meant}"),
            None => write!(f, "there is no such step: write one of {}", names.join(", ")),
        }
    }
}

impl std::error::Error for StepError {}

/// What one step said of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Trial {
    /// The step.
    pub step: Step,
    /// The name as it was asked for.
    pub name: String,
    /// The addresses that it brought, those included that no router can have; or why none.
    pub said: Result<Vec<Ipv4Addr>, Failure>,
    /// By LLMNR or broadcast: who contradicts whom about the name.
    pub conflict: Option<Conflict>,
}

impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: ", self.step, self.name)?;
        match &self.said {
            Ok(addresses) => {
                let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                f.write_str(&addresses.join(", "))
            }
            Err(failure) => write!(f, "{failure}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nam_1_nam_35_the_order_is_fixed_and_what_anybody_may_answer_is_off() {
        let mut sorted = Step::ALL;
        sorted.sort();
        assert_eq!(sorted, Step::ALL);
        assert_eq!(Step::DEFAULT.map(Step::as_str), ["host-name", "hosts", "dns"]);
        for step in Step::ALL {
            assert_eq!(step.as_str().parse(), Ok(step));
        }
    }

    #[test]
    fn a_wrong_step_is_answered_with_those_that_there_are() {
        let said = |text: &str| text.parse::<Step>().unwrap_err().to_string();
        assert!(said("lmnr").contains("write llmnr"), "{}", said("lmnr"));
        assert!(said("zeroconf").contains("host-name, hosts, dns, llmnr"), "{}", said("zeroconf"));
    }
}
