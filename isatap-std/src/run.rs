//! Links in one process and one loop: those that speak protocol 41 with one set of raw sockets,
//! and each Teredo client, server and relay with UDP sockets of its own; and beside them the rules of
//! the [port proxy](crate::portproxy), by [`Run::proxy`].
//!
//! ```no_run
//! use isatap_std::run::Run;
//! use isatap_std::signal::Signals;
//! use isatap_std::spec::IsatapHost;
//!
//! let mut host = IsatapHost::new();
//! host.local = vec!["10.0.0.2".parse()?];
//! host.router = vec!["isatap.corp.example".parse()?];
//! let mut run = Run::open(&[host.into()], |notice| eprintln!("{notice}"))?;
//! run.run_until(&mut Signals::catch()?)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! All of it is gone when the value is dropped: devices, addresses, routes. Needs CAP_NET_ADMIN
//! and, for protocol 41, CAP_NET_RAW. [`Run::turn`] and its [`AsFd`] serve loops of others.
//!
//! A link whose IPv4 address or device this machine lacks waits for it, and sends from the moment when
//! it comes. A device that another program deletes is made again, at most once a second, and a
//! [`Notice`] says so. What other programs had put on it is gone; the other links go on undisturbed.
//!
//! # What it does not do
//!
//! - It applies no DNS configuration; what routers advertise is in [`Run::statuses`].
//! - It switches the kernel's forwarding neither on nor off: a router says in a [`Notice`] that it
//!   is off, and is no default router meanwhile. A host forwards for nobody, whatever the kernel
//!   does: what is for none of this machine's addresses is dropped, and the device's own
//!   `forwarding` is 0 (RTE-7).
//! - Routes of other programs on a device are followed in the main table only.
//!
//! # Security limits
//!
//! - ISATAP: whoever can send protocol 41 to this machine from inside the site can pretend to be
//!   any host of it, and a potential router is believed in everything. Filter protocol 41 at the
//!   border. A router ends the loops that forged packets can make between it and other tunnel
//!   routers by asking its hosts whether they are there (SEC-1), as long as it is let do so.
//! - A configured tunnel: whoever can forge the remote's IPv4 address can send into it.
//! - 6rd: customers cannot speak for each other, as long as nobody in the provider's IPv4 network
//!   forges IPv4 addresses and a border relay's cannot be reached from outside of it. What a border
//!   relay brings from the native Internet has no source that can be verified. The kernel forwards
//!   between tunnels too: a border relay that is also another tunnel's end needs a filter between
//!   the two (S6R-34).
//! - 6to4: a packet with a native source may come from any relay, and nothing vouches for it
//!   (S64-24); name those to believe. A relay without a list of clients works for everybody
//!   (S64-46). There is no crossing of a NAT, not even of one with public-looking addresses.

mod deleted;
mod kernel_path;
mod recording;
mod reload;
mod turn;

pub use kernel_path::LoadedKernelPath;
pub use reload::Reloaded;

use self::deleted::Retry;
use self::kernel_path::Carrier;
use self::turn::Unattended;
use crate::broker::{Calls, Credentials};
use crate::driver::{Poller, Source, Token};
use crate::error::Error;
use crate::netlink::{Netlink, sysctl};
use crate::portproxy::{PortProxies, RuleStatus};
use crate::runtime_dir::RuntimeDir;
use crate::service::status::Status;
use crate::service::{self, Hooks, Member, Notice, Observer, Proto41Role, Service, Surroundings, Waiting};
#[cfg(feature = "dns-update")]
use crate::spec::DnsUpdate;
use crate::spec::{LinkSpec, Native, PortProxy, PublishedRoute, conflicts, list};
use crate::teredo::secrets::Secrets;
use isatap_core::packet::LinkId;
use isatap_core::time::Instant;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::Arc;

/// Running links; gone, devices and all, when dropped.
pub struct Run {
    poller: Poller,
    links: Vec<Begun>,
    /// All links that speak protocol 41; `None`: there are none.
    proto41: Option<Box<Service<Proto41Role>>>,
    carrier: Carrier,
    /// The rules of the port proxy; `None`: there were none.
    proxies: Option<Box<PortProxies>>,
    natives: Vec<Native>,
    runtime: Option<RuntimeDir>,
    observer: Observer,
    /// Of all links: what brokers have said outlives a link that changes.
    calls: Calls,
    /// When those who watch and are behind are told what they have lost.
    #[cfg(feature = "control")]
    catch_up: Instant,
    unattended: Unattended,
    /// When there is something to do, from one round to the next while nothing but packets comes; `None`: it is to be
    /// asked anew.
    next: Option<Option<Instant>>,
    /// The files that packets were recorded into: what is in them stays.
    recorded: Vec<PathBuf>,
}

