//! Carries out an order on a mail host, in the one sequence in which a kill between any two steps leaves mail signed
//! with a key that verifies:
//!
//! 1. deliver every key, and check that the signer would open it
//! 2. load the keys: known to the signer, idle
//! 3. ask the name servers for every key that is about to sign, and write down the rows that stand now
//! 4. switch the rows of all domains whose order changed, in one write; reload once
//! 5. probe every domain; what is wrong goes back to its old rows, is reloaded and probed again
//! 6. forget and then destroy keys that are ordered destroyed, where the probe shows that others sign
//!
//! Every step is an ensure. A run that finds nothing to change writes nothing and reloads nothing, but it probes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use dkimctl_state::name::{Fqdn, SigningDomain};
use dkimctl_state::record::dkim::Fingerprint;

use super::journal::{Journal, JournalError, Refused};
use super::order::{DomainOrder, DomainReport, HostOrder, KeyOrder, KeyStore, Report, SigningSeen, Verdict};
use super::proof::{ask, hold_back, prove_back};
use super::sentence;
use crate::signers::probe::{self, Expected, KeyLookup, Settle};
use crate::signers::{KeyName, LoadedKey, Rows, Signer, SignerError};

/// A mail host, and what it may ask.
pub struct Host<'a> {
    pub signer: &'a dyn Signer,
    pub store: &'a dyn KeyStore,
    /// What the authoritative servers serve at a key record's name.
    pub lookup: &'a dyn Fn(&Fqdn) -> KeyLookup,
    /// How long an answer from before a reload is asked for again, and one that does not come.
    pub settle: Duration,
    /// Try an order again that was rolled back.
    pub retry: bool,
}

/// What stops a whole host. Whatever was done before it is safe to do again.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    #[error("the {signer} tables are not understood, so nothing was switched")]
    Rows { signer: &'static str, source: SignerError },
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// Carries out `order`.
pub fn apply(host: &Host<'_>, journal: &mut Journal, order: &HostOrder) -> Result<Report, ApplyError> {
    let domains = order.domains.iter().map(Progress::new).collect();
    let mut run = Run { host, journal, domains, writes: 0, reloads: 0, tables_written: false, reload_failed: None };
    run.deliver();
    run.load();
    let rows = run.rows()?;
    run.want(&rows);
    run.switch(&rows)?;
    // A switch that is not proven may have been killed before its reload.
    let reload = run.tables_written || run.journal.has_unproven();
    if reload {
        run.reload();
    }
    run.probe(reload);
    if !reload && run.anything_wrong() {
        // The tables are as ordered, yet something else signs: the signer may never have been told.
        run.reload();
        run.probe(true);
    }
    run.settle(&rows)?;
    run.roll_back()?;
    run.destroy();
    Ok(run.finish())
}

struct Run<'a> {
    host: &'a Host<'a>,
    journal: &'a mut Journal,
    domains: Vec<Progress<'a>>,
    writes: usize,
    reloads: usize,
    tables_written: bool,
    /// Why the last reload did not reach the signer.
    reload_failed: Option<String>,
}

/// How far one domain has come.
struct Progress<'a> {
    order: &'a DomainOrder,
    paths: BTreeMap<Fingerprint, PathBuf>,
    destroyed: Vec<Fingerprint>,
    /// The names of the keys that are to sign, once all of them are loaded.
    wanted: Option<Vec<KeyName>>,
    /// Why the rows were not switched: told in place of a probe.
    held_back: Option<Verdict>,
    /// Whether the rows name the keys that are to sign.
    as_ordered: bool,
    /// One verdict for each key that is to sign.
    verdicts: Vec<Verdict>,
    problem: Option<String>,
}

