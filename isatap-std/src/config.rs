//! One TOML file for a whole node.
//!
//! ```toml
//! [[isatap-router]]
//! dev = "isatap0"
//! local = "10.0.0.1"
//! prefix = "2001:db8:0:7::/64"
//! advertise-route = ["2001:db8:0:8::/64"]
//!
//! [[isatap-host]]
//! dev = "isatap1"
//! router = ["192.0.2.1", "isatap.example."]
//!
//! [[tunnel]]
//! local = "192.0.2.1"
//! remote = "198.51.100.1"
//! address = "2001:db8:77::1/64"
//!
//! [[6rd]]
//! role = "ce"
//! prefix = "2001:db8::/32"
//! v4-mask-len = 8
//! local = "10.100.100.1"
//! br = "10.0.0.9"
//! lan = ["eth2", "eth3:a0"]
//!
//! [[6to4]]
//! role = "relay"
//! local = "131.107.0.1"
//!
//! [[native]]
//! dev = "eth1"
//! forwarding = true
//!
//! [[teredo-client]]
//! server = "teredo.example.net"
//!
//! [[portproxy]]
//! listen = "0.0.0.0:8080"
//! connect = "[2001:db8:0:8::80]:80"
//! ```
//!
//! A table is a struct of [`spec`](crate::spec), and its keys are that one's fields: the flags of
//! the commands `isatap host`, `router`, `tunnel`, `compatible`, `6rd`, `6to4`, `teredo client`, `server` and
//! `relay`, and `portproxy`. What may be repeated there is a list here, or one value; a flag `--no-THING` is
//! `THING = false`. In front of the tables, `user = "NAME"` is `--user NAME`, `hook = "PATH"` is
//! `--hook PATH`, `hook-user = "NAME"` is `--hook-user NAME`, and `kernel-path = "auto"` is
//! `--kernel-path auto`. Times are whole
//! seconds. An unknown key is a mistake, and every mistake is told with its line.

mod damaged;
mod here;

pub use crate::error::Problem;

use crate::device::check_device;
use crate::error::Error;
use crate::mistakes::{self, Hints, refused};
use crate::spec::file::{ALIASES, EXAMPLES};
use crate::spec::{
    Compatible, DnsUpdate, IsatapHost, IsatapRouter, KernelPath, LinkSpec, Native, PortProxy, RANGES, SixRd, SixToFour,
    TeredoClient, TeredoRelay, TeredoServer, Tunnel, conflicts, overlaps, rule_conflicts, rules_at_answerers,
};
use isatap_core::sixtofour::addr::ANYCAST_RELAY;
use serde::Deserialize;
use toml::Spanned;

/// What a file describes.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Config {
    /// The user that the daemon becomes once everything is open; `None`: it stays who it is.
    pub user: Option<String>,
    /// The command that runs when an address, a prefix or a router changes. Nothing here runs it: the
    /// tool `isatap` does.
    pub hook: Option<String>,
    /// The user that it runs as; `None`: who starts the daemon.
    pub hook_user: Option<String>,
    /// Whether the kernel carries packets of known flows itself.
    pub kernel_path: KernelPath,
    /// Its links, in the order of the file.
    pub links: Vec<LinkSpec>,
    /// What it says of native links.
    pub natives: Vec<Native>,
    /// Its rules of the port proxy, in the order of the file.
    pub portproxies: Vec<PortProxy>,
    /// Names in the DNS that are to have the addresses of the links.
    pub dns_updates: Vec<DnsUpdate>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    user: Option<Spanned<String>>,
    hook: Option<Spanned<String>>,
    hook_user: Option<Spanned<String>>,
    #[serde(default)]
    kernel_path: KernelPath,
    #[serde(default)]
    isatap_host: Vec<Spanned<IsatapHost>>,
    #[serde(default)]
    isatap_router: Vec<Spanned<IsatapRouter>>,
    #[serde(default)]
    tunnel: Vec<Spanned<Tunnel>>,
    #[serde(default)]
    compatible: Vec<Spanned<Compatible>>,
    #[serde(default, rename = "6rd")]
    sixrd: Vec<Spanned<SixRd>>,
    #[serde(default, rename = "6to4")]
    sixtofour: Vec<Spanned<SixToFour>>,
    #[serde(default)]
    teredo_client: Vec<Spanned<TeredoClient>>,
    #[serde(default)]
    teredo_server: Vec<Spanned<TeredoServer>>,
    #[serde(default)]
    teredo_relay: Vec<Spanned<TeredoRelay>>,
    #[serde(default)]
    native: Vec<Spanned<Native>>,
    #[serde(default)]
    portproxy: Vec<Spanned<PortProxy>>,
    #[serde(default)]
    dns_update: Vec<Spanned<DnsUpdate>>,
}

