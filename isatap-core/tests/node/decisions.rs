//! A table of decisions changes nothing but time.

use crate::oracle::twins;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use std::cell::Cell;

/// Bytes that one number makes, so that a failure can be read.
fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb)
    };
    (0..1000).flat_map(|_| next().to_be_bytes()).collect()
}

fn twins_agree(cases: u32, least_hits: u64) {
    let found = Cell::new(0);
    let mut runner = TestRunner::new(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) });
    let result = runner.run(&any::<u64>().no_shrink(), |seed| {
        found.set(found.get() + twins::found(&noise(seed)));
        Ok(())
    });
    result.unwrap();
    assert!(found.get() > least_hits, "decisions were found {} times", found.get());
}

#[test]
fn two_nodes_of_which_one_remembers_agree() {
    twins_agree(2_000, 10_000);
}

/// The same for longer, before a release.
#[test]
#[ignore = "minutes: .ci/run release"]
fn two_nodes_of_which_one_remembers_agree_for_longer() {
    twins_agree(100_000, 500_000);
}
