//! The DNS by hickory-resolver.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{RData, RecordType};
use tokio::runtime::{Builder, Runtime};

use super::client::first_answer;
use super::{AddressLookup, Failure, Name, Records, ResolvConf};

/// A client of the DNS by hickory-resolver, on a runtime of its own.
///
/// It gets absolute names only, caches nothing (a refresh must ask, NAM-6) and reads no
/// files: the steps around it stay ours. Limits of hickory-resolver 0.26 beside
/// [`StubClient`](super::StubClient): a zone in a server's address (`fe80::53%eth0`) is
/// lost, and a loop of aliases is told as [`Failure::NoSuchName`], so that it takes
/// routers away where ISA-24 would keep them.
#[derive(Debug)]
pub struct HickoryClient {
    runtime: Runtime,
}

impl HickoryClient {
    /// Makes the runtime: one thread, the caller's.
    ///
    /// # Errors
    ///
    /// The system has no file descriptors left for it.
    pub fn new() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        Ok(HickoryClient { runtime })
    }
}

impl AddressLookup for HickoryClient {
    fn addresses(&mut self, name: &Name, conf: &ResolvConf, deadline: Instant) -> Result<Records, Failure> {
        let question = name.to_absolute().to_string();
        // One resolver a server: given all of them, this version spends the whole time on
        // a first one that keeps silent, and asks no second after an error.
        first_answer(conf, deadline, |server, until| self.ask(&question, server, until))
    }
}

impl HickoryClient {
    fn ask(&self, question: &str, server: SocketAddr, until: Instant) -> Result<Records, Failure> {
        let left = until.saturating_duration_since(Instant::now());
        let provider = TokioRuntimeProvider::default();
        let resolver = hickory_resolver::Resolver::builder_with_config(config(server), provider)
            .with_options(options(left))
            .build()
            .map_err(failure)?;
        // The option counts for each question of a chain of aliases, this for them all.
        let lookup =
            self.runtime.block_on(async { tokio::time::timeout(left, resolver.lookup(question, RecordType::A)).await });
        let lookup = match lookup {
            Ok(lookup) => lookup.map_err(failure)?,
            Err(_elapsed) => return Err(Failure::Timeout),
        };
        let mut addresses = Vec::new();
        let mut ttl = u32::MAX;
        // NAM-7: the intermediate records are kept, and count.
        for record in lookup.answers() {
            match &record.data {
                RData::A(address) => addresses.push(address.0),
                RData::CNAME(_) => {}
                _ => continue,
            }
            ttl = ttl.min(record.ttl);
        }
        if addresses.is_empty() {
            return Err(Failure::NoSuchName);
        }
        let ttl = Duration::from_secs(ttl.into());
        Ok(Records { addresses, ttl })
    }
}

fn config(server: SocketAddr) -> ResolverConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()]
        .into_iter()
        .map(|mut connection| {
            connection.port = server.port();
            connection
        })
        .collect();
    // A "no such name" of any server of the list counts.
    let server = NameServerConfig::new(server.ip(), true, connections);
    ResolverConfig::from_parts(None, Vec::new(), vec![server])
}

fn options(timeout: Duration) -> ResolverOpts {
    let mut options = ResolverOpts::default();
    options.timeout = timeout;
    options.attempts = 0;
    options.edns0 = false;
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    options.preserve_intermediates = true;
    options
}

fn failure(error: NetError) -> Failure {
    match error {
        NetError::Timeout => Failure::Timeout,
        NetError::Io(_) | NetError::NoConnections => Failure::Unreachable,
        NetError::Dns(DnsError::NoRecordsFound(found)) => match found.response_code {
            ResponseCode::NXDomain | ResponseCode::NoError => Failure::NoSuchName,
            _ => Failure::ServerFailure,
        },
        NetError::Dns(DnsError::ResponseCode(_)) => Failure::ServerFailure,
        _ => Failure::BadAnswer,
    }
}
