//! Bad input: each mistake meets a clear error that names the next command; nothing is lost, nothing that belongs to
//! others is touched, and no secret is told.

#[path = "../servers/mod.rs"]
mod servers;

mod config;
mod disk;
mod keys;
mod place;
mod selector;
mod state;
mod tsig;
