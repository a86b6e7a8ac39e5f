//! The doctor's network checks in a laboratory of network namespaces: a container behind NAT, real BIND with reverse
//! zones, a real Exim that echoes the address it sees.

#![allow(clippy::print_stdout)]

#[path = "../servers/mod.rs"]
mod servers;

#[path = "../servers/spaces.rs"]
#[allow(dead_code)]
mod spaces;

#[path = "../servers/opendkimd.rs"]
#[allow(dead_code)]
mod opendkimd;

#[path = "../servers/rspamdd.rs"]
#[allow(dead_code)]
mod rspamdd;

mod clock;
mod lab;
mod records;
mod relay;
mod reverse;
mod way_out;
mod whole;
