//! The same without a client of HTTP: [`spec`](crate::spec) refuses what would be called.

use super::{Credentials, State};
use crate::device::Binding;
use crate::error::Error;
use crate::spec::{LinkSpec, UpdateUrl};
use crate::told::Told;
use std::net::Ipv4Addr;

#[derive(Clone, Default)]
pub(crate) struct Calls(());

impl Calls {
    pub(crate) fn begin(
        &self,
        _: &str,
        url: &UpdateUrl,
        _: &Credentials,
        _: &Binding,
        _: impl Fn(Told) + Send + Sync + 'static,
    ) -> Result<Updater, Error> {
        Err(Error::usage("call", url.host(), "this program was built without a client of HTTP"))
    }

    pub(crate) fn retain<'l>(&self, _: impl Iterator<Item = (&'l LinkSpec, &'l Credentials)>) {}

    pub(crate) fn end(&self) {}
}

/// There is none.
#[derive(Debug)]
pub(crate) enum Updater {}

impl Updater {
    pub(crate) fn host(&self) -> &str {
        match *self {}
    }

    pub(crate) fn state(&self) -> State {
        match *self {}
    }

    pub(crate) fn follow(&self, _: Option<Ipv4Addr>) {
        match *self {}
    }

    pub(crate) fn ask(&self) {
        match *self {}
    }

    pub(crate) fn other_end(&self, _: bool) {
        match *self {}
    }
}
