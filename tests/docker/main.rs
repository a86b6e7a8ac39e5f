//! The stack that `stack init` writes, on a real engine: built, started, sending signed mail to a receiver that verifies
//! it, rotated under flow, restarted, and with its keys by every target that there is.
//!
//! The image that everything begins with is made by debootstrap where no registry is needed, and kept. Everything else
//! is torn down, also by a test that fails.

#[path = "../servers/mod.rs"]
mod servers;
#[path = "../rotation/sink.rs"]
#[allow(dead_code)]
mod sink;

mod doctor;
#[path = "../servers/engine.rs"]
mod engine;
mod flow;
mod lab;
mod load;
mod rspamd;
#[path = "../servers/spaces.rs"]
#[allow(dead_code)]
mod spaces;
mod stack;
mod swarm;
mod targets;
mod traps;
mod world;

use std::sync::{Mutex, MutexGuard};

use servers::{Bind, servers_or_skip, skip};
use sink::Sink;

use engine::Engine;

/// Only one stack at a time: they have the same names, and the machine is small.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// The turn of a test, or `None` if it cannot run here.
fn turn() -> Option<(MutexGuard<'static, ()>, &'static Engine)> {
    let turn = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if !nix::unistd::Uid::effective().is_root() {
        skip("an engine needs root");
        return None;
    }
    if !Sink::available() {
        skip("not found: python3-dkim, python3-dnspython");
        return None;
    }
    if !servers_or_skip(&[Bind::PROGRAM, "docker", "docker-compose", "debootstrap", "ip"]) {
        return None;
    }
    match Engine::get() {
        Ok(engine) => Some((turn, engine)),
        Err(why) => {
            skip(why);
            None
        }
    }
}
