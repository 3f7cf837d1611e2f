//! What is measured, written once: `timing` (criterion, nanoseconds) and
//! `instructions` (gungraun under valgrind, exact counts) both call these.
//!
//! - `inputs`: packets, links and nodes, made outside of what is measured.
//! - `internet`: a table that looks like the Internet's, for `fib` and `instructions`.
//! - `learned`: a host with many routes, and advertisements that change them.
//! - `links`: a link of each kind with its packets; `routes`: route tables.
//! - `ours`: the operations of isatap-core.
//! - `peers`: the same work by other libraries, in the same run.
//! - `teredo`: inputs and operations of Teredo.
//!
//! A new bench is a function here, one line in each of the two harnesses and
//! a row of the table in `.ci/instructions.py`.

pub mod decisions;
pub mod inputs;
pub mod internet;
pub mod learned;
pub mod links;
pub mod ours;
pub mod peers;
pub mod routes;
pub mod teredo;
