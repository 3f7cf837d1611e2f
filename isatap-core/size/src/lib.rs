//! What firmware pays for one role, beside a whole IP stack built in the same way.
//!
//! Each image of `src/bin` is a machine in static memory, which it makes when it
//! starts (so that flash keeps no first values of it), and the loop around it:
//! receive, the machine, send. It calls what such a loop needs and no more. The
//! [`board`] is of no weight and the optimiser knows nothing of what it does.
//! Packet buffers are the board's, so static RAM is what the machine itself takes.
//!
//! The images of `isatap-core` link without a path to a panic, as in
//! `isatap-core/no-std-proof`.
#![no_std]

pub mod board;
pub mod host;
pub mod turn;
mod two;

use core::cell::UnsafeCell;
use core::hint::black_box;
use core::mem::MaybeUninit;

pub use two::Two;

/// Static memory for a value of the entry point's.
pub struct Static<T>(UnsafeCell<MaybeUninit<T>>);

// SAFETY: see `make`.
unsafe impl<T> Sync for Static<T> {}

impl<T> Static<T> {
    /// For a static.
    #[expect(clippy::new_without_default, reason = "a static needs a constant")]
    pub const fn new() -> Self {
        Static(UnsafeCell::new(MaybeUninit::uninit()))
    }

    /// Makes the value in its place. The optimiser knows nothing of its content
    /// afterwards.
    ///
    /// # Safety
    /// Called once.
    #[expect(clippy::mut_from_ref, reason = "called once")]
    #[inline(always)]
    pub unsafe fn make(&'static self, value: impl FnOnce() -> T) -> &'static mut T {
        // SAFETY: called once, so this is the only reference.
        black_box(unsafe { (*self.0.get()).write(value()) })
    }
}

/// The entry point of an image: `RUN` gets the value `INITIAL` of type `TYPE`, made in
/// static memory. And the panic handler that cannot be linked.
#[macro_export]
macro_rules! image {
    ($type:ty = $initial:expr, $run:path) => {
        static MACHINE: $crate::Static<$type> = $crate::Static::new();

        /// Where the image begins; the linker keeps what is reached from here.
        #[unsafe(no_mangle)]
        pub extern "C" fn _start() -> ! {
            // SAFETY: a board starts once.
            $run(unsafe { MACHINE.make(|| $initial) })
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
