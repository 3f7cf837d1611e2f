//! An ISATAP host on Linux: device, addresses and routes, gone when it ends.
//!
//! ```text
//! cargo build -p isatap-examples --example isatap_host
//! sudo target/debug/examples/isatap_host 10.0.0.2 10.0.0.1
//! ```
//!
//! Arguments: an IPv4 address of this machine, then routers, as addresses or
//! names. Needs CAP_NET_ADMIN and CAP_NET_RAW. The tool `isatap host` does
//! the same and more.
#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use std::error::Error;

#[cfg(target_os = "linux")]
fn main() -> Result<(), Box<dyn Error>> {
    use isatap_std::run::Run;
    use isatap_std::signal::Signals;
    use isatap_std::spec::IsatapHost;

    let mut arguments = std::env::args().skip(1);
    let local = arguments.next().ok_or("usage: isatap_host LOCAL-IPV4 ROUTER…")?;
    let mut host = IsatapHost::new();
    host.local = vec![local.parse()?];
    host.router = arguments.map(|router| router.parse()).collect::<Result<_, _>>()?;
    // Before the device exists: a signal must not find it unguarded.
    let mut signals = Signals::catch()?;
    let mut run = Run::open(&[host.into()], |notice| println!("{notice}"))?;
    run.run_until(&mut signals)?;
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn main() -> Result<(), Box<dyn Error>> {
    Err("only Linux has the devices that this needs; see the example byte_arrays".into())
}
