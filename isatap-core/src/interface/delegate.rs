//! What interfaces leave to their links, written once.

/// Lets an interface's answers as a link be those of its field `link`.
///
/// `checked`: its own method that says whether a neighbour is known to be
/// there. `SEC-1`
macro_rules! link_of_its_data {
    ($interface:ident $(, $checked:ident)?) => {
        impl<C: $crate::capacity::Capacity> $crate::link::Link for $interface<C> {
            type Capacity = C;

            $crate::link::link_by!($crate::interface::link_field);

            $(fn is_verified(&self, neighbor: &core::net::Ipv6Addr) -> bool {
                self.$checked(neighbor)
            })?
        }
    };
}

/// The field `link`, for [`link_by`](crate::link::link_by).
macro_rules! link_field {
    ($self:expr, $inner:ident => $call:expr) => {{
        let $inner = &$self.link;
        $call
    }};
}

/// Everything that an interface does is done by what `$each` finds behind it,
/// `$each_mut` to change it.
macro_rules! interface_by {
    ([$($each:tt)+], [$($each_mut:tt)+]) => {
        fn receive(
            &mut self,
            cx: &mut $crate::interface::Context<'_, C>,
            from: $crate::link::Admitted,
            flow: &$crate::proto41::Flow,
            packet: &mut $crate::packet::PacketMut<'_>,
        ) -> $crate::interface::Received {
            $($each_mut)+!(self, inner => inner.receive(cx, from, flow, packet))
        }

        fn receive_native(
            &mut self,
            cx: &mut $crate::interface::Context<'_, C>,
            packet: &[u8],
        ) -> $crate::interface::Received {
            $($each_mut)+!(self, inner => inner.receive_native(cx, packet))
        }

        fn check_neighbor(
            &mut self,
            now: $crate::time::Instant,
            id: $crate::packet::LinkId,
            neighbor: &core::net::Ipv6Addr,
        ) -> $crate::interface::NeighborCheck {
            $($each_mut)+!(self, inner => inner.check_neighbor(now, id, neighbor))
        }

        fn note_sent(&mut self, now: $crate::time::Instant, destination: core::net::Ipv4Addr) {
            $($each_mut)+!(self, inner => inner.note_sent(now, destination));
        }

        fn note_avoided(&mut self, now: $crate::time::Instant, next_hop: &core::net::Ipv6Addr) {
            $($each_mut)+!(self, inner => inner.note_avoided(now, next_hop));
        }

        fn path_error(
            &mut self,
            now: $crate::time::Instant,
            error: &$crate::proto41::icmp::TunnelError,
        ) -> Result<(), $crate::drop_reason::DropReason> {
            $($each_mut)+!(self, inner => inner.path_error(now, error))
        }

        fn handle_timeout(
            &mut self,
            cx: &mut $crate::interface::Context<'_, C>,
            entropy: &mut dyn $crate::engine::Entropy,
        ) {
            $($each_mut)+!(self, inner => inner.handle_timeout(cx, entropy));
        }

        fn poll_transmit(
            &mut self,
            cx: &mut $crate::interface::Context<'_, C>,
            out: &mut $crate::packet::PacketMut<'_>,
        ) -> Result<Option<$crate::engine::Transmit>, $crate::error::EmitError> {
            $($each_mut)+!(self, inner => inner.poll_transmit(cx, out))
        }

        fn poll_event(&mut self, cx: &mut $crate::interface::Context<'_, C>) -> Option<$crate::engine::Event> {
            $($each_mut)+!(self, inner => inner.poll_event(cx))
        }

        fn deadline(&self) -> $crate::time::Expiry {
            $($each)+!(self, inner => inner.deadline())
        }

        fn has_packet(&self, now: $crate::time::Instant) -> bool {
            $($each)+!(self, inner => inner.has_packet(now))
        }

        fn has_event(&self) -> bool {
            $($each)+!(self, inner => inner.has_event())
        }
    };
}

/// What a pointer points to, to be changed.
macro_rules! pointee_mut {
    ($self:expr, $inner:ident => $call:expr) => {{
        let $inner = &mut **$self;
        $call
    }};
}

/// The part of an automatic tunnel's interface that is the same for each:
/// `link` has its data, with `underlay`.
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
            self.link.underlay.path_error(now, error)
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
                self.link.underlay.handle_timeout(cx.now);
            }

            fn poll_transmit(
                &mut self,
                _cx: &mut $crate::interface::Context<'_, C>,
                _out: &mut $crate::packet::PacketMut<'_>,
            ) -> Result<Option<$crate::engine::Transmit>, $crate::error::EmitError> {
                Ok(None)
            }

            fn poll_event(&mut self, cx: &mut $crate::interface::Context<'_, C>) -> Option<$crate::engine::Event> {
                self.told.poll_event(cx, &self.link.underlay.policy)
            }

            fn deadline(&self) -> $crate::time::Expiry {
                self.link.underlay.deadline()
            }

            fn has_packet(&self, _now: $crate::time::Instant) -> bool {
                false
            }

            fn has_event(&self) -> bool {
                self.told.has_event(&self.link.underlay.policy)
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
            &mut self.link.underlay.policy
        }

        /// This node's addresses on the link.
        pub fn addresses(&self) -> impl Iterator<Item = $crate::engine::LearnedAddress> + '_ {
            self.told.addresses()
        }
    };
}

pub(crate) use interface_by;
pub(crate) use interface_of_its_link;
pub(crate) use link_and_policy;
pub(crate) use link_field;
pub(crate) use link_of_its_data;
pub(crate) use pointee_mut;
pub(crate) use silent_interface;