/// A link that runs, or is to run again.
struct Begun {
    wanted: Wanted,
    home: Home,
    /// When it began.
    since: Instant,
    /// Why it could not be made again, as last told.
    failure: Option<String>,
}

/// What a link is made of.
#[derive(Clone)]
struct Wanted {
    link: LinkSpec,
    secrets: Secrets,
    credentials: Credentials,
}

impl PartialEq for Wanted {
    /// What it is to be, however that is written.
    fn eq(&self, other: &Self) -> bool {
        self.link.resolved() == other.link.resolved()
            && self.secrets == other.secrets
            && self.credentials == other.credentials
    }
}

/// Whose a link is.
enum Home {
    /// A number of the service of protocol 41.
    Proto41(LinkId),
    /// A service of its own, and its number at the poller.
    Alone(u16, Box<dyn Member>),
    /// There is no device: it is to be made at some time. Until then a member at the poller may be asked.
    Waiting(Retry, Option<(u16, Box<Waiting>)>),
}

// Numbers at the poller.
const PROTO41: u16 = 0;
const PORT_PROXIES: u16 = u16::MAX - 3;
const HOOKS: u16 = u16::MAX - 2;
const SIGNALS: u16 = u16::MAX - 1;

impl Run {
    /// Makes the devices and starts; `observer` is called with what happens.
    ///
    /// # Errors
    ///
    /// As [`open_with`](Self::open_with).
    pub fn open(links: &[LinkSpec], observer: impl FnMut(&Notice) + Send + 'static) -> Result<Self, Error> {
        Self::open_with(links, &[], None, observer)
    }

    /// The same beside native devices. With a folder, this process can be asked about each
    /// device.
    ///
    /// # Errors
    ///
    /// A usage error for what makes no sense on this machine, a native device that is not there,
    /// or a file of secrets that cannot be used; the kernel's refusal, mostly for lack of
    /// privilege.
    pub fn open_with(
        links: &[LinkSpec],
        natives: &[Native],
        runtime: Option<&RuntimeDir>,
        observer: impl FnMut(&Notice) + Send + 'static,
    ) -> Result<Self, Error> {
        let mut run = Self {
            poller: Poller::open()?,
            links: Vec::new(),
            proto41: None,
            carrier: Carrier::default(),
            proxies: None,
            natives: Vec::new(),
            runtime: runtime.cloned(),
            observer: Observer::new(observer),
            calls: Calls::default(),
            #[cfg(feature = "control")]
            catch_up: Instant::ZERO,
            unattended: Unattended::default(),
            next: None,
            recorded: Vec::new(),
        };
        run.natives = run.check(links, natives)?;
        if let Some(runtime) = &run.runtime {
            runtime.remove_left_folders();
        }
        let wanted = wanted_of(links)?;
        wanted.iter().try_for_each(|wanted| run.begin(wanted))?;
        run.settle_in(&wanted)?;
        Ok(run)
    }

    /// Has these rules of the port proxy from now on, beside the links. Connections go on, those of
    /// rules that changed or ended too.
    ///
    /// # Errors
    ///
    /// A usage error for rules that cannot be; the kernel's refusal to listen where one does. What was
    /// before goes on then.
    pub fn proxy(&mut self, rules: &[PortProxy]) -> Result<(), Error> {
        let own: Vec<String> = self.links.iter().map(|begun| begun.wanted.link.device().to_owned()).collect();
        let own: Vec<&str> = own.iter().map(String::as_str).collect();
        if let Some(proxies) = self.proxies_for(rules)? {
            let prepared = proxies.prepare(rules, &own)?;
            proxies.apply(prepared);
        }
        self.arm()
    }

    /// The port proxy, where these rules or earlier ones need it.
    fn proxies_for(&mut self, rules: &[PortProxy]) -> Result<Option<&mut PortProxies>, Error> {
        if self.proxies.is_none() && !rules.is_empty() {
            let watcher = self.poller.watcher(PORT_PROXIES);
            let opened = PortProxies::open(&watcher, self.runtime.as_ref(), self.observer.clone())?;
            self.proxies = Some(Box::new(opened));
        }
        Ok(self.proxies.as_deref_mut())
    }

