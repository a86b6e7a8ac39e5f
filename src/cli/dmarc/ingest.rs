use std::collections::BTreeSet;
use std::io::{self, BufWriter, Write};

use dkimctl_state::name::{Fqdn, SigningDomain};
use dkimctl_state::record::txt::TxtText;
use dkimctl_state::store::Store;
use dkimctl_state::store::evidence::EvidenceStore;
use dkimctl_state::time::Span;

use super::super::error::{Error, Exit};
use super::super::machine::WriteState;
use super::super::record::asked;
use super::super::request;
use super::super::shell::Shell;
use super::IngestArgs;
use crate::config::find;
use crate::config::find::Surroundings;
use crate::dmarc::authentic::Authenticator;
use crate::dmarc::ingest::{Entry, Ingest, Totals};
use crate::dmarc::publish::{course, wake};
use crate::dmarc::stage::still_used;
use crate::report::dmarc::{IngestText, totals_text};
use crate::spf::resolver::{Data, Kind, QueryName, Reply, Resolver};

pub fn run(shell: &Shell, args: IngestArgs) -> Result<Exit, Error> {
    let around = Surroundings { variable: None, ..Surroundings::of_this_process() };
    // Reading needs no configuration; keeping does.
    let configured = shell.global.config.is_some() || find(None, &around).is_ok();
    let config = configured.then(|| shell.config()).transpose()?;
    let mut trusted = args.authserv_id;
    trusted.extend(config.iter().flat_map(|config| config.reports.authserv_ids.iter().cloned()));
    let mut state = match &config {
        Some(config) if !args.dry_run => Some(WriteState::open(shell, config, "dmarc ingest")?),
        _ => None,
    };
    if !configured && !args.dry_run {
        shell.warn("there is no configuration, so nothing is kept; `dkimctl init` makes one");
    }
    let resolver = if args.offline { None } else { asked(args.resolver).ok() };
    let lookup = |name: &Fqdn| -> Result<Vec<TxtText>, String> {
        let resolver = resolver.as_ref().ok_or("no resolver was asked")?;
        let query = QueryName::parse(name.as_str()).ok_or("the name is too long")?;
        match resolver.ask(&query, Kind::Txt) {
            Reply::Found(data) => Ok(data.into_iter().filter_map(text_of).collect()),
            Reply::Nothing { .. } => Ok(Vec::new()),
            Reply::Failed(why) => Err(why),
        }
    };
    let mut printer =
        Printer { json: shell.global.json, out: BufWriter::new(io::stdout().lock()), first: true, failed: None };
    printer.begin();
    let mut say = |entry: &Entry| printer.entry(entry);
    let store = state.as_mut().map(|state| &mut state.store as &mut dyn EvidenceStore);
    let authenticator = Authenticator::new(&lookup).trusting(&trusted);
    let mut run = Ingest::new(store, authenticator, shell.now(), args.trust_mail, &mut say);
    for path in &args.paths {
        match path.as_os_str() == "-" {
            true => run.stream("-", io::stdin().lock()),
            false => run.path(path),
        }
    }
    let (totals, domains) = run.finish()?;
    printer.end(shell, &totals)?;
    if let Some(state) = &mut state {
        hold_retirements(shell, state, &domains)?;
    }
    Ok(match totals.rejected + totals.partial {
        0 => Exit::Ok,
        _ if totals.ok + totals.partial + totals.duplicate == 0 => Exit::Failed,
        _ => Exit::Ok,
    })
}

fn text_of(data: Data) -> Option<TxtText> {
    match data {
        Data::Txt { text, .. } => Some(text),
        _ => None,
    }
}

/// An old selector that reports still show in use holds its own retirement, and `status` says by whom.
fn hold_retirements(shell: &Shell, state: &mut WriteState, domains: &BTreeSet<Fqdn>) -> Result<(), Error> {
    for domain in domains {
        let Ok(domain) = domain.as_str().parse::<SigningDomain>() else { continue };
        let ledger = state.store.load(&domain)?.ledger;
        let rows = state.store.rows(domain.as_fqdn(), shell.now() - Span::days(60))?;
        let facts = still_used(&ledger, &rows);
        if !facts.is_empty() {
            request::commit(shell, &mut state.store, &domain, facts)?;
        }
        // New evidence: `dmarc advance` looks at it.
        if course(&state.store, &domain)?.now().is_some() {
            wake(&mut state.store, &domain, Some(shell.now()))?;
        }
    }
    Ok(())
}

/// Prints while it goes on: a mailbox of a million reports is not held in memory.
struct Printer<W: Write> {
    json: bool,
    out: W,
    first: bool,
    failed: Option<io::Error>,
}

impl<W: Write> Printer<W> {
    fn print(&mut self, text: &str) {
        if self.failed.is_none()
            && let Err(error) = self.out.write_all(text.as_bytes())
        {
            self.failed = Some(error);
        }
    }

    fn begin(&mut self) {
        if self.json {
            self.print(&format!("{{\"schema\":{},\"inputs\":[", crate::report::SCHEMA));
        }
    }

    fn entry(&mut self, entry: &Entry) {
        if self.json {
            let line = serde_json::to_string(entry).expect("an entry is JSON");
            let comma = if std::mem::take(&mut self.first) { "" } else { "," };
            self.print(&format!("{comma}\n{line}"));
        } else {
            self.print(&IngestText(entry).to_string());
        }
    }

    fn end(mut self, shell: &Shell, totals: &Totals) -> Result<(), Error> {
        if self.json {
            let totals = serde_json::to_string(totals).expect("totals are JSON");
            self.print(&format!("\n],\"totals\":{totals}}}\n"));
        } else {
            shell.say(totals_text(totals));
        }
        match self.failed.map_or_else(|| self.out.flush(), Err) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Error::new(format!("standard output cannot be written: {error}")))
            }
            _ => Ok(()),
        }
    }
}
