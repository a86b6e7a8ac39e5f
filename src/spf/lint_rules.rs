//! The rules of the SPF linter, in groups: the name, its record, the branches below, the counts, the evidence.

use std::collections::BTreeSet;
use std::net::IpAddr;

use dkimctl_state::record::lint::Severity;
use dkimctl_state::record::spf::{Mechanism, Modifier, Qualifier, SpfRecord, Term, Wrong, ascii, is_spf};
use dkimctl_state::record::txt::TxtText;

use super::super::eval::{MOST_LOOKUPS, MOST_NAMES, MOST_VOIDS, in_network};
use super::super::resolver::{Kind, QueryName, Reply, Resolver};
use super::super::tree::{AtDomain, Branch, Visit};
use super::{Evidence, Finding, RULES, networks};

pub(super) struct Lint<'a> {
    pub resolver: &'a dyn Resolver,
    pub domain: &'a str,
    pub evidence: Evidence<'a>,
    pub findings: Vec<Finding>,
    pub unknown: Vec<String>,
}

impl Lint<'_> {
    fn find(&mut self, id: &'static str, domain: &str, seen: impl Into<String>, fix: impl Into<String>) {
        let severity = RULES.iter().find(|rule| rule.id == id).map_or(Severity::Error, |rule| rule.severity);
        let (seen, fix) = (seen.into(), fix.into());
        self.findings.push(Finding { id, severity, domain: domain.to_owned(), seen, fix });
    }

    /// What stands at the name, record or not.
    pub fn name(&mut self, texts: &[(TxtText, Vec<usize>)]) {
        let domain = self.domain;
        let spf: Vec<_> = texts.iter().filter(|(text, _)| is_spf(text)).collect();
        if spf.len() > 1 {
            let all: Vec<String> = spf.iter().map(|(text, _)| format!("\"{text}\"")).collect();
            self.find(
                "SPF001",
                domain,
                format!("{} SPF records: {}", spf.len(), all.join(", ")),
                "merge their mechanisms into one record and delete the others; until then every check is a permerror",
            );
        }
        for (text, _) in texts.iter().filter(|(text, _)| !is_spf(text)) {
            let lossy = text.to_str_lossy().to_ascii_lowercase();
            let bare = lossy.trim_start_matches(|c: char| c.is_whitespace() || c == '"' || c == '\'');
            if lossy.starts_with("spf2.0/") {
                let fix = "delete it: Sender ID is abandoned (RFC 6652 section 1, RFC 7208 section 1.1)";
                self.find("SPF027", domain, format!("\"{text}\""), fix);
            } else if bare.starts_with("v=spf1") || bare.starts_with("v = spf1") || bare.starts_with("spf1 ") {
                let fix = "write it as `v=spf1 ` first, without quotes, spaces or tabs before or inside; it is ignored";
                self.find("SPF026", domain, format!("\"{text}\""), fix);
            }
        }
        for (text, cuts) in &spf {
            self.text(text, cuts);
        }
        let answer =
            12 + domain.len() + 6 + texts.iter().map(|(t, cuts)| 13 + t.as_bytes().len() + cuts.len()).sum::<usize>();
        if answer > 512 && !spf.is_empty() {
            let seen = format!("{} TXT records, {answer} octets in an answer", texts.len());
            let fix = "delete verification tokens that are no longer needed, or move senders to a subdomain \
                       (RFC 7208 section 3.4)";
            self.find("SPF024", domain, seen, fix);
        }
        if spf.is_empty() {
            self.absent();
        }
        if let Some(Reply::Found(_)) = QueryName::parse(domain).map(|name| self.resolver.ask(&name, Kind::Spf)) {
            let fix = "delete it: nobody reads type 99 any more, and it will go stale (RFC 7208 section 3.1)";
            self.find("SPF028", domain, "a record of type SPF (99)", fix);
        }
    }

    /// One SPF text by itself.
    fn text(&mut self, text: &TxtText, cuts: &[usize]) {
        let domain = self.domain;
        let bytes = text.as_bytes();
        if !bytes.starts_with(b"v=spf1") {
            let seen = String::from_utf8_lossy(&bytes[..6]).into_owned();
            self.find("SPF025", domain, seen, "write `v=spf1`; the RFC allows any case, some checkers do not");
        }
        if bytes.len() > 450 {
            let seen = format!("{} octets", bytes.len());
            let fix = "drop what is not needed or move senders to a subdomain: an answer should fit in 512 octets \
                       (RFC 7208 section 3.4)";
            self.find("SPF023", domain, seen, fix);
        }
        let placed = match ascii(text).and_then(SpfRecord::placed) {
            Ok(placed) => placed,
            Err(error) => return self.find("SPF020", domain, error.to_string(), "remove that octet"),
        };
        let mut once = BTreeSet::new();
        for term in &placed {
            let cut = cuts.iter().find(|cut| term.range.start < **cut && **cut < term.range.end);
            match (&term.term, cut) {
                (Err(error), Some(cut)) => {
                    let at = cut - term.range.start;
                    let (before, after) = (&term.text[..at], &term.text[at..]);
                    let seen = format!("`{before}` ends one string and `{after}` begins the next: {error}");
                    let fix = "put a space at the end of the first string; strings are joined without one \
                               (RFC 7208 section 3.3)";
                    self.find("SPF022", domain, seen, fix);
                }
                (Err(error), None) => self.find("SPF020", domain, error.to_string(), mend(&error.wrong)),
                (Ok(Term::Modifier(modifier @ (Modifier::Redirect(_) | Modifier::Exp(_)))), _) => {
                    let name = if matches!(modifier, Modifier::Exp(_)) { "exp" } else { "redirect" };
                    if !once.insert(name) {
                        let fix = format!("keep one `{name}=`; two are a permerror (RFC 7208 section 6)");
                        self.find("SPF017", domain, format!("`{}` is the second", term.text), fix);
                    }
                }
                (Ok(_), _) => {}
            }
        }
    }

    fn absent(&mut self) {
        let domain = self.domain;
        match QueryName::parse(domain).map(|name| self.resolver.ask(&name, Kind::Mx)) {
            Some(Reply::Found(_)) => {
                let fix = "publish the addresses that send for it: `dkimctl spf apply`";
                self.find("SPF031", domain, "an MX and no SPF record", fix);
            }
            Some(Reply::Nothing { .. }) => {
                let fix = format!("if it never sends, publish `{domain}. TXT \"v=spf1 -all\"`");
                self.find("SPF030", domain, "no MX and no SPF record", fix);
            }
            Some(Reply::Failed(why)) => self.unknown.push(why),
            None => {}
        }
    }

    /// The domain's own record, if it can be read.
    pub fn record(&mut self, tree: &Branch) {
        let Some(record) = readable(tree) else { return };
        let domain = self.domain;
        let all = record.directives().find(|d| d.mechanism == Mechanism::All);
        match (all.map(|d| d.qualifier()), record.redirect()) {
            (Some(Qualifier::Pass), _) => {
                let seen = all.map(|d| format!("`{d}`")).unwrap_or_default();
                self.find("SPF006", domain, seen, "end in `~all`: this lets every host of the internet send as you");
            }
            (Some(Qualifier::Neutral), _) => {
                self.find("SPF007", domain, "`?all`", "end in `~all` once every sender is listed");
            }
            (None, None) => {
                let fix = "end in `~all`; without it strangers are neutral (RFC 7208 section 4.7)";
                self.find("SPF008", domain, "neither `all` nor `redirect=`", fix);
            }
            (Some(_), Some(target)) => {
                let fix = "delete one of them: `redirect=` counts only without `all` (RFC 7208 section 6.1)";
                self.find("SPF016", domain, format!("`redirect={target}` beside `all`"), fix);
            }
            _ => {}
        }
        let directives = record.directives().skip_while(|d| d.mechanism != Mechanism::All).skip(1);
        let late: Vec<String> = directives.map(|d| format!("`{d}`")).collect();
        if !late.is_empty() {
            let fix = "move them before `all`, or delete them (RFC 7208 section 5.1)";
            self.find("SPF018", domain, format!("after `all`: {}", late.join(", ")), fix);
        }
    }

    /// Every record below, and its terms.
    pub fn branches(&mut self, tree: &Branch) {
        let mut included: BTreeSet<String> = BTreeSet::new();
        let mut visits: Vec<(&Branch, &Visit)> = Vec::new();
        tree.walk(&mut |branch, visit| visits.push((branch, visit)));
        for (branch, visit) in visits {
            self.term(branch, visit);
            let Some(below) = &visit.below else { continue };
            let (term, domain) = (&visit.term, &branch.domain);
            match &below.at {
                AtDomain::None { .. } | AtDomain::Several(_) | AtDomain::Broken { .. } => {
                    let why = match &below.at {
                        AtDomain::Several(all) => format!("{} has {} SPF records", below.domain, all.len()),
                        AtDomain::Broken { why, .. } => format!("the record of {} cannot be read: {why}", below.domain),
                        _ => format!("{} has no SPF record", below.domain),
                    };
                    let fix = "delete the term, or have its owner mend the record: until then it is a permerror for \
                               all that stands behind it";
                    self.find("SPF015", domain, format!("`{term}`: {why}"), fix);
                }
                AtDomain::Loop => {
                    let fix = "delete the term that closes the circle; it ends in a permerror";
                    self.find("SPF013", domain, format!("`{term}` leads back to {}", below.domain), fix);
                }
                AtDomain::Unknown(why) => self.unknown.push(why.clone()),
                _ => {}
            }
            let is_include = matches!(term, Term::Directive(d) if matches!(d.mechanism, Mechanism::Include(_)));
            if is_include && below.at != AtDomain::Loop && !included.insert(below.domain.to_ascii_lowercase()) {
                let fix = "delete one: each costs its lookups again";
                self.find("SPF014", domain, format!("`{term}` is included a second time"), fix);
            }
            match readable(below).filter(|_| is_include).and_then(|record| record.all()) {
                Some(Qualifier::Pass) => {
                    let fix = "delete the include: it passes every host of the internet";
                    self.find("SPF009", domain, format!("`{term}` leads to a record with `+all`"), fix);
                }
                Some(Qualifier::Neutral) => {
                    let fix = "nothing to do here if its senders are listed; its owner has not finished its record";
                    self.find("SPF010", domain, format!("`{term}` leads to a record with `?all`"), fix);
                }
                _ => {}
            }
        }
    }

    fn term(&mut self, branch: &Branch, visit: &Visit) {
        let (domain, term) = (&branch.domain, &visit.term);
        if visit.dynamic && !matches!(term, Term::Directive(d) if matches!(d.mechanism, Mechanism::Ptr(_))) {
            let fix = "nothing to mend; what it leads to cannot be counted beforehand and cannot be flattened";
            self.find("SPF021", domain, format!("`{term}`"), fix);
        }
        if visit.target.as_ref().is_some_and(|target| QueryName::parse(target).is_none()) {
            let fix = "correct the name: empty labels and labels above 63 octets do not exist";
            self.find("SPF032", domain, format!("`{term}`"), fix);
        }
        let Term::Directive(directive) = term else { return };
        if !matches!(directive.qualifier(), Qualifier::Pass) {
            return;
        }
        match &directive.mechanism {
            Mechanism::Ip4(_, Some(length)) => self.breadth(domain, term, *length, 16),
            Mechanism::Ip6(_, Some(length)) => self.breadth(domain, term, *length, 32),
            Mechanism::A(_, cidr) | Mechanism::Mx(_, cidr) => {
                cidr.v4.into_iter().for_each(|length| self.breadth(domain, term, length, 16));
                cidr.v6.into_iter().for_each(|length| self.breadth(domain, term, length, 32));
            }
            Mechanism::Ptr(_) => {
                let fix = "list the addresses instead: it is slow, fails with reverse DNS, and costs lookups \
                           (RFC 7208 section 5.5)";
                self.find("SPF019", domain, format!("`{term}`"), fix);
            }
            _ => {}
        }
        if matches!(directive.mechanism, Mechanism::Mx(..)) && visit.names.len() > MOST_NAMES {
            let seen = format!("`{term}` has {} exchangers", visit.names.len());
            self.find("SPF005", domain, seen, "list their networks with `ip4:` and `ip6:` (RFC 7208 section 4.6.4)");
        } else if let Some(trouble) = visit.trouble.as_ref().filter(|_| visit.below.is_none() && visit.own_lookups > 0)
            && visit.target.as_ref().is_some_and(|target| QueryName::parse(target).is_some())
        {
            self.unknown.push(trouble.clone());
        }
    }

    fn breadth(&mut self, domain: &str, term: &Term, length: u8, least: u8) {
        if length == 0 {
            self.find("SPF011", domain, format!("`{term}`"), "name the networks that send; this is every address");
        } else if length < least {
            let seen = format!("`{term}` is broader than /{least}");
            self.find("SPF012", domain, seen, "narrow it to the networks that send for you");
        }
    }

    /// The limits of RFC 7208 section 4.6.4 over the whole tree.
    pub fn counts(&mut self, tree: &Branch) {
        let lookups = tree.lookups();
        let shares: Vec<String> = tree
            .terms
            .iter()
            .filter(|visit| visit.lookups() > 0)
            .map(|visit| format!("`{}` {}", visit.term, visit.lookups()))
            .collect();
        let seen = format!("{lookups} of {MOST_LOOKUPS}: {}", shares.join(", "));
        let fix = "drop includes that nobody passes through, move a sender to a subdomain of its own, or rely on DKIM \
                   for it; flatten only as the last resort (`dkimctl spf check --flatten`)";
        if lookups > MOST_LOOKUPS {
            self.find("SPF002", self.domain, seen, fix);
        } else if lookups >= 8 {
            self.find("SPF003", self.domain, seen, fix);
        }
        let most = MOST_VOIDS as usize;
        let fix = "delete or correct the terms that lead to names without records (RFC 7208 section 4.6.4)";
        let nothing = voids(tree, &[Kind::A, Kind::Aaaa]);
        if nothing.len() > most {
            self.find("SPF004", self.domain, format!("{}: {}", nothing.len(), nothing.join(", ")), fix);
            return;
        }
        for (kind, family) in [(Kind::A, "IPv4"), (Kind::Aaaa, "IPv6")] {
            let voids = voids(tree, &[kind]);
            if voids.len() > most {
                let seen = format!("{} for mail that comes over {family}: {}", voids.len(), voids.join(", "));
                let fix = "if you send over it, list the addresses with `ip4:` and `ip6:`: a host without addresses of \
                           the client's family counts as a lookup that finds nothing (RFC 7208 section 4.6.4)";
                self.find("SPF033", self.domain, seen, fix);
            }
        }
    }

    /// Includes through which nothing passed.
    pub fn unused(&mut self, tree: &Branch) {
        let Some(passed) = self.evidence.passed_from else { return };
        for visit in &tree.terms {
            let Some(below) = visit.below.as_ref().filter(|below| readable(below).is_some()) else { continue };
            let mut dynamic = false;
            below.walk(&mut |_, visit| dynamic |= visit.dynamic);
            let networks = networks(below);
            let used = |ip: &IpAddr| networks.iter().any(|(network, length)| in_network(*ip, *network, *length));
            if !dynamic && !passed.iter().any(used) {
                let fix = format!("if you no longer send through it, delete it: it costs {} lookups", visit.lookups());
                self.find("SPF029", self.domain, format!("`{}`", visit.term), fix);
            }
        }
    }
}

