//! Programs that speak TCP on a node: clients, servers and the port proxy.
//!
//! The TCP is smoltcp's. What becomes of a connection by a rule of the port proxy is decided by the code
//! that the daemon runs.

mod program;
mod stack;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use isatap_core::time::Instant;
use smoltcp::iface::SocketHandle;

pub use self::program::{Answer, ConnectionState, Served, ServedEnd, Then};
use self::program::{Client, Serving};
pub(super) use self::stack::tcp_of;
use self::stack::{Is, Stack};
use crate::portproxy::{Counters, Id, Proxy, Rule, RuleStatus};
use crate::spec::PortProxy;

/// Whose a socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum User {
    Client(usize),
    /// Of a server by its number; when the connection is there, it gets a number of its own.
    Accepting(usize),
    Serving(usize),
    /// Of a rule by its number, the same.
    Entering(usize),
    /// The connection, and whether it is the stream to the target.
    Proxy(Id, bool),
}

/// What the programs of a node have sent or told.
pub(super) enum Spoken {
    /// A packet to another node.
    Packet(Vec<u8>),
    /// One to the node itself.
    Inside(Vec<u8>),
    /// A few words for the journey.
    Event(String),
}

/// The programs of one node, and their TCP.
pub(super) struct Programs {
    stack: Stack,
    proxy: Proxy<Stack>,
    rules: Vec<Arc<Rule>>,
    servers: Vec<Answer>,
    serving: Vec<Serving>,
    clients: Vec<Client>,
}

impl Programs {
    pub(super) fn new(seed: u64) -> Self {
        Programs {
            stack: Stack::new(seed),
            proxy: Proxy::new(),
            rules: Vec::new(),
            servers: Vec::new(),
            serving: Vec::new(),
            clients: Vec::new(),
        }
    }

    /// A server at this port of all addresses.
    pub(super) fn serve(&mut self, port: u16, answer: Answer) {
        let user = User::Accepting(self.servers.len());
        self.servers.push(answer);
        for any in [IpAddr::from([0; 4]), IpAddr::from([0; 16])] {
            self.stack.listen(SocketAddr::new(any, port), user);
        }
    }

    /// Connections that come there are carried on by this rule, which is well.
    pub(super) fn forward(&mut self, rule: &PortProxy) {
        let user = User::Entering(self.rules.len());
        let id = u32::try_from(self.rules.len()).unwrap_or(u32::MAX);
        let rule = Arc::new(Rule::new(id, rule, Arc::new(Counters::default())));
        if let Some(address) = &rule.spec.listen.address {
            self.stack.listen(SocketAddr::new(address.address, rule.spec.listen.port), user);
        }
        self.rules.push(rule);
    }

    /// A client connects and sends this. Its number.
    pub(super) fn connect(&mut self, now: Instant, to: SocketAddr, bytes: Vec<u8>, then: Then) -> usize {
        let number = self.clients.len();
        let opened = self.stack.dial(to, User::Client(number));
        self.clients.push(Client::new(opened.stream, now, bytes, then));
        number
    }

    /// The clients that keep their connections end them.
    pub(super) fn hang_up(&mut self) {
        self.clients.iter_mut().for_each(Client::hang_up);
    }

    pub(super) fn client(&self, number: usize) -> ConnectionState {
        self.clients.get(number).map_or(ConnectionState::Refused, Client::state)
    }

    /// What the servers have seen, a connection each.
    pub(super) fn served(&self) -> Vec<Served> {
        self.serving.iter().map(Serving::served).collect()
    }

    pub(super) fn rule_statuses(&self) -> Vec<RuleStatus> {
        self.rules.iter().map(|rule| RuleStatus::of(rule, None)).collect()
    }

    /// A packet with a TCP segment has come.
    pub(super) fn receive(&mut self, packet: &[u8]) {
        self.stack.receive(packet);
    }

    /// What was sent and told since the last call.
    pub(super) fn take_spoken(&mut self) -> Vec<Spoken> {
        self.stack.take_spoken()
    }

    pub(super) fn poll_timeout(&mut self, now: Instant) -> Option<Instant> {
        self.stack.poll_timeout(now).into_iter().chain(self.proxy.poll_timeout()).min()
    }

    /// Does what there is to do. `own`: the node's addresses; `source`: from which of them it reaches a
    /// destination.
    pub(super) fn advance(&mut self, now: Instant, own: Vec<IpAddr>, source: &dyn Fn(IpAddr) -> Option<IpAddr>) {
        self.stack.set_own(own);
        self.proxy.handle_timeout(&mut self.stack, now);
        loop {
            self.stack.poll(now, source);
            for (handle, user) in self.stack.users() {
                self.attend(handle, user, now);
            }
            self.proxy.handle_timeout(&mut self.stack, now);
            if !self.stack.take_changed() {
                break;
            }
        }
    }

    /// A program looks at its socket.
    fn attend(&mut self, handle: SocketHandle, user: User, now: Instant) {
        let Self { stack, proxy, rules, servers, serving, clients } = self;
        match user {
            User::Client(number) => {
                if let Some(client) = clients.get_mut(number) {
                    client.attend(stack, now);
                }
            }
            User::Accepting(_) | User::Entering(_) if stack.is(handle) == Is::Connecting => {}
            User::Accepting(number) => {
                let Some((answer, from)) = servers.get(number).zip(stack.remote(handle)) else { return };
                stack.give(handle, User::Serving(serving.len()));
                serving.push(Serving::new(handle, *answer, from));
            }
            User::Serving(number) => {
                if let Some(serving) = serving.get_mut(number) {
                    serving.attend(stack);
                }
            }
            User::Entering(number) => {
                let Some((rule, from)) = rules.get(number).zip(stack.remote(handle)) else { return };
                proxy.begin(stack, rule, handle, from, now);
            }
            User::Proxy(id, is_server) => {
                let ready = stack.ready(handle);
                proxy.event(stack, id, is_server, ready, now);
            }
        }
    }
}
