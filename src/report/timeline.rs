//! The keys of one domain over time, in 60 columns.

use std::fmt::Write as _;

use dkimctl_state::lifecycle::ledger::{Incoming, Key, Line, Outgoing, Phase};
use dkimctl_state::lifecycle::settings::Settings;
use dkimctl_state::name::{Selector, SigningDomain};
use dkimctl_state::time::{Span, Time};
use serde::Serialize;

use super::{Paint, words};

const COLUMNS: u64 = 60;

/// One domain's picture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Timeline {
    pub domain: SigningDomain,
    pub from: Time,
    pub to: Time,
    pub now: Time,
    pub bars: Vec<Bar>,
}

/// One key's times, as far as they are known or can be foreseen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bar {
    pub selector: Selector,
    pub phase: Phase,
    /// In DNS since then; `None` while the key is only sealed.
    pub published: Option<Time>,
    /// Signs since then.
    pub signs: Option<Time>,
    /// Signs no more since then.
    pub stopped: Option<Time>,
    /// Its record went, or will go.
    pub removed: Option<Time>,
}

impl Bar {
    pub fn of(line: &Line, phase: Phase, key: &Key, settings: &Settings) -> Bar {
        let published = key.record_at.values().min().copied();
        let mut bar =
            Bar { selector: key.selector.clone(), phase, published, signs: None, stopped: None, removed: None };
        let mine = |other: &Key| other.fingerprint == key.fingerprint;
        if let Some(active) = line.active.as_ref().filter(|active| mine(&active.key)) {
            bar.published = published.or(Some(active.seen));
            bar.signs = Some(active.since);
        }
        if let Some(Incoming::Switching(switching)) = line.incoming.as_ref().filter(|incoming| mine(incoming.key())) {
            bar.signs = Some(switching.committed);
        }
        match line.outgoing.iter().find(|outgoing| mine(outgoing.key())) {
            Some(Outgoing::Retiring(r)) => {
                let last = r.last_use.as_ref().map_or(r.stopped, |used| used.at);
                // When it began to sign is in the log; on this scale it is when every server had it.
                (bar.signs, bar.stopped) = (r.seen, Some(r.stopped));
                bar.removed = Some(last + settings.policy.window);
            }
            Some(Outgoing::Withdrawn(w)) => (bar.stopped, bar.removed) = (Some(w.since), Some(w.since)),
            Some(Outgoing::Gone(g)) => (bar.stopped, bar.removed) = (Some(g.hidden), Some(g.hidden)),
            Some(Outgoing::Revoked(r)) => {
                bar.stopped = Some(r.since);
                bar.removed = Some(r.since + settings.policy.revoked_retention);
            }
            None => {}
        }
        bar
    }

    fn at(&self, time: Time, now: Time) -> char {
        let reached = |point: Option<Time>| point.is_some_and(|point| point <= time);
        match () {
            () if reached(self.removed) => ' ',
            () if reached(self.stopped) => '╍',
            () if reached(self.signs) && (time <= now || self.stopped.is_some()) => '━',
            () if reached(self.signs) => ' ',
            () if reached(self.published.or(self.signs)) && time <= now => '┄',
            () => ' ',
        }
    }
}

impl Timeline {
    pub fn new(domain: SigningDomain, bars: Vec<Bar>, now: Time) -> Self {
        let times = bars.iter().flat_map(|bar| [bar.published, bar.signs, bar.stopped, bar.removed]).flatten();
        let (from, to) = times.fold((now, now), |(from, to), time| (from.min(time), to.max(time)));
        // A sixth of the picture is left ahead of now, and of the last thing to come.
        let margin = Span::seconds((to.since(from).as_secs() / 6).max(3600));
        Timeline { domain, from, to: to + margin, now, bars }
    }

    pub fn text(&self, paint: Paint) -> String {
        let width = self.to.since(self.from).as_secs().max(COLUMNS);
        let time_of = |column: u64| self.from + Span::seconds(width / COLUMNS * column);
        let column_of = |time: Time| (time.since(self.from).as_secs() * COLUMNS / width).min(COLUMNS - 1);
        let now = column_of(self.now);
        let mut out = String::new();
        let name_width = self.bars.iter().map(|bar| bar.selector.as_str().len()).max().unwrap_or(0).max(4);
        let _ = writeln!(
            out,
            "{}  {} {}",
            paint.bold(&self.domain),
            self.from.utc().format("%Y-%m-%d"),
            paint.dim(format!("one column is {}", words::length(Span::seconds(width / COLUMNS))))
        );
        for bar in &self.bars {
            let mut row: Vec<char> = (0..COLUMNS).map(|column| bar.at(time_of(column), self.now)).collect();
            if let Some(removed) = bar.removed {
                row[column_of(removed) as usize] = '×';
            } else if bar.signs.is_some() && bar.stopped.is_none() {
                row[now as usize] = '▶';
            }
            let row: String = row.into_iter().collect();
            let _ = writeln!(out, "  {:name_width$} {}", bar.selector.as_str(), row.trim_end());
        }
        let _ = writeln!(out, "  {:name_width$} {}│ now", "", " ".repeat(now as usize));
        let _ = writeln!(out, "  {}", paint.dim("┄ in DNS   ━ signs   ╍ verifies old mail   × record removed"));
        out
    }
}
