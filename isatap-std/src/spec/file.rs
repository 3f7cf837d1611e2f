//! How the fields of a [`spec`](super::field) are read from a file by serde.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::value::{BoolDeserializer, F64Deserializer, I64Deserializer, StrDeserializer};
use serde::de::{
    self, Deserialize, DeserializeSeed, Deserializer, IntoDeserializer as _, SeqAccess, Unexpected, Visitor,
};

use crate::mistakes::shown;

/// Values for keys that a table needs, of files and of scenarios: the table (`""`: any), the key,
/// what could stand there. A server is given by address, since the lab resolves no names of servers.
pub(crate) const EXAMPLES: &[(&str, &str, &str)] = &[
    ("isatap-router", "prefix", "\"2001:db8:0:7::/64\""),
    ("", "prefix", "\"2001:db8::/32\""),
    ("", "local", "\"10.0.0.2\""),
    ("", "remote", "\"198.51.100.1\""),
    ("", "server", "\"198.51.100.1\""),
    ("", "primary", "\"198.51.100.1\""),
    ("", "dev", "\"eth1\""),
    ("", "listen", "\"0.0.0.0:8080\""),
    ("dns-update", "zone", "\"example.net\""),
    ("native", "address", "\"2001:db8:0:8::c/64\""),
    ("nat", "kind", "\"cone\""),
];

/// How other programs call a table, a key or a value of a link, and its name here.
pub(crate) const ALIASES: &[(&str, &str)] = &[
    ("sit", "tunnel"),
    ("6in4", "tunnel"),
    ("configured", "tunnel"),
    ("ipip6", "tunnel"),
    ("device", "dev"),
    ("interface", "dev"),
    ("name", "dev"),
    ("vrf", "bind-device"),
    ("fwmark", "mark"),
    ("true", "on"),
    ("yes", "on"),
    ("false", "off"),
    ("no", "off"),
    ("border-relay", "br"),
    ("relay", "br"),
    ("customer-edge", "ce"),
    ("customer", "ce"),
    // Of netsh interface portproxy.
    ("listenport", "listen"),
    ("listenaddress", "listen"),
    ("connectport", "connect"),
    ("connectaddress", "connect"),
];

/// A key of a table, which is one of these.
#[derive(Clone, Copy)]
pub(super) struct Key<'a> {
    /// With underscores, as in Rust.
    names: &'a [&'static str],
    /// Other spellings that were published.
    aliases: &'a [(&'static str, &'static str)],
}

impl<'a> Key<'a> {
    pub(super) fn new(names: &'a [&'static str], aliases: &'a [(&'static str, &'static str)]) -> Self {
        Self { names, aliases }
    }
}

/// A field's name as it is written in files.
pub(super) fn key(field: &str) -> Cow<'_, str> {
    if field.contains('_') { field.replace('_', "-").into() } else { field.into() }
}

pub(super) fn missing_field<E: de::Error>(field: &str) -> E {
    E::custom(format_args!("missing field `{}`", key(field)))
}

/// Of a key that has two names: TOML itself refuses one name twice.
pub(super) fn twice<E: de::Error>(field: &str) -> E {
    E::custom(format_args!("{} is written under two names: keep one", key(field)))
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = &'static str;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<&'static str, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = &'static str;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<&'static str, E> {
        let by_alias = self.aliases.iter().find(|(_, alias)| *alias == text).map(|(name, _)| name);
        self.names.iter().find(|name| key(name) == text).or(by_alias).copied().ok_or_else(|| {
            let names: Vec<String> = self.names.iter().map(|name| format!("`{}`", key(name))).collect();
            E::custom(format_args!("unknown field `{text}`, expected one of {}", names.join(", ")))
        })
    }
}

/// A value of a field; of a list a single value counts as a list of one.
pub(super) struct Value<T>(PhantomData<T>);

impl<T> Value<T> {
    pub(super) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<'de, T: Read<'de>> DeserializeSeed<'de> for Value<T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        T::read(deserializer)
    }
}

/// What a field can be.
pub(super) trait Read<'de>: Sized {
    fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error>;
}

impl<'de, T: Read<'de>> Read<'de> for Option<T> {
    fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::read(deserializer).map(Some)
    }
}

