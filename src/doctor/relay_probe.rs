//! RELAY001, live: whether a server takes mail of strangers for strangers, tried on a server that is ours.
//!
//! The conversation ends before DATA, and both addresses are below `.invalid` (RFC 6761 section 6.4), so nothing could
//! ever be delivered.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use super::finding::{Findings, Severity, Tier};
use super::net::port25::reply;
use crate::report::doctor::relay_probe as say;

/// One try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    pub target: SocketAddr,
    /// The target is this machine: what is seen from here may not be what strangers see.
    pub local: bool,
    pub outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A stranger's recipient was taken.
    Open {
        reply: String,
    },
    /// It was refused, at this command.
    Closed {
        at: &'static str,
        reply: String,
    },
    NobodyListens,
    Unknown(String),
    /// Not tried: nothing shows that the server is ours.
    NotOurs,
}

const PATIENCE: Duration = Duration::from_secs(10);
/// A stranger, to whom and from whom nothing can ever go.
const FROM: &str = "dkimctl-probe@sender.invalid";
const TO: &str = "dkimctl-probe@recipient.invalid";

/// Tries every address of `target` (`host`, or `host:port`), port 25 and 587 unless one is named. `ours`: addresses
/// that are known to be ours, beside those of this machine.
pub fn look(target: &str, ours: &[IpAddr]) -> Result<Vec<Tried>, String> {
    let whole: Option<SocketAddr> = target.parse().ok();
    let bare: Option<IpAddr> = target.trim_matches(['[', ']']).parse().ok();
    let targets: Vec<SocketAddr> = match (whole, bare) {
        (Some(whole), _) => vec![whole],
        (None, Some(ip)) => [25, 587].map(|port| SocketAddr::new(ip, port)).to_vec(),
        (None, None) => {
            let (host, ports) = match target.rsplit_once(':') {
                Some((host, port)) => (host, vec![port.parse().map_err(|_| format!("`{port}` is no port"))?]),
                None => (target, vec![25, 587]),
            };
            let found = (host, 25).to_socket_addrs().map_err(|error| format!("{host}: {error}"))?;
            found
                .flat_map(|at| ports.iter().map(move |&port| SocketAddr::new(at.ip(), port)).collect::<Vec<_>>())
                .collect()
        }
    };
    let mut tries: Vec<Tried> = Vec::new();
    for target in targets {
        if tries.iter().any(|tried| tried.target == target) {
            continue;
        }
        // Only an address of this machine can be listened at.
        let local = TcpListener::bind((target.ip(), 0)).is_ok();
        let known = local || ours.iter().any(|ip| ip.to_canonical() == target.ip().to_canonical());
        tries.push(Tried { target, local, outcome: if known { try_one(target) } else { Outcome::NotOurs } });
    }
    Ok(tries)
}

fn try_one(target: SocketAddr) -> Outcome {
    let stream = match TcpStream::connect_timeout(&target, PATIENCE) {
        Ok(stream) => stream,
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => return Outcome::NobodyListens,
        Err(error) => return Outcome::Unknown(error.to_string()),
    };
    converse(stream).unwrap_or_else(|error| Outcome::Unknown(error.to_string()))
}

fn converse(mut stream: TcpStream) -> std::io::Result<Outcome> {
    let deadline = Instant::now() + PATIENCE * 3;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut said = last_line(&mut reader, deadline)?;
    let commands = [
        ("the greeting", None),
        ("EHLO", Some("EHLO probe.invalid".to_owned())),
        ("MAIL", Some(format!("MAIL FROM:<{FROM}>"))),
        ("RCPT", Some(format!("RCPT TO:<{TO}>"))),
    ];
    for (at, command) in commands {
        if let Some(command) = command {
            stream.write_all(format!("{command}\r\n").as_bytes())?;
            said = last_line(&mut reader, deadline)?;
        }
        if !said.starts_with('2') {
            let _ = stream.write_all(b"QUIT\r\n");
            return Ok(Outcome::Closed { at, reply: said });
        }
    }
    let _ = stream.write_all(b"RSET\r\nQUIT\r\n");
    Ok(Outcome::Open { reply: said })
}

/// The last line of one reply.
fn last_line(from: &mut impl BufRead, deadline: Instant) -> std::io::Result<String> {
    let reply = reply(from, deadline)?;
    Ok(reply.lines().last().unwrap_or_default().to_owned())
}

pub fn judge(tries: &[Tried], findings: &mut Findings) {
    for tried in tries {
        let about = tried.target.to_string();
        match &tried.outcome {
            Outcome::Open { reply } => {
                let finding = findings.found("RELAY001", Tier::Observed, about, say::open(tried, reply));
                if tried.local {
                    finding.weighing(Severity::Error);
                }
            }
            Outcome::Closed { at, reply } => {
                findings.ok("RELAY001", Tier::Observed, about, say::closed(tried, at, reply));
            }
            Outcome::NobodyListens => findings.ok("RELAY001", Tier::Observed, about, say::nobody(tried)),
            Outcome::Unknown(why) => {
                findings.unknown("RELAY001", Tier::Observed, about, say::unknown(tried, why));
            }
            Outcome::NotOurs => {
                findings.unknown("RELAY001", Tier::Observed, about, say::not_ours(tried));
            }
        }
    }
}
