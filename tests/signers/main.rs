//! Signers as they really are: OpenDKIM behind the program's own milter client, tables and orders.

#![allow(clippy::print_stdout)] // a skipped test says so

#[path = "../servers/opendkimd.rs"]
mod opendkimd;

mod servers {
    pub(crate) use crate::opendkimd;
}

mod apply;
mod keys;
mod postfix;
mod safekeys;
