//! Every public entry of the core: the image of the panic proof.
#![no_std]
#![no_main]

use isatap_core as _;
use no_std_proof::roots;

roots! {
    unknown_values => |unknown| (unknown.ipv4(), unknown.ipv6(), unknown.array::<20>(), unknown.value::<u64>());
    unknown_bytes => |unknown| unknown.bytes().first_chunk::<20>().copied();
    #[cfg(feature = "planted-panic")]
    planted_panic => |unknown| unknown.bytes()[0];
}
