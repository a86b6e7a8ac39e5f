//! The program at real DNS hosts, where something stands in the way: names that lead elsewhere, a zone on two hosts at
//! once of which one is silent, a `kill -9` between a change and its record, edits by others, a fleet that fails.

#[path = "../servers/opendkimd.rs"]
#[allow(dead_code)] // the signer is stopped with the test
mod opendkimd;
#[path = "../servers/mod.rs"]
mod servers;

#[path = "../fleet/mod.rs"]
mod fleet_state;

mod delegation;
mod drift;
mod fleet;
mod killed;
mod lab;
mod two_hosts;
