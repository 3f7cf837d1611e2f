//! Which kind of NAT our tool says that it is behind: nftables NATs of each kind, and miredo's server.

use crate::common::teredo::{Internet, Nat, PORT, SERVER, start};
use crate::common::{Lab, PATIENCE, Stopwatch, isatap, status, wait_until};
use serde_json::Value;

const KINDS: [(Option<Nat>, &str); 5] = [
    (None, "none"),
    (Some(Nat::Cone), "cone"),
    (Some(Nat::AddressRestricted), "restricted"),
    (Some(Nat::PortRestricted), "port-restricted"),
    (Some(Nat::Symmetric), "symmetric"),
];

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn qualify_and_status_name_the_nat_of_each_kind() {
    let lab = Lab::new();
    let internet = Internet::new(&lab);
    let _server = internet.miredo_server();
    let clients: Vec<_> = (1..).zip(KINDS).map(|(number, (nat, name))| (internet.behind(number, nat), name)).collect();
    std::thread::scope(|scope| {
        for ((client, _nat), name) in &clients {
            scope.spawn(move || {
                let asked = Stopwatch::start();
                let output = isatap(client, &format!("teredo qualify -j {SERVER}"));
                println!("{name}: {:?}", asked.elapsed());
                let report: Value = serde_json::from_str(&output.text).unwrap_or_else(|_| panic!("{output:#?}"));
                assert_eq!((report["nat"].as_str(), output.status), (Some(*name), 0), "{output:#?}");
                assert!(asked.elapsed().as_secs() < 15);
                let _client = start(client, "client", &format!("--server {SERVER} --bind :{PORT}"));
                let told = format!(r#".teredo.state == "qualified" and .teredo.nat == "{name}""#);
                wait_until(&format!("{name} in status"), PATIENCE, || status(client, &told));
                // RFC 5991 §3.2: what is known of the NAT is not in the address.
                assert!(status(client, r#".addresses[0].address | startswith("2001:0:c633:6401:")"#));
                let seen = format!(r#""seen":"{name}: seen as "#);
                wait_until(&format!("{name} in doctor"), PATIENCE, || isatap(client, "doctor -j").text.contains(&seen));
            });
        }
    });
}