impl Hints for File {
    const ALIASES: &'static [(&'static str, &'static str)] = ALIASES;
    const RANGES: &'static [(&'static str, u16, u16)] = &RANGES;
    const EXAMPLES: &'static [(&'static str, &'static str, &'static str)] = EXAMPLES;
}

/// Something of a file, and where its table begins.
type At<T> = (usize, T);

impl File {
    /// The links, in the order of the file.
    fn take_links(&mut self) -> Vec<At<LinkSpec>> {
        fn each<T: Into<LinkSpec>>(tables: &mut Vec<Spanned<T>>) -> impl Iterator<Item = At<LinkSpec>> {
            tables.drain(..).map(|table| (table.span().start, table.into_inner().into()))
        }
        let mut links: Vec<At<LinkSpec>> = each(&mut self.isatap_host)
            .chain(each(&mut self.isatap_router))
            .chain(each(&mut self.tunnel))
            .chain(each(&mut self.compatible))
            .chain(each(&mut self.sixrd))
            .chain(each(&mut self.sixtofour))
            .chain(each(&mut self.teredo_client))
            .chain(each(&mut self.teredo_server))
            .chain(each(&mut self.teredo_relay))
            .collect();
        links.sort_by_key(|(begin, _)| *begin);
        links
    }
}

impl Config {
    /// One link, for a daemon of its own.
    #[must_use]
    pub fn of(link: LinkSpec) -> Self {
        Self {
            user: None,
            hook: None,
            hook_user: None,
            kernel_path: KernelPath::default(),
            links: vec![link],
            natives: Vec::new(),
            portproxies: Vec::new(),
            dns_updates: Vec::new(),
        }
    }

    /// Reads the text of a file; `file` is its name, for errors.
    ///
    /// Whether this machine has the addresses and devices that it names is not asked.
    ///
    /// # Errors
    ///
    /// All mistakes, by line and column, with what to write instead. Of a table with values that
    /// cannot be read it is told what is wrong whatever they are, as far as trying some in their
    /// place shows. What is wrong between two tables is told of tables without mistakes of their own.
    pub fn parse(file: &str, text: &str) -> Result<Self, Vec<Problem>> {
        Self::parse_for(file, text, false)
    }

    /// The same, where `accept_bogons` as if each table that has the key said so.
    ///
    /// # Errors
    ///
    /// As [`parse`](Self::parse).
    pub fn parse_for(file: &str, text: &str, accept_bogons: bool) -> Result<Self, Vec<Problem>> {
        let at = |begin: usize, key: &str, value: &str, what: String| refused(file, text, begin, key, value, what);
        let read = mistakes::read::<File>(text);
        let mut problems = read.problems(file, text);
        let mistakes::Outcome { file: tables, damaged, parts, .. } = read;
        let Some(mut tables) = tables else {
            problems.sort_by_key(|problem| (problem.line, problem.column));
            return Err(problems);
        };
        let (begins, mut links): (Vec<usize>, Vec<LinkSpec>) =
            tables.take_links().into_iter().filter(|(begin, _)| !damaged.contains(begin)).unzip();
        if accept_bogons {
            links.iter_mut().for_each(LinkSpec::accept_bogons);
        }
        for (begin, link) in begins.iter().zip(&links) {
            problems.extend(
                link.check()
                    .iter()
                    .map(|refusal| at(*begin, refusal.key, refusal.error.on(), refusal.error.to_string())),
            );
        }
        for part in &parts {
            let told = damaged::refusals(part, accept_bogons).into_iter();
            problems.extend(told.map(|told| at(part.begin, told.key, &told.value, told.text)));
        }
        let rules = tables.portproxy.into_iter().map(|table| (table.span().start, table.into_inner()));
        let (of_rules, portproxies): (Vec<usize>, Vec<PortProxy>) =
            rules.filter(|(begin, _)| !damaged.contains(begin)).unzip();
        problems.extend(refused_rules(&portproxies, &of_rules, at));
        problems.extend(rules_at_answerers(&portproxies, &links).into_iter().map(|conflict| {
            let begin = of_rules.get(conflict.link).copied().unwrap_or_default();
            at(begin, conflict.key, &conflict.value, conflict.text)
        }));
        if links.is_empty() && portproxies.is_empty() && problems.is_empty() {
            problems.push(Problem::of_table(
                file,
                text,
                0,
                "nothing to run: add [[isatap-host]] or [[isatap-router]], [[tunnel]], [[6rd]], [[6to4]], \
                 [[teredo-client]], [[teredo-server]], [[teredo-relay]] or [[portproxy]]"
                    .to_owned(),
            ));
        }
        let natives = tables.native.into_iter().map(|table| (table.span().start, table.into_inner()));
        let (of_natives, natives): (Vec<usize>, Vec<Native>) =
            natives.filter(|(begin, _)| !damaged.contains(begin)).unzip();
        for (begin, native) in of_natives.iter().zip(&natives) {
            if let Err(error) = check_device(&native.dev) {
                problems.push(at(*begin, "dev", error.on(), error.to_string()));
            }
        }
        let begins = [begins, of_natives].concat();
        problems.extend(conflicts(&links, &natives).into_iter().map(|conflict| {
            let begin = begins.get(conflict.link).copied().unwrap_or_default();
            at(begin, conflict.key, &conflict.value, conflict.text)
        }));
        problems.sort_by_key(|problem| (problem.line, problem.column));
        if problems.is_empty() {
            let [user, hook, hook_user] =
                [tables.user, tables.hook, tables.hook_user].map(|text| text.map(Spanned::into_inner));
            let dns_updates = tables.dns_update.into_iter().map(Spanned::into_inner).collect();
            let kernel_path = tables.kernel_path;
            Ok(Config { user, hook, hook_user, kernel_path, links, natives, portproxies, dns_updates })
        } else {
            Err(problems)
        }
    }

