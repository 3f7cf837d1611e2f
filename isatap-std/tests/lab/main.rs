//! Whole networks in one process, under a virtual clock: nothing sleeps, nothing needs privileges.
#![allow(clippy::print_stdout, reason = "measurements")]

mod site;

mod faults;
mod isatap;
mod portproxy;
mod soak;
mod solicitations;
mod teredo;
mod teredo_floods;
mod world;
