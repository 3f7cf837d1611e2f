//! The rules of a process: begun, changed and ended without cutting a connection, and asked about.

use super::here::{check, loops_here};
use super::worker::{Command, Worker};
use super::{Counters, Rule, RuleStatus, listener};
#[cfg(feature = "control")]
use crate::control::{self, Server};
use crate::driver::{Source, Token, Watcher};
use crate::error::Error;
use crate::netlink::{Event, Monitor};
#[cfg(feature = "control")]
use crate::runtime_dir::Claim;
use crate::runtime_dir::RuntimeDir;
use crate::service::{Member, Notice, Observer, status};
use crate::spec::PortProxy;
use crate::waker::Waker;
use isatap_core::packet::LinkId;
use isatap_core::time::Instant;
use std::io;
use std::net::TcpListener;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

/// The rules, and the thread that has their connections. Dropping it resets those.
pub(crate) struct PortProxies {
    rules: Vec<Running>,
    /// The number of the next rule.
    next: u32,
    commands: Sender<Command>,
    /// Readable when the thread has ended.
    waker: Waker,
    thread: Option<JoinHandle<()>>,
    observer: Observer,
    watcher: Watcher,
    /// Tells of devices, where a rule listens in a zone.
    monitor: Option<Monitor>,
    #[cfg(feature = "control")]
    asked: Option<Asked>,
}

struct Running {
    rule: Arc<Rule>,
    /// `None`: the device of its zone has not been there yet.
    listener: Option<Arc<TcpListener>>,
    /// The number of the device that it could not listen at, of which was told.
    refused_at: Option<u32>,
}

/// Rules whose listeners are open, and which nothing uses yet.
pub(crate) struct Prepared(Vec<(PortProxy, Listening)>);

enum Listening {
    /// As a rule that there is: it listens already.
    Already,
    At(listener::Opened),
    /// Once a link of this process has made its device.
    Later,
}

/// What became of each rule, by where it listens.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) kept: Vec<String>,
    pub(crate) changed: Vec<String>,
    pub(crate) began: Vec<String>,
    pub(crate) ended: Vec<String>,
}

/// Descriptors beside the thread and the system: for listeners, pipes and files.
const OTHER_DESCRIPTORS: u64 = 128;

// The descriptors at the poller.
const THREAD: u32 = 0;
const MONITOR: u32 = 2;
#[cfg(feature = "control")]
const LISTENER: u32 = 1;
#[cfg(feature = "control")]
const FIRST_CLIENT: u32 = 1 << 16;
/// All rules of a process are asked about together.
#[cfg(feature = "control")]
const RULES: LinkId = LinkId(0);

impl PortProxies {
    /// Without rules. With a folder, this process can be asked about them; where that cannot be, the
    /// observer hears why.
    ///
    /// # Errors
    ///
    /// No thread, or out of descriptors.
    pub(crate) fn open(watcher: &Watcher, runtime: Option<&RuntimeDir>, observer: Observer) -> Result<Self, Error> {
        let refused = |error| Error::refused("start", "the thread of the port proxy", error);
        let (waker, bell) = Waker::pair().map_err(refused)?;
        let (commands, commanded) = channel();
        let worker = Worker::new(bell, waker.clone(), commanded, observer.clone()).map_err(refused)?;
        let thread = crate::thread::spawn("isatap-portproxy", move || worker.run()).map_err(refused)?;
        watcher.watch(waker.as_fd(), Source::Owner(Token(THREAD)))?;
        let rules = Vec::new();
        let mut opened = Self {
            rules,
            next: 0,
            commands,
            waker,
            thread: Some(thread),
            observer,
            watcher: watcher.clone(),
            monitor: None,
            #[cfg(feature = "control")]
            asked: None,
        };
        opened.be_asked(watcher, runtime);
        Ok(opened)
    }

