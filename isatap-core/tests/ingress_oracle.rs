//! What every link lets in, alone and beside others, against a second reading
//! of the rules, on bytes that are the same in each run. The fuzz targets
//! `tunnel_packet` and `link_pairs` look further.

mod oracle;

use oracle::tunnels::{link_pairs, tunnel_packet};

/// The high bytes of a linear congruential generator.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    })
    .take(len)
    .collect()
}

#[test]
fn i4_each_link_alone_lets_in_what_the_rules_say_and_nothing_else() {
    for seed in 0..4_000 {
        tunnel_packet(&noise(seed, 600));
    }
}

#[test]
fn tun_23_i4_links_of_one_node_let_in_what_their_rules_say_together() {
    for seed in 0..3_000 {
        link_pairs(&noise(seed, 700));
    }
}
