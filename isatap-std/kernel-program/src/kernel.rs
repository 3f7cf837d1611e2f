//! The kernel as its programs see it: a packet, tables, a clock.
//!
//! A helper of the kernel's is called by its number: `bpf_NAME` in `<linux/bpf.h>`. That its arguments
//! are right, that every access lies inside of the packet and every loop ends, the kernel's verifier
//! proves when it loads the program.

use core::arch::asm;
use core::cell::UnsafeCell;
use core::marker::PhantomData;
use core::mem::transmute;
use core::ptr;

/// A table that user space fills: `struct bpf_map_def` of the object, which becomes the map's address
/// when that is loaded.
#[repr(C)]
pub struct Map<K, V> {
    definition: UnsafeCell<[u32; 7]>,
    of: PhantomData<(K, V)>,
}

// SAFETY: the program takes its address and reads nothing of it.
unsafe impl<K, V> Sync for Map<K, V> {}

impl<K, V> Map<K, V> {
    /// The row that was used last is the last to give way.
    pub const fn lru_hash(rows: u32) -> Self {
        const BPF_MAP_TYPE_LRU_HASH: u32 = 9;
        Self::new(BPF_MAP_TYPE_LRU_HASH, rows)
    }

    pub const fn array(rows: u32) -> Self {
        const BPF_MAP_TYPE_ARRAY: u32 = 2;
        Self::new(BPF_MAP_TYPE_ARRAY, rows)
    }

    const fn new(kind: u32, rows: u32) -> Self {
        let definition = [kind, size_of::<K>() as u32, size_of::<V>() as u32, rows, 0, 0, 0];
        Self { definition: UnsafeCell::new(definition), of: PhantomData }
    }

    /// The row of a key. User space and other processors may write it meanwhile.
    #[inline(always)]
    pub fn get(&'static self, key: &K) -> Option<&'static V> {
        // SAFETY: bpf_map_lookup_elem.
        unsafe {
            let lookup: extern "C" fn(*const u32, *const K) -> *const V = transmute(1_usize);
            lookup(self.definition.get().cast(), key).as_ref()
        }
    }
}

/// Adds to a number of a row.
#[inline(always)]
pub fn count(number: &u64, by: u64) {
    // SAFETY: the row is a map's, so it may be written. There is no core::sync::atomic for this target.
    unsafe { asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) number, in(reg) by) }
}

/// Writes a number of a row.
#[inline(always)]
pub fn store(number: &u64, value: u64) {
    // SAFETY: the row is a map's, so it may be written.
    unsafe { asm!("*(u64 *)({0} + 0) = {1}", in(reg) number, in(reg) value) }
}

/// Any number.
#[inline(always)]
pub fn random() -> u32 {
    // SAFETY: bpf_get_prandom_u32.
    unsafe {
        let random: extern "C" fn() -> u32 = transmute(7_usize);
        random()
    }
}

/// Nanoseconds of `CLOCK_MONOTONIC_COARSE`.
#[inline(always)]
pub fn coarse_now() -> u64 {
    // SAFETY: bpf_ktime_get_coarse_ns.
    unsafe {
        let now: extern "C" fn() -> u64 = transmute(160_usize);
        now()
    }
}

/// The beginning of `struct __sk_buff`.
#[repr(C)]
pub struct Context {
    len: u32,
    pkt_type: u32,
    mark: u32,
    queue_mapping: u32,
    protocol: u32,
    vlan_present: u32,
    vlan: [u32; 2],
    priority: u32,
    ingress_ifindex: u32,
    ifindex: u32,
    unused: [u32; 8],
    data: u32,
    data_end: u32,
    unused_behind: [u32; 23],
    gso_size: u32,
}

/// A packet on its way through the kernel.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Packet(*mut Context);

// SAFETY of all that follows: the kernel gives a context of this shape.
impl Packet {
    #[inline(always)]
    pub fn len(self) -> u32 {
        unsafe { (*self.0).len }
    }

    /// The interface index of the device that the program runs for.
    #[inline(always)]
    pub fn device(self) -> u32 {
        unsafe { (*self.0).ifindex }
    }

    /// The payload of each packet that this one stands for; 0: it stands for itself.
    #[inline(always)]
    pub fn segment_size(self) -> u32 {
        unsafe { (*self.0).gso_size }
    }

