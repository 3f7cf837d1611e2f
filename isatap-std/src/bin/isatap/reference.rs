//! `isatap config reference` and `isatap config example`: what a configuration file can say.

use std::io::{self, Write};

use clap::{Arg, ArgAction, Args, Command};
use isatap_std::spec;

/// The tables of a file, and the flags that their keys are.
fn tables() -> [(&'static str, Command); 12] {
    fn of<S: Args>() -> Command {
        S::augment_args(Command::new("table"))
    }
    [
        ("isatap-host", of::<spec::IsatapHost>()),
        ("isatap-router", of::<spec::IsatapRouter>()),
        ("tunnel", of::<spec::Tunnel>()),
        ("compatible", of::<spec::Compatible>()),
        ("6rd", of::<spec::SixRd>()),
        ("6to4", of::<spec::SixToFour>()),
        ("teredo-client", of::<spec::TeredoClient>()),
        ("teredo-server", of::<spec::TeredoServer>()),
        ("teredo-relay", of::<spec::TeredoRelay>()),
        ("native", of::<spec::Native>()),
        ("portproxy", of::<spec::PortProxy>()),
        ("dns-update", of::<spec::DnsUpdate>()),
    ]
}

/// Prints every table, key, type and default, with its documentation.
pub(crate) fn print(out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "A file for isatap run is TOML. In front of all tables:\n\n  user = \"NAME\"\n      Become this user once \
         everything is open.\n\n  hook = \"PATH\"\n      Run this command when an address, a prefix, a route or a \
         router changes: without arguments, with\n      ISATAP_EVENT, ISATAP_DEV, ISATAP_ADDRESS, … (the keys of \
         isatap monitor -j) in its environment.\n\n  hook-user = \"NAME\"\n      Run it as this user, not as the one \
         who starts the daemon.\n\n  kernel-path = \"auto\" or \"off\" or \"require\"\n      Whether the kernel carries packets of \
         known flows itself, by programs that the daemon loads.\n      Default: \"auto\", where it can.\n\nEach table can be there several times. A list may be one value. SECONDS are whole."
    )?;
    for (name, command) in tables() {
        writeln!(out, "\n[[{name}]]")?;
        let about = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
        for line in about.split("\n\n").flat_map(|paragraph| wrapped(paragraph, 2)) {
            writeln!(out, "{line}")?;
        }
        command.get_arguments().try_for_each(|argument| key(out, argument))?;
    }
    Ok(())
}

fn key(out: &mut impl Write, argument: &Arg) -> io::Result<()> {
    let Some(long) = argument.get_long() else { return Ok(()) };
    let is_on = matches!(argument.get_action(), ArgAction::SetFalse);
    let key = if is_on { long.trim_start_matches("no-") } else { long };
    let value = argument.get_value_names().and_then(|names| names.first()).map(ToString::to_string);
    let is_number = value.as_deref().is_some_and(|value| matches!(value, "N" | "SECONDS" | "N|inherit"));
    let possible: Vec<String> =
        argument.get_possible_values().iter().map(|value| format!("\"{}\"", value.get_name())).collect();
    let value = match (argument.get_action(), value) {
        (ArgAction::SetTrue | ArgAction::SetFalse, _) => "true or false".to_owned(),
        (_, Some(_)) if !possible.is_empty() => possible.join(" or "),
        (ArgAction::Append, Some(value)) => format!("[\"{value}\", …]"),
        (_, Some(value)) if is_number => value.replace("|inherit", " or \"inherit\""),
        (_, Some(value)) => format!("\"{value}\""),
        (_, None) => String::new(),
    };
    let defaults: Vec<_> = argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    let default = match (argument.is_required_set(), argument.get_action(), defaults.as_slice()) {
        (true, ..) => "; needed".to_owned(),
        (_, ArgAction::SetFalse, _) => "; default true".to_owned(),
        (_, ArgAction::SetTrue, _) => "; default false".to_owned(),
        (_, _, []) => String::new(),
        (_, _, defaults) if is_number => format!("; default {}", defaults.join(", ")),
        (_, _, defaults) => format!("; default \"{}\"", defaults.join(", ")),
    };
    writeln!(out, "\n  {key} = {value}{default}")?;
    let help = argument.get_long_help().or(argument.get_help()).map(ToString::to_string).unwrap_or_default();
    wrapped(&help, 6).into_iter().try_for_each(|line| writeln!(out, "{line}"))
}

