//! Proof that no path of `isatap-core` can panic or allocate.
//!
//! Each image in `src/bin` is linked for a bare target with this panic handler,
//! which calls a function that nobody defines, and with no allocator. The linker
//! throws away what no root reaches; when a panic is left in what stays, the
//! link fails with `undefined symbol: isatap_core_panicked`.
//!
//! A root is one line of `roots!` in an image: a name and a call of the public
//! interface, fed from [`Unknown`], whose values the optimiser cannot see
//! through. The proof is worth as much as the list of roots is complete.
#![no_std]

use core::hint::black_box;
use core::net::{Ipv4Addr, Ipv6Addr};

/// Values that the optimiser knows nothing of, and room for packets.
pub struct Unknown {
    buffer: [u8; 2048],
}

impl Unknown {
    /// One for each image: the buffer lives on the stack of the entry point.
    #[expect(clippy::new_without_default, reason = "a default value would suggest known content")]
    pub fn new() -> Self {
        Self { buffer: black_box([0; 2048]) }
    }

    /// Bytes of unknown content and length, as they come from a network.
    pub fn bytes(&mut self) -> &mut [u8] {
        let length = black_box(0_usize);
        black_box(self.buffer.get_mut(..length).unwrap_or_default())
    }

    /// An array of unknown content.
    pub fn array<const N: usize>(&self) -> [u8; N] {
        black_box([0; N])
    }

    /// A number, or any other plain value, that the optimiser has to take as it comes.
    pub fn value<T: Default>(&self) -> T {
        black_box(T::default())
    }

    /// Any IPv4 address.
    pub fn ipv4(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.value())
    }

    /// Any IPv6 address.
    pub fn ipv6(&self) -> Ipv6Addr {
        Ipv6Addr::from_bits(self.value())
    }
}

/// Turns a list of `name => |unknown| call;` lines into an image that makes all
/// the calls from its entry point.
#[macro_export]
macro_rules! roots {
    ($($(#[$attribute:meta])* $name:ident => |$unknown:ident| $call:expr;)*) => {
        $(
            $(#[$attribute])*
            #[inline(never)]
            fn $name($unknown: &mut $crate::Unknown) {
                core::hint::black_box(&$call);
            }
        )*

        /// Where the image begins; the linker keeps what is reached from here.
        #[unsafe(no_mangle)]
        pub extern "C" fn _start() {
            let mut unknown = $crate::Unknown::new();
            $($(#[$attribute])* $name(&mut unknown);)*
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
