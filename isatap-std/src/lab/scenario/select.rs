//! `select`: in which order a node tries addresses, and whether that is the expected one.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use isatap_core::select::Policy;

use super::run::{Run, is_same};
use super::table::table;
use super::value::Text;
use crate::selection::Placed;

table! {
    /// In which order a node tries addresses, from which of its own, and by which rules of RFC 6724:
    /// what isatap select would say there. Sends nothing.
    pub(super) SelectDeed ["select = { … } of [[step]]"] {
        /// The node.
        "node" ["\"NODE\"; needed"] pub(super) node: String,
        /// The destinations, as a name would give them: addresses, or a node for all that it has but
        /// link-local ones, IPv4 last.
        "to" ["[\"NODE\" or \"V6\" or \"V4\", …]; needed"] pub(super) to: Vec<String>,
        /// The policy table.
        #[serde(default)]
        "policy" ["\"rfc6724\" or \"rfc3484\"; default \"rfc6724\""] policy: Text<PolicyName>,
        /// The order that is expected, all of it.
        "order" ["[{ … }, …]; needed"] order: Vec<ExpectedTable>,
    }
}

table! {
    /// A destination in its place, and what is expected of it. Of a Teredo address the random flags are
    /// not compared.
    pub(super) ExpectedTable ["order = [{ … }] of select"] {
        /// The destination.
        "to" ["\"V6\" or \"V4\"; needed"] to: IpAddr,
        /// The address that packets come from.
        "from" ["\"V6\" or \"V4\""] from: Option<IpAddr>,
        /// The number of the rule that chose that source; "only" or "order": none had to.
        "source-rule" ["\"NUMBER\""] source_rule: Option<String>,
        /// The number of the rule by which it comes before the next one.
        "rule" ["\"NUMBER\""] rule: Option<String>,
        /// The LAN or tunnel that packets leave by.
        "by" ["\"LAN\" or \"DEV\""] by: Option<String>,
    }
}

/// A policy table that every host knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum PolicyName {
    #[default]
    Rfc6724,
    Rfc3484,
}

impl FromStr for PolicyName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "rfc6724" => Ok(PolicyName::Rfc6724),
            "rfc3484" => Ok(PolicyName::Rfc3484),
            _ => Err("not a policy table: write rfc6724 or rfc3484"),
        }
    }
}

impl SelectDeed {
    /// Those of its destinations that are no addresses.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.to.iter().map(String::as_str).filter(|to| to.parse::<IpAddr>().is_err())
    }
}

impl ExpectedTable {
    fn is_met_by(&self, found: &Found) -> bool {
        let fits = |expected: &Option<String>, found: Option<&str>| expected.is_none() || expected.as_deref() == found;
        is_same_ip(found.to, self.to)
            && self.from.is_none_or(|from| found.from.is_some_and(|found| is_same_ip(found, from)))
            && fits(&self.source_rule, found.source_rule)
            && fits(&self.rule, found.rule)
            && fits(&self.by, found.by.as_deref())
    }
}

fn is_same_ip(found: IpAddr, expected: IpAddr) -> bool {
    match (found, expected) {
        (IpAddr::V6(found), IpAddr::V6(expected)) => is_same(&found, &expected),
        _ => found == expected,
    }
}

/// What can be expected of a destination in its place.
struct Found {
    to: IpAddr,
    from: Option<IpAddr>,
    source_rule: Option<&'static str>,
    rule: Option<&'static str>,
    by: Option<String>,
}

impl Found {
    fn of(placed: &Placed) -> Self {
        Found {
            to: placed.of.to.address,
            from: placed.of.choice.map(|choice| choice.source.address),
            source_rule: placed.of.choice.map(|choice| choice.rule.number()),
            rule: placed.rule.map(|rule| rule.number()),
            by: placed.of.device.clone(),
        }
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.to)?;
        if let (Some(from), Some(rule)) = (self.from, self.source_rule) {
            write!(f, " from {from} ({rule})")?;
        }
        match self.rule {
            Some(rule) => write!(f, ", by rule {rule} before "),
            None => Ok(()),
        }
    }
}

impl Run {
    /// Tells in which order a node tries addresses, and judges it.
    pub(super) fn select(&mut self, deed: &SelectDeed) {
        let Some(node) = self.world().find(&deed.node) else { return };
        let mut to: Vec<IpAddr> = Vec::new();
        for text in &deed.to {
            match text.parse() {
                Ok(address) => to.push(address),
                Err(_) => to.extend(self.all_addresses(text)),
            }
        }
        let policy = match deed.policy.0 {
            PolicyName::Rfc6724 => Policy::RFC6724,
            PolicyName::Rfc3484 => Policy::RFC3484,
        };
        let order = self.world().select(node, &to, &policy);
        for line in order.iter().map(Placed::to_string).collect::<Vec<_>>().join("\n").lines() {
            self.world_mut().note(&deed.node, line);
        }
        let found: Vec<Found> = order.iter().map(Found::of).collect();
        let met =
            found.len() == deed.order.len() && deed.order.iter().zip(&found).all(|(one, found)| one.is_met_by(found));
        // It has just been told, line by line; what was expected instead is looked for in one.
        let list: String = if met { "them in this order".into() } else { found.iter().map(Found::to_string).collect() };
        self.judge(met, format!("{} tries {list}", deed.node));
    }

    /// What a name would give for a node.
    fn all_addresses(&self, node: &str) -> Vec<IpAddr> {
        let Some(node) = self.world().find(node) else { return Vec::new() };
        let ipv6 = self.world().ipv6(node).into_iter().filter(|address| !address.is_unicast_link_local());
        ipv6.map(IpAddr::from).chain(self.world().ipv4(node).iter().copied().map(IpAddr::from)).collect()
    }
}