    #[cfg(feature = "control")]
    fn be_asked(&mut self, watcher: &Watcher, runtime: Option<&RuntimeDir>) {
        match runtime.map(|runtime| Asked::open(watcher, runtime)).transpose() {
            Ok(asked) => self.asked = asked,
            // A rule needs no privilege; the folder mostly does.
            Err(error) => {
                let text = format!("isatap portproxy show will not show this process: {error}");
                self.observer.notice(None, &Notice::Warning(text));
            }
        }
    }

    #[cfg(not(feature = "control"))]
    fn be_asked(&mut self, _watcher: &Watcher, _runtime: Option<&RuntimeDir>) {}

    /// Opens the listeners of the rules that are new. What runs goes on, whatever comes of it. `own`:
    /// devices that links of this process make, and for which a rule waits.
    ///
    /// # Errors
    ///
    /// A usage error for rules that cannot be; the kernel's refusal to listen there.
    pub(crate) fn prepare(&self, rules: &[PortProxy], own: &[&str]) -> Result<Prepared, Error> {
        check(rules).into_iter().next().map_or(Ok(()), Err)?;
        let mut listeners: Vec<_> = self.rules.iter().filter_map(|running| running.listener.clone()).collect();
        let mut prepared = Vec::new();
        for rule in rules {
            let key = rule.key();
            let is_known = self.rules.iter().any(|running| running.rule.spec.key() == key);
            let is_later = || {
                let device = listener::device(rule).filter(|_| listener::device_index(rule).is_none());
                device.is_some_and(|device| own.contains(&device))
            };
            let listening = if is_known {
                Listening::Already
            } else if is_later() {
                listener::check_port(rule).map_err(|error| error.of_device(&key))?;
                Listening::Later
            } else {
                let opened = listener::open(rule, &listeners).map_err(|error| error.of_device(&key))?;
                listeners.push(opened.listener.clone());
                Listening::At(opened)
            };
            prepared.push((rule.resolved(), listening));
        }
        Ok(Prepared(prepared))
    }

