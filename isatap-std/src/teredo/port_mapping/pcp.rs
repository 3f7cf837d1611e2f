//! PCP and NAT-PMP. [RFC 6887, RFC 6886]

use super::{Mapped, Method};
use crab_nat::{
    InternetProtocol, MappingFailure, PortMapping, PortMappingOptions, PortMappingType, TimeoutConfig, natpmp,
};
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::num::NonZeroU16;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// A gateway that restarts forgets, and a client that was killed leaves something behind: so
/// not the two hours of RFC 6886 §3.3.
const LIFETIME: u32 = 3600;
/// A gateway without either protocol says nothing, so 1.75 s in all.
const TIMEOUTS: TimeoutConfig =
    TimeoutConfig { initial_timeout: Duration::from_millis(250), max_retries: 2, max_retry_timeout: None };

/// See the module.
pub(super) struct Pcp {
    runtime: Runtime,
    mapping: Option<PortMapping>,
}

impl Pcp {
    /// `None`: this machine is out of descriptors.
    pub(super) fn new() -> Option<Self> {
        let runtime = Builder::new_current_thread().enable_all().build().ok()?;
        Some(Self { runtime, mapping: None })
    }
}

impl Method for Pcp {
    fn map(&mut self, gateway: Ipv4Addr, local: SocketAddrV4) -> Result<Mapped, String> {
        let failed = |failure: MappingFailure| format!("by PCP and NAT-PMP of {gateway}: {failure}");
        let port = NonZeroU16::new(local.port()).ok_or("no port")?;
        let old = self.mapping.take();
        let options = PortMappingOptions {
            // TER-72: the same outside, if that can be had.
            external_port: Some(old.as_ref().map_or(port, PortMapping::external_port)),
            lifetime_seconds: Some(LIFETIME),
            timeout_config: Some(TIMEOUTS),
        };
        let (mapping, external) = self.runtime.block_on(async {
            let mapping = match old {
                Some(mut old) => old.renew().await.map(|()| old),
                None => {
                    let client = IpAddr::V4(*local.ip());
                    PortMapping::new(gateway.into(), client, InternetProtocol::Udp, port, options).await
                }
            };
            let mapping = mapping.map_err(failed)?;
            let external = match mapping.mapping_type() {
                PortMappingType::Pcp { external_ip: IpAddr::V4(address), .. } => address,
                PortMappingType::Pcp { external_ip: IpAddr::V6(_), .. } => {
                    return Err(format!("by PCP of {gateway}: an IPv6 address"));
                }
                PortMappingType::NatPmp => {
                    let asked = natpmp::external_address(gateway.into(), Some(TIMEOUTS)).await;
                    asked.map_err(|failure| failed(failure.into()))?
                }
            };
            Ok((mapping, external))
        })?;
        let by = match mapping.mapping_type() {
            PortMappingType::NatPmp => "NAT-PMP",
            PortMappingType::Pcp { .. } => "PCP",
        };
        let external = SocketAddrV4::new(external, mapping.external_port().get());
        // RFC 6887 §11.2.1: from half of the lifetime on.
        let renew_after = Duration::from_secs(u64::from(mapping.lifetime() / 2).max(60));
        self.mapping = Some(mapping);
        Ok(Mapped { external, by, renew_after, forgotten: None })
    }

    fn unmap(&mut self) {
        if let Some(mapping) = self.mapping.take() {
            // It ends by itself in time.
            let _ = self.runtime.block_on(mapping.try_drop());
        }
    }
}
