//! An XDP program that lets in what an ISATAP host would:
//! [`Flow::from_headers`] and the link's `admit`, the same code that a daemon
//! runs.
//!
//! What it proves is that this code can be run inside a kernel: every loop has
//! an end that the verifier can see, every access lies inside the packet or
//! the link's data. It is loaded and attached to nothing.
//!
//! The link is data of the program, as an owner would write it from a
//! snapshot; nothing fills it here, and the verifier takes every value of it.
#![no_std]

use core::cell::UnsafeCell;

use isatap_core::capacity::Small;
use isatap_core::interface::Interface as _;
use isatap_core::isatap::{HostConfig, HostInterface};
use isatap_core::link::Link;
use isatap_core::proto41::Flow;

/// Data that the program's owner may change while it runs.
struct Shared<T>(UnsafeCell<T>);

// SAFETY: the program only reads, and every bit pattern of the tables is read
// with bounds: a torn write gives a wrong answer for one packet, no wrong access.
unsafe impl<T> Sync for Shared<T> {}

#[unsafe(no_mangle)]
#[unsafe(link_section = ".data")]
static ISATAP: Shared<HostInterface<Small>> = Shared(UnsafeCell::new(HostInterface::new(HostConfig::DEFAULT)));

#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 4] = *b"GPL\0";

/// The beginning of the kernel's `struct xdp_md`.
#[repr(C)]
pub struct Context {
    data: u32,
    data_end: u32,
}

/// `XDP_DROP`
const DROP: u32 = 1;
/// `XDP_PASS`
const PASS: u32 = 2;
const ETHERNET: usize = 14;

/// Passes what is let in, and what is too short to be protocol 41.
#[unsafe(no_mangle)]
#[unsafe(link_section = "xdp")]
pub extern "C" fn admit(context: *const Context) -> u32 {
    // SAFETY: the kernel gives a context of this shape.
    let (data, end) = unsafe { ((*context).data as usize, (*context).data_end as usize) };
    if cfg!(not(feature = "planted-read")) && data + ETHERNET + 60 > end {
        return PASS;
    }
    // SAFETY: both headers lie before `end`, as was just asked (or is the
    // fault that the verifier has to find).
    let (ipv4, ipv6) =
        unsafe { (&*((data + ETHERNET) as *const [u8; 20]), &*((data + ETHERNET + 20) as *const [u8; 40])) };
    let Ok(flow) = Flow::from_headers(ipv4, ipv6, 20, end - data - ETHERNET) else { return DROP };
    // SAFETY: see `Shared`.
    let host = unsafe { &*ISATAP.0.get() };
    if host.link().admit(&flow).is_ok() { PASS } else { DROP }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
