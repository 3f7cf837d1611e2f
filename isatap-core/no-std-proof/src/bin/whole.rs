//! Every public entry of the core: the image of the panic proof.
#![no_std]
#![no_main]

no_std_proof::image!(
    no_std_proof::packets,
    no_std_proof::routes,
    no_std_proof::selection,
    no_std_proof::discovery,
    no_std_proof::machines,
    no_std_proof::prefixes,
    no_std_proof::addresses,
    no_std_proof::teredo,
    planted
);

/// What has to break the proof.
mod planted {
    no_std_proof::roots! {
        #[cfg(feature = "planted-panic")]
        planted_panic => |unknown| unknown.bytes()[0];
        #[cfg(not(feature = "planted-panic"))]
        no_panic => |unknown| unknown.bytes().first().copied();
    }
}
