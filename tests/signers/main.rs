//! Signers as they really are: OpenDKIM behind the program's own milter client, tables and orders.

#![allow(clippy::print_stdout)] // a skipped test says so

#[path = "../servers/mod.rs"]
mod servers;

mod apply;
mod keys;
mod postfix;
mod safekeys;
