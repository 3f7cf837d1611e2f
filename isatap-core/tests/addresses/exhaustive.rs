//! Every IPv4 address there is, through the address codecs and classes,
//! against bytes written down a second time.
//!
//! The classes are asked of each address; what they ought to say is written
//! down a /24 at a time, since that is how the RFCs give it out (the broadcast
//! address apart).
//!
//! Ignored: it wants an optimised build (`.ci/run exhaustive`).

use std::hint::black_box;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use isatap_core::isatap::addr as isatap;
use isatap_core::prefix::{Ipv6Prefix, is_never_unicast, is_private, is_refused_inner_source};
use isatap_core::sixtofour::addr as sixtofour;

/// What must hold for each address of one /24.
trait Claim {
    /// The claim for the /24 that starts with these bytes.
    fn about(first: [u8; 3]) -> Self;

    /// Whether it holds for one of its addresses.
    fn holds(&self, bits: u32, hidden: &Hidden) -> bool;
}

/// Asks a claim of all 2^32 addresses, on every processor. Gives how many it
/// was asked of.
///
/// The answers of a /24 are put together without a branch, so that the
/// compiler may take out of the loop what does not depend on the last byte;
/// which address was wrong is asked for when one was.
fn for_each_ipv4<C: Claim>() -> u64 {
    let next = AtomicU32::new(0);
    let work = || {
        let (hidden, mut asked) = (Hidden::new(), 0_u64);
        loop {
            // A /16 at a time, so that no processor waits for another.
            let Ok(upper) = u16::try_from(next.fetch_add(1, Ordering::Relaxed)) else { return asked };
            let [a, b] = upper.to_be_bytes();
            for c in 0..=255 {
                let claim = C::about([a, b, c]);
                let first = u32::from_be_bytes([a, b, c, 0]);
                let mut every = true;
                for d in 0..256 {
                    every &= claim.holds(first | d, &hidden);
                }
                asked += 256;
                assert!(every, "does not hold for {:?}", wrong(&claim, first, &hidden));
            }
        }
    };
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    })
}

/// The addresses of a /24 for which a claim does not hold.
#[cold]
#[inline(never)]
fn wrong<C: Claim>(claim: &C, first: u32, hidden: &Hidden) -> Vec<Ipv4Addr> {
    (0..256).map(|d| first | d).filter(|&bits| !claim.holds(bits, hidden)).map(Ipv4Addr::from).collect()
}

/// What the compiler must not know, lest it answer before the program runs.
struct Hidden {
    /// The upper half of an address: `2001:db8:0:7`.
    high: u64,
    prefix: Ipv6Prefix,
    /// The upper halves of identifiers, in their places: u = 0, u = 1, g = 1.
    local: u64,
    universal: u64,
    group: u64,
    /// `::`, `::ffff:0:0` and `ff00::`
    compatible: u128,
    mapped: u128,
    multicast: u128,
    /// `2002::` and what may stand behind a site's prefix.
    sixtofour: u128,
    rest: u128,
}

impl Hidden {
    fn new() -> Self {
        black_box(Hidden {
            high: 0x2001_0db8_0000_0007,
            prefix: Ipv6Prefix::new(Ipv6Addr::new(0x2001, 0xdb8, 0, 7, 0, 0, 0, 0), 64).unwrap(),
            local: 0x5efe << 32,
            universal: 0x0200_5efe << 32,
            group: 0x0100_5efe << 32,
            compatible: 0,
            mapped: 0xffff << 32,
            multicast: 0xff << 120,
            sixtofour: 0x2002 << 112,
            rest: 0x1234_5efe_0a00_0001,
        })
    }
}

/// ISA-5: what the codec makes of an address, and gets out of it.
struct IsatapCodec {
    first: [u8; 3],
    shared: bool,
}

impl Claim for IsatapCodec {
    fn about(first: [u8; 3]) -> Self {
        IsatapCodec { first, shared: is_shared(first) }
    }

