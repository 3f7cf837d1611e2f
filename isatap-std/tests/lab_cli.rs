//! The tool `isatap lab` as a user runs it.
#![cfg(feature = "cli")]

use std::process::Command;

#[test]
fn every_listed_scenario_meets_its_expectations() {
    let tool = env!("CARGO_BIN_EXE_isatap");
    let list = Command::new(tool).args(["lab", "--list"]).output().unwrap();
    assert!(list.status.success());
    let list = String::from_utf8(list.stdout).unwrap();
    let names: Vec<_> = list.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(names.contains(&"intranet"), "{list}");
    for name in names {
        let run = Command::new(tool).args(["lab", "-j", name]).output().unwrap();
        assert!(run.status.success(), "{name}: {}", String::from_utf8_lossy(&run.stderr));
        let last: serde_json::Value =
            serde_json::from_str(String::from_utf8(run.stdout).unwrap().lines().last().unwrap()).unwrap();
        assert_eq!(last["scenario"], name);
        assert!(last["delivered"].as_u64().unwrap() > 0, "{name}: {last}");
    }
}

/// The issue's own words: two seeds with loss give different captures, and
/// both deliver.
#[test]
fn seeds_with_loss_give_different_captures_and_deliver() {
    let tool = env!("CARGO_BIN_EXE_isatap");
    let directory = std::env::temp_dir().join(format!("isatap-lab-cli-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let run = |seed: &str, file: &str| {
        let path = directory.join(file);
        let run =
            Command::new(tool).args(["lab", "loss", "--json", "--seed", seed, "--pcap"]).arg(&path).output().unwrap();
        assert!(run.status.success(), "seed {seed}: {}", String::from_utf8_lossy(&run.stderr));
        let out = String::from_utf8(run.stdout).unwrap();
        let last: serde_json::Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
        assert!(last["delivered"].as_u64().unwrap() > 0 && out.contains("loss"), "seed {seed}");
        (std::fs::read(&path).unwrap(), out)
    };
    let (first, again, second) = (run("1", "1.pcap"), run("1", "1-again.pcap"), run("2", "2.pcap"));
    std::fs::remove_dir_all(&directory).unwrap();
    assert!(first == again, "the same seed gives the same bytes");
    assert!(first.0 != second.0, "another seed gives others");
    let packets = |capture: &[u8]| isatap_std::lab::pcap::read(capture).unwrap().len();
    assert!(packets(&first.0) > 10 && packets(&second.0) > 10);
}

#[test]
fn ter_105_the_matrix_of_nats_is_printed_one_line_a_pair() {
    let tool = env!("CARGO_BIN_EXE_isatap");
    let run = |arguments: &[&str]| {
        let run = Command::new(tool).args(["lab", "teredo"]).args(arguments).output().unwrap();
        (run.status.code(), String::from_utf8(run.stdout).unwrap())
    };
    let (status, out) = run(&["--matrix", "--json"]);
    assert_eq!((status, out.lines().count()), (Some(0), 49));
    let first: serde_json::Value = serde_json::from_str(out.lines().next().unwrap()).unwrap();
    assert_eq!((&first["nat_a"], &first["connects"]), (&"cone".into(), &true.into()));
    let (status, out) = run(&["--nat-a", "cone", "--nat-b", "sequential"]);
    assert_eq!(status, Some(0), "{out}");
    let (status, out) = run(&["--nat-a", "port-symmetric", "--nat-b", "port-symmetric"]);
    assert_eq!(status, Some(3), "{out}");
    let (status, _) = run(&["--nat-a", "open"]);
    assert_ne!(status, Some(0));
    let elsewhere = Command::new(tool).args(["lab", "intranet", "--matrix"]).output().unwrap();
    assert_eq!(elsewhere.status.code(), Some(1));
}