/// Lines of at most 100 characters.
fn wrapped(text: &str, indent: usize) -> Vec<String> {
    let mut lines = vec![" ".repeat(indent)];
    for word in text.split_whitespace() {
        let Some(line) = lines.last_mut() else { break };
        if line.chars().count() + word.chars().count() >= 100 {
            lines.push(format!("{}{word}", " ".repeat(indent)));
        } else {
            if line.trim_start() != "" {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

/// A file for each kind of link, with what an administrator has to do beside it.
pub(crate) const EXAMPLES: [(&str, &str); 10] = [
    (
        "isatap-host",
        "# A host that gets IPv6 across an IPv4-only site.\n\
         [[isatap-host]]\n\
         # By address or name; without it, the name isatap in the search domains.\n\
         router = \"10.0.0.1\"\n",
    ),
    (
        "isatap-router",
        "# A router between a site's ISATAP hosts and native IPv6. The kernel forwards:\n\
         # sysctl -w net.ipv6.conf.all.forwarding=1\n\
         [[isatap-router]]\n\
         local = \"10.0.0.1\"\n\
         prefix = \"2001:db8:0:7::/64\"\n\
         # The site's IPv4; others' packets are dropped.\n\
         member = [\"10.0.0.0/8\"]\n\
         # Other tunnel routers of the site are no hosts.\n\
         # known-router = [\"10.0.0.9\"]\n\n\
         [[native]]\n\
         dev = \"eth1\"\n\
         forwarding = true\n",
    ),
    (
        "tunnel",
        "# A tunnel broker's configured tunnel. The default route is yours:\n\
         # ip -6 route add default dev tun6in4 metric 2049\n\
         [[tunnel]]\n\
         local = \"192.0.2.1\"\n\
         remote = \"198.51.100.1\"\n\
         address = \"2001:db8:77::2/64\"\n\
         # Where the IPv4 address changes: via = \"ppp0\" instead of local, and the broker is told (dyndns2). The\n\
         # file has USER:PASSWORD in one line; chmod 640 it (group: that of user).\n\
         # update-url = \"https://ipv4.tunnelbroker.net/nic/update?hostname=TUNNEL-ID\"\n\
         # update-login = \"/etc/isatap/broker\"\n",
    ),
    (
        "compatible",
        "# What is left of automatic tunnels: hosts with addresses such as ::192.0.2.9.\n\
         [[compatible]]\n\
         local = \"192.0.2.1\"\n",
    ),
    (
        "6rd",
        "# A customer edge: prefix, v4-mask-len and br are the provider's (DHCPv4 option 212). The kernel\n\
         # forwards for the LANs: sysctl -w net.ipv6.conf.all.forwarding=1\n\
         [[6rd]]\n\
         prefix = \"2001:db8::/32\"\n\
         v4-mask-len = 8\n\
         local = \"10.100.100.1\"\n\
         br = \"10.0.0.1\"\n\
         lan = [\"eth1\", \"eth2:a0\"]\n",
    ),
    (
        "6to4",
        "# The router of a 6to4 site. Without a relay it reaches other 6to4 sites alone. The kernel forwards\n\
         # for the LANs: sysctl -w net.ipv6.conf.all.forwarding=1\n\
         [[6to4]]\n\
         role = \"router\"\n\
         local = \"131.107.0.1\"\n\
         relay = \"relay.example.net\"\n\
         lan = \"eth1\"\n",
    ),
    (
        "teredo-client",
        "# A host behind a NAT.\n\
         [[teredo-client]]\n\
         server = \"teredo.example.net\"\n",
    ),
    (
        "teredo-server",
        "# A server, which has this address and the next one. The kernel forwards:\n\
         # sysctl -w net.ipv6.conf.all.forwarding=1\n\
         [[teredo-server]]\n\
         primary = \"131.107.0.2\"\n",
    ),
    (
        "teredo-relay",
        "# A relay between native hosts and Teredo clients. The kernel forwards:\n\
         # sysctl -w net.ipv6.conf.all.forwarding=1\n\
         [[teredo-relay]]\n\
         local = \"131.107.0.3\"\n",
    ),
    (
        "portproxy",
        "# IPv4 clients of a server that has IPv6 alone: their name for it leads to this machine's IPv4 address.\n\
         [[portproxy]]\n\
         listen = \"0.0.0.0:8080\"\n\
         connect = \"[2001:db8:0:8::80]:80\"\n\n\
         # IPv6 clients of a server that has IPv4 alone.\n\
         # [[portproxy]]\n\
         # listen = \"443\"\n\
         # direction = \"v6tov4\"\n\
         # connect = \"www.example.net\"\n",
    ),
];
