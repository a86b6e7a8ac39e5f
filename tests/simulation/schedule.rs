//! One schedule: everything that will go wrong, all of it from one number.

use dkimctl_providers::memory::Faults;
use dkimctl_state::time::Span;

/// SplitMix64: small, fast, the same everywhere.
#[derive(Clone)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Dice(seed ^ 0x5EED_D1CE)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    pub fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    pub fn of<T: Copy>(&mut self, things: &[T]) -> T {
        things[self.below(things.len() as u64) as usize]
    }
}

/// What kind of misfortune a schedule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Nothing goes wrong.
    Calm,
    /// A calm life that is killed at one boundary after the other.
    EachKill,
    /// Killed at random, and killed again while recovering.
    Kills,
    /// The provider's API misbehaves.
    Api,
    /// Servers lag, are silent, or are several behind one address.
    Servers,
    /// People edit the zone.
    Edits,
    /// The machine's clock jumps.
    Clocks,
    /// A process stops for hours or days, and others run meanwhile.
    Pauses,
    /// An older copy of the state is put back, and refused.
    Refused,
    /// An older copy of the state is put back, and an operator insists on it.
    Insisted,
    /// Operators ask for everything, at any time.
    Requests,
    /// Hosts are slow, down, wrong, or go on with the old key.
    Hosts,
    /// All of it.
    Everything,
}

impl Profile {
    pub const ALL: [Profile; 13] = [
        Profile::Calm,
        Profile::EachKill,
        Profile::Kills,
        Profile::Api,
        Profile::Servers,
        Profile::Edits,
        Profile::Clocks,
        Profile::Pauses,
        Profile::Refused,
        Profile::Insisted,
        Profile::Requests,
        Profile::Hosts,
        Profile::Everything,
    ];

    /// In the proportions in which schedules are drawn.
    const DRAWN: [Profile; 20] = [
        Profile::EachKill,
        Profile::Kills,
        Profile::Api,
        Profile::Servers,
        Profile::Edits,
        Profile::Clocks,
        Profile::Pauses,
        Profile::Requests,
        Profile::Hosts,
        Profile::Everything,
        Profile::EachKill,
        Profile::Kills,
        Profile::Kills,
        Profile::Edits,
        Profile::Insisted,
        Profile::Pauses,
        Profile::Requests,
        Profile::Hosts,
        Profile::Refused,
        Profile::Calm,
    ];

    pub fn of(seed: u64) -> Profile {
        Self::DRAWN[(seed % Self::DRAWN.len() as u64) as usize]
    }

    pub fn name(self) -> &'static str {
        match self {
            Profile::Calm => "calm",
            Profile::EachKill => "each kill in turn",
            Profile::Kills => "kills and double kills",
            Profile::Api => "a rude API",
            Profile::Servers => "lagging and silent servers",
            Profile::Edits => "people edit the zone",
            Profile::Clocks => "clocks jump",
            Profile::Pauses => "paused processes",
            Profile::Refused => "old state refused",
            Profile::Insisted => "old state insisted on",
            Profile::Requests => "requests at any time",
            Profile::Hosts => "bad hosts",
            Profile::Everything => "everything at once",
        }
    }
}

/// Something that happens between two runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Rollback,
    /// The active key is known to others.
    Revoke,
    /// A key that signs no more is known to others.
    RevokeOld,
    Hold,
    Release,
    /// Remove the record after its window although it was still used.
    Retire,
    /// Somebody deletes the record of the key that is on its way.
    DeleteComing,
    /// Somebody adds a foreign value beside it.
    AddBeside,
    /// Somebody changes its TTL.
    ChangeTtl,
    /// Somebody puts the record of a key that is gone back.
    Reanimate,
    /// Somebody uses a free selector's name for something else.
    Squat,
    /// The clock of the machine is off by so many seconds, for a while.
    Jump(i64),
    /// The clock is right again.
    Set,
    Copy,
    PutBack,
}

#[derive(Clone, Debug)]
pub struct Pause {
    /// The number of the boundary, or of the DNS change.
    pub at: u64,
    pub before_change: bool,
    pub span: Span,
    /// How often other processes run meanwhile: the lock was broken.
    pub others: u64,
}