    #[inline(always)]
    fn holds(&self, bits: u32, hidden: &Hidden) -> bool {
        let (ipv4, [a, b, c]) = (Ipv4Addr::from(bits), self.first);
        let [.., d] = bits.to_be_bytes();
        let u = if self.shared | (bits == u32::MAX) { 0 } else { 2 };
        let identifier = [u, 0, 0x5e, 0xfe, a, b, c, d];
        let address = |low: u64| Ipv6Addr::from(u128::from(hidden.high) << 64 | u128::from(low));
        let embedded = |upper: u64| isatap::embedded_ipv4(&address(upper | u64::from(bits)));
        // Both u bits come back, whichever this library would have set.
        (embedded(hidden.local) == Some(ipv4))
            & (embedded(hidden.universal) == Some(ipv4))
            & embedded(hidden.group).is_none()
            & (isatap::identifier(ipv4) == identifier)
            & (isatap::address(&hidden.prefix, ipv4) == Some(address(u64::from_be_bytes(identifier))))
    }
}

/// ISA-2: the list of what is not known to be unique, by bytes; the broadcast
/// address is on it too.
fn is_shared([a, b, c]: [u8; 3]) -> bool {
    match a {
        0 | 10 | 127 => true,
        100 => b & 0xc0 == 64,
        169 => b == 254,
        172 => b & 0xf0 == 16,
        192 => b == 168 || (b == 0 && c == 2) || (b == 88 && c == 99),
        198 => b & 0xfe == 18,
        _ => (224..=239).contains(&a),
    }
}

/// ISA-2, TUN-15: the classes.
struct Classes {
    shared: bool,
    never: bool,
    private: bool,
}

impl Claim for Classes {
    fn about([a, b, c]: [u8; 3]) -> Self {
        let never = matches!(a, 0 | 127 | 224..=255);
        let private = a == 10 || (a == 172 && (16..32).contains(&b)) || (a == 192 && b == 168);
        Classes { shared: is_shared([a, b, c]), never, private }
    }

    #[inline(always)]
    fn holds(&self, bits: u32, _: &Hidden) -> bool {
        let ipv4 = Ipv4Addr::from(bits);
        (isatap::is_globally_unique(ipv4) != (self.shared | (bits == u32::MAX)))
            & (is_never_unicast(ipv4) == self.never)
            & (isatap::is_locator(ipv4) != self.never)
            & (is_private(ipv4) == self.private)
    }
}

/// TUN-16: `::/96` but `::`, the mapped addresses, and multicast.
struct RefusedSources;

impl Claim for RefusedSources {
    fn about(_: [u8; 3]) -> Self {
        RefusedSources
    }

    #[inline(always)]
    fn holds(&self, bits: u32, hidden: &Hidden) -> bool {
        let refused = |upper: u128| is_refused_inner_source(&Ipv6Addr::from(upper | u128::from(bits)));
        (refused(hidden.compatible) == (bits != 0)) & refused(hidden.mapped) & refused(hidden.multicast)
    }
}

#[test]
#[ignore = "wants an optimised build: .ci/run exhaustive"]
fn isa_5_every_ipv4_address_through_the_isatap_codec() {
    assert_eq!(for_each_ipv4::<IsatapCodec>(), 1 << 32);
}

#[test]
#[ignore = "wants an optimised build: .ci/run exhaustive"]
fn isa_2_tun_15_tun_16_every_ipv4_address_through_the_classes() {
    assert_eq!(for_each_ipv4::<Classes>(), 1 << 32);
    assert_eq!(for_each_ipv4::<RefusedSources>(), 1 << 32);
}

struct SixToFour {
    first: [u8; 3],
}

impl Claim for SixToFour {
    fn about(first: [u8; 3]) -> Self {
        SixToFour { first }
    }

    #[inline(always)]
    fn holds(&self, bits: u32, hidden: &Hidden) -> bool {
        let (ipv4, [a, b, c]) = (Ipv4Addr::from(bits), self.first);
        let [.., d] = bits.to_be_bytes();
        let first = [0x20, 0x02, a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let made = sixtofour::site(ipv4);
        let inside = Ipv6Addr::from(hidden.sixtofour | u128::from(bits) << 80 | hidden.rest);
        (made.length() == 48)
            & (made.address().octets() == first)
            & (sixtofour::embedded_ipv4(&inside) == Some(ipv4))
            & made.contains(&inside)
    }
}

#[test]
#[ignore = "wants an optimised build: .ci/run exhaustive"]
fn every_ipv4_address_through_the_6to4_codec() {
    assert_eq!(for_each_ipv4::<SixToFour>(), 1 << 32);
}