    /// What no machine or this one cannot have is refused before anything changes.
    fn check(&self, links: &[LinkSpec], natives: &[Native]) -> Result<Vec<Native>, Error> {
        links.iter().try_for_each(LinkSpec::check_first)?;
        if let Some(conflict) = conflicts(links, natives).into_iter().next() {
            let device = links.get(conflict.link).map(LinkSpec::device);
            return Err(Error::usage("run", device.unwrap_or("a native device"), conflict.text));
        }
        if natives != self.natives {
            self.check_natives(natives)?;
        }
        Ok(natives.to_vec())
    }

    /// Begins a link that does not run.
    fn begin(&mut self, wanted: &Wanted) -> Result<(), Error> {
        if self.links.iter().any(|begun| begun.wanted == *wanted) {
            return Ok(());
        }
        let home = match self.missing(wanted)? {
            Some(missing) => {
                let device = wanted.link.device();
                let text = format!("{device} waits for {missing}: it is not made until then; see: ip -4 address");
                self.observer.notice(Some(device), &Notice::Warning(text));
                self.wait(wanted, Retry::for_address(self.poller.clock().now()), missing)
            }
            None => self.home_of(wanted)?,
        };
        self.links.push(Begun { wanted: wanted.clone(), home, since: self.poller.clock().now(), failure: None });
        Ok(())
    }

    /// What a link cannot be made without; one of protocol 41 waits with its device.
    fn missing(&self, wanted: &Wanted) -> Result<Option<String>, Error> {
        let missing = if wanted.link.is_teredo() { service::missing_for_teredo(&wanted.link)? } else { Vec::new() };
        Ok((!missing.is_empty()).then(|| list(&missing)))
    }

    /// A link without a device, that waits.
    fn wait(&self, wanted: &Wanted, retry: Retry, what: String) -> Home {
        let number = self.free_number();
        let (watcher, observer) = (self.poller.watcher(number), self.observer.clone());
        let waiting = Waiting::open(&wanted.link, what, self.runtime.as_ref(), watcher, observer);
        // Out of descriptors: nobody can be answered, and it is tried when its time has come.
        Home::Waiting(retry, waiting.ok().map(|waiting| (number, Box::new(waiting))))
    }

    /// A number at the poller that no member has.
    fn free_number(&self) -> u16 {
        let is_free = |number: &u16| self.members().all(|(taken, _)| taken != *number);
        (PROTO41 + 1..PORT_PROXIES).find(is_free).unwrap_or(PORT_PROXIES)
    }

    /// Makes a link.
    fn home_of(&mut self, wanted: &Wanted) -> Result<Home, Error> {
        let home = if wanted.link.is_teredo() { self.begin_alone(wanted) } else { self.begin_proto41(wanted) };
        home.map_err(|error| error.of_device(wanted.link.device()))
    }

    fn begin_proto41(&mut self, wanted: &Wanted) -> Result<Home, Error> {
        let proto41 = match &mut self.proto41 {
            Some(proto41) => proto41,
            None => {
                let mut opened = Service::open(self.poller.watcher(PROTO41), self.observer.clone())?;
                let told = self.carrier.serve(&mut opened)?;
                told.into_iter().for_each(|notice| self.observer.notice(None, &notice));
                self.proto41.insert(Box::new(opened))
            }
        };
        if let Some(pcap) = wanted.link.pcap() {
            proto41.record(pcap, &mut self.recorded)?;
        }
        let id = proto41.add_link(&wanted.link, (&self.calls, &wanted.credentials), self.runtime.as_ref())?;
        match if self.carrier.is_required() { proto41.take_shortcut_error() } else { None } {
            Some(error) => proto41.remove_link(id).and(Err(error)),
            None => Ok(Home::Proto41(id)),
        }
    }

    fn begin_alone(&mut self, wanted: &Wanted) -> Result<Home, Error> {
        let number = self.free_number();
        let around = Surroundings {
            runtime: self.runtime.as_ref(),
            secrets: wanted.secrets.clone(),
            observer: self.observer.clone(),
            watcher: self.poller.watcher(number),
            recorded: &mut self.recorded,
        };
        let mut member = service::open_teredo(&wanted.link, around)?;
        let told = self.carrier.serve_alone(&mut *member, &wanted.link)?;
        told.into_iter().for_each(|notice| self.observer.notice(Some(wanted.link.device()), &notice));
        Ok(Home::Alone(number, member))
    }

