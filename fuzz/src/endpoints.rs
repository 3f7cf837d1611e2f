//! TCP endpoints as text: where a port proxy listens, and what it connects to.

use isatap_std::spec::{Listen, PortProxy, Target, TargetHost};

/// Two lines: where a rule listens, and its target.
pub fn endpoint_text(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (first, second) = text.split_once('\n').unwrap_or((text, ""));
    let Ok(listen) = first.parse::<Listen>() else { return };
    assert_eq!(listen.to_string().parse(), Ok(listen.clone()), "{first}");
    assert!(listen.port != 0);
    let mut rule = PortProxy::new(listen);
    if let Ok(target) = second.parse::<Target>() {
        assert_eq!(target.to_string().parse(), Ok(target.clone()), "{second}");
        rule.connect = Some(target);
    }
    let refusals = rule.check();
    let Some(direction) = rule.direction() else { return assert!(!refusals.is_empty()) };
    // Written out it is the same rule, and says the same of itself.
    let resolved = rule.resolved();
    assert_eq!(resolved.resolved(), resolved);
    assert_eq!((resolved.direction(), resolved.key()), (Some(direction), rule.key()));
    let (Some(listen), Some(target)) = (&resolved.listen.address, &resolved.connect) else { panic!("{resolved:?}") };
    if let (Some(TargetHost::Address(host)), true) = (&target.host, refusals.is_empty()) {
        assert!(target.port != Some(resolved.listen.port) || host != listen, "{resolved:?}");
        assert!(!host.address.is_unspecified() && !host.address.is_multicast());
    }
}
