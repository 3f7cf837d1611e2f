//! Address selection against a second reading of RFC 6724, on bytes that are
//! the same in each run. The fuzz target `address_selection` looks further.

use std::collections::BTreeMap;

use isatap_core::select::{Destination, Policy};

use crate::ingress_oracle::noise;
use crate::oracle::selection::{address_selection, destination, source};

#[test]
fn sel_3_s64_32_sources_and_orders_are_those_of_the_rfcs_rules() {
    for seed in 0..5_000 {
        address_selection(&noise(seed, 160));
    }
}

/// A generator that lets few rules decide would prove little.
#[test]
fn every_rule_decides_in_the_inputs() {
    let (mut by_source, mut by_destination) = (BTreeMap::new(), BTreeMap::new());
    for seed in 0..20_000 {
        let bytes = noise(seed, 160);
        let mut input = crate::oracle::input::Input::new(&bytes);
        let sources: Vec<_> = (0..4).map(|_| source(&mut input)).collect();
        let mut pair = [destination(&mut input, &sources), destination(&mut input, &sources)];
        for to in &mut pair {
            let choice = Policy::RFC6724.choose_source(to, sources.iter().copied());
            to.source = choice.map(|choice| choice.source);
            *by_source.entry(choice.map_or("none", |choice| choice.rule.number())).or_insert(0) += 1;
        }
        let [a, b]: [Destination; 2] = pair;
        *by_destination.entry(Policy::RFC6724.compare(&a, &b).1.number()).or_insert(0) += 1;
    }
    assert_eq!(by_source.len(), 12, "{by_source:?}");
    assert_eq!(by_destination.len(), 10, "{by_destination:?}");
    let least = by_source.values().chain(by_destination.values()).min().unwrap();
    assert!(*least >= 20, "{by_source:?} {by_destination:?}");
}
