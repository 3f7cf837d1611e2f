//! An ISATAP router between its link and a native one, `Small` tables; RAM is the router itself.
#![no_std]
#![no_main]

no_std_proof::image!(role);

mod role {
    use core::mem::size_of;

    use isatap_core::capacity::Small;
    use isatap_core::isatap::{RouterConfig, RouterInterface};
    use isatap_core::link::NativeLink;
    use isatap_core::node::{AnyInterface, AnyNode, NodeConfig};
    use no_std_proof::{Memory, any, keep, machines};

    type Router = AnyNode<Small, 2>;

    static STATE: Memory<{ size_of::<Router>() }> = Memory::new();

    no_std_proof::roots! {
        router => |u| {
            let mut node = any(Router::new(any(NodeConfig::DEFAULT)));
            let (isatap, native) = (RouterInterface::new(any(RouterConfig::DEFAULT)), NativeLink::new(1500));
            keep(node.add(AnyInterface::IsatapRouter(isatap), any(Default::default())));
            keep(node.add(AnyInterface::Native(native), any(Default::default())));
            machines::drive(&mut node, u);
            machines::forward(&mut node, u);
            node.with_interface(u.now(), u.link(), |interface, cx| {
                if let AnyInterface::IsatapRouter(router) = interface {
                    machines::router_inputs(router, cx);
                }
            })
        };
        state => |_u| keep(&STATE);
    }
}
