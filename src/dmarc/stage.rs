//! One domain's policy, looked at and moved: gathers what the decision needs, and does what it says.

use std::collections::BTreeSet;

use dkimctl_state::lifecycle::fact::Fact;
use dkimctl_state::lifecycle::ledger::{Ledger, Outgoing};
use dkimctl_state::lifecycle::seen::Witness;
use dkimctl_state::lifecycle::settings::Settings;
use dkimctl_state::lifecycle::staging::course::{Change, ChangeKind, Course};
use dkimctl_state::lifecycle::staging::evidence::{AuthWord, Report, Row, Trust};
use dkimctl_state::lifecycle::staging::gates::Evidence;
use dkimctl_state::lifecycle::staging::ladder::Rung;
use dkimctl_state::lifecycle::staging::policy::{StagingPolicy, Subdomains};
use dkimctl_state::lifecycle::staging::sources::{Network, Ours, Source, table};
use dkimctl_state::lifecycle::staging::{self, Around, Due, Move, due};
use dkimctl_state::name::SigningDomain;
use dkimctl_state::record::dmarc::lint::{Context, lint};
use dkimctl_state::record::dmarc::{DmarcRecord, Policy, read, record_name};
use dkimctl_state::record::lint::Severity;
use dkimctl_state::record::txt::TxtText;
use dkimctl_state::store::Store;
use dkimctl_state::store::evidence::{EvidenceStore, Refusal};
use dkimctl_state::time::{Span, Time};

use super::publish::{self, Look, PublishError, keep};
use crate::dns::Dns;
use crate::guarded::{Kind, Served, served};
use crate::observe::Sweeper;
use crate::world::witness;

/// A state that keeps reports too.
pub trait State: Store + EvidenceStore {}

impl<S: Store + EvidenceStore> State for S {}

/// One domain, and everything that its policy depends on.
pub struct Stage<'a> {
    pub dns: &'a Dns,
    pub store: &'a mut dyn State,
    /// Asks the authoritative servers.
    pub servers: &'a dyn Sweeper,
    pub settings: &'a Settings,
    pub policy: &'a StagingPolicy,
    pub records: Records,
    pub now: Time,
    pub actor: String,
}

/// What resolvers show of the domain's records, as far as it matters here.
#[derive(Debug, Clone, Default)]
pub struct Records {
    /// The addresses that SPF allows.
    pub networks: Vec<Network>,
    /// Why SPF is not sound.
    pub spf_errors: Vec<String>,
    /// What is wrong around the DMARC record: who is to have reports, whether they take them.
    pub dmarc_errors: Vec<String>,
}

/// How far back evidence is read: two windows of `users`, doubled for little mail.
const KEPT: Span = Span::days(130);

/// What was gathered for one decision.
pub struct Gathered {
    pub course: Course,
    pub reports: Vec<Report>,
    pub rows: Vec<Row>,
    pub refused: Vec<Refusal>,
    selectors: BTreeSet<String>,
    around: Around,
}

impl Gathered {
    /// What the name servers show goes into the decision.
    pub fn served(&mut self, served: Option<Served>) {
        self.around.servers = served.filter(|served| !served.everywhere()).map(|served| served.to_string());
    }
}

