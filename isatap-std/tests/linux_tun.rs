//! The TUN device against the kernel.
#![cfg(target_os = "linux")]

mod netns;

use isatap_std::error::Class;
use isatap_std::tun::Tun;
use netns::{Netns, wait_for};

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_device_that_exists_is_never_taken_over() {
    let netns = Netns::new();
    let n = &netns;
    n.run(|| {
        let tun = Tun::create("isatap0").unwrap();
        let error = Tun::create("isatap0").unwrap_err();
        assert_eq!(error.class(), Class::Refused);
        let own = format!("process {} (", std::process::id());
        assert!(error.to_string().contains(&own), "{error}");
        drop(tun);
        // Gone with its owner: nothing persistent is left by a kill. (A child that
        // another test has just forked may hold a copy until it runs its program.)
        wait_for("end of the device", || Tun::create("isatap0").ok());

        n.ip("tuntap add dev stale mode tun");
        let error = Tun::create("stale").unwrap_err().to_string();
        assert!(error.contains("ip link delete stale"), "{error}");
        n.ip("link add wired type veth peer name deriw");
        let error = Tun::create("wired").unwrap_err().to_string();
        assert!(error.contains("another kind"), "{error}");
    });
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_persistent_device_can_be_adopted() {
    let netns = Netns::new();
    let n = &netns;
    n.run(|| {
        let error = Tun::adopt("isatap9").unwrap_err();
        assert_eq!(error.class(), Class::Usage);
        n.ip("tuntap add dev isatap9 mode tun");
        let tun = Tun::adopt("isatap9").unwrap();
        assert!(tun.index().unwrap() > 1);
        let error = Tun::adopt("isatap9").unwrap_err().to_string();
        assert!(error.contains("holds it"), "{error}");
        drop(tun);
        n.ip("link show isatap9");
    });
}