    /// To the device's own link-layer address (`PACKET_HOST`).
    #[inline(always)]
    pub fn is_for_host(self) -> bool {
        unsafe { (*self.0).pkt_type == 0 }
    }

    #[inline(always)]
    pub fn has_vlan(self) -> bool {
        unsafe { (*self.0).vlan_present != 0 }
    }

    #[inline(always)]
    pub fn set_mark(self, mark: u32) {
        unsafe { (*self.0).mark = mark }
    }

    /// `N` bytes from `at`, if they lie in the first part of the packet.
    #[inline(always)]
    pub fn bytes<const N: usize>(self, at: usize) -> Option<&'static [u8; N]> {
        self.bytes_mut(at).map(|bytes| &*bytes)
    }

    /// The same, to be written. What was had before is gone once the packet has grown or shrunk.
    #[inline(always)]
    pub fn bytes_mut<const N: usize>(self, at: usize) -> Option<&'static mut [u8; N]> {
        unsafe {
            let (data, end) = ((*self.0).data as usize, (*self.0).data_end as usize);
            if data + at + N > end { None } else { Some(&mut *((data + at) as *mut [u8; N])) }
        }
    }

    /// Puts 14 zero bytes in front.
    #[inline(always)]
    pub fn push_ethernet(self) -> Option<()> {
        // SAFETY: bpf_skb_change_head.
        let result = unsafe {
            let change_head: extern "C" fn(*mut Context, u32, u64) -> i64 = transmute(43_usize);
            change_head(self.0, 14, 0)
        };
        (result == 0).then_some(())
    }

    /// Makes room for an IPv4 header behind the link-layer header, and for one of UDP.
    #[inline(always)]
    pub fn push_ipv4(self, with_udp: bool) -> Option<()> {
        const BPF_F_ADJ_ROOM_ENCAP_L3_IPV4: u64 = 1 << 1;
        const BPF_F_ADJ_ROOM_ENCAP_L4_UDP: u64 = 1 << 4;
        if with_udp {
            return self.adjust_room(28, BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 | BPF_F_ADJ_ROOM_ENCAP_L4_UDP);
        }
        self.adjust_room(20, BPF_F_ADJ_ROOM_ENCAP_L3_IPV4)
    }

    /// Takes such headers away: the packet is one of IPv6, and its own checksum is not known to be right.
    #[inline(always)]
    pub fn pop_ipv4(self, with_udp: bool) -> Option<()> {
        const BPF_F_ADJ_ROOM_DECAP_L3_IPV6: u64 = 1 << 8;
        self.adjust_room(if with_udp { -28 } else { -20 }, BPF_F_ADJ_ROOM_DECAP_L3_IPV6)
    }

    #[inline(always)]
    fn adjust_room(self, by: i32, flags: u64) -> Option<()> {
        // Segments are as long as before.
        const BPF_F_ADJ_ROOM_FIXED_GSO: u64 = 1 << 0;
        const BPF_ADJ_ROOM_MAC: u32 = 1;
        // SAFETY: bpf_skb_adjust_room.
        let result = unsafe {
            let adjust_room: extern "C" fn(*mut Context, i32, u32, u64) -> i64 = transmute(50_usize);
            adjust_room(self.0, by, BPF_ADJ_ROOM_MAC, flags | BPF_F_ADJ_ROOM_FIXED_GSO)
        };
        (result == 0).then_some(())
    }

    /// Sends it by a device, to the neighbour that the routes name.
    #[inline(always)]
    pub fn redirect_to_neighbor(self, device: u32) -> i32 {
        // SAFETY: bpf_redirect_neigh.
        unsafe {
            let redirect: extern "C" fn(u32, *const u8, i32, u64) -> i64 = transmute(152_usize);
            redirect(device, ptr::null(), 0, 0) as i32
        }
    }

    /// Has a device receive it.
    #[inline(always)]
    pub fn redirect_into(self, device: u32) -> i32 {
        const BPF_F_INGRESS: u64 = 1;
        // SAFETY: bpf_redirect.
        unsafe {
            let redirect: extern "C" fn(u32, u64) -> i64 = transmute(23_usize);
            redirect(device, BPF_F_INGRESS) as i32
        }
    }
}
