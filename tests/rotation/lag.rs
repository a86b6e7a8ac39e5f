//! A secondary that lags: it hears of a change a while after the primary has it, and not a moment earlier.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use dkimctl_providers::wire::{self, Answer, Options};
use hickory_proto::rr::{Name, RData, RecordType};

/// Sends the secondary the NOTIFY that the primary does not send, at least `delay` after each change.
pub struct Lag {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Lag {
    /// `worst_moment`: somebody has just been told the old state, and will believe it for as long as it is possible to
    /// be wrong. The secondary hears of the change right after that.
    pub fn start(
        zone: &str,
        [primary, secondary]: [SocketAddr; 2],
        delay: Duration,
        worst_moment: impl Fn() -> bool + Send + 'static,
    ) -> Lag {
        let stop = Arc::new(AtomicBool::new(false));
        let zone = Name::from_ascii(format!("{zone}.")).unwrap();
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let mut changed: Option<Instant> = None;
            let mut last = serial(primary, &zone);
            while !stopped.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(50));
                let now = serial(primary, &zone);
                if now != last {
                    last = now;
                    // A change that comes while an earlier one waits travels with it.
                    changed = changed.or(Some(Instant::now()));
                }
                if changed.is_some_and(|at| at.elapsed() >= delay) && worst_moment() {
                    notify(secondary, &zone);
                    changed = serial(secondary, &zone).filter(|s| Some(*s) == last).map_or(changed, |_| None);
                }
            }
        });
        Lag { stop, thread: Some(thread) }
    }
}

impl Drop for Lag {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = self.thread.take().unwrap().join();
    }
}

/// The serial of the zone at a server; `None` when it did not say.
pub fn serial(server: SocketAddr, zone: &Name) -> Option<u32> {
    let Answer::Records(records) = wire::ask(server, zone, RecordType::SOA, Options::default()) else {
        return None;
    };
    records.answers.iter().find_map(|record| match &record.data {
        RData::SOA(soa) => Some(soa.serial),
        _ => None,
    })
}

/// RFC 1996: a question for the SOA with opcode 4. BIND then compares serials and transfers.
fn notify(server: SocketAddr, zone: &Name) {
    const ID: [u8; 2] = [0x4e, 0x46];
    const OPCODE_NOTIFY_AND_AA: [u8; 2] = [0x24, 0x00];
    const ONE_QUESTION: [u8; 8] = [0, 1, 0, 0, 0, 0, 0, 0];
    const SOA_IN: [u8; 4] = [0, 6, 0, 1];
    let mut packet = [&ID[..], &OPCODE_NOTIFY_AND_AA, &ONE_QUESTION].concat();
    for label in zone.iter() {
        packet.push(label.len() as u8);
        packet.extend(label);
    }
    packet.push(0);
    packet.extend(SOA_IN);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.send_to(&packet, server).unwrap();
}
