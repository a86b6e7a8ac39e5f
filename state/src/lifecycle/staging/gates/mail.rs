//! Gates about the mail: whose it is, and how it fares.

use std::collections::{BTreeMap, BTreeSet};

use super::super::evidence::{AuthWord, Day, Row, Trust};
use super::super::policy::Permille;
use super::super::sources::{Cadence, Class, Classified};
use super::{Gate, GateState, Scene, counts};
use crate::time::{Span, Time};

impl Scene<'_> {
    /// Messages of the classes; mail that passed counts only where the report is believed.
    pub(super) fn sum(&self, classes: &[Class]) -> u64 {
        self.classified.iter().filter(|one| classes.contains(&one.class) && counts(one)).map(|one| one.row.count).sum()
    }

    /// What is ours, or may be.
    pub(super) fn candidates(&self) -> u64 {
        self.sum(&[Class::Pass, Class::KnownFail, Class::Forwarded, Class::Unresolved])
    }

    /// The largest sources of these classes, as lines.
    pub(super) fn behind(&self, classes: &[Class]) -> Vec<String> {
        let mut sums: BTreeMap<(&str, Class), (u64, Day, Day)> = BTreeMap::new();
        for one in self.classified.iter().filter(|one| classes.contains(&one.class)) {
            let day = one.row.day;
            let (sum, first, last) = sums.entry((&one.who, one.class)).or_insert((0, day, day));
            *sum += one.row.count;
            *first = day.min(*first);
            *last = day.max(*last);
        }
        let mut sums: Vec<_> = sums.into_iter().collect();
        sums.sort_by_key(|(_, (sum, ..))| std::cmp::Reverse(*sum));
        let line = |((who, _), (sum, first, last)): &((&str, Class), (u64, Day, Day))| {
            format!("{who}: {sum} messages, {first} to {last}")
        };
        sums.iter().take(5).map(line).collect()
    }

    /// When the last of these rows has left the window.
    pub(super) fn leaves(&self, classes: &[Class]) -> Option<Time> {
        let last = self.classified.iter().filter(|one| classes.contains(&one.class)).map(|one| one.row.day).max()?;
        Some(last.start() + Span::days(1) + self.window())
    }

    pub(super) fn volume(&self) -> Gate {
        let value = self.candidates();
        let met = self.policy.low_volume || value >= self.thresholds.volume;
        let threshold = match self.policy.low_volume {
            true => "any (little mail: twice the days)".to_owned(),
            false => format!(">= {} messages", self.thresholds.volume),
        };
        let gate = self.gate("volume", met, GateState::Insufficient, format!("{value} messages"), threshold);
        let fix = "wait for more mail, or set `low_volume = true`, which doubles the days";
        Gate { fix: (!met).then(|| fix.to_owned()), ..gate }
    }

    pub(super) fn pass(&self) -> Gate {
        let (pass, all) = (self.sum(&[Class::Pass]), self.candidates());
        let share = Permille::of(pass, all);
        let met = share >= self.thresholds.pass;
        let value = format!("{share} ({pass} of {all})");
        let gate = self.gate("pass", met, GateState::Blocked, value, format!(">= {}", self.thresholds.pass));
        let failing = [Class::KnownFail, Class::Unresolved, Class::Forwarded];
        let earliest = (!met).then(|| self.leaves(&failing)).flatten();
        Gate { rows: if met { Vec::new() } else { self.behind(&failing) }, earliest, ..gate }
    }

    pub(super) fn worst_sender(&self) -> Gate {
        let mut senders: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        for one in
            self.classified.iter().filter(|one| matches!(one.class, Class::Pass | Class::KnownFail) && counts(one))
        {
            let (pass, all) = senders.entry(&one.who).or_default();
            *all += one.row.count;
            *pass += if one.class == Class::Pass { one.row.count } else { 0 };
        }
        let worst = senders.iter().min_by_key(|(_, (pass, all))| Permille::of(*pass, *all));
        let share = worst.map_or(Permille(1000), |(_, (pass, all))| Permille::of(*pass, *all));
        let met = share >= self.thresholds.worst_sender;
        let value =
            worst.map_or("no mail".to_owned(), |(who, (pass, all))| format!("{share} ({who}: {pass} of {all})"));
        let gate =
            self.gate("worst-sender", met, GateState::Blocked, value, format!(">= {}", self.thresholds.worst_sender));
        let earliest = (!met).then(|| self.leaves(&[Class::KnownFail])).flatten();
        let fix = "let it sign with the domain itself, or take its addresses out of what is ours";
        let rows = if met { Vec::new() } else { self.behind(&[Class::KnownFail]) };
        Gate { rows, earliest, fix: (!met).then(|| fix.to_owned()), ..gate }
    }

    /// Every declared sender passed at least once within its own rhythm, whatever the policy was then.
    pub(super) fn senders_seen(&self) -> Gate {
        let unseen: Vec<&str> = self
            .ours
            .senders
            .iter()
            .filter(|sender| {
                let back = match sender.cadence {
                    Cadence::Daily => self.window(),
                    Cadence::Weekly => self.window().max(Span::days(14)),
                    Cadence::Monthly => self.window().max(Span::days(35)),
                };
                let from = Day::of(self.now - back);
                let recent: Vec<Row> = self
                    .evidence
                    .rows
                    .iter()
                    .filter(|row| row.day >= from && row.trust > Trust::Unverified && row.outcome.aligned())
                    .cloned()
                    .collect();
                let recent = self.ours.classify(&recent, &self.policy.floor);
                !recent.iter().any(|one| one.class == Class::Pass && one.who == sender.name)
            })
            .map(|sender| sender.name.as_str())
            .collect();
        let all = self.ours.senders.len();
        let value = format!("{} of {all}", all - unseen.len());
        let gate = self.gate("senders-seen", unseen.is_empty(), GateState::Insufficient, value, format!("all {all}"));
        let rows: Vec<String> = unseen.iter().map(|name| format!("{name} was not seen to pass")).collect();
        let fix = (!rows.is_empty()).then(|| "wait until it sends, or take it out if it never will".to_owned());
        Gate { rows, fix, ..gate }
    }

    pub(super) fn dkim_share(&self) -> Gate {
        let passing = self.classified.iter().filter(|one| one.class == Class::Pass && counts(one));
        let (mut dkim, mut all) = (0, 0);
        let mut without: BTreeMap<&str, u64> = BTreeMap::new();
        for one in passing {
            all += one.row.count;
            match one.row.outcome.dkim {
                true => dkim += one.row.count,
                false => *without.entry(&one.who).or_default() += one.row.count,
            }
        }
        let share = Permille::of(dkim, all);
        let met = share >= self.thresholds.dkim_share;
        let otherwise = if self.thresholds.dkim_share_blocks { GateState::Blocked } else { GateState::Warned };
        let value = format!("{share} ({dkim} of {all})");
        let gate = self.gate("dkim-share", met, otherwise, value, format!(">= {}", self.thresholds.dkim_share));
        let rows = without.iter().map(|(who, n)| format!("{who}: {n} messages pass by SPF alone")).take(5).collect();
        let fix =
            "let these senders sign: a forwarder breaks SPF, and p=reject then loses the mail (RFC 9989 section 7.4)";
        let by_spf = self.classified.iter().filter(|one| one.class == Class::Pass && !one.row.outcome.dkim);
        let earliest = by_spf.map(|one| one.row.day).max().map(|day| day.start() + Span::days(1) + self.window());
        if met { gate } else { Gate { rows, fix: Some(fix.to_owned()), earliest, ..gate } }
    }

    pub(super) fn unresolved(&self) -> Gate {
        let mut by_who: BTreeMap<&str, (u64, BTreeSet<Day>, BTreeSet<&str>)> = BTreeMap::new();
        for one in self.classified.iter().filter(|one| one.class == Class::Unresolved) {
            let (sum, days, reporters) = by_who.entry(&one.who).or_default();
            *sum += one.row.count;
            days.insert(one.row.day);
            reporters.insert(&one.row.reporter);
        }
        let floor = &self.policy.floor;
        by_who.retain(|_, (sum, days, reporters)| {
            *sum >= floor.messages || days.len() >= floor.days as usize || reporters.len() >= floor.reporters as usize
        });
        let threshold =
            format!("0 with >= {} messages, {} days or {} reporters", floor.messages, floor.days, floor.reporters);
        let gate = self.gate("unresolved", by_who.is_empty(), GateState::Blocked, by_who.len().to_string(), threshold);
        let line = |(who, (sum, days, _)): (&&str, &(u64, BTreeSet<Day>, BTreeSet<&str>))| {
            format!("{who}: {sum} messages on {} days fail, and authenticate as {who}", days.len())
        };
        let fix = by_who.keys().next().map(|who| {
            format!("`dkimctl dmarc ack DOMAIN {who} --sender NAME` if it sends for you, `--not-ours` if it does not")
        });
        Gate { rows: by_who.iter().take(5).map(line).collect(), fix, ..gate }
    }

    /// Before `reject`: no passing source is so new that its habits are not known.
    pub(super) fn settled(&self) -> Gate {
        let days = self.thresholds.settled_days;
        if days == 0 {
            return self.gate("settled", true, GateState::Met, String::new(), String::new());
        }
        let mut first: BTreeMap<String, Day> = BTreeMap::new();
        let aligned: Vec<Row> = self.evidence.rows.iter().filter(|row| row.outcome.aligned()).cloned().collect();
        for one in self.ours.classify(&aligned, &self.policy.floor) {
            let day = first.entry(one.who.clone()).or_insert(one.row.day);
            *day = one.row.day.min(*day);
        }
        let oldest = self.evidence.rows.iter().map(|row| row.day).min();
        let newest = first.iter().filter(|(_, day)| Some(**day) != oldest).max_by_key(|(_, day)| **day);
        let until = newest.map(|(_, day)| day.start() + Span::days(days.into()));
        let met = until.is_none_or(|until| self.now >= until);
        let value = newest.map_or("no new source".to_owned(), |(who, day)| format!("{who} since {day}"));
        let gate = self.gate("settled", met, GateState::Insufficient, value, format!("no new source in {days} days"));
        Gate { earliest: until.filter(|_| !met), ..gate }
    }

    pub(super) fn forwarded(&self) -> Gate {
        let (forwarded, all) = (self.sum(&[Class::Forwarded]), self.candidates());
        let share = Permille::of_at_least(forwarded, all);
        let met = share <= self.thresholds.forwarded || self.policy.accept_list_breakage;
        let value = format!("{share} ({forwarded} of {all})");
        let gate = self.gate("forwarded", met, GateState::Blocked, value, format!("<= {}", self.thresholds.forwarded));
        let fix = "this mail will be hit; accept that with `accept_list_breakage = true`, or stay on this rung";
        let earliest = (!met).then(|| self.leaves(&[Class::Forwarded])).flatten();
        Gate { rows: self.behind(&[Class::Forwarded]), earliest, fix: (!met).then(|| fix.to_owned()), ..gate }
    }

    pub(super) fn selectors(&self) -> Gate {
        if !self.thresholds.known_selectors {
            return self.gate("selectors", true, GateState::Met, String::new(), String::new());
        }
        let mut strange: BTreeMap<&str, u64> = BTreeMap::new();
        for one in self.classified.iter().filter(|one| one.class == Class::Pass) {
            for signature in &one.row.auth.dkim {
                let passes = signature.result == AuthWord::Pass && self.ours.owns(&signature.domain);
                if passes && !signature.selector.is_empty() && !self.ours.knows_selector(&signature.selector) {
                    *strange.entry(&signature.selector).or_default() += one.row.count;
                }
            }
        }
        let gate = self.gate(
            "selectors",
            strange.is_empty(),
            GateState::Blocked,
            strange.len().to_string(),
            "0 unknown".into(),
        );
        let rows =
            strange.iter().map(|(selector, n)| format!("{n} messages pass with selector {selector}")).take(5).collect();
        let fix = (!strange.is_empty()).then(|| "adopt the key, or name the sender that has it".to_owned());
        Gate { rows, fix, ..gate }
    }

    /// What is wrong with the records themselves, and what receivers say of our SPF.
    pub(super) fn records(&self, lint: &[String]) -> Gate {
        let mut wrong: Vec<String> = lint.to_vec();
        let permerror = |one: &&Classified<'_>| {
            one.row.auth.spf.iter().any(|spf| spf.result == AuthWord::Permerror && self.ours.owns(&spf.domain))
        };
        let broken: u64 = self.classified.iter().filter(permerror).map(|one| one.row.count).sum();
        if broken > 0 {
            wrong.push(format!("receivers could not evaluate our SPF record (permerror) for {broken} messages"));
        }
        let gate =
            self.gate("records", wrong.is_empty(), GateState::Blocked, format!("{} errors", wrong.len()), "0".into());
        let fix = (!wrong.is_empty()).then(|| "`dkimctl dmarc check` and `dkimctl spf check` say more".to_owned());
        Gate { rows: wrong, fix, ..gate }
    }
}