    /// `PPX-13`: these are the rules from now on. Connections go on, those of changed and ended rules
    /// too. `PPX-14`: the observer hears of each rule that changed.
    pub(crate) fn apply(&mut self, prepared: Prepared) -> Changes {
        let mut changes = Changes::default();
        let keys: Vec<String> = prepared.0.iter().map(|(spec, _)| spec.key()).collect();
        let (kept, ended): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.rules).into_iter().partition(|running| keys.contains(&running.rule.spec.key()));
        self.rules = kept;
        for Running { rule, .. } in ended {
            let key = rule.spec.key();
            let left = match rule.counters.now() {
                0 => String::new(),
                now => format!("; {now} connections go on"),
            };
            self.observer.notice(None, &Notice::Rule(format!("{key} ended: {}{left}", rule.spec.leads())));
            self.command(Command::Remove(rule.id));
            changes.ended.push(key);
        }
        for ((spec, listening), key) in prepared.0.into_iter().zip(keys) {
            let known = self.rules.iter_mut().find(|running| running.rule.spec.key() == key);
            let (rule, listener, what) = match (known, listening) {
                (Some(running), _) if running.rule.spec == spec => {
                    changes.kept.push(key);
                    continue;
                }
                (Some(running), _) => {
                    running.rule = Arc::new(Rule::new(running.rule.id, &spec, running.rule.counters.clone()));
                    changes.changed.push(key.clone());
                    (running.rule.clone(), running.listener.clone(), "changed")
                }
                // Prepared for other rules than there are: not by us.
                (None, Listening::Already) => continue,
                (None, listening) => {
                    let (listener, missing) = match listening {
                        Listening::At(opened) => (Some(opened.listener), opened.is_ahead.then_some("address")),
                        // A reload has made it meanwhile, or it waits for something itself.
                        _ => (None, listener::device_index(&spec).is_none().then_some("device")),
                    };
                    if let Some(missing) = missing {
                        let text = format!(
                            "this machine does not have the {missing} of {key} yet; it listens once that comes"
                        );
                        self.observer.notice(None, &Notice::Warning(text));
                    }
                    let rule = Arc::new(Rule::new(self.next, &spec, Arc::new(Counters::default())));
                    self.next += 1;
                    self.rules.push(Running { rule: rule.clone(), listener: listener.clone(), refused_at: None });
                    changes.began.push(key.clone());
                    (rule, listener, "up")
                }
            };
            spec.warnings().into_iter().for_each(|text| self.observer.notice(None, &Notice::Warning(text)));
            self.observer.notice(None, &Notice::Rule(format!("{key} {what}: {}", spec.leads())));
            if let Some(listener) = listener {
                self.command(Command::Listen(rule, listener));
            }
        }
        let specs: Vec<PortProxy> = self.rules.iter().map(|running| running.rule.spec.clone()).collect();
        for found in loops_here(&specs) {
            self.observer.notice(None, &Notice::Warning(found.text));
        }
        self.follow_devices();
        self.listen_again();
        let connections: u64 = self.rules.iter().map(|running| u64::from(running.rule.spec.max_connections)).sum();
        if !(changes.began.is_empty() && changes.changed.is_empty())
            && let Some(text) = listener::raise_descriptors(connections * 2 + OTHER_DESCRIPTORS)
        {
            self.observer.notice(None, &Notice::Warning(text));
        }
        changes
    }

    /// Hears of devices from now on, if a rule listens in the zone of one.
    fn follow_devices(&mut self) {
        if self.monitor.is_some() || !self.rules.iter().any(|running| listener::device(&running.rule.spec).is_some()) {
            return;
        }
        // No device has the index 0: links matter alone.
        let opened = Monitor::open(0).and_then(|monitor| {
            self.watcher.watch(monitor.as_fd(), Source::Owner(Token(MONITOR)))?;
            Ok(monitor)
        });
        match opened {
            Ok(monitor) => self.monitor = Some(monitor),
            Err(error) => {
                let text = format!("rules do not listen again when a device is made again: {error}");
                self.observer.notice(None, &Notice::Warning(text));
            }
        }
    }

    /// `PPX-10`: a device that is made again has another number, and so has its zone. Rules listen
    /// there from now on.
    fn listen_again(&mut self) {
        let mut all: Vec<_> = self.rules.iter().filter_map(|running| running.listener.clone()).collect();
        let mut news = Vec::new();
        for running in &mut self.rules {
            let Some(index) = listener::device_index(&running.rule.spec) else { continue };
            if running.listener.as_deref().and_then(listener::bound_index) == Some(index) {
                continue;
            }
            let key = running.rule.spec.key();
            match listener::open(&running.rule.spec, &all) {
                Ok(opened) => {
                    all.push(opened.listener.clone());
                    (running.listener, running.refused_at) = (Some(opened.listener.clone()), None);
                    let command = Command::Listen(running.rule.clone(), opened.listener);
                    news.push((Some(command), Notice::Mended(format!("{key} listens at its device, which has come"))));
                }
                Err(error) if running.refused_at.replace(index) != Some(index) => {
                    news.push((None, Notice::Warning(error.to_string())));
                }
                Err(_) => {}
            }
        }
        for (command, notice) in news {
            command.into_iter().for_each(|command| self.command(command));
            self.observer.notice(None, &notice);
        }
    }

    fn command(&self, command: Command) {
        // That the thread has ended is found out by its stream.
        let _ = self.commands.send(command);
        self.waker.wake();
    }

    /// Whether there is no rule. Connections of earlier ones may go on.
    pub(crate) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    pub(crate) fn rule_statuses(&self) -> Vec<RuleStatus> {
        let status = |rule: &Rule| RuleStatus::of(rule, listener::missing(&rule.spec));
        self.rules.iter().map(|running| status(&running.rule)).collect()
    }
}

impl Drop for PortProxies {
    fn drop(&mut self) {
        self.command(Command::Stop);
        if let Some(thread) = self.thread.take() {
            // A panic of it was told by itself.
            let _ = thread.join();
        }
        #[cfg(feature = "control")]
        self.observer.monitors(crate::control::Monitors::end_process);
    }
}

