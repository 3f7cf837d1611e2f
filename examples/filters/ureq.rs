//! ureq, by a resolver of its own:
//!
//! ```text
//! cargo run -p isatap-filter-examples --example ureq_filter -- http://example.com/ 'http://[::ffff:127.0.0.1]/'
//! ```
//!
//! ureq asks its resolver about every host, numbers and redirects too, and connects to what that answers. The mistake:
//! to check the URL in front of an ordinary agent, which follows redirects, and takes its proxy from the environment.
#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use isatap_filter_examples::Filter;
use ureq::Agent;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

fn main() {
    let agent = agent(Filter::public());
    for url in std::env::args().skip(1) {
        println!("{url}: {:?}", get(&agent, &url).map(|body| body.len()));
    }
}

/// A client that connects to permitted addresses only.
fn agent(filter: Filter) -> Agent {
    // A proxy would connect in the filter's place.
    let config = Agent::config_builder().proxy(None).build();
    Agent::with_parts(config, DefaultConnector::default(), Filtered(filter))
}

#[derive(Debug)]
struct Filtered(Filter);

impl Resolver for Filtered {
    fn resolve(&self, uri: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let host = uri.host().ok_or(ureq::Error::HostNotFound)?;
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
        let mut found = self.empty();
        // As many as ureq has room for.
        self.0.addresses(host, port)?.into_iter().take(16).for_each(|address| found.push(address));
        Ok(found)
    }
}

fn get(agent: &Agent, url: &str) -> Result<String, ureq::Error> {
    agent.get(url).call()?.body_mut().read_to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use isatap_filter_examples::loopback::{World, judge, told};

    #[test]
    fn it_connects_to_permitted_addresses_alone() {
        judge("tests::it_connects_to_permitted_addresses_alone", |world, url| {
            get(&agent(world.filter()), url).map_err(|error| told(&error))
        });
    }

    #[test]
    fn the_mistake_a_url_that_was_checked_redirects_elsewhere() {
        let world = World::new();
        let url = world.url("127.0.0.2") + "away";
        assert!(world.filter().addresses("127.0.0.2", 80).is_ok(), "the check");
        let agent = Agent::new_with_config(Agent::config_builder().proxy(None).build());
        assert_eq!((get(&agent, &url).unwrap().as_str(), world.intrusions()), ("secret", 1));
    }
}