/// A name server's address, and the lag of each machine behind it.
#[derive(Clone, Debug)]
pub struct Address {
    pub provider: usize,
    pub lags: Vec<Span>,
    /// By run number: from, to.
    pub silent: Option<(u64, u64)>,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct HostPlan {
    /// It works by receipts; they take so long each way.
    pub remote: Option<Span>,
    /// Out of reach from this run on, for so long.
    pub down: Option<(u64, Span)>,
    /// So many probes show the wrong key.
    pub wrong: u64,
    /// So many probes show nothing.
    pub mute: u64,
    /// Its disk is full from this run on, for so long.
    pub full: Option<(u64, Span)>,
    /// An old container goes on signing with the old key for so long.
    pub straggler: Option<Span>,
}

#[derive(Clone, Debug)]
pub struct Schedule {
    pub seed: u64,
    pub profile: Profile,
    pub ttl: u32,
    pub soa_minimum: u32,
    pub soa_readable: bool,
    pub providers: usize,
    pub witness: bool,
    pub addresses: Vec<Address>,
    pub hosts: Vec<HostPlan>,
    pub faults: Faults,
    /// By the number of the boundary, counted from the beginning.
    pub kills: Vec<u64>,
    pub pauses: Vec<Pause>,
    /// By run number, in order.
    pub events: Vec<(u64, Event)>,
    /// Cron comes this much late at most.
    pub cadence: Span,
    /// How many runs misfortune lasts.
    pub trouble: u64,
    /// Rotations after the first key.
    pub rotations: u64,
    /// How long after the last one the next is asked for.
    pub rest: Span,
    /// An operator insists on an older copy.
    pub insists: bool,
}

/// Boundaries in the calm life of two keys with one host, and a few more.
const CALM_EDGES: u64 = 170;

/// Boundaries in most other lives.
const EDGES: u64 = 320;

impl Schedule {
    pub fn new(seed: u64) -> Self {
        Self::of(Profile::of(seed), seed)
    }

    pub fn of(profile: Profile, seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let dice = &mut dice;
        let mut schedule = Schedule {
            seed,
            profile,
            ttl: 3600,
            soa_minimum: 900,
            soa_readable: true,
            providers: 1,
            witness: true,
            addresses: vec![Address { provider: 0, lags: vec![Span::ZERO], silent: None }],
            hosts: vec![HostPlan::default()],
            faults: Faults::default(),
            kills: Vec::new(),
            pauses: Vec::new(),
            events: Vec::new(),
            cadence: Span::ZERO,
            trouble: 0,
            rotations: 1,
            rest: Span::days(1),
            insists: false,
        };
        match profile {
            Profile::EachKill => {
                // Each boundary once, then each again with a second kill one boundary later, two, three and so on.
                let number = seed / 20 * 2 + seed / 10 % 2;
                let (first, again) = (number % CALM_EDGES, number / CALM_EDGES);
                schedule.kills.push(first);
                schedule.trouble = 60;
                if again > 0 {
                    schedule.kills.push(first + again);
                }
            }
            _ => schedule.vary(dice),
        }
        for part in [
            Profile::Kills,
            Profile::Api,
            Profile::Servers,
            Profile::Edits,
            Profile::Clocks,
            Profile::Pauses,
            Profile::Refused,
            Profile::Insisted,
            Profile::Requests,
            Profile::Hosts,
        ] {
            // Everything: three quarters of everything, or nobody would survive to tell.
            if profile == part || (profile == Profile::Everything && part.mixes() && !dice.one_in(4)) {
                schedule.add(part, dice);
            }
        }
        schedule.events.sort_by_key(|(run, _)| *run);
        schedule
    }

    /// A world that differs from the next one without anything being wrong.
    fn vary(&mut self, dice: &mut Dice) {
        self.ttl = dice.of(&[300, 3600, 3600, 86_400]);
        self.soa_minimum = dice.of(&[60, 300, 900, 3600, 10_800]);
        self.soa_readable = self.soa_minimum > 3600 || !dice.one_in(4);
        self.providers = if dice.one_in(6) { 2 } else { 1 };
        self.addresses.clear();
        for provider in 0..self.providers {
            for _ in 0..dice.between(1, 2) {
                let lag = dice.of(&[0, 0, 5, 300, 2400]);
                self.addresses.push(Address { provider, lags: vec![Span::seconds(lag)], silent: None });
            }
        }
        for _ in 0..dice.below(2) {
            self.hosts.push(HostPlan::default());
        }
        for host in &mut self.hosts {
            host.remote = dice.one_in(3).then(|| Span::seconds(dice.between(30, 4000)));
        }
        self.cadence = Span::seconds(dice.of(&[0, 60, 3600, 86_400]));
        self.trouble = dice.between(8, 18);
        self.rest = Span::seconds(dice.below(40 * 86_400));
        self.rotations = if dice.one_in(8) { 2 } else { 1 };
    }