/// The terms that come back empty in all of these address families, as "name type".
pub(super) fn voids(tree: &Branch, families: &[Kind]) -> Vec<String> {
    let mut voids = Vec::new();
    tree.walk(&mut |_, visit| {
        let Some((name, kind)) = visit.voids.first() else { return };
        // Only `a` asks by family: `exists` wants A whatever the client is (RFC 7208 section 5.7).
        let is_address = matches!(&visit.term, Term::Directive(d) if matches!(d.mechanism, Mechanism::A(..)));
        let empty = |family: &Kind| visit.voids.iter().any(|(_, kind)| kind == family);
        if !is_address {
            voids.push(format!("{name} {kind}"));
        } else if families.iter().all(empty) {
            let kinds: Vec<String> = families.iter().map(Kind::to_string).collect();
            voids.push(format!("{name} {}", kinds.join("/")));
        }
    });
    voids
}

fn readable(branch: &Branch) -> Option<SpfRecord> {
    match &branch.at {
        AtDomain::Record(text) => SpfRecord::parse(&text.as_str().into()).ok(),
        _ => None,
    }
}

/// How to mend a syntax error.
fn mend(wrong: &Wrong) -> String {
    match wrong {
        Wrong::Ip4(seen) if seen.contains(':') && seen.parse::<std::net::Ipv6Addr>().is_ok() => {
            format!("an IPv6 address: write `ip6:{seen}`")
        }
        Wrong::Ip6(seen) if seen.parse::<std::net::Ipv4Addr>().is_ok() => {
            format!("an IPv4 address: write `ip4:{seen}`")
        }
        Wrong::UnknownMechanism(name) => match name.to_ascii_lowercase().as_str() {
            "ip" | "ipv4" | "ip4=" => "write `ip4:` or `ip6:`".to_owned(),
            "ipv6" => "write `ip6:`".to_owned(),
            "redirect" | "exp" => format!("write `{name}=`, without a qualifier or a colon"),
            other => {
                let known = ["all", "include", "a", "mx", "ptr", "ip4", "ip6", "exists"];
                let near = known.into_iter().min_by_key(|known| strsim::levenshtein(known, other));
                format!("write one of {}; `{}` is nearest", known.join(", "), near.unwrap_or("all"))
            }
        },
        _ => "correct the term or delete it: as it stands every check of the domain is a permerror".to_owned(),
    }
}