impl Run<'_> {
    fn deliver(&mut self) {
        for progress in &mut self.domains {
            for key in &progress.order.keys {
                match deliver(self.host, &progress.order.domain, key) {
                    Ok((path, wrote)) => {
                        self.writes += usize::from(wrote);
                        progress.paths.insert(key.fingerprint, path);
                    }
                    Err(problem) => progress.fail(problem),
                }
            }
        }
    }

    fn load(&mut self) {
        let keys = |progress: &Progress<'_>| progress.loaded_keys().collect::<Vec<_>>();
        let signer = self.host.signer;
        self.in_one_write(|progress| progress.problem.is_none(), keys, |batch| signer.load(&batch.concat()));
    }

    fn rows(&self) -> Result<Rows, ApplyError> {
        let signer = self.host.signer;
        signer.rows().map_err(|source| ApplyError::Rows { signer: signer.name(), source })
    }

    /// Finds what the signer calls the keys that are to sign.
    fn want(&mut self, rows: &Rows) {
        let names = rows.names();
        for progress in &mut self.domains {
            let name = |fingerprint: &Fingerprint| {
                let key = progress.key(*fingerprint)?;
                let path: &Path = progress.paths.get(fingerprint)?;
                names.get(&(&progress.order.domain, &key.selector, path)).map(|name| (*name).clone())
            };
            progress.wanted = progress.order.sign.iter().map(|sign| name(&sign.fingerprint)).collect();
            if progress.wanted.is_none() && progress.problem.is_none() {
                progress.fail("a key that is to sign is not among the keys that were ordered".into());
            }
        }
    }

    /// Switches every domain whose rows differ from its order, if the name servers serve the keys.
    fn switch(&mut self, rows: &Rows) -> Result<(), ApplyError> {
        let mut before = Vec::new();
        for progress in &mut self.domains {
            let domain = &progress.order.domain;
            let Some(wanted) = progress.wanted.as_ref().filter(|wanted| !wanted.is_empty()) else { continue };
            if rows.signing(domain) == wanted {
                progress.as_ordered = true;
                continue;
            }
            if progress.problem.is_some() {
                continue;
            }
            let expected = progress.expected().unwrap_or_default();
            progress.held_back = hold_back(self.host, self.journal, progress.order, &expected);
            if progress.held_back.is_none() {
                before.push((domain.clone(), rows.signing(domain).to_vec()));
            }
        }
        let changed: HashSet<SigningDomain> = before.iter().map(|(domain, _)| domain.clone()).collect();
        self.journal.remember(before)?;
        let signer = self.host.signer;
        self.in_one_write(
            |progress| changed.contains(&progress.order.domain),
            |progress| vec![(progress.order.domain.clone(), progress.wanted.clone().unwrap_or_default())],
            |batch| signer.sign_with(&batch.concat()),
        );
        for progress in self.domains.iter_mut().filter(|progress| changed.contains(&progress.order.domain)) {
            progress.as_ordered = progress.problem.is_none();
        }
        // What was refused has no way back to remember: its rows are the old ones.
        let stayed = |progress: &&Progress<'_>| {
            let domain = &progress.order.domain;
            progress.problem.is_some() && changed.contains(domain) && stands(self.journal, rows, domain)
        };
        let stayed: Vec<SigningDomain> =
            self.domains.iter().filter(stayed).map(|progress| progress.order.domain.clone()).collect();
        Ok(self.journal.settle(&stayed)?)
    }

    fn reload(&mut self) {
        self.reloads += 1;
        self.reload_failed = self.host.signer.reload().err().map(|error| sentence(&error));
    }

    /// Probes every domain that is to sign. For a while an old answer is asked for again, and a signer that is silent: in
    /// a container that has just started it comes up after its tables.
    fn probe(&mut self, reloaded: bool) {
        let settle = match reloaded {
            true => Settle::after_reload(self.host.settle),
            false => Settle::as_it_runs(self.host.settle),
        };
        if reloaded && let Some(first) = self.domains.first() {
            // A lazy reload waits for a connection, and it may be that no domain below is asked about.
            let _ = self.host.signer.probe(&first.order.domain);
        }
        for progress in &mut self.domains {
            let sign = &progress.order.sign;
            progress.verdicts = match (&progress.held_back, progress.expected()) {
                (Some(verdict), _) => vec![verdict.clone(); sign.len()],
                (None, Some(expected)) if progress.as_ordered => {
                    let seen = ask(self.host, &progress.order.domain, &expected, settle);
                    let verdicts = sign.iter().zip(seen).map(|(sign, seen)| match seen {
                        probe::Verdict::Right => Verdict::Right { fingerprint: sign.fingerprint },
                        probe::Verdict::Unknown { why } => Verdict::Unknown { why },
                        // A signer that could not be told is not to blame for the old answer.
                        probe::Verdict::Wrong { seen } => match &self.reload_failed {
                            Some(why) => Verdict::Unknown { why: format!("{seen}; it was not reloaded: {why}") },
                            None => Verdict::Wrong { what: seen, rolled_back: false },
                        },
                    });
                    verdicts.collect()
                }
                _ => {
                    let why = progress.problem.clone().unwrap_or_else(|| "the order is incomplete".into());
                    vec![Verdict::Unknown { why }; sign.len()]
                }
            };
        }
    }

    fn anything_wrong(&self) -> bool {
        self.domains.iter().any(|progress| progress.held_back.is_none() && progress.wrong().is_some())
    }

    /// Forgets the way back of every switch that is proven, and of every order that was taken back before.
    fn settle(&mut self, rows: &Rows) -> Result<(), JournalError> {
        if self.reload_failed.is_some() {
            return Ok(());
        }
        let settled = |progress: &&Progress<'_>| match progress.held_back {
            Some(_) => stands(self.journal, rows, &progress.order.domain),
            None => !progress.verdicts.is_empty() && progress.is_right(),
        };
        let settled: Vec<SigningDomain> =
            self.domains.iter().filter(settled).map(|progress| progress.order.domain.clone()).collect();
        self.journal.settle(&settled)
    }

    /// Puts the old rows back where the probe was wrong, and probes again to see them sign.
    fn roll_back(&mut self) -> Result<(), ApplyError> {
        let wrong = |progress: &Progress<'_>| -> Option<(SigningDomain, String)> {
            let domain = &progress.order.domain;
            self.journal.before(domain)?;
            Some((domain.clone(), progress.wrong().filter(|_| progress.held_back.is_none())?.to_owned()))
        };
        let wrong: BTreeMap<SigningDomain, String> = self.domains.iter().filter_map(wrong).collect();
        if wrong.is_empty() {
            return Ok(());
        }
        let before: HashMap<SigningDomain, Vec<KeyName>> =
            wrong.keys().filter_map(|domain| Some((domain.clone(), self.journal.before(domain)?.to_vec()))).collect();
        // First the note that the order is wrong: a kill in between must not switch again.
        let digest: HashMap<&SigningDomain, &str> =
            self.domains.iter().map(|progress| (&progress.order.domain, &*progress.order.digest)).collect();
        let refused = wrong
            .iter()
            .map(|(domain, seen)| (domain.clone(), Refused { order: digest[domain].to_owned(), seen: seen.clone() }));
        let refused: Vec<_> = refused.collect();
        self.journal.refuse(refused)?;

        let signer = self.host.signer;
        self.in_one_write(
            |progress| wrong.contains_key(&progress.order.domain),
            |progress| vec![(progress.order.domain.clone(), before[&progress.order.domain].clone())],
            |batch| signer.sign_with(&batch.concat()),
        );
        self.reload();
        let rows = self.rows()?;
        let settle = Settle::after_reload(self.host.settle);
        let mut back = Vec::new();
        for progress in self.domains.iter_mut().filter(|progress| wrong.contains_key(&progress.order.domain)) {
            let domain = &progress.order.domain;
            let names = &before[domain];
            let stands = rows.signing(domain) == names.as_slice();
            let proof = match (stands, &self.reload_failed) {
                (false, _) => "the old rows could not be put back".to_owned(),
                (true, Some(why)) => format!("the old rows stand again, but the signer was not reloaded: {why}"),
                (true, None) => prove_back(self.host, domain, names, &rows, settle),
            };
            if stands && self.reload_failed.is_none() {
                back.push(domain);
            }
            for verdict in &mut progress.verdicts {
                if let Verdict::Wrong { what, rolled_back } = verdict {
                    *rolled_back = stands;
                    what.push_str("; ");
                    what.push_str(&proof);
                }
            }
        }
        Ok(self.journal.settle(back)?)
    }

    /// Destroys keys where it is proven that others sign. Rows go first and the signer is told; then the files go.
    fn destroy(&mut self) {
        let Ok(rows) = self.host.signer.rows() else { return };
        let mut names: HashMap<&Path, Vec<&KeyName>> = HashMap::new();
        for (name, loaded) in &rows.loaded {
            if let Some(path) = loaded.path.as_deref() {
                names.entry(path).or_default().push(name);
            }
        }
        let mut doomed: HashMap<SigningDomain, Vec<KeyName>> = HashMap::new();
        for progress in &mut self.domains {
            let may = progress.problem.is_none() && progress.held_back.is_none() && progress.is_right();
            if progress.order.destroy.is_empty() || !may {
                continue;
            }
            match doomed_names(self.host, progress, &names) {
                Ok(names) => drop(doomed.insert(progress.order.domain.clone(), names)),
                Err(problem) => progress.fail(problem),
            }
        }
        if doomed.is_empty() {
            return;
        }
        let signer = self.host.signer;
        self.tables_written = false;
        self.in_one_write(
            |progress| progress.problem.is_none() && doomed.contains_key(&progress.order.domain),
            |progress| doomed[&progress.order.domain].clone(),
            |batch| signer.unload(&batch.concat()),
        );
        if self.tables_written {
            self.reload();
            // As in `probe`: the reload waits for a connection.
            if let Some(domain) = doomed.keys().next() {
                let _ = signer.probe(domain);
            }
        }
        if self.reload_failed.is_some() {
            return;
        }
        for progress in self.domains.iter_mut().filter(|progress| progress.problem.is_none()) {
            if !doomed.contains_key(&progress.order.domain) {
                continue;
            }
            for &fingerprint in &progress.order.destroy {
                match self.host.store.destroy(&progress.order.domain, fingerprint) {
                    Ok(was_there) => {
                        self.writes += usize::from(was_there);
                        progress.destroyed.push(fingerprint);
                    }
                    Err(error) => progress.problem = Some(sentence(&error)),
                }
            }
        }
    }

    /// Does one thing for all chosen domains in one write. If that fails, each domain is
    /// tried by itself, so that one bad row stops its own domain and no other.
    fn in_one_write<T: Clone>(
        &mut self,
        chosen: impl Fn(&Progress<'_>) -> bool,
        part: impl Fn(&Progress<'_>) -> Vec<T>,
        write: impl Fn(&[Vec<T>]) -> Result<bool, SignerError>,
    ) {
        let mut parts: Vec<(usize, Vec<T>)> = Vec::new();
        for (index, progress) in self.domains.iter().enumerate() {
            if chosen(progress) {
                parts.push((index, part(progress)));
            }
        }
        parts.retain(|(_, part)| !part.is_empty());
        if parts.is_empty() {
            return;
        }
        let batch: Vec<Vec<T>> = parts.iter().map(|(_, part)| part.clone()).collect();
        let outcomes: Vec<(Option<usize>, Result<bool, SignerError>)> = match write(&batch) {
            Ok(wrote) => vec![(None, Ok(wrote))],
            Err(error) if parts.len() == 1 => vec![(Some(parts[0].0), Err(error))],
            Err(_) => parts.into_iter().map(|(index, part)| (Some(index), write(&[part]))).collect(),
        };
        for (index, outcome) in outcomes {
            match (index, outcome) {
                (_, Ok(wrote)) => {
                    self.writes += usize::from(wrote);
                    self.tables_written |= wrote;
                }
                (Some(index), Err(error)) => self.domains[index].fail(sentence(&error)),
                (None, Err(_)) => {}
            }
        }
    }

    fn finish(self) -> Report {
        let domains = self.domains.into_iter().map(Progress::report).collect();
        Report { domains, writes: self.writes, reloads: self.reloads }
    }
}

impl<'a> Progress<'a> {
    fn new(order: &'a DomainOrder) -> Self {
        Progress {
            order,
            paths: BTreeMap::new(),
            destroyed: Vec::new(),
            wanted: None,
            held_back: None,
            as_ordered: false,
            verdicts: Vec::new(),
            problem: None,
        }
    }

    /// The first problem is the one to be told.
    fn fail(&mut self, problem: String) {
        self.problem.get_or_insert(problem);
    }

    fn key(&self, fingerprint: Fingerprint) -> Option<&'a KeyOrder> {
        self.order.keys.iter().find(|key| key.fingerprint == fingerprint)
    }

    fn loaded_keys(&self) -> impl Iterator<Item = LoadedKey> {
        let key = |key: &KeyOrder| {
            Some(LoadedKey {
                domain: self.order.domain.clone(),
                selector: key.selector.clone(),
                fingerprint: key.fingerprint,
                path: self.paths.get(&key.fingerprint)?.clone(),
            })
        };
        self.order.keys.iter().filter_map(key)
    }

    /// The signatures that ought to be on this domain's mail; `None` if there are none, or a key is not known.
    fn expected(&self) -> Option<Vec<Expected>> {
        let expected: Option<Vec<Expected>> = self
            .order
            .sign
            .iter()
            .map(|sign| {
                let key = self.key(sign.fingerprint)?;
                Some(Expected { selector: key.selector.clone(), key: Some((key.algorithm, key.public.clone())) })
            })
            .collect();
        expected.filter(|expected| !expected.is_empty())
    }

    fn wrong(&self) -> Option<&str> {
        self.verdicts.iter().find_map(|verdict| match verdict {
            Verdict::Wrong { what, .. } => Some(what.as_str()),
            _ => None,
        })
    }

    fn is_right(&self) -> bool {
        self.verdicts.iter().all(|verdict| matches!(verdict, Verdict::Right { .. }))
    }

    fn report(self) -> DomainReport {
        let destroyed = self.destroyed;
        let signing = self.order.sign.iter().zip(self.verdicts);
        DomainReport {
            domain: self.order.domain.clone(),
            digest: self.order.digest.clone(),
            held: self.paths.into_keys().filter(|fingerprint| !destroyed.contains(fingerprint)).collect(),
            signing: signing.map(|(sign, verdict)| SigningSeen { algorithm: sign.algorithm, verdict }).collect(),
            destroyed,
            problem: self.problem,
        }
    }
}