impl<'de, T: Read<'de>> Read<'de> for Vec<T> {
    fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List<T>(PhantomData<T>);

        impl<'de, T: Read<'de>> Visitor<'de> for List<T> {
            type Value = Vec<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a sequence")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = list.next_element_seed(Value::new())? {
                    values.push(value);
                }
                Ok(values)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<T>, E> {
                let text: StrDeserializer<'_, E> = text.into_deserializer();
                Ok(vec![T::read(text)?])
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Vec<T>, E> {
                let value: BoolDeserializer<E> = value.into_deserializer();
                Ok(vec![T::read(value)?])
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Vec<T>, E> {
                let value: I64Deserializer<E> = value.into_deserializer();
                Ok(vec![T::read(value)?])
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Vec<T>, E> {
                let value: F64Deserializer<E> = value.into_deserializer();
                Ok(vec![T::read(value)?])
            }
        }

        deserializer.deserialize_any(List(PhantomData))
    }
}

/// Types that serde reads by itself.
macro_rules! by_serde {
    ($($type:ty),* $(,)?) => {$(
        impl<'de> Read<'de> for $type {
            fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::deserialize(deserializer)
            }
        }
    )*};
}

by_serde!(
    bool,
    u8,
    u16,
    u32,
    u64,
    String,
    std::path::PathBuf,
    std::net::Ipv4Addr,
    std::net::Ipv6Addr,
    isatap_core::isatap::CheckNeighbors,
    isatap_core::isatap::OfferDefault,
    isatap_core::route::Preference,
    super::SixRdRole,
    super::SixToFourRole,
);

/// Types that are read from text.
macro_rules! by_text {
    ($($type:ty),* $(,)?) => {$(
        impl<'de> Read<'de> for $type {
            fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                text(deserializer)
            }
        }
    )*};
}

by_text!(
    isatap_core::prefix::Ipv4Prefix,
    isatap_core::prefix::Ipv6Prefix,
    crate::resolve::Entry,
    crate::resolve::Name,
    crate::resolve::NameService,
    crate::resolve::Step,
    super::AddressWithLength,
    super::Direction,
    super::Ecn,
    super::DnsServer,
    super::UpdateUrl,
    super::LanOptions,
    super::OwnPrefix,
    super::PortMapping,
    super::Protocol,
    super::ProxyProtocol,
    super::PublishedRoute,
    super::ServerName,
);

/// The same, of which a number is one: a port alone, a time to live.
macro_rules! by_text_or_number {
    ($($type:ty),* $(,)?) => {$(
        impl<'de> Read<'de> for $type {
            fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(Text { of: PhantomData, takes_numbers: true })
            }
        }
    )*};
}

by_text_or_number!(super::Bind, super::Listen, super::Mark, super::Target, super::Tos, super::Ttl);

/// What [`FromStr`] makes of a text.
///
/// # Errors
///
/// What it says is wrong with the text, which is in front of it.
pub(crate) fn text<'de, D: Deserializer<'de>, T: FromStr<Err: fmt::Display>>(deserializer: D) -> Result<T, D::Error> {
    // Parsed by a visitor, since its mistakes have a place: that of one element in a list.
    deserializer.deserialize_str(Text { of: PhantomData, takes_numbers: false })
}

struct Text<T> {
    of: PhantomData<T>,
    takes_numbers: bool,
}

impl<T: FromStr<Err: fmt::Display>> Text<T> {
    /// What is no text: what it would be in quotes, or that quotes are missing.
    fn without_quotes<E: de::Error>(&self, text: &str, found: Unexpected<'_>) -> E {
        match text.parse::<T>() {
            Ok(_) => E::invalid_type(found, self),
            Err(error) => E::custom(format_args!("{text}: {error}")),
        }
    }
}

impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(|error: T::Err| {
            let error = error.to_string();
            if error.starts_with("cannot ") {
                E::custom(error)
            } else {
                E::custom(format_args!("{}: {error}", shown(text)))
            }
        })
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<T, E> {
        Err(self.without_quotes(&value.to_string(), Unexpected::Bool(value)))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<T, E> {
        Err(self.without_quotes(&value.to_string(), Unexpected::Float(value)))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<T, E> {
        let text = value.to_string();
        if self.takes_numbers {
            self.visit_str(&text)
        } else {
            Err(self.without_quotes(&text, Unexpected::Signed(value)))
        }
    }
}
