//! What interfaces leave to their links, written once.

/// Lets an interface's answers as a link be those of its field `link`.
///
/// `checked`: its own method that says whether a neighbour is known to be
/// there. `SEC-1`
macro_rules! link_of_its_data {
    ($interface:ident $(, $checked:ident)?) => {
        impl<C: $crate::capacity::Capacity> $crate::link::Link for $interface<C> {
            fn kind(&self) -> $crate::link::LinkKind {
                self.link.kind()
            }

            fn permit(
                &self,
                inner_source: &core::net::Ipv6Addr,
                inner_destination: &core::net::Ipv6Addr,
                next_hop: &core::net::Ipv6Addr,
            ) -> Result<(), $crate::drop_reason::DropReason> {
                self.link.permit(inner_source, inner_destination, next_hop)
            }

            fn resolve(
                &self,
                inner_source: &core::net::Ipv6Addr,
                next_hop: &core::net::Ipv6Addr,
            ) -> Result<$crate::link::Resolution, $crate::drop_reason::DropReason> {
                self.link.resolve(inner_source, next_hop)
            }

            fn awaits(&self, flow: &$crate::proto41::Flow) -> bool {
                self.link.awaits(flow)
            }

            fn claims_source(&self, inner_source: &core::net::Ipv6Addr) -> bool {
                self.link.claims_source(inner_source)
            }

            $(fn is_verified(&self, neighbor: &core::net::Ipv6Addr) -> bool {
                self.$checked(neighbor)
            })?

            fn never_fragments(&self) -> bool {
                self.link.never_fragments()
            }

            fn embeds_own(&self, address: &core::net::Ipv6Addr) -> bool {
                self.link.embeds_own(address)
            }

            fn admit(&self, flow: &$crate::proto41::Flow) -> Result<$crate::link::Admitted, $crate::link::Denied> {
                self.link.admit(flow)
            }

            fn is_on_link(&self, address: &core::net::Ipv6Addr) -> bool {
                self.link.is_on_link(address)
            }

            fn is_local(&self, address: &core::net::Ipv6Addr) -> bool {
                self.link.is_local(address)
            }

            fn owns_ipv4(&self, address: core::net::Ipv4Addr) -> bool {
                self.link.owns_ipv4(address)
            }

            fn may_send_to(&self, destination: core::net::Ipv4Addr) -> bool {
                self.link.may_send_to(destination)
            }

            fn source_for(&self, destination: &core::net::Ipv6Addr) -> Option<core::net::Ipv6Addr> {
                self.link.source_for(destination)
            }

            fn policy(&self) -> &$crate::link::OuterPolicy {
                self.link.policy()
            }

            fn path_mtu(&self, destination: core::net::Ipv4Addr) -> u16 {
                self.link.path_mtu(destination)
            }
        }
    };
}

/// The part of an automatic tunnel's interface that is the same for each:
/// `link` has its data, with `paths` and `policy`.
macro_rules! interface_of_its_link {
    () => {
        type Snapshot = Link<C>;

        fn snapshot(&self) -> Link<C> {
            self.link.clone()
        }

        // No neighbour is watched here. S6R-26
        fn note_sent(&mut self, _now: $crate::time::Instant, _destination: core::net::Ipv4Addr) {}

        fn note_avoided(&mut self, _now: $crate::time::Instant, _next_hop: &core::net::Ipv6Addr) {}

        fn path_error(
            &mut self,
            now: $crate::time::Instant,
            error: &$crate::proto41::icmp::TunnelError,
        ) -> Result<(), $crate::drop_reason::DropReason> {
            $crate::interface::path_error(&mut self.link.paths, self.link.policy.mtu, now, error)
        }
    };
}

/// The interface of an automatic tunnel that says nothing of its own accord:
/// `link` has its data, `told` is what the caller knows.
macro_rules! silent_interface {
    ($interface:ident) => {
        impl<C: $crate::capacity::Capacity> $crate::interface::Interface<C> for $interface<C> {
            $crate::interface::interface_of_its_link!();

            fn receive(
                &mut self,
                cx: &mut $crate::interface::Context<'_, C>,
                _from: $crate::link::Admitted,
                _flow: &$crate::proto41::Flow,
                packet: &mut $crate::packet::PacketMut<'_>,
            ) -> $crate::interface::Received {
                $crate::interface::Automatic::receive(&self.link, cx, packet)
            }

            fn handle_timeout(
                &mut self,
                cx: &mut $crate::interface::Context<'_, C>,
                _entropy: &mut dyn $crate::engine::Entropy,
            ) {
                self.link.paths.handle_timeout(cx.now);
            }

            fn poll_transmit(
                &mut self,
                _cx: &mut $crate::interface::Context<'_, C>,
                _out: &mut $crate::packet::PacketMut<'_>,
            ) -> Result<Option<$crate::engine::Transmit>, $crate::error::EmitError> {
                Ok(None)
            }

            fn poll_event(&mut self, cx: &mut $crate::interface::Context<'_, C>) -> Option<$crate::engine::Event> {
                self.told.poll_event(cx, &self.link.policy)
            }

            fn deadline(&self) -> $crate::time::Expiry {
                self.link.paths.next_deadline()
            }

            fn has_packet(&self, _now: $crate::time::Instant) -> bool {
                false
            }

            fn has_event(&self) -> bool {
                self.told.has_event(&self.link.policy)
            }
        }

        $crate::interface::link_of_its_data!($interface);
    };
}

/// What every automatic tunnel's interface lets the caller see and change.
macro_rules! link_and_policy {
    () => {
        /// The link's data.
        #[must_use]
        pub fn link(&self) -> &Link<C> {
            &self.link
        }

        /// How outer headers are made, to be changed.
        pub fn policy_mut(&mut self) -> &mut $crate::link::OuterPolicy {
            &mut self.link.policy
        }

        /// This node's addresses on the link.
        pub fn addresses(&self) -> impl Iterator<Item = $crate::engine::LearnedAddress> + '_ {
            self.told.addresses()
        }
    };
}

pub(crate) use interface_of_its_link;
pub(crate) use link_and_policy;
pub(crate) use link_of_its_data;
pub(crate) use silent_interface;
