//! An ISATAP host, all of its inputs and outputs, `Small` tables; RAM is the host itself.
#![no_std]
#![no_main]

no_std_proof::image!(role);

mod role {
    use core::mem::size_of;

    use isatap_core::capacity::Small;
    use isatap_core::node::IsatapHost;
    use no_std_proof::{Memory, keep, machines};

    static STATE: Memory<{ size_of::<IsatapHost<Small>>() }> = Memory::new();

    no_std_proof::roots! {
        host => |u| machines::drive(&mut machines::host(), u);
        inputs => |u| machines::host_inputs(&mut machines::host(), u);
        state => |_u| keep(&STATE);
    }
}
