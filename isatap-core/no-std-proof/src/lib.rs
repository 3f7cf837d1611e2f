//! Proof that no path of `isatap-core` can panic or allocate.
//!
//! The image in `src/bin` is linked for a bare target with a panic handler that
//! calls a function which nobody defines, and with no allocator. The linker throws
//! away what no root reaches; when a panic is left in what stays, the link fails
//! with `undefined symbol: isatap_core_panicked`.
//!
//! A root is a line of `roots!`: a name and a use of the public interface, fed
//! from [`Unknown`], whose values the optimiser cannot see through. The proof is
//! worth as much as the list of roots is complete: `.ci/public-functions.py` names
//! the functions that it has forgotten.
//!
//! Left out on purpose are `Display` and `Debug`: formatting is `core::fmt`'s, whose
//! own padding and address formatting can panic as far as the linker knows.
#![no_std]

pub mod addresses;
pub mod discovery;
pub mod machines;
pub mod packets;
pub mod prefixes;
pub mod routes;
pub mod selection;
pub mod teredo;

use core::hint::black_box;
use core::net::{Ipv4Addr, Ipv6Addr};

use isatap_core::packet::{LinkId, PacketMut};
use isatap_core::prefix::{Ipv4Prefix, Ipv6Prefix};
use isatap_core::time::{Duration, Expiry, Instant, Lifetime};

/// A value of this type of which the optimiser knows nothing else.
pub fn any<T>(value: T) -> T {
    black_box(value)
}

/// Uses a result, so that what made it stays.
pub fn keep<T>(value: T) {
    black_box(&value);
}

/// Values that the optimiser knows nothing of, and room for packets.
pub struct Unknown {
    buffer: [u8; 2048],
}

impl Unknown {
    /// One for each image: the buffer lives on the stack of the entry point.
    #[expect(clippy::new_without_default, reason = "a default value would suggest known content")]
    pub fn new() -> Self {
        Self { buffer: any([0; 2048]) }
    }

    /// Bytes of unknown content and length, as they come from a network.
    pub fn bytes(&mut self) -> &mut [u8] {
        let length = any(0_usize);
        any(self.buffer.get_mut(..length).unwrap_or_default())
    }

    /// The same, unknown for as long as the image runs: for values that keep a reference.
    pub fn input(&self) -> &'static [u8] {
        any(&[])
    }

    /// A packet at any place of a buffer of any length.
    pub fn packet(&mut self) -> PacketMut<'_> {
        let (start, end) = (any(0_usize), any(0_usize));
        let length = any(0_usize);
        let buffer = any(self.buffer.get_mut(..length).unwrap_or_default());
        match PacketMut::new(buffer, start..end) {
            Ok(packet) => packet,
            // A second buffer, since the error path would keep the first one borrowed.
            Err(_) => PacketMut::empty(any(&mut [])),
        }
    }

    /// An array of unknown content.
    pub fn array<const N: usize>(&self) -> [u8; N] {
        any([0; N])
    }

    /// A number, or any other plain value, that the optimiser has to take as it comes.
    pub fn value<T: Default>(&self) -> T {
        any(T::default())
    }

    /// Any IPv4 address.
    pub fn ipv4(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.value())
    }

    /// Any IPv6 address.
    pub fn ipv6(&self) -> Ipv6Addr {
        Ipv6Addr::from_bits(self.value())
    }

    /// Any prefix.
    pub fn prefix(&self) -> Ipv6Prefix {
        any(Ipv6Prefix::new(self.ipv6(), self.value()).unwrap_or(Ipv6Prefix::DEFAULT))
    }

    /// Any IPv4 prefix.
    pub fn ipv4_prefix(&self) -> Ipv4Prefix {
        any(Ipv4Prefix::new(self.ipv4(), self.value()).unwrap_or(Ipv4Prefix::DEFAULT))
    }

    /// Any point in time, the last one included.
    pub fn now(&self) -> Instant {
        Instant::from_micros(self.value())
    }

    /// Any deadline.
    pub fn expiry(&self) -> Expiry {
        any(Expiry::NEVER)
    }

    /// Any time span.
    pub fn duration(&self) -> Duration {
        any(Duration::ZERO)
    }

    /// Any lifetime as messages carry it.
    pub fn lifetime(&self) -> Lifetime {
        Lifetime::from_secs(self.value())
    }

    /// Any link.
    pub fn link(&self) -> LinkId {
        LinkId(self.value())
    }
}

/// Turns `name => |unknown| expression;` lines into functions that cannot be merged
/// into their caller, and into `all`, which calls them.
#[macro_export]
macro_rules! roots {
    ($($(#[$attribute:meta])* $name:ident => |$unknown:ident| $call:expr;)*) => {
        $(
            $(#[$attribute])*
            #[inline(never)]
            fn $name($unknown: &mut $crate::Unknown) {
                // A closure, so that `?` ends the root.
                #[expect(clippy::redundant_closure_call, reason = "see above")]
                core::hint::black_box(&(move || $call)());
            }
        )*

        /// Calls all roots of this module.
        pub fn all(unknown: &mut $crate::Unknown) {
            $($(#[$attribute])* $name(unknown);)*
        }
    };
}

/// The entry point of an image, which calls the `all` of each module that it lists,
/// and the panic handler that cannot be linked.
#[macro_export]
macro_rules! image {
    ($($module:path),*) => {
        /// Where the image begins; the linker keeps what is reached from here.
        #[unsafe(no_mangle)]
        pub extern "C" fn _start() {
            let mut unknown = $crate::Unknown::new();
            $({ use $module as roots; roots::all(&mut unknown); })*
        }

        #[panic_handler]
        fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
            unsafe extern "C" {
                // Deliberately defined nowhere.
                fn isatap_core_panicked() -> !;
            }
            // SAFETY: an image that holds this call cannot be linked, so it never runs.
            unsafe { isatap_core_panicked() }
        }
    };
}
