//! Relaying, as it was tried.

use crate::doctor::finding::Said;
use crate::doctor::relay_probe::Tried;

fn said(evidence: impl Into<String>, fix: impl Into<String>) -> Said {
    Said { evidence: evidence.into(), fix: fix.into() }
}

pub fn open(tried: &Tried, reply: &str) -> Said {
    let from = match tried.local {
        true => {
            " from this machine. If Docker's proxy makes connections look like the bridge's, everybody else may as well; \
             try it from another machine of yours too"
        }
        false => " from here: anybody can send anything through it, and its address will be on every block list soon",
    };
    said(
        format!("{} takes mail of strangers for strangers{from} ({reply:.120})", tried.target),
        "bind the port to 127.0.0.1 in the Compose file or remove `ports:`, and set mynetworks to the exact subnet of the \
         network, never 172.16.0.0/12",
    )
}

pub fn closed(tried: &Tried, at: &str, reply: &str) -> String {
    format!("{} refuses strangers at {at} ({reply:.120})", tried.target)
}

pub fn nobody(tried: &Tried) -> String {
    format!("nobody listens at {}", tried.target)
}

pub fn unknown(tried: &Tried, why: &str) -> Said {
    said(format!("{} could not be tried: {why}", tried.target), "try it again, or from another machine of yours")
}

pub fn not_ours(tried: &Tried) -> Said {
    said(
        format!("{} was not tried: it is no address of this machine, and nothing says that it is yours", tried.target),
        format!("if it is yours, say so: --probe-relay {} --public-ip {}", tried.target, tried.target.ip()),
    )
}

pub fn no_target(why: &str) -> Said {
    said(format!("nothing could be tried: {why}"), "name a host or an address, with a port if it is neither 25 nor 587")
}