impl Member for PortProxies {
    fn ready(&mut self, source: Source) -> Result<(), Error> {
        match source {
            Source::Owner(Token(THREAD)) => {
                Err(Error::refused("run", "the port proxy", io::Error::other("its thread has ended")))
            }
            Source::Owner(Token(MONITOR)) => {
                let mut has_news = false;
                while let Some(event) = self.monitor.as_mut().map_or(Ok(None), Monitor::next_event)? {
                    has_news |= matches!(event, Event::LinkChanged(_) | Event::Resync);
                }
                if has_news {
                    self.listen_again();
                }
                Ok(())
            }
            #[cfg(feature = "control")]
            Source::Owner(Token(number)) => {
                let rules = self.rule_statuses();
                let error = self.asked.as_mut().and_then(|asked| asked.ready(number, &rules, &self.observer));
                error.into_iter().for_each(|error| self.observer.notice(None, &Notice::Warning(error.to_string())));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn advance(&mut self) -> Result<(), Error> {
        #[cfg(feature = "control")]
        if let Some(error) = self.asked.as_mut().and_then(Asked::advance) {
            self.observer.notice(None, &Notice::Warning(error.to_string()));
        }
        Ok(())
    }

    fn take_deleted(&mut self) -> Vec<LinkId> {
        Vec::new()
    }

    fn deadline(&self) -> Option<Instant> {
        #[cfg(feature = "control")]
        return self.asked.as_ref().and_then(|asked| asked.server.deadline());
        #[cfg(not(feature = "control"))]
        None
    }

    fn solicit(&mut self) {}

    fn statuses(&self) -> Vec<status::Status> {
        Vec::new()
    }
}

/// Where this process is asked about its rules.
#[cfg(feature = "control")]
struct Asked {
    listener: control::Listener,
    server: Server,
    watcher: Watcher,
    // Dropped last: the socket goes.
    _claim: Claim,
}

#[cfg(feature = "control")]
impl Asked {
    fn open(watcher: &Watcher, runtime: &RuntimeDir) -> Result<Self, Error> {
        let claim = runtime.claim_port_proxies()?;
        let listener = control::Listener::open(&claim)?;
        watcher.watch_edge(listener.as_fd(), Source::Owner(Token(LISTENER)))?;
        Ok(Self { listener, server: Server::default(), watcher: watcher.clone(), _claim: claim })
    }

    /// Somebody is there, or has asked. An error is to be told.
    fn ready(&mut self, number: u32, rules: &[RuleStatus], observer: &Observer) -> Option<Error> {
        let Some(client) = number.checked_sub(FIRST_CLIENT) else { return self.accept() };
        let (_, request) = self.server.read(client)?;
        let answer = match request {
            Ok(control::Request::Monitor) => {
                let stream = self.server.take(client)?;
                self.watcher.unwatch(stream.as_fd());
                let first = serde_json::json!({ "event": "rules", "rules": rules });
                observer.monitors(|monitors| monitors.subscribe(None, stream, &first));
                return None;
            }
            Ok(control::Request::Status) => serde_json::json!({ "portproxy": rules }),
            Ok(_) => serde_json::json!({ "error": "a port proxy has nothing to say to that" }),
            Err(why) => serde_json::json!({ "error": why }),
        };
        self.server.answer(client, &answer);
        None
    }

    fn accept(&mut self) -> Option<Error> {
        loop {
            match self.server.accept(self.watcher.clock().now(), &self.listener, RULES) {
                Ok(Some((client, fd))) => {
                    // Not watched is not answered: the client runs into its own time limit.
                    let _ = self.watcher.watch(fd, Source::Owner(Token(FIRST_CLIENT + client)));
                }
                Ok(None) => return None,
                Err(error) => return Some(error),
            }
        }
    }

    fn advance(&mut self) -> Option<Error> {
        if self.server.expire(self.watcher.clock().now()) { self.accept() } else { None }
    }
}
