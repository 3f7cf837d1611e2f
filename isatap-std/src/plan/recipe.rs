//! Guides: what to do on each machine of a set-up, in order, up to the checks.

mod manage_out;
mod native;

pub use manage_out::{Client, ManageOut, Server};
pub use native::NativeManageOut;

use super::Platform;
use super::steps::{Steps, words};

/// The recipes, each with what it sets up.
pub const RECIPES: [(&str, &str); 2] = [
    (
        "direct-access-manage-out",
        "Reach DirectAccess clients from hosts of an IPv4 intranet: an ISATAP router of this tool, the servers, the hosts",
    ),
    ("direct-access-native", "Reach DirectAccess clients from hosts with native IPv6: an address and two routes"),
];

/// The checks at the end of a guide, on the host from which clients are to be reached.
fn check_client(steps: &mut Steps<'_>, client: Option<&str>, port: u16) {
    const PING: &str = "Check: the client answers by its name.";
    const CONNECT: &str = "Check: a connection comes about too.";
    const ICMP: &str = "ICMP goes around the servers' IPsec: a ping proves the path, and nothing about connections.";
    let Some(client) = client else {
        return steps.not_known(PING, "the name of a client", "give --client NAME");
    };
    match steps.platform {
        Platform::Windows => {
            steps.run(PING, words!["ping", "-6", client]).note(ICMP);
            let command = format!("Test-NetConnection {client} -Port {port}");
            steps.run(CONNECT, words!["powershell", "-Command", command]);
        }
        Platform::PowerShell => {
            steps.run(PING, words!["ping", "-6", client]).note(ICMP);
            steps.run(CONNECT, words!["Test-NetConnection", client, "-Port", port]);
        }
        _ => {
            steps.run(PING, words!["ping", "-6", "-c", 3, client]).note(ICMP);
            let open = format!("exec 3<>/dev/tcp/{client}/{port}");
            steps.run(CONNECT, words!["timeout", 5, "bash", "-c", open]);
        }
    }
}

/// A line of a hosts file, and its way out of it again.
fn hosts_line(steps: &mut Steps<'_>, step: &str, address: &str, name: &str) {
    // Addresses and names have no sign that a shell minds.
    let line = format!("{address} {name}");
    steps.raw(step, format!("echo '{line}' >>/etc/hosts")).raw_undo(format!(
        "grep -vxF '{line}' /etc/hosts >/etc/hosts.isatap; cat /etc/hosts.isatap >/etc/hosts; rm /etc/hosts.isatap"
    ));
}