    /// After links have begun and ended: what those of protocol 41 do together, in the order in
    /// which they were `wanted`.
    fn settle_in(&mut self, wanted: &[Wanted]) -> Result<(), Error> {
        self.links.sort_by_key(|begun| wanted.iter().position(|wanted| *wanted == begun.wanted));
        self.calls.retain(wanted.iter().map(|wanted| (&wanted.link, &wanted.credentials)));
        // Whoever is bound to a device has what comes by it before whoever takes all.
        let of_proto41 = self.links.iter().filter(|begun| !begun.wanted.link.is_teredo());
        let of_proto41 = of_proto41.map(|begun| (begun.home.proto41(), &begun.wanted.link));
        let (mut in_order, open): (Vec<_>, Vec<_>) = of_proto41.partition(|(_, link)| link.binding().device.is_some());
        in_order.extend(open);
        // Not while a device is to be made again: what is recorded goes on.
        if self.links.iter().all(|begun| begun.wanted.link.is_teredo()) {
            self.proto41 = None;
        }
        let of_proto41 = self.links.iter().map(|begun| &begun.wanted.link).filter(|link| !link.is_teredo());
        let published: Vec<PublishedRoute> = of_proto41.flat_map(LinkSpec::published_routes).copied().collect();
        let settled = self.proto41.as_mut().map_or(Ok(()), |proto41| proto41.settle_in(&in_order, &published));
        settled.and(self.arm())
    }

    /// For who waits on our descriptor.
    fn arm(&mut self) -> Result<(), Error> {
        self.poller.arm(self.deadline())
    }

    /// Keeps the global addresses of all links in the DNS from now on: see [`DnsUpdate`]. The
    /// records go when the value is dropped, which takes 4 seconds at most where servers do
    /// not answer. Call it once.
    ///
    /// # Errors
    ///
    /// A usage error for a key file or a name that cannot be used; no thread for it.
    #[cfg(feature = "dns-update")]
    pub fn update_dns(&mut self, specs: &[DnsUpdate]) -> Result<(), Error> {
        self.observer.update_dns(specs, self.runtime.as_ref(), self.statuses())
    }

    /// Tells how these hooks go from now on: in [`statuses`](Self::statuses), and in a [`Notice`] of their process' end.
    ///
    /// # Errors
    ///
    /// Out of memory for descriptors.
    pub fn hooks(&mut self, hooks: Arc<dyn Hooks>) -> Result<(), Error> {
        self.poller.watcher(HOOKS).watch(hooks.news(), Source::Owner(Token(0)))?;
        self.observer.set_hooks(hooks);
        Ok(())
    }

    fn hear_hooks(&self) {
        let Some(hooks) = self.observer.hooks() else { return };
        let news = hooks.take_news();
        if !hooks.status().alive {
            // Its end stays readable.
            self.poller.watcher(HOOKS).unwatch(hooks.news());
        }
        news.into_iter().for_each(|notice| self.observer.notice(None, &notice));
    }

    /// Asks all routers, relays and servers now, whatever the timers say; not a tunnel broker, which a
    /// person may ask by the control socket. A device that is to be
    /// made again is tried in the next turn.
    pub fn solicit(&mut self) {
        self.hurry();
        self.members_mut().for_each(|(_, member)| member.solicit());
        // What fails here fails again in the next turn, and is said there.
        let _ = self.arm();
    }

    /// Whether there is no link, not even one whose device is to be made again, and no rule of the
    /// port proxy.
    pub fn is_idle(&self) -> bool {
        self.links.is_empty() && self.proxies.as_ref().is_none_or(|proxies| proxies.is_empty())
    }

    /// What each rule of the port proxy has counted.
    pub fn rule_statuses(&self) -> Vec<RuleStatus> {
        self.proxies.as_ref().map(|proxies| proxies.rule_statuses()).unwrap_or_default()
    }

