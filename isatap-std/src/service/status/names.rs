//! Names of routers: how they were looked up, and who answers to them.

use crate::resolve::{Conflict, Holding, ResponderReport, Trial};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

/// How names were looked up.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "control", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct NamesStatus {
    /// What each step said last, in the order in which they were taken; the one that knew an address
    /// ends them.
    pub steps: Vec<NameStep>,
    /// Answers of neighbours and WINS servers that were not used since the start, by reason: `off-link`,
    /// `wrong-id` and others; only reasons that occurred.
    pub refused: BTreeMap<String, u64>,
}

/// Whether a router answers to the name `isatap`.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "control", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct ResponderStatus {
    /// Each link and service.
    pub links: Vec<HeldName>,
    /// Each WINS server.
    pub wins: Vec<HeldName>,
    /// Questions that were answered.
    pub answered: u64,
    /// Messages that were not, by reason; only reasons that occurred.
    pub refused: BTreeMap<String, u64>,
    /// Whether its thread has ended, which should not be: nothing is answered any more.
    #[cfg_attr(feature = "control", serde(default))]
    pub stopped: bool,
}

/// Whether the name is the router's in one place.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "control", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct HeldName {
    /// The interface, or the server.
    pub at: String,
    /// `llmnr`, `netbios` or `wins`.
    pub by: String,
    /// `checking`, `held`, `lost` (another machine has it), `silent` (the server does not answer) or `failing`
    /// (the server answers with an error, or the kernel refuses to listen or to send).
    pub state: String,
    /// Who has it instead.
    pub holder: Option<Ipv4Addr>,
}

impl ResponderStatus {
    pub(in crate::service) fn of(report: &ResponderReport) -> Self {
        let held = |at: String, by: &str, holding: Holding| HeldName {
            at,
            by: by.to_owned(),
            state: holding.as_str().to_owned(),
            holder: if let Holding::Lost(holder) = holding { Some(holder) } else { None },
        };
        let links = report.links.iter();
        let wins = report.wins.iter();
        Self {
            links: links.map(|link| held(link.interface.clone(), link.service.as_str(), link.holding)).collect(),
            wins: wins.map(|(server, holding)| held(server.to_string(), "wins", *holding)).collect(),
            answered: report.answered,
            refused: report.discards.iter().map(|(reason, count)| (reason.as_str().to_owned(), count)).collect(),
            stopped: report.is_stopped,
        }
    }
}

/// What one step said of one name.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "control", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct NameStep {
    /// `host-name`, `hosts`, `dns`, `llmnr`, `netbios-cache`, `wins`, `broadcast` or `lmhosts`.
    pub step: String,
    /// The name that was asked for.
    pub name: String,
    /// What it brought, addresses included that no router can have.
    pub addresses: Vec<Ipv4Addr>,
    /// Why it brought none.
    pub failure: Option<String>,
    /// By `llmnr` or `broadcast`: the machines of one link that contradict each other about the name, eight at most;
    /// none: all agree.
    #[cfg_attr(feature = "control", serde(default))]
    pub conflict: Vec<NameClaim>,
}

/// What one of several machines says of a name.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "control", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct NameClaim {
    /// The machine.
    pub by: Ipv4Addr,
    /// The addresses that it gives the name, four at most.
    pub addresses: Vec<Ipv4Addr>,
}

impl NameStep {
    pub(in crate::service) fn of(trial: &Trial) -> Self {
        Self {
            step: trial.step.as_str().to_owned(),
            name: trial.name.clone(),
            addresses: trial.said.clone().unwrap_or_default(),
            failure: trial.said.as_ref().err().map(ToString::to_string),
            conflict: trial.conflict.iter().flat_map(claims).collect(),
        }
    }
}

impl NamesStatus {
    /// Who contradicts whom about which name, for people: `isatap by llmnr: 10.0.0.1 says 10.0.0.1; 10.0.0.4 says
    /// 10.0.0.4`.
    pub fn conflicts(&self) -> impl Iterator<Item = String> {
        self.steps.iter().filter(|said| !said.conflict.is_empty()).map(|said| {
            let claim = |claim: &NameClaim| format!("{} says {}", claim.by, crate::spec::list(&claim.addresses));
            let claims: Vec<String> = said.conflict.iter().map(claim).collect();
            format!("{} by {}: {}", said.name, said.step, claims.join("; "))
        })
    }
}

/// A few of them, as in the log.
fn claims(conflict: &Conflict) -> impl Iterator<Item = NameClaim> {
    let claim = |(by, addresses): (&Ipv4Addr, &BTreeSet<Ipv4Addr>)| {
        let addresses = addresses.iter().copied().take(Conflict::MOST_ADDRESSES).collect();
        NameClaim { by: *by, addresses }
    };
    conflict.answers.iter().take(Conflict::MOST_MACHINES).map(claim)
}
