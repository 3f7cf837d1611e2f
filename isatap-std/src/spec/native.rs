//! What is said of a device that carries IPv6 itself.

use super::field::spec;

spec! {
    /// A device that carries IPv6 itself, and whether the kernel is to forward between it and others.
    Native {
        /// The device.
        dev: String ["DEV"], new(dev);
        /// Warn while the kernel does not forward between the device and others.
        forwarding: bool;
    }
}
