//! `kill -9` at any instant, then the same command again: the real program with SQLite, BIND and OpenDKIM.
//!
//! Rotations go on and on (s1, s2, s3, s1 ...) while whoever runs them is killed: at random instants over the whole
//! time of a run, and before chosen system calls (a flush, a rename, a packet, a signal). After every kill
//! [`invariants`] looks at the world with eyes of its own; what it looks at must hold whatever was cut off.

#[path = "../servers/opendkimd.rs"]
#[allow(dead_code)] // the signer is stopped with the test
mod opendkimd;
#[path = "../servers/mod.rs"]
mod servers;

mod chance;
mod invariants;
mod rig;

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write as _;
use std::time::{Duration, Instant};

use chance::Chance;
use invariants::{At, Caught};
use rig::{Ended, Rig};
use servers::{Bind, servers_or_skip};

/// Kills of one run of the test; the issue asks for 300.
const KILLS: u32 = 320;
/// Rotations that must have ended meanwhile.
const ROTATIONS: usize = 4;
/// A run that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// The system calls by which something changes, and how many of the first ones are tried.
const CALLS: [(&str, u64); 7] = [
    ("fsync,fdatasync", 24),
    ("rename,renameat,renameat2,linkat", 12),
    ("unlink,unlinkat", 12),
    ("pwrite64", 40),
    ("sendto,sendmsg,connect", 30),
    ("write", 40),
    ("kill,fchown,fchmod,mkdirat", 8),
];

#[test]
fn a_kill_at_any_instant_breaks_nothing_and_the_next_run_goes_on() {
    if !opendkimd::available("kill") || !servers_or_skip(&[Bind::PROGRAM, "strace"]) {
        return;
    }
    let seed = std::env::var("DKIMCTL_KILL_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_122);
    let started = Instant::now();
    let mut chance = Chance::new(seed);
    let mut tally = Tally::default();
    let rig = Rig::start();
    rig.until_settled(PATIENCE);
    let mut usual: BTreeMap<String, Duration> = BTreeMap::new();

    while tally.kills < KILLS || rig.finished() < ROTATIONS {
        assert!(tally.kills < 4 * KILLS, "{} rotations ended in {} kills", rig.finished(), tally.kills);
        let phase = rig.phase();
        let command = rig.next_command();
        // Most runs only wait for a free selector. Enough of them is enough.
        if tally.phases.get(&phase).is_some_and(|kills| *kills > KILLS / 4) {
            rig.run(&command, PATIENCE);
            continue;
        }
        let one_in = |chance: &mut Chance, n| chance.below(n) == 0;
        let ended = if one_in(&mut chance, 12) {
            rig.kill_while_another_waits(&command)
        } else if one_in(&mut chance, 3) {
            let (calls, most) = CALLS[chance.below(CALLS.len() as u64) as usize];
            let ended = rig.kill_before(&command, calls, 1 + chance.below(most));
            if matches!(ended, Ended::Killed) {
                *tally.calls.entry(calls).or_default() += 1;
            }
            ended
        } else {
            let long = usual.get(&phase).copied().unwrap_or(Duration::from_millis(300));
            rig.kill_after(&command, long.mul_f64(chance.share()))
        };
        match ended {
            Ended::Killed => {
                tally.kills += 1;
                *tally.phases.entry(phase.clone()).or_default() += 1;
                let reached = rig.phase();
                if reached != phase {
                    *tally.moves.entry(format!("{phase} -> {reached}")).or_default() += 1;
                }
                for caught in invariants::hold(&rig, At::AfterAKill) {
                    *tally.caught.entry(caught).or_default() += 1;
                }
            }
            Ended::ByItself(took) => {
                // Moves slowly, so that one slow run on a busy machine does not send all kills past the end.
                let usual = usual.entry(phase).or_insert(took);
                *usual = (*usual * 3 + took) / 4;
            }
        }
        // Killed again and again is one thing; killed once and then left alone is the other.
        if one_in(&mut chance, 3) {
            rig.run(&rig.next_command(), PATIENCE);
            invariants::hold(&rig, At::AfterARun);
        }
    }
    rig.until_settled(PATIENCE);
    invariants::hold(&rig, At::AfterARun);
    tally.say(&rig, seed, started.elapsed());
    for (calls, _) in CALLS {
        assert!(tally.calls.contains_key(calls), "no kill before {calls}");
    }
    assert!(tally.phases.len() >= 5, "kills in too few phases: {:?}", tally.phases);
    assert!(rig.refusals() > 0, "no second process ever met a first one");
}

/// What was tried, and what it met.
#[derive(Default)]
struct Tally {
    kills: u32,
    phases: BTreeMap<String, u32>,
    moves: BTreeMap<String, u32>,
    calls: BTreeMap<&'static str, u32>,
    caught: BTreeMap<Caught, u32>,
}

impl Tally {
    /// Past the harness, which shows no output of a test that passes.
    fn say(&self, rig: &Rig, seed: u64, took: Duration) {
        let list = |title: &str, rows: &mut dyn Iterator<Item = (String, u32)>| {
            rows.fold(format!("  {title}:\n"), |text, (name, count)| format!("{text}    {count:>4} {name}\n"))
        };
        let text = format!(
            "kill: {} kills, {} rotations finished, {} second processes refused with exit 6, in {} s (seed {seed})\n{}{}{}{}",
            self.kills,
            rig.finished(),
            rig.refusals(),
            took.as_secs(),
            list("kills by the phase that the run began in", &mut self.phases.iter().map(|(n, c)| (n.clone(), *c))),
            list("how far it had come, where it had moved on", &mut self.moves.iter().map(|(n, c)| (n.clone(), *c))),
            list("kills before a system call", &mut self.calls.iter().map(|(n, c)| ((*n).to_owned(), *c))),
            list("what the kills cut through", &mut self.caught.iter().map(|(n, c)| (n.to_string(), *c))),
        );
        std::io::stderr().write_all(text.as_bytes()).unwrap();
    }
}

impl fmt::Display for Caught {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Caught::Commit => "a commit of SQLite (its journal lay there)",
            Caught::FileHalfWritten => "the writing of a file (its partial file lay there)",
            Caught::KeyUnknown => "between a key's sealing and its commit",
            Caught::RecordUnknown => "between a record's publication and its commit",
            Caught::RecordStillKnown => "between a record's removal and its commit",
            Caught::DeliveryUnknown => "between a key's delivery and its commit",
            Caught::SwitchUnproven => "between the change of the signing table and its proof",
        })
    }
}
