//! The rows of the tables that user space fills and the kernel's programs read: one text for both.
//!
//! Addresses are the words of the packet as they lie there. Keys have no gaps, since the kernel
//! compares all of their bytes.

/// What a decision about a packet from a tunnel's device read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub(crate) struct PathKey {
    pub(crate) source: [u64; 2],
    pub(crate) destination: [u64; 2],
    /// The interface index of the tunnel's device.
    pub(crate) device: u64,
}

/// Where such a packet goes, and how.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Path {
    pub(crate) life: Life,
    pub(crate) used: Used,
    pub(crate) outer_source: u32,
    pub(crate) outer_destination: u32,
    /// The interface index of the device underneath, which is of the kind of Ethernet.
    pub(crate) underlay: u32,
    /// The mark of the outer packet (`SO_MARK`).
    pub(crate) mark: u32,
    /// Bytes of inner packet that may go, as each leaves.
    pub(crate) mtu: u32,
    /// The outer TOS is this, and what the mask lets through of the inner traffic class.
    pub(crate) tos: u8,
    pub(crate) tos_mask: u8,
    /// The outer time to live; 0: the inner hop limit.
    pub(crate) ttl: u8,
    pub(crate) unused: u8,
    /// The UDP ports of the outer packet as they lie there, source and destination; 0: it is of protocol 41.
    pub(crate) ports: u32,
    pub(crate) unused_behind: u32,
}

/// What a decision about a packet from the network read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub(crate) struct AdmissionKey {
    pub(crate) inner_source: [u64; 2],
    pub(crate) inner_destination: [u64; 2],
    pub(crate) outer_source: u32,
    pub(crate) outer_destination: u32,
    /// The interface index of the device that it came by.
    pub(crate) device: u32,
    /// The UDP ports of the outer packet as they lie there, source and destination; 0: it is of protocol 41.
    pub(crate) ports: u32,
}

/// That such a packet may come in.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Admission {
    pub(crate) life: Life,
    pub(crate) used: Used,
    /// The interface index of the tunnel's device.
    pub(crate) device: u32,
    /// 1: user space sees all ICMPv6 of it.
    pub(crate) awaited: u32,
}

/// How many drivers of a process share the tables.
pub(crate) const SLOTS: u32 = 256;

/// How long a row is good.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Life {
    /// That of the driver's [`State`] at the time of the decision: the highest byte is the slot.
    pub(crate) generation: u64,
    /// Nanoseconds of the kernel's coarse clock (`CLOCK_MONOTONIC_COARSE`): not good any more.
    pub(crate) until: u64,
}

/// What went by a row: the kernel only adds; and what did not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Used {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    /// Nanoseconds of the kernel's coarse clock: until then all go to user space, as one of UDP did that stands for
    /// several. It would come behind those that were sent after it.
    pub(crate) joined: u64,
}

/// What holds for all rows of a driver, which has a slot of its own.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct State {
    /// Rows of another one are not good; 0: none is.
    pub(crate) generation: u64,
}
