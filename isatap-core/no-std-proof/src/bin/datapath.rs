//! Parsing, admission and encapsulation alone, without a control machine.
#![no_std]
#![no_main]

use isatap_core as _;
use no_std_proof::roots;

roots! {
    unknown_bytes => |unknown| unknown.bytes().first_chunk::<20>().copied();
}
