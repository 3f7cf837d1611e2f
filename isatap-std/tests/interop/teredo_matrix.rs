//! Our Teredo client and miredo's behind each kind of NAT, all pairs of kinds in one lab: five
//! clients that begin, five that answer, each behind a NAT of its own, and the 25 pairs tried at
//! the same time. Which side begins is a lab of its own, since a pair that has met stays met.
//!
//! What must be is what two miredo clients reach of each other in the same lab: all but those
//! behind a symmetric NAT that begin, and port-restricted with symmetric.

use crate::common::teredo::{Internet, Nat, PORT, SERVER, miredo, start, teredo_address};
use crate::common::{Daemon, Lab, Namespace, Node};
use std::net::Ipv6Addr;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Ours,
    Miredo,
}

const NATS: [Option<Nat>; 5] =
    [None, Some(Nat::Cone), Some(Nat::AddressRestricted), Some(Nat::PortRestricted), Some(Nat::Symmetric)];

/// How long a pair may take: the bubbles of four attempts, and an echo packet after the last.
const PATIENCE_OF_A_PAIR: u64 = 12;

/// In the order in which they have to end.
struct Clients {
    _daemons: Vec<Daemon>,
    clients: Vec<(Namespace, Ipv6Addr)>,
    _nats: Vec<Option<Namespace>>,
}

/// Clients behind each kind of NAT, at 203.0.113.`first` and on.
fn clients(internet: &Internet<'_>, first: u8, who: Who) -> Clients {
    let (namespaces, nats): (Vec<_>, Vec<_>) =
        (first..).zip(NATS).map(|(number, nat)| internet.behind(number, nat)).unzip();
    let mut daemons = vec![];
    for client in &namespaces {
        match who {
            Who::Ours => daemons.push(start(client, "client", &format!("--server {SERVER} --bind :{PORT}"))),
            Who::Miredo => miredo(client, &format!("ServerAddress {SERVER}")),
        }
    }
    let clients = namespaces.into_iter().map(|client| {
        let address = teredo_address(&client);
        (client, address)
    });
    Clients { clients: clients.collect(), _daemons: daemons, _nats: nats }
}

/// Who was reached: a row a NAT of the side that begins, a column a NAT of the other.
fn matrix(begins: Who, other: Who) -> [[bool; 5]; 5] {
    let lab = Lab::new();
    let internet = Internet::new(&lab);
    // One is served by the other's server, and then by ours.
    let (_server, _daemon) = match begins {
        Who::Ours => (internet.miredo_server(), None),
        Who::Miredo => {
            let (server, daemon) = internet.our_server();
            (server, Some(daemon))
        }
    };
    let (begin, other) = (clients(&internet, 1, begins), clients(&internet, 6, other));
    let addresses = other.clients.iter().map(|(_, address)| address.to_string()).collect::<Vec<_>>().join(" ");
    // An echo request a second until the first answer.
    let command = format!(
        "for a in {addresses}; do (ping -6 -n -q -c 1 -w {PATIENCE_OF_A_PAIR} $a >/dev/null && echo reached $a) & done; wait"
    );
    let reached: Vec<String> = std::thread::scope(|scope| {
        let limit = Duration::from_secs(PATIENCE_OF_A_PAIR + 20);
        let command = &command;
        let pings: Vec<_> =
            begin.clients.iter().map(|(client, _)| scope.spawn(move || client.run_for(limit, command).text)).collect();
        pings.into_iter().map(|ping| ping.join().unwrap()).collect()
    });
    let mut matrix = [[false; 5]; 5];
    for (row, text) in matrix.iter_mut().zip(&reached) {
        for (place, (_, address)) in row.iter_mut().zip(&other.clients) {
            *place = text.lines().any(|line| line == format!("reached {address}"));
        }
    }
    matrix
}

/// What must be: `x` reached, `.` need not be. Rows and columns as [`NATS`].
#[track_caller]
fn judge(matrix: [[bool; 5]; 5]) {
    let least = ["xxxxx", "xxxxx", "xxxxx", "xxxx.", "....."];
    let shown = matrix.map(|row| row.map(|reached| if reached { 'x' } else { '.' }).iter().collect::<String>());
    for (at, (row, least)) in matrix.iter().zip(least).enumerate() {
        for (place, (reached, least)) in row.iter().zip(least.chars()).enumerate() {
            assert!(*reached || least != 'x', "{:?} does not reach {:?}: {shown:#?}", NATS[at], NATS[place]);
        }
    }
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn ter_102_our_client_reaches_miredo_s_behind_all_nats() {
    judge(matrix(Who::Ours, Who::Miredo));
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn ter_96_miredo_s_client_reaches_ours_behind_all_nats() {
    judge(matrix(Who::Miredo, Who::Ours));
}
