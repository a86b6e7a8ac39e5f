//! Where mail ended up: what each provider writes, what others write in its name, and real mailboxes.

#[allow(dead_code)] // each test program uses a part
#[path = "../servers/opendkimd.rs"]
mod opendkimd;
#[path = "../servers/mod.rs"]
mod servers;

mod headers;
mod mailboxes;
mod program;
mod provider;
