//! Signers as they really are: OpenDKIM behind the program's own milter client, tables and orders.

#[path = "../servers/mod.rs"]
mod servers;

mod apply;
mod keys;
mod postfix;
mod safekeys;