    /// What this machine refuses, with its place in the text that was [parsed](Self::parse);
    /// `None`: it is not about what stands there.
    #[must_use]
    pub fn place(file: &str, text: &str, error: &Error) -> Option<Problem> {
        let mut tables: File = toml::from_str(text).ok()?;
        let what = error.to_string();
        let Some(device) = error.device() else {
            let names = |spec: &DnsUpdate| {
                spec.zone.as_str() == error.on()
                    || spec.key_file.as_ref().is_some_and(|file| error.on() == file.display().to_string())
            };
            if let Some(update) = tables.dns_update.iter().find(|update| names(update.get_ref())) {
                return Some(refused(file, text, update.span().start, "", error.on(), what));
            }
            let in_front = [tables.user, tables.hook, tables.hook_user].into_iter().flatten();
            let refused = in_front.into_iter().find(|value| value.get_ref() == error.on())?;
            return Some(Problem::at(file, text, refused.span().start, what));
        };
        let links = tables.take_links().into_iter().map(|(begin, link)| (begin, link.device().to_owned()));
        let natives = tables.native.into_iter().map(|table| (table.span().start, table.into_inner().dev));
        let rules = tables.portproxy.into_iter().map(|table| (table.span().start, table.into_inner().key()));
        let (begin, _) = links.chain(natives).chain(rules).find(|(_, dev)| dev == device)?;
        // Of files it is told with a line, and that of the anycast relay is a switch.
        let key = if error.on() == ANYCAST_RELAY.to_string() { "anycast" } else { "" };
        let on = error.on().rsplit_once(':').filter(|(_, line)| line.bytes().all(|byte| byte.is_ascii_digit()));
        let on = on.map_or(error.on(), |(file, _)| file);
        let on = if text.contains(error.on()) { error.on() } else { on };
        Some(refused(file, text, begin, key, on, what))
    }

    /// What the tables leave open beside each other, which is no mistake: the device, and one line
    /// for people. Each link's own is in [`LinkSpec::warnings`].
    #[must_use]
    pub fn warnings(&self) -> Vec<(&str, String)> {
        overlaps(&self.links).into_iter().map(|(link, text)| (link.device(), text)).collect()
    }
}

/// What rules cannot be, alone and beside each other. `at` finds the place of a value in a table.
fn refused_rules(
    rules: &[PortProxy],
    begins: &[usize],
    at: impl Fn(usize, &str, &str, String) -> Problem,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (begin, rule) in begins.iter().zip(rules) {
        let refusals = rule.check().into_iter();
        problems.extend(refusals.map(|refusal| at(*begin, refusal.key, refusal.error.on(), refusal.error.to_string())));
    }
    for conflict in rule_conflicts(rules) {
        let begin = begins.get(conflict.link).copied().unwrap_or_default();
        problems.push(at(begin, conflict.key, &conflict.value, conflict.text));
    }
    problems
}

#[cfg(test)]
mod tests;
