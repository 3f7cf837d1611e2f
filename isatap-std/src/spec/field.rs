//! How a mechanism's struct is written down once, and read from flags and from files.
//!
//! [`spec!`](spec) takes the fields with their documentation, and makes of them the struct, its
//! `new`, its flags (clap, feature `args`) and its keys (serde, feature `file`). A field is
//!
//! ```text
//! name: Type ["VALUE"], new(name);     must be given, and is an argument of `new`
//! name: Type ["VALUE"] = default;      may be left out
//! name: bool, unless("no-name");       is on, unless the flag --no-name or the key name = false
//! name: Type ["VALUE"];                a list, an Option or a bool: empty, None, false
//! ```
//!
//! The flag and the key are the name with hyphens; `VALUE` stands for the value in `--help`.

/// What a field is where nothing is said of it.
pub(super) trait Absent {
    const ABSENT: Self;
}

impl Absent for bool {
    const ABSENT: Self = false;
}

impl<T> Absent for Option<T> {
    const ABSENT: Self = None;
}

impl<T> Absent for Vec<T> {
    const ABSENT: Self = Vec::new();
}

/// Makes the struct of a mechanism; `tunnel` and `teredo` add the fields of every such link, `names`
/// those of links whose routers or relays can be given by name.
macro_rules! spec {
    (names tunnel($device:expr) $(#[$about:meta])* $name:ident { $($fields:tt)* }) => {
        $crate::spec::field::spec! { tunnel($device) $(#[$about])* $name {
            $($fields)*
            /// How names are looked up, by steps with commas between them: host-name, hosts, dns, llmnr,
            /// netbios-cache, wins, broadcast, lmhosts. Their order is always this one, and the first that
            /// knows an address wins. Without it host-name, hosts and dns. Anybody on the links of this
            /// host can answer to llmnr and broadcast.
            resolve_by: Vec<$crate::resolve::Step> ["STEP"], arg(value_delimiter = ',');
            /// A WINS server for the step wins. May be repeated.
            wins: Vec<std::net::Ipv4Addr> ["V4"];
            /// The file for the steps netbios-cache and lmhosts. Without it /etc/samba/lmhosts.
            lmhosts: Option<std::path::PathBuf> ["FILE"];
            /// Take no address of a name about which machines of one link contradict each other, by llmnr or
            /// broadcast. Anybody on that link can then keep this host without a router, by one contradiction.
            /// Without it the first answer is used. The conflict is logged either way.
            refuse_conflicts: bool;
            /// Try the parents of the first search domain too, down to two labels. Whoever owns one of
            /// them answers for this site.
            devolution: bool;
        } }

        impl $name {
            fn name_options(&self) -> $crate::spec::names::NameOptions<'_> {
                $crate::spec::names::NameOptions {
                    steps: &self.resolve_by,
                    wins: &self.wins,
                    lmhosts: self.lmhosts.as_deref(),
                    refuse_conflicts: self.refuse_conflicts,
                    devolution: self.devolution,
                }
            }

            fn resolve_names(&mut self) {
                self.resolve_by = $crate::spec::names::in_order(&self.resolve_by);
                $crate::spec::once(&mut self.wins);
            }
        }
    };
    (tunnel($device:expr) $(#[$about:meta])* $name:ident { $($fields:tt)* }) => {
        $crate::spec::field::spec! { $(#[$about])* $name {
            $($fields)*
            /// The device to make.
            dev: String ["DEV"] = $device.to_owned();
            /// The IPv6 MTU in bytes, 1280 to 65515. Without it 20 less than that of the IPv4 interface, 1480
            /// over Ethernet; an ISATAP host takes what its router advertises. Write 1280 where long packets
            /// vanish: some firewall drops the ICMPv4 errors that path MTU discovery needs.
            mtu: Option<u16> ["N"];
            /// The time to live of outer packets, 1 to 255. inherit: the hop limit of the packet inside, so that
            /// traceroute shows the routers of the IPv4 network as well.
            ttl: $crate::spec::Ttl ["N|inherit"] = $crate::spec::Ttl(isatap_core::link::OuterPolicy::DEFAULT.ttl);
            /// The DSCP of outer packets, as TOS: 0x00 to 0xfc, or a name such as ef, af41 or cs6. inherit: that
            /// of the packet inside. Without it 0x00; 6rd inherits.
            tos: Option<$crate::spec::Tos> ["TOS"];
            /// Whether outer packets carry the congestion marks (ECN) of those inside. normal: they do, which
            /// the other end has to understand (RFC 6040 or RFC 3168; Linux does). compatibility: they do not.
            /// Marks that come in are honoured either way. Without it compatibility; 6rd has normal.
            ecn: Option<$crate::spec::Ecn> ["MODE"];
            /// Find the path MTU by DF and ICMPv4. Without it packets have mtu bytes, or 1280, and routers of
            /// the IPv4 network may fragment them.
            path_mtu_discovery: bool, unless("no-path-mtu-discovery");
            /// Mark outer packets for the firewall and policy routing of this machine, as ip rule fwmark
            /// matches it: 0x1 to 0xffffffff.
            mark: Option<$crate::spec::Mark> ["MARK"];
            /// Send outer packets by this device, whatever the IPv4 routes say, and take none that came by
            /// another: a VRF, or an interface. While it is not there, the link waits. Links of the same ends can be
            /// bound to a device each.
            bind_device: Option<String> ["DEV"];
            /// The metric of routes through the device; native ones have 1024.
            metric: u32 ["N"] = $crate::spec::DEFAULT_METRIC;
            /// Take a full table from the kernel: up to 1,700,000 routes that other programs put on the device.
            /// Without it the link uses 170 of them at most. A full table takes 15 bytes a route and follows
            /// changes within a second or two; next hops that do not answer stay in use.
            full_table: bool;
            /// Record outer packets into this file, for Wireshark or tcpdump.
            pcap: Option<std::path::PathBuf> ["FILE"];
        } }

        impl $name {
            pub(super) fn outer(&self) -> $crate::spec::outer::OuterFields<'_> {
                $crate::spec::outer::OuterFields {
                    dev: &self.dev,
                    mtu: self.mtu,
                    ttl: self.ttl,
                    tos: self.tos,
                    ecn: self.ecn,
                    path_mtu_discovery: self.path_mtu_discovery,
                    mark: self.mark.unwrap_or_default(),
                    bind_device: self.bind_device.as_deref(),
                }
            }

            /// What holds where nothing else is asked for, of a mechanism whose policy is `base`.
            fn resolve_outer(&mut self, base: isatap_core::link::OuterPolicy) {
                self.tos.get_or_insert($crate::spec::Tos(base.tos));
                self.ecn.get_or_insert($crate::spec::Ecn(base.ecn));
                self.mark.get_or_insert_default();
            }
        }
    };
    (teredo $(#[$about:meta])* $name:ident { $($fields:tt)* }) => {
        $crate::spec::field::spec! { $(#[$about])* $name {
            $($fields)*
            /// The device to make; its MTU is 1280.
            dev: String ["DEV"] = $crate::spec::TEREDO_DEVICE.to_owned();
            /// Record outer packets into this file, for Wireshark or tcpdump.
            pcap: Option<std::path::PathBuf> ["FILE"];
            /// Let private and documentation IPv4 addresses count as public, for labs. Loopback,
            /// 169.254/16, multicast, 0/8 and 240/4 never do.
            accept_bogons: bool;
        } }
    };
    ($(#[$about:meta])* $name:ident { $(
        $(#[doc = $doc:expr])*
        $field:ident : $type:ty
        $([$value:literal])? $(= $default:expr)? $(, new($argument:ident))? $(, unless($no:literal))?
        $(, arg($($arg:tt)*))? $(, alias($alias:literal))? ;
    )* }) => {
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq)]
        #[cfg_attr(feature = "args", derive(clap::Args))]
        #[non_exhaustive]
        pub struct $name { $(
            $(#[doc = $doc])*
            #[cfg_attr(feature = "args", arg(
                long $(= $no, action = clap::ArgAction::SetFalse)?
                $(, value_name = $value)?
                $(, required = !stringify!($argument).is_empty())?
                $(, default_value_t = $default)?
                $(, $($arg)*)?
            ))]
            pub $field: $type,
        )* }

        impl $name {
            /// One with the fields that must be given; the others are what `--help` says.
            #[must_use]
            #[allow(clippy::new_without_default, reason = "of some nothing must be given")]
            pub fn new($($($argument: $type,)?)*) -> Self {
                Self { $($field: $crate::spec::field::given!([$($argument)?] [$($default)?] [$($no)?]),)* }
            }
        }

        #[cfg(feature = "file")]
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                use $crate::spec::file::{Key, Value};

                struct Visitor;

                impl<'de> serde::de::Visitor<'de> for Visitor {
                    type Value = $name;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str(concat!("struct ", stringify!($name)))
                    }

                    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<$name, A::Error> {
                        $(let mut $field: Option<$type> = None;)*
                        let keys = Key::new(&[$(stringify!($field)),*], &[$($((stringify!($field), $alias),)?)*]);
                        while let Some(key) = map.next_key_seed(keys)? {
                            $(if key == stringify!($field) {
                                if $field.is_some() {
                                    return Err($crate::spec::file::twice(stringify!($field)));
                                }
                                $field = Some(map.next_value_seed(Value::new())?);
                                continue;
                            })*
                        }
                        Ok($name { $($field: match $field {
                            Some(value) => value,
                            None => $crate::spec::field::missing!($field [$($argument)?] [$($default)?] [$($no)?]),
                        },)* })
                    }
                }

                deserializer.deserialize_struct(stringify!($name), &[], Visitor)
            }
        }
    };
}

/// A field's value in `new`.
macro_rules! given {
    ([$argument:ident] [] []) => {
        $argument
    };
    ([] [$default:expr] []) => {
        $default
    };
    ([] [] [$no:literal]) => {
        true
    };
    ([] [] []) => {
        $crate::spec::field::Absent::ABSENT
    };
}

/// A field's value where a table does not have its key.
#[cfg(feature = "file")]
macro_rules! missing {
    ($field:ident [$argument:ident] [] []) => {
        return Err($crate::spec::file::missing_field(stringify!($field)))
    };
    ($field:ident [] $default:tt $no:tt) => {
        $crate::spec::field::given!([] $default $no)
    };
}

pub(super) use given;
#[cfg(feature = "file")]
pub(super) use missing;
pub(super) use spec;
