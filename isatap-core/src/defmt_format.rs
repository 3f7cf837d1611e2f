//! What firmware logs, in defmt's format (feature `defmt`).
//!
//! The words are those of `Display`, or of `Debug` where there is none; a
//! [`DropReason`] is its kebab-case name. Formatting runs on the device, by
//! `core::fmt`: defmt's own macros would put statics with link sections into
//! this crate, which `forbid(unsafe_code)` refuses.

use defmt::{Debug2Format, Display2Format, Format, Formatter};

use crate::drop_reason::DropReason;
use crate::embedded::{Embedded, Form, Kind, Role};
use crate::engine::{Admitted, Event, Transmit, Verdict, Via};
use crate::error::{EmitError, ParseError, TableFull};
use crate::link::{Denied, InterfaceAddress, Resolution};
use crate::packet::LinkId;
use crate::prefix::{Ipv4Prefix, Ipv6Prefix};
use crate::pretty::{Packet, Warning};
use crate::proto41::Outer;
use crate::route::{Change, Route};
use crate::teredo;
use crate::time::{Expiry, Instant, Lifetime};

impl Format for DropReason {
    fn format(&self, fmt: Formatter<'_>) {
        self.as_str().format(fmt);
    }
}

macro_rules! format_by {
    ($by:ident: $($name:ty),+ $(,)?) => {
        $(impl Format for $name {
            fn format(&self, fmt: Formatter<'_>) {
                $by(self).format(fmt);
            }
        })+
    };
}

format_by!(Display2Format: EmitError, Instant, Ipv4Prefix, Ipv6Prefix, Lifetime, Packet<'_>, ParseError, TableFull, Warning);
format_by!(
    Debug2Format: Admitted, Change, Denied, Embedded, Event, Expiry, Form, InterfaceAddress, Kind, LinkId, Outer,
    Resolution, Role, Route, Transmit, Verdict, Via, teredo::addr::Address,
);
