//! Private keys on their way, by the program as people run it: a secure host with a key in an outbox, and a CI job that
//! shares nothing with it but that directory.

mod bench;
mod rewrap;
mod vault;
mod write;
