//! An ISATAP host: follows its locators and resolves its routers' names.

use super::Environment;
use crate::error::Error;
use crate::resolve::Source;
use crate::service::question::{Outcome, Question};
use crate::service::{LinkEvent, Linux, LocatorSource};
use isatap_core::error::TableFull;
use isatap_core::interface::{Context, Interface as _};
use isatap_core::isatap::{self, HostInterface};
use isatap_core::node::AnyInterface;
use std::net::Ipv4Addr;

/// See the module.
#[derive(Debug)]
pub(crate) struct HostRole {
    pub(super) locators: LocatorSource,
    /// Potential routers given by address.
    pub(super) routers: Vec<Ipv4Addr>,
    /// Those of them that are never default routers. `ISA-45`
    nodefault: Vec<Ipv4Addr>,
    /// Of those given by name. While there is no locator the machine asks for none, since without
    /// a router nobody knows which locator leads to it: then they are looked up all the same.
    pub(super) names: Option<Question>,
    /// The machine waits for an answer.
    is_asked: bool,
}

impl HostRole {
    pub(super) fn new(
        locators: LocatorSource,
        routers: Vec<Ipv4Addr>,
        nodefault: Vec<Ipv4Addr>,
        names: Option<Question>,
    ) -> Self {
        Self { locators, routers, nodefault, names, is_asked: false }
    }

    /// What the names brought last.
    pub(super) fn answer(&self) -> Option<&Outcome> {
        self.names.as_ref()?.answer()
    }

    /// Where a router of the list came from, for people.
    pub(super) fn source(&self, router: Ipv4Addr) -> Option<&Source> {
        let answer = self.answer()?.as_ref().ok()?;
        let at = answer.addresses.iter().position(|address| *address == router)?;
        answer.address_sources.get(at)
    }

    pub(super) fn start(&mut self, env: &mut Environment<'_>) {
        for router in self.routers.clone() {
            let may_be_default = !self.nodefault.contains(&router);
            let told = host(env, |host, cx| {
                host.add_router(cx, router)?;
                host.set_default_router(cx, router, may_be_default);
                Ok::<_, TableFull>(())
            });
            if let Some(Err(full)) = told {
                env.warn(format!("router {router} is not used: {full}"));
            }
        }
    }

    /// All routers, and the names for their addresses.
    pub(super) fn solicit(&mut self, env: &mut Environment<'_>) -> Result<Vec<Ipv4Addr>, &'static str> {
        let asked = host(env, |host, cx| {
            host.solicit_routers(cx);
            host.link().potential_routers().iter().map(|row| row.address()).collect()
        });
        if env.found.locators.is_empty() {
            self.ask(env);
        }
        Ok(asked.unwrap_or_default())
    }

    pub(super) fn refresh(&mut self, env: &mut Environment<'_>) -> Result<(), Error> {
        let router = self.first_router(env);
        let before = env.find(&self.locators, router)?;
        if (env.found.mtu, env.found.interface) != (before.mtu, before.interface) {
            env.set_way();
        }
        let locators = env.found.locators.clone();
        if locators != before.locators {
            let told = host(env, |host, cx| host.set_locators(cx, &locators));
            if let Some(Err(full)) = told {
                env.warn(format!("not every IPv4 address is used: {full}"));
            }
        }
        let waits = || self.names.as_ref().is_some_and(Question::waits);
        if self.locators == LocatorSource::TowardRouter && locators.is_empty() && router.is_none() && !waits() {
            self.ask(env);
        }
        Ok(())
    }

    pub(super) fn handle_timeout(&mut self, env: &mut Environment<'_>) -> Result<(), Error> {
        let Some(names) = &mut self.names else { return Ok(()) };
        match names.is_reconfigured(env.now) {
            // NAM-6: a refresh that the machine did not ask for. Without a locator it would not ask again.
            true if !env.found.locators.is_empty() => self.must_ask(env),
            true => self.ask(env),
            // The names are to be looked up again without a locator.
            false if names.ends_wait(env.now) => self.refresh(env)?,
            false => {}
        }
        Ok(())
    }

    /// The first of the list: those by address, then those by name.
    fn first_router(&self, env: &Environment<'_>) -> Option<Ipv4Addr> {
        let listed = match env.interface() {
            Some(AnyInterface::IsatapHost(host)) => {
                host.link().potential_routers().iter().map(|row| row.address()).next()
            }
            _ => None,
        };
        let answered = || self.answer()?.as_ref().ok()?.addresses.first().copied();
        listed.or_else(answered)
    }

    /// The machine wants to know.
    pub(super) fn must_ask(&mut self, env: &mut Environment<'_>) {
        self.is_asked = true;
        self.ask(env);
    }

    fn ask(&mut self, env: &mut Environment<'_>) {
        if let Some(names) = &mut self.names {
            names.ask(&env.found.locators);
        }
    }

    pub(super) fn resolved(&mut self, env: &mut Environment<'_>) -> Result<(), Error> {
        let Some(names) = &mut self.names else { return Ok(()) };
        let Some((outcome, before)) = names.take(env.now) else { return Ok(()) };
        names.take_conflicts(env.now).into_iter().for_each(|conflict| env.warn(conflict));
        tell(env, names, &outcome, before.as_ref());
        if std::mem::take(&mut self.is_asked) {
            let answer = match &outcome {
                Ok(answer) => Ok(isatap::Resolved { addresses: &answer.addresses, ttl: answer.ttl.map(Into::into) }),
                Err(failure) => Err((*failure).into()),
            };
            let told = host(env, |host, cx| host.routers_resolved(cx, answer));
            if let Some(Err(full)) = told {
                env.warn(format!("not every address of the names is used: {full}"));
            }
        } else if outcome.is_err() {
            // The machine did not ask, so it does not count the retries either.
            names.ask_later(env.now);
        }
        self.refresh(env)
    }
}

/// NAM-9: told when it changes, and not louder than it deserves.
fn tell(env: &mut Environment<'_>, names: &Question, outcome: &Outcome, before: Option<&Outcome>) {
    match (outcome, before) {
        (Ok(answer), Some(Ok(before))) if before.addresses == answer.addresses => {}
        (Err(failure), Some(Err(before))) if before == failure => {}
        (Ok(answer), _) => {
            let sources = answer.sources.iter().map(ToString::to_string).collect();
            env.link_event(LinkEvent::PrlChanged { routers: answer.addresses.clone(), sources });
        }
        // Whoever has just started this waits for something that does not come.
        (Err(failure), None) if failure.is_routine() => {
            let names = names.names();
            env.warn(format!("no router yet: {names}: {failure}; it is looked up again; see isatap doctor"));
        }
        (Err(failure), _) => {
            let hint = failure.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
            let text = format!("no potential router by name: {failure}{hint}");
            if failure.is_routine() { env.info(text) } else { env.warn(text) }
        }
    }
}

fn host<R>(
    env: &mut Environment<'_>,
    tell: impl FnOnce(&mut HostInterface<Linux>, &mut Context<'_, Linux>) -> R,
) -> Option<R> {
    env.tell(|interface, cx| match interface {
        AnyInterface::IsatapHost(host) => Some(tell(host, cx)),
        _ => None,
    })?
}