    fn add(&mut self, part: Profile, dice: &mut Dice) {
        match part {
            Profile::Kills => {
                for _ in 0..dice.between(1, 4) {
                    let at = dice.below(EDGES);
                    self.kills.push(at);
                    if dice.one_in(2) {
                        self.kills.push(at + dice.between(1, 25));
                    }
                }
            }
            Profile::Api => {
                let mut often = || if dice.one_in(2) { dice.below(250) as u16 } else { 0 };
                self.faults = Faults {
                    refused: often(),
                    done_but_unknown: often(),
                    lost: often(),
                    ok_but_not_done: often(),
                    rate_limited: often() / 3,
                    retry_after: std::time::Duration::from_secs(900),
                    partial: often(),
                    blind: often(),
                };
            }
            Profile::Servers => {
                // A value that came and went between two looks is survived up to the publish safety, so where people
                // edit the zone no server lags longer.
                let lags: &[u64] =
                    if self.profile == Profile::Servers { &[0, 60, 3000, 6600, 20_000] } else { &[0, 60, 3000] };
                for address in &mut self.addresses {
                    address.lags[0] = Span::seconds(dice.of(lags));
                    let from = dice.between(3, 12);
                    address.silent = dice.one_in(3).then(|| (from, from + dice.between(1, 4)));
                }
                // Two machines behind one address, and each question meets the other one.
                if self.profile == Profile::Servers && dice.one_in(2) {
                    self.addresses[0].lags.push(Span::seconds(dice.of(&[0, 600, 5400, 6900])));
                }
            }
            Profile::Edits => {
                let edits = [Event::DeleteComing, Event::AddBeside, Event::ChangeTtl, Event::Reanimate, Event::Squat];
                for _ in 0..dice.between(2, 5) {
                    self.events.push((dice.below(self.trouble), dice.of(&edits)));
                }
            }
            Profile::Clocks => {
                self.witness = !dice.one_in(4);
                for _ in 0..dice.between(1, 2) {
                    let from = dice.between(1, self.trouble);
                    let days = dice.between(1, 40) as i64;
                    let sign = if self.witness && dice.one_in(2) { 1 } else { -1 };
                    self.events.push((from, Event::Jump(sign * days * 86_400)));
                    self.events.push((from + dice.between(1, 3), Event::Set));
                }
            }
            Profile::Pauses => {
                for _ in 0..dice.between(1, 3) {
                    let before_change = dice.one_in(3);
                    self.pauses.push(Pause {
                        at: if before_change { dice.below(9) } else { dice.below(EDGES) },
                        before_change,
                        span: Span::seconds(dice.of(&[90, 4000, 30_000, 6 * 86_400, 40 * 86_400])),
                        others: if dice.one_in(3) { 0 } else { dice.between(1, 9) },
                    });
                }
                self.pauses.sort_by_key(|pause| pause.at);
                // The next rotation waits for the slot of the last one, so that it is used again at once.
                if self.profile == Profile::Pauses && dice.one_in(2) {
                    (self.rotations, self.rest) = (2, Span::days(dice.below(20)));
                }
            }
            Profile::Refused | Profile::Insisted => {
                self.insists = part == Profile::Insisted;
                let copied = dice.between(1, 14);
                self.events.push((copied, Event::Copy));
                self.events.push((copied + dice.between(1, 12), Event::PutBack));
                self.trouble = 26;
                self.rotations = dice.between(1, 3);
                self.rest = Span::days(dice.of(&[1, 20, 40]));
            }
            Profile::Requests => {
                let asks = [
                    Event::Rollback,
                    Event::Rollback,
                    Event::Revoke,
                    Event::RevokeOld,
                    Event::Hold,
                    Event::Release,
                    Event::Retire,
                ];
                for _ in 0..dice.between(1, 4) {
                    self.events.push((dice.between(1, self.trouble), dice.of(&asks)));
                }
            }
            Profile::Hosts => {
                for host in &mut self.hosts {
                    let long = Span::seconds(dice.of(&[3600, 86_400, 4 * 86_400, 45 * 86_400]));
                    host.down = dice.one_in(2).then(|| (dice.between(2, 10), long));
                    host.wrong = if dice.one_in(3) { 1 } else { 0 };
                    host.mute = dice.below(3);
                    let long = Span::seconds(dice.of(&[3600, 86_400, 4 * 86_400]));
                    host.full = dice.one_in(3).then(|| (dice.between(2, 10), long));
                    host.straggler = dice.one_in(4).then(|| Span::days(dice.between(1, 50)));
                }
            }
            Profile::Calm | Profile::EachKill | Profile::Everything => {}
        }
    }
}

impl Profile {
    /// An older state that somebody insists on cannot be told apart from a new one that lost its way.
    fn mixes(self) -> bool {
        !matches!(self, Profile::Insisted)
    }
}

impl Event {
    pub fn name(self) -> &'static str {
        match self {
            Event::Rollback => "an operator wanted to go back",
            Event::Revoke => "the active key became known",
            Event::RevokeOld => "an old key became known",
            Event::Hold => "an operator held everything",
            Event::Release => "an operator released it",
            Event::Retire => "an operator insisted on retirement",
            Event::DeleteComing => "somebody deleted the new record",
            Event::AddBeside => "somebody added a value beside it",
            Event::ChangeTtl => "somebody changed its TTL",
            Event::Reanimate => "somebody put an old record back",
            Event::Squat => "somebody used a free selector",
            Event::Jump(_) => "the clock jumped",
            Event::Set => "the clock was set right",
            Event::Copy => "the state was copied",
            Event::PutBack => "an older state was put back",
        }
    }
}
