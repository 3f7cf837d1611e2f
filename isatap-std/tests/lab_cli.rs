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
