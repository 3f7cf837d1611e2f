use super::*;

fn router(prefixes: &[&str]) -> LinkSpec {
    let prefixes = prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect();
    IsatapRouter::new(vec![Ipv4Addr::new(10, 0, 0, 1)], prefixes).into()
}

fn tunnel(addresses: &[&str]) -> LinkSpec {
    let mut tunnel = Tunnel::new(Ipv4Addr::new(192, 0, 2, 2).into());
    tunnel.local = Some(Ipv4Addr::new(192, 0, 2, 1));
    tunnel.address = addresses.iter().map(|address| address.parse().unwrap()).collect();
    tunnel.into()
}

fn host(routers: &[&str]) -> LinkSpec {
    let mut host = IsatapHost::new();
    host.router = routers.iter().map(|router| router.parse().unwrap()).collect();
    host.into()
}

#[test]
fn links_that_differ_in_what_says_nothing_are_the_same() {
    let same = |one: &LinkSpec, other: &LinkSpec| one != other && one.resolved() == other.resolved();
    let [a, b] = ["2001:db8:0:7::/64", "2001:db8:0:8::/64"];
    assert!(same(&router(&[a, b]), &router(&[b, a, b])));
    assert!(!same(&router(&[a, b]), &router(&[a])));
    let [a, b] = ["2001:db8:77::1/64", "2001:db8:78::1/64"];
    assert!(same(&tunnel(&[a, b]), &tunnel(&[a, b, a])));
    assert!(!same(&tunnel(&[a, b]), &tunnel(&[b, a])));
    let [a, b] = ["10.0.0.1", "isatap.example."];
    assert!(same(&host(&[a, b]), &host(&[a, a, b, a])));
    assert!(!same(&host(&[a, b]), &host(&[b, a])));
}