/// Writes one key and replays what the signer will ask of its path.
fn deliver(host: &Host<'_>, domain: &SigningDomain, key: &KeyOrder) -> Result<(PathBuf, bool), String> {
    let delivered = host.store.deliver(domain, key).map_err(|error| sentence(&error))?;
    match host.signer.accepts(&delivered.path) {
        Ok(()) => Ok((delivered.path, delivered.wrote)),
        Err(problems) => Err(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")),
    }
}

/// Whether the rows of a domain are the ones that a way back would restore.
fn stands(journal: &Journal, rows: &Rows, domain: &SigningDomain) -> bool {
    journal.before(domain) == Some(rows.signing(domain))
}

/// The signer's names of the keys that are to be destroyed.
fn doomed_names(
    host: &Host<'_>,
    progress: &Progress<'_>,
    names: &HashMap<&Path, Vec<&KeyName>>,
) -> Result<Vec<KeyName>, String> {
    let order = progress.order;
    let mut doomed = Vec::new();
    for &fingerprint in &order.destroy {
        if order.sign.iter().any(|sign| sign.fingerprint == fingerprint) {
            return Err(format!("the key {} is ordered to sign and to be destroyed: it stays", fingerprint.short()));
        }
        if progress.key(fingerprint).is_some() {
            return Err(format!("the key {} is ordered to be held and to be destroyed: it stays", fingerprint.short()));
        }
        let path = host.store.locate(&order.domain, fingerprint).map_err(|error| sentence(&error))?;
        let found = path.as_deref().and_then(|path| names.get(path)).map(Vec::as_slice).unwrap_or_default();
        doomed.extend(found.iter().map(|name| (*name).clone()));
    }
    Ok(doomed)
}

#[cfg(test)]
#[path = "apply_tests.rs"]
mod tests;