    /// What each link knows and has counted; Teredo last.
    pub fn statuses(&self) -> impl Iterator<Item = Status> + '_ {
        self.members().flat_map(|(_, member)| member.statuses())
    }

    fn deadline(&self) -> Option<Instant> {
        let of_members = self.members().filter_map(|(_, member)| member.deadline());
        let all = of_members.chain(self.links.iter().filter_map(|begun| begun.home.retry()).map(Retry::due));
        let all = all.chain(self.unattended.deadline());
        #[cfg(feature = "control")]
        let all = all.chain(self.observer.monitors(|monitors| monitors.is_behind()).then_some(self.catch_up));
        all.min()
    }

    fn members(&self) -> impl Iterator<Item = (u16, &dyn Member)> {
        let proto41 = self.proto41.iter().map(|proto41| (PROTO41, &**proto41 as &dyn Member));
        let proxies = self.proxies.iter().map(|proxies| (PORT_PROXIES, &**proxies as &dyn Member));
        proto41.chain(proxies).chain(self.links.iter().filter_map(|begun| match &begun.home {
            Home::Alone(number, member) => Some((*number, &**member)),
            Home::Waiting(_, Some((number, waiting))) => Some((*number, &**waiting as &dyn Member)),
            Home::Proto41(_) | Home::Waiting(_, None) => None,
        }))
    }

    fn members_mut(&mut self) -> impl Iterator<Item = (u16, &mut (dyn Member + 'static))> {
        let proto41 = self.proto41.iter_mut().map(|proto41| (PROTO41, &mut **proto41 as &mut (dyn Member + 'static)));
        let proxies = self.proxies.iter_mut();
        let proxies = proxies.map(|proxies| (PORT_PROXIES, &mut **proxies as &mut (dyn Member + 'static)));
        proto41.chain(proxies).chain(self.links.iter_mut().filter_map(|begun| match &mut begun.home {
            Home::Alone(number, member) => Some((*number, &mut **member)),
            Home::Waiting(_, Some((number, waiting))) => Some((*number, &mut **waiting as &mut (dyn Member + 'static))),
            Home::Proto41(_) | Home::Waiting(_, None) => None,
        }))
    }

    fn member_mut(&mut self, number: u16) -> Option<&mut (dyn Member + 'static)> {
        self.members_mut().find(|(own, _)| *own == number).map(|(_, member)| member)
    }

    fn check_natives(&self, natives: &[Native]) -> Result<(), Error> {
        for native in natives {
            Netlink::open()?.link(&native.dev).map_err(|error| error.of_device(&native.dev))?;
        }
        if let Some(native) = natives.iter().find(|native| native.forwarding && !sysctl::forwards(&native.dev)) {
            self.observer.notice(
                None,
                &Notice::Warning(format!(
                    "{} is to forward, and the kernel does not forward IPv6: sysctl -w net.ipv6.conf.all.forwarding=1",
                    native.dev
                )),
            );
        }
        Ok(())
    }
}

impl Home {
    fn proto41(&self) -> Option<LinkId> {
        match self {
            Home::Proto41(id) => Some(*id),
            Home::Alone(..) | Home::Waiting(..) => None,
        }
    }

    /// A service of its own, while its device is there.
    fn alone(&mut self) -> Option<&mut (dyn Member + 'static)> {
        match self {
            Home::Alone(_, member) => Some(&mut **member),
            Home::Proto41(_) | Home::Waiting(..) => None,
        }
    }

    fn retry(&self) -> Option<&Retry> {
        match self {
            Home::Waiting(retry, _) => Some(retry),
            _ => None,
        }
    }
}

/// What the links are made of: their secrets are read now. Teredo is last, since a client rests
/// beside what else there is.
fn wanted_of(links: &[LinkSpec]) -> Result<Vec<Wanted>, Error> {
    let read = |link: &LinkSpec| {
        let secrets = if link.is_teredo() { service::secrets_of(link, None)? } else { Secrets::default() };
        Ok(Wanted { link: link.clone(), secrets, credentials: Credentials::load(link, None)? })
    };
    let wanted = |link: &LinkSpec| read(link).map_err(|error: Error| error.of_device(link.device()));
    let mut all = links.iter().map(wanted).collect::<Result<Vec<_>, _>>()?;
    all.sort_by_key(|wanted| wanted.link.is_teredo());
    Ok(all)
}

impl Drop for Run {
    fn drop(&mut self) {
        self.calls.end();
        // While the addresses are still there.
        #[cfg(feature = "dns-update")]
        self.observer.end_dns_updates();
    }
}

impl AsFd for Run {
    /// Readable when [`turn`](Self::turn) has something to do, deadlines included.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poller.as_fd()
    }
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run").finish_non_exhaustive()
    }
}