impl Stage<'_> {
    fn domain(&self) -> &SigningDomain {
        &self.settings.domain
    }

    pub fn look(&self) -> Result<Look, PublishError> {
        publish::look(self.dns, &self.settings.providers, self.domain())
    }

    /// Everything but DNS.
    pub fn gather(&self) -> Result<Gathered, PublishError> {
        let course = publish::course(as_store(self.store), self.domain())?;
        let ledger = self.store.load(self.domain())?.ledger;
        let since = self.now - KEPT;
        let reports = self.store.reports(self.domain().as_fqdn(), since)?;
        let rows = self.store.rows(self.domain().as_fqdn(), since)?;
        let refused = self.store.refusals(self.domain().as_fqdn(), since)?;
        let selectors: BTreeSet<String> = ledger.keys().map(|(_, key)| key.selector.to_string()).collect();
        let around = Around {
            key_switch: switching(&ledger),
            dkim_proved: proved(&ledger, &course, &rows),
            spf_errors: self.records.spf_errors.clone(),
            dmarc_errors: self.records.dmarc_errors.clone(),
            clock_disagrees: self.stands_before(&ledger, &course),
            servers: None,
        };
        Ok(Gathered { course, reports, rows, refused, selectors, around })
    }

    /// A clock that stands before what is already known is wrong, whatever others say.
    fn stands_before(&self, ledger: &Ledger, course: &Course) -> bool {
        let newest = ledger.newest.max(course.log.last().map(|change| change.at));
        newest.is_some_and(|newest| self.now + self.settings.policy.clock_tolerance < newest)
    }

    /// What is due, without a look at DNS.
    pub fn decide(&self, gathered: &Gathered) -> Due {
        self.with(gathered, due)
    }

    fn with<T>(&self, gathered: &Gathered, decide: impl FnOnce(staging::Now<'_>) -> T) -> T {
        let ours = self.ours(gathered);
        let evidence = Evidence { reports: &gathered.reports, rows: &gathered.rows, refused: &gathered.refused };
        let (course, around) = (&gathered.course, &gathered.around);
        decide(staging::Now { policy: self.policy, course, ours: &ours, evidence, around, at: self.now })
    }

    fn ours<'g>(&'g self, gathered: &'g Gathered) -> Ours<'g> {
        Ours {
            domain: Some(self.domain().as_fqdn().clone()),
            senders: &gathered.course.senders,
            not_ours: &gathered.course.not_ours,
            spf: &self.records.networks,
            selectors: &gathered.selectors,
        }
    }

    /// Every source of mail in the last `days`.
    pub fn sources(&self, days: u32) -> Result<Vec<Source>, PublishError> {
        let mut gathered = self.gather()?;
        let since = self.now - Span::days(days.into());
        gathered.rows.retain(|row| row.day.start() >= since);
        Ok(table(&self.ours(&gathered).classify(&gathered.rows, &self.policy.floor)))
    }

    /// Whatever is due: finishes what was begun, then one rung at most.
    pub fn advance(&mut self) -> Result<Due, PublishError> {
        self.finish()?;
        let mut gathered = self.gather()?;
        let mut due = self.decide(&gathered);
        if let Move::Write { .. } = &due.what {
            // Only now DNS is looked at: the record must be without fault and everywhere to be built upon.
            let look = self.look()?;
            gathered.around.dmarc_errors.extend(self.errors(&look));
            let tolerance = self.settings.policy.clock_tolerance;
            let other = witness(self.dns, &self.settings.providers, self.now, tolerance);
            gathered.around.clock_disagrees |= matches!(other, Witness::Disagrees(_));
            if let Some(stood) = gathered.course.now() {
                self.unchanged(&look, &stood.text)?;
                let served = served(self.servers, Kind::Dmarc, &look.name, &stood.text, self.now);
                gathered.around.servers = (!served.everywhere()).then(|| served.to_string());
            }
            due = self.decide(&gathered);
        }
        if let Move::Write { kind, from, to, why, .. } = due.what.clone() {
            self.write(&mut gathered.course, kind, Some(from), to, why)?;
        }
        Ok(due)
    }

    /// What stands at the providers is what we believe to stand.
    fn unchanged(&self, look: &Look, believed: &TxtText) -> Result<(), PublishError> {
        let (kind, name, domain) = (Kind::Dmarc, look.name.clone(), self.domain().as_fqdn().clone());
        match look.texts.iter().find(|text| text.as_ref() != Some(believed)) {
            None => Ok(()),
            Some(Some(seen)) => Err(PublishError::NotOurs { kind, name, domain, seen: seen.clone() }),
            Some(None) => Err(PublishError::Gone { kind, name, domain, wanted: believed.clone() }),
        }
    }

    /// One step back, at once: to the octet what stood before.
    pub fn rollback(&mut self, why: &str) -> Result<Option<Rung>, PublishError> {
        if let Some(rung) = self.undo(why)? {
            return Ok(Some(rung));
        }
        self.finish()?;
        let mut gathered = self.gather()?;
        match self.with(&gathered, |now| staging::back(now, why)) {
            Some(Move::Write { kind, rung, from, to, why }) => {
                self.write(&mut gathered.course, kind, Some(from), to, why)?;
                Ok(Some(rung))
            }
            _ => Ok(None),
        }
    }

    /// A change that some providers took and others did not is taken back where it was made: that is the step back.
    fn undo(&mut self, why: &str) -> Result<Option<Rung>, PublishError> {
        let mut course = publish::course(as_store(self.store), self.domain())?;
        let Some(Change { from: Some(before), to: half, ttl, .. }) = course.pending.clone() else { return Ok(None) };
        let look = self.look()?;
        let both = [&before, &half].iter().all(|wanted| look.texts.iter().any(|text| text.as_ref() == Some(*wanted)));
        if !both {
            return Ok(None);
        }
        let (at, by) = (self.now, self.actor.clone());
        let (kind, from, to) = (ChangeKind::Undo, Some(half), before);
        let rung = rung_of(&to).unwrap_or(Rung::None);
        let change = Change { at, by, kind, from, to, ttl, why: why.to_owned() };
        let (dns, now) = (self.dns, self.now);
        publish::write(dns, as_store_mut(self.store), &self.settings.providers, &mut course, change, now)?;
        Ok(Some(rung))
    }

    /// Whether every name server shows the record that stands; `None` if none does.
    pub fn served(&self, course: &Course) -> Option<Served> {
        let name = record_name(self.domain().as_fqdn()).ok()?;
        Some(served(self.servers, Kind::Dmarc, &name, &course.now()?.text, self.now))
    }

    /// Takes over what stands there (or writes the first record); `seen` is the text that the operator agreed to.
    pub fn adopt(&mut self, seen: Option<TxtText>, first: Option<TxtText>) -> Result<Course, PublishError> {
        let look = self.look()?;
        let stands = look.agreed()?;
        if stands != seen {
            return Err(PublishError::Changed(look.name));
        }
        let mut course = publish::course(as_store(self.store), self.domain())?;
        let ttl = look.ttl().unwrap_or(self.settings.ttl);
        let change = |from: Option<TxtText>, to: TxtText, why: &str| Change {
            at: self.now,
            by: self.actor.clone(),
            kind: ChangeKind::Adopt,
            from,
            to,
            ttl,
            why: why.to_owned(),
        };
        match (stands, first) {
            (Some(text), None) => {
                if course.now().is_none_or(|stood| stood.text != text) || course.pending.is_some() {
                    let (change, now) = (change(Some(text.clone()), text, "an operator agreed"), self.now);
                    // What somebody else put there is a new beginning: nothing before it is ours to go back to.
                    keep(as_store_mut(self.store), &mut course, now, |course| course.trail.clear())?;
                    publish::settle(as_store_mut(self.store), &mut course, change, now)?;
                }
            }
            (from, Some(text)) => {
                let change = change(from, text, "an operator asked for it");
                let (dns, now) = (self.dns, self.now);
                publish::write(dns, as_store_mut(self.store), &self.settings.providers, &mut course, change, now)?;
            }
            (None, None) => {}
        }
        Ok(course)
    }

    /// Whether the domain may be parked at once.
    pub fn may_park(&self) -> Result<Result<TxtText, String>, PublishError> {
        let gathered = self.gather()?;
        let base = gathered.course.record().unwrap_or_else(|| DmarcRecord::with_policy(Policy::Reject));
        let may = self.with(&gathered, staging::may_park);
        Ok(may.map(|()| Rung::Parked.record(&base, Subdomains::Keep).text()))
    }

    /// Changes what is known of a domain (senders, acknowledgements, holds).
    pub fn note(&mut self, change: impl FnOnce(&mut Course)) -> Result<Course, PublishError> {
        let mut course = publish::course(as_store(self.store), self.domain())?;
        keep(as_store_mut(self.store), &mut course, self.now, change)?;
        Ok(course)
    }

    fn finish(&mut self) -> Result<(), PublishError> {
        let mut course = publish::course(as_store(self.store), self.domain())?;
        let (dns, now) = (self.dns, self.now);
        publish::resume(dns, as_store_mut(self.store), &self.settings.providers, &mut course, now)
    }

    fn write(
        &mut self,
        course: &mut Course,
        kind: ChangeKind,
        from: Option<TxtText>,
        to: TxtText,
        why: String,
    ) -> Result<(), PublishError> {
        // While the policy is on its way a step back has to be seen soon.
        let ttl = course.now().map_or(self.settings.ttl, |stood| stood.ttl).min(3600);
        let change = Change { at: self.now, by: self.actor.clone(), kind, from, to, ttl, why };
        let (dns, now) = (self.dns, self.now);
        publish::write(dns, as_store_mut(self.store), &self.settings.providers, course, change, now)
    }

    fn errors(&self, look: &Look) -> Vec<String> {
        let texts = look.at.first().map(|(_, at)| at.texts().cloned().collect()).unwrap_or_default();
        let context = Context { texts, ttl: look.ttl(), staging: true, ..Context::default() };
        let findings = lint(self.domain().as_fqdn(), &context);
        findings.into_iter().filter(|f| f.severity == Severity::Error).map(|f| f.seen).collect()
    }
}

