//! Rotation under load: real name servers, a caching resolver, a real mail server and signer, and a second
//! implementation that verifies every message the moment it arrives.
//!
//! The first two tests prove the rig itself, with a rotation made by hand: done right every message is valid, and
//! done carelessly messages fail. What cannot go red proves nothing.

#[path = "../servers/opendkimd.rs"]
#[allow(dead_code)] // the program sees its signer through its own configuration
mod opendkimd;
#[path = "../servers/mod.rs"]
mod servers;

mod by_hand;
mod lag;
mod load;
mod parties;
mod rig;
mod scenario;
mod sink;
mod users;

use std::process::Command;
use std::sync::{Mutex, MutexGuard};

use servers::postfix::Postfix;
use servers::unbound::Unbound;
use servers::{Bind, servers_or_skip, skip};
use sink::Sink;

/// Only one rig at a time: each is a mail server under load.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// The turn of a test, or `None` if it cannot run here.
fn turn() -> Option<MutexGuard<'static, ()>> {
    let programs = [Bind::PROGRAM, Unbound::PROGRAM, "opendkim", Postfix::PROGRAM, "nsupdate", "openssl"];
    let root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    let lacking = [(!root, "Postfix needs root"), (!Sink::available(), "not found: python3-dkim, python3-dnspython")];
    if let Some((_, why)) = lacking.iter().find(|(lacks, _)| *lacks) {
        skip(why);
        return None;
    }
    servers_or_skip(&programs).then(|| ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
}
