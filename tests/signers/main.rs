//! Signers as they really are: OpenDKIM and rspamd behind the program's own milter client, tables and orders.

#![allow(clippy::print_stdout)] // a skipped test says so

#[path = "../servers/opendkimd.rs"]
mod opendkimd;
#[path = "../servers/rspamdd.rs"]
mod rspamdd;

mod servers {
    pub(crate) use crate::{opendkimd, rspamdd};
}

mod apply;
mod bench;
mod keys;
mod postfix;
mod rspamd;
mod safekeys;
mod unsafekeys;
