//! Whole lives of keys, simulated: the real planner and the real loop over a rude world, killed everywhere.
//!
//! A schedule is everything that goes wrong in one life, drawn from one number ([`schedule`]). The loop runs against
//! ports whose every effect has a boundary before and after it ([`ports`], [`hosts`], [`store`]), at which the process
//! is killed or stops for days ([`sim`]); cron, operators and people act in between ([`drive`], [`people`]). Two things are
//! demanded of every schedule: no message that was ever sent fails to verify, by an oracle that knows nothing of the
//! planner ([`mail`]); and when misfortune ends, what was asked for comes to its end. Programs that are wrong in one
//! way must fail here ([`seeded`]).
//!
//! `DKIMCTL_SIM_SCHEDULES=N` sets how many; `DKIMCTL_SIM_SEED=S` replays one and tells its story, and
//! `DKIMCTL_SIM_FAULT=NAME` tells how a wrong program fails.

mod drive;
mod hosts;
mod mail;
mod people;
mod ports;
mod schedule;
mod seeded;
mod sim;
mod store;
mod tally;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use drive::{End, live};
use schedule::{Profile, Schedule};
use seeded::Seeded;
use tally::{Edge, Group, Tally};

const SCHEDULES: u64 = 100_000;
const ENOUGH: usize = 12;

#[test]
fn no_message_ever_fails_and_every_rotation_ends() {
    if let Some(seed) = variable("DKIMCTL_SIM_SEED") {
        return replay(seed);
    }
    let schedules = variable("DKIMCTL_SIM_SCHEDULES").unwrap_or(SCHEDULES);
    let started = std::time::Instant::now();
    let (tally, failed) = all(schedules);
    let seconds = started.elapsed().as_secs_f64();
    say(&format!("{}{:.0} schedules a second", tally.table(), tally.schedules as f64 / seconds));
    for (seed, end) in &failed {
        say(&format!(
            "{end}\nreplay it: DKIMCTL_SIM_SEED={seed} cargo test --test simulation no_message -- --nocapture"
        ));
    }
    assert!(failed.is_empty(), "{} schedules failed", failed.len());
    if schedules >= SCHEDULES {
        nothing_was_missed(&tally);
    }
}

#[test]
fn every_seeded_fault_is_found() {
    let only = std::env::var("DKIMCTL_SIM_FAULT").ok();
    if variable("DKIMCTL_SIM_SEED").is_some() {
        return;
    }
    let mut survivors = Vec::new();
    for seeded in Seeded::ALL.into_iter().filter(|s| only.as_ref().is_none_or(|only| s.name().contains(only))) {
        match hunt(seeded) {
            Some((tried, end)) => {
                say(&format!("{:<28} found after {tried:>5}: {}", seeded.name(), end.kind()));
                say(&format!("{:<28} {}", "", seeded.sentence()));
                if only.is_some() {
                    let life = live(Schedule::of(seeded.profile(), tried - 1), seeded, true);
                    life.transcript.iter().for_each(|line| say(line));
                    say(&end.to_string());
                }
            }
            None => survivors.push(seeded.name()),
        }
    }
    assert!(survivors.is_empty(), "no message failed and no rotation hung {survivors:?}");
}

/// Lives them all, on every core, until so many have failed that more would tell nothing.
fn all(schedules: u64) -> (Tally, Vec<(u64, End)>) {
    let next = AtomicU64::new(0);
    let total = Mutex::new((Tally::default(), Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, |cores| cores.get()) {
            scope.spawn(|| {
                let mut tally = Tally::default();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= schedules || total.lock().unwrap().1.len() >= ENOUGH {
                        break;
                    }
                    let life = live(Schedule::new(seed), Seeded::Nothing, false);
                    tally.add(&life.tally);
                    if life.end != End::Well {
                        total.lock().unwrap().1.push((seed, life.end));
                    }
                }
                total.lock().unwrap().0.add(&tally);
            });
        }
    });
    total.into_inner().unwrap()
}

/// Looks for a schedule in which the wrong program fails.
fn hunt(seeded: Seeded) -> Option<(u64, End)> {
    let schedules = (0..20_000).map(|seed| live(Schedule::of(seeded.profile(), seed), seeded, false));
    schedules.zip(1..).find(|(life, _)| life.end != End::Well).map(|(life, tried)| (tried, life.end))
}

fn replay(seed: u64) {
    let schedule = Schedule::new(seed);
    say(&format!("{schedule:#?}"));
    let life = live(schedule, Seeded::Nothing, true);
    life.transcript.iter().for_each(|line| say(line));
    assert_eq!(life.end, End::Well, "{}", life.end);
}

fn nothing_was_missed(tally: &Tally) {
    for edge in Edge::ALL {
        assert!(tally.count(Group::KilledAt, edge.name()) > 0, "nothing was killed {}", edge.name());
    }
    for phase in
        ["sealed", "published", "propagated", "switching", "active", "retiring", "withdrawn", "gone", "revoked"]
    {
        assert!(tally.count(Group::Phase, phase) > 0, "no key was {phase}");
        assert!(tally.count(Group::KilledIn, phase) > 0, "nothing was killed while a key was {phase}");
    }
    for profile in Profile::ALL {
        assert!(tally.count(Group::Profile, profile.name()) > 0, "no schedule was `{}`", profile.name());
    }
    for misfortune in tally::MISFORTUNES {
        assert!(tally.count(Group::Misfortune, misfortune) > 0, "it never happened that {misfortune}");
    }
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[expect(clippy::print_stdout, reason = "the counts are what this test is for")]
fn say(line: &str) {
    println!("{line}");
}
