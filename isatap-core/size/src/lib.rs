//! What firmware pays for one role, beside a whole IP stack built in the same way.
//!
//! Each image of `src/bin` is a machine in a `static` and the loop around it:
//! receive, the machine, send. It calls what such a loop needs and no more. The
//! [`board`] is of no weight and the optimiser knows nothing of what it does.
//! Packet buffers are the board's, so static RAM is what the machine itself takes.
//!
//! The images of `isatap-core` link without a path to a panic, as in
//! `isatap-core/no-std-proof`.
#![no_std]

pub mod board;
pub mod turn;
mod two;

use core::cell::UnsafeCell;
use core::hint::black_box;

pub use two::Two;

/// A value in static memory, for the entry point.
pub struct Static<T>(UnsafeCell<T>);

// SAFETY: see `lend`.
unsafe impl<T> Sync for Static<T> {}

impl<T> Static<T> {
    /// For a static.
    pub const fn new(value: T) -> Self {
        Static(UnsafeCell::new(value))
    }

    /// The value, of whose content the optimiser knows nothing.
    ///
    /// # Safety
    /// Called once.
    #[expect(clippy::mut_from_ref, reason = "called once")]
    pub unsafe fn lend(&'static self) -> &'static mut T {
        // SAFETY: called once, so this is the only reference.
        black_box(unsafe { &mut *self.0.get() })
    }
}

/// The entry point of an image: `RUN` gets the value of type `TYPE` in static
/// memory that `INITIAL` is. And the panic handler that cannot be linked.
#[macro_export]
macro_rules! image {
    ($type:ty = $initial:expr, $run:path) => {
        static MACHINE: $crate::Static<$type> = $crate::Static::new($initial);

        /// Where the image begins; the linker keeps what is reached from here.
        #[unsafe(no_mangle)]
        pub extern "C" fn _start() -> ! {
            // SAFETY: a board starts once.
            $run(unsafe { MACHINE.lend() })
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