fn as_store(store: &dyn State) -> &dyn Store {
    store
}

fn as_store_mut(store: &mut dyn State) -> &mut dyn Store {
    store
}

/// The selector of a key that is about to sign, or to stop.
pub fn switching(ledger: &Ledger) -> Option<String> {
    use dkimctl_state::lifecycle::ledger::Phase;
    ledger.keys().find(|(phase, _)| *phase == Phase::Switching).map(|(_, key)| key.selector.to_string())
}

/// When our mail was last proved to be signed: by a probe when its key came to sign, or by a believed report of mail
/// that verified, signed with a key of ours or of a declared sender.
fn proved(ledger: &Ledger, course: &Course, rows: &[Row]) -> Option<Time> {
    let active = || ledger.lines.values().filter_map(|line| line.active.as_ref());
    let probes = active().flat_map(|active| active.signing.values().copied()).max();
    let ours = |selector: &str| {
        active().any(|active| active.key.selector.as_str() == selector)
            || course.senders.iter().any(|sender| sender.selectors.iter().any(|s| s == selector))
    };
    let signed = |row: &&Row| {
        row.outcome.dkim
            && row.trust > Trust::Unverified
            && row.auth.dkim.iter().any(|dkim| dkim.result == AuthWord::Pass && ours(&dkim.selector))
    };
    let reported = rows.iter().filter(signed).map(|row| row.day.start() + Span::days(1)).max();
    probes.max(reported)
}

