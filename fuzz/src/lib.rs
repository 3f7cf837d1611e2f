//! The bodies of all fuzz targets, as plain functions of bytes.
//!
//! A new target is a function here with a line in [`TARGETS`], a `[[bin]]` in
//! Cargo.toml, two lines in `fuzz_targets/` and at least one seed in `corpus/`.
//! The test below replays every seed, and fails when one of the four is missing.
//!
//! A body asserts what has to hold; it does not only wait for a panic. Its
//! oracle is written independently of the code that it judges.

#[cfg(fuzzing)]
pub use libfuzzer_sys;

use std::net::Ipv6Addr;

/// What a target does with its input: nothing, or panic.
pub type Body = fn(&[u8]);

/// Name and body of each target.
pub const TARGETS: &[(&str, Body)] = &[("ipv6_text", ipv6_text)];

/// The text of an address is the address, and is never longer than RFC 5952 allows.
pub fn ipv6_text(data: &[u8]) {
    let Some(bytes) = data.first_chunk::<16>() else { return };
    let address = Ipv6Addr::from(*bytes);
    let text = address.to_string();
    assert!(text.len() <= 45, "{text}");
    assert_eq!(text.parse(), Ok(address));
}

/// The entry point of a target: libFuzzer's when cargo-fuzz builds it; otherwise
/// a program that runs the body once on each file that it is given, which is how
/// a crash is looked at with a plain toolchain and a debugger.
#[macro_export]
macro_rules! target {
    ($body:ident) => {
        #[cfg(fuzzing)]
        $crate::libfuzzer_sys::fuzz_target!(|data: &[u8]| $crate::$body(data));

        #[cfg(not(fuzzing))]
        fn main() -> std::io::Result<()> {
            for path in std::env::args_os().skip(1) {
                $crate::$body(&std::fs::read(path)?);
            }
            Ok(())
        }
    };
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::TARGETS;

    fn names_in(directory: &str) -> BTreeSet<String> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
        fs::read_dir(&directory)
            .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn every_target_has_a_program_and_seeds() {
        let bodies: BTreeSet<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(names_in("fuzz_targets"), bodies);
        assert_eq!(names_in("corpus"), bodies);
        let manifest = include_str!("../Cargo.toml");
        for name in &bodies {
            assert!(manifest.contains(&format!("\nname = \"{name}\"\n")), "no [[bin]] for {name}");
        }
    }

    #[test]
    fn every_seed_passes() {
        for (name, body) in TARGETS {
            let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
            let seeds: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
            assert!(!seeds.is_empty(), "no seed for {name}");
            for seed in seeds {
                // A failing body says what failed; the name of the seed is all it cannot know.
                eprintln!("{}", seed.display());
                body(&fs::read(seed).unwrap());
            }
        }
    }
}