/// Retiring keys that reports show in use by ourselves after they stopped: facts that hold their retirement.
///
/// A signature that verifies needs the private half, so whoever sent it was ours; but it may have lain in a queue, so
/// only days that began a day after the switch count, and only addresses that pass SPF or use the new key as well.
pub fn still_used(ledger: &Ledger, rows: &[Row]) -> Vec<Fact> {
    let active: BTreeSet<&str> =
        ledger.lines.values().filter_map(|line| Some(line.active.as_ref()?.key.selector.as_str())).collect();
    let signs = |row: &Row, selector: &str| {
        let pass = |dkim: &dkimctl_state::lifecycle::staging::evidence::DkimResult| {
            dkim.result == AuthWord::Pass && dkim.selector == selector && dkim.domain == ledger.domain.as_str()
        };
        row.trust > Trust::Unverified && row.auth.dkim.iter().any(pass)
    };
    let own: BTreeSet<std::net::IpAddr> = rows
        .iter()
        .filter(|row| row.outcome.spf || active.iter().any(|selector| signs(row, selector)))
        .map(|row| row.source)
        .collect();
    let mut facts = Vec::new();
    for outgoing in ledger.lines.values().flat_map(|line| &line.outgoing) {
        let Outgoing::Retiring(retiring) = outgoing else { continue };
        let from = retiring.stopped + Span::days(1);
        let known = retiring.last_use.as_ref().map(|known| known.at);
        let uses = rows.iter().filter(|row| row.day.start() >= from && own.contains(&row.source));
        let last = uses.filter(|row| signs(row, retiring.key.selector.as_str())).max_by_key(|row| row.day);
        if let Some(row) = last.filter(|row| known.is_none_or(|known| row.day.start() > known)) {
            let by = format!("{} ({} messages, reported by {})", row.source, row.count, row.reporter);
            facts.push(Fact::Used { key: retiring.key.fingerprint, seen: row.day.start(), by });
        }
    }
    facts
}

/// What stands, as a rung; `None` for a text that no receiver takes.
pub fn rung_of(text: &TxtText) -> Option<Rung> {
    read(text).0.as_ref().map(Rung::of)
}
