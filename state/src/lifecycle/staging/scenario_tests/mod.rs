//! A page for each way that weeks of reports can go. Days are counted from the adoption of `p=none`, at noon of day 0.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use super::course::{Change, Hold};
use super::evidence::*;
use super::gates::GateState;
use super::policy::{Profile, Subdomains};
use super::sources::{Cadence, Network, NotOurs, Sender};
use super::*;
use crate::record::dmarc::{DmarcRecord, Policy};

mod rungs;
mod senders;
mod subdomains;
mod windows;

/// 2026-03-02, a Monday.
const DAY_0: i64 = 1_772_409_600;
const NONE: &str = "v=DMARC1; p=none; rua=mailto:dmarc@example.com; x=kept";

fn day(n: i64) -> Time {
    Time::from_unix(DAY_0 + n * 86400)
}

/// Morning of day n.
fn morning(n: i64) -> Time {
    day(n) + Span::hours(6)
}

#[derive(Clone)]
struct Mail {
    source: String,
    count: u64,
    dkim: Option<(&'static str, &'static str, AuthWord)>,
    spf: Option<(&'static str, AuthWord)>,
    aligned: (bool, bool),
    overrides: Overrides,
    disposition: Policy,
}

fn mail(count: u64, source: &str) -> Mail {
    let (source, overrides) = (source.to_owned(), Overrides::default());
    Mail { source, count, dkim: None, spf: None, aligned: (false, false), overrides, disposition: Policy::None }
}

/// Our own mail, signed.
fn ours(count: u64) -> Mail {
    let dkim = Some(("example.com", "s1", AuthWord::Pass));
    Mail { dkim, spf: Some(("example.com", AuthWord::Pass)), aligned: (true, true), ..mail(count, "192.0.2.1") }
}

/// Our own server, unsigned, and sent through a host that SPF does not name.
fn broken(count: u64) -> Mail {
    mail(count, "192.0.2.1")
}

fn spf_only(count: u64) -> Mail {
    Mail { spf: Some(("bounce.example.com", AuthWord::Pass)), aligned: (false, true), ..mail(count, "198.51.100.9") }
}

/// A service that signs as itself: nobody declared it.
fn saas(count: u64) -> Mail {
    Mail { dkim: Some(("mailer.example.net", "m1", AuthWord::Pass)), ..mail(count, "203.0.113.50") }
}

fn spoof(count: u64, n: i64) -> Mail {
    mail(count, &format!("203.0.{}.{}", n.rem_euclid(250), count % 250))
}

fn list(count: u64) -> Mail {
    let dkim = Some(("example.com", "s1", AuthWord::Fail));
    Mail { dkim, overrides: Overrides::MAILING_LIST, ..mail(count, "198.51.100.77") }
}

fn newsletter(count: u64) -> Mail {
    let dkim = Some(("example.com", "news", AuthWord::Pass));
    Mail { dkim, aligned: (true, false), ..mail(count, "198.51.100.30") }
}

struct Page {
    policy: StagingPolicy,
    course: Course,
    reports: Vec<Report>,
    rows: Vec<Row>,
    rejected: u64,
    around: Around,
    selectors: BTreeSet<String>,
    spf: Vec<Network>,
}

impl Page {
    /// `p=none` stands since noon of day 0; our server is in SPF, and s1 is ours.
    fn new() -> Page {
        let mut course = Course::new("example.com".parse().unwrap());
        adopt(&mut course, NONE, day(0) + Span::hours(12));
        Page {
            policy: StagingPolicy::default(),
            course,
            reports: Vec::new(),
            rows: Vec::new(),
            rejected: 0,
            around: Around::default(),
            selectors: ["s1".to_owned()].into(),
            spf: vec!["192.0.2.0/28".parse().unwrap()],
        }
    }

    /// On the rung of this record since noon of day 0.
    fn standing(text: &str) -> Page {
        let mut page = Page::new();
        page.climb(text, day(0) + Span::hours(12));
        page
    }

    fn climb(&mut self, text: &str, at: Time) {
        let from = self.course.now().map(|stood| stood.text.clone());
        let change =
            Change { at, by: "cron".into(), kind: ChangeKind::Climb, from, to: text.into(), ttl: 300, why: "".into() };
        self.course.settle(change, at);
    }

    fn report(&mut self, n: i64, reporter: &str, mails: &[Mail]) -> &mut Report {
        let published = Published {
            policy: self.course.record().and_then(|record| record.policy),
            percent: self.course.record().and_then(|record| record.percent),
            ..Published::default()
        };
        self.report_as(n, reporter, mails, published, Trust::Operator, true)
    }

    fn report_as(
        &mut self,
        n: i64,
        reporter: &str,
        mails: &[Mail],
        published: Published,
        trust: Trust,
        complete: bool,
    ) -> &mut Report {
        for mail in mails.iter().filter(|mail| mail.count > 0) {
            let dkim = mail.dkim.iter().map(|(domain, selector, result)| DkimResult {
                domain: (*domain).into(),
                selector: (*selector).into(),
                result: *result,
            });
            let spf = mail.spf.iter().map(|(domain, result)| SpfResult { domain: (*domain).into(), result: *result });
            self.rows.push(Row {
                day: Day::of(day(n)),
                reporter: reporter.into(),
                trust,
                complete,
                published: published.clone().into(),
                source: mail.source.parse().unwrap(),
                header_from: "example.com".into(),
                auth: Auth { dkim: dkim.collect(), spf: spf.collect() }.into(),
                outcome: Outcome {
                    disposition: mail.disposition,
                    dkim: mail.aligned.0,
                    spf: mail.aligned.1,
                    overrides: mail.overrides,
                },
                count: mail.count,
            });
        }
        let messages = mails.iter().map(|mail| mail.count).sum();
        self.reports.push(Report {
            reporter: reporter.into(),
            id: format!("{reporter}-{n}"),
            domain: "example.com".parse().unwrap(),
            begin: day(n),
            end: day(n + 1),
            published,
            trust,
            complete,
            records: mails.len() as u64,
            messages,
            aligned: 0,
            received: day(n + 1),
        });
        self.reports.last_mut().unwrap()
    }

    /// Two reporters, every day.
    fn days(&mut self, days: RangeInclusive<i64>, mails: impl Fn(i64) -> Vec<Mail>) {
        for n in days {
            for reporter in ["google.com", "yahoo.com"] {
                self.report(n, reporter, &mails(n));
            }
        }
    }

    fn sender(&mut self, name: &str, selector: &str, cadence: Cadence, since: Time) {
        let (domains, networks) = (Vec::new(), Vec::new());
        self.course.senders.push(Sender {
            name: name.into(),
            domains,
            selectors: vec![selector.into()],
            networks,
            cadence,
            since,
        });
    }

    fn due(&mut self, at: Time) -> Due {
        if self.around.dkim_proved.is_none_or(|proved| at.since(proved) > Span::days(1)) {
            self.around.dkim_proved = Some(at - Span::days(1));
        }
        self.look(at)
    }

    fn look(&self, at: Time) -> Due {
        let ours = Ours {
            domain: Some("example.com".parse().unwrap()),
            senders: &self.course.senders,
            not_ours: &self.course.not_ours,
            spf: &self.spf,
            selectors: &self.selectors,
        };
        let reports: Vec<Report> = self.reports.iter().filter(|report| report.received <= at).cloned().collect();
        let rows: Vec<Row> = self.rows.iter().filter(|row| row.day.start() + Span::days(1) <= at).cloned().collect();
        let refusal = |n: u64| Refusal {
            domain: "example.com".parse().unwrap(),
            until: at,
            trust: Trust::Unverified,
            name: format!("{n}.gz"),
            why: if n.is_multiple_of(3) { "it is cut off".to_owned() } else { "it is empty".to_owned() },
        };
        let refused: Vec<Refusal> = (0..self.rejected).map(refusal).collect();
        let evidence = Evidence { reports: &reports, rows: &rows, refused: &refused };
        due(Now { policy: &self.policy, course: &self.course, ours: &ours, evidence, around: &self.around, at })
    }

    fn verdict(&mut self, at: Time) -> Verdict {
        self.due(at).verdict.expect("a verdict")
    }

    /// The state, and the gates that are not open.
    fn closed(&mut self, at: Time) -> (State, Vec<&'static str>) {
        let verdict = self.verdict(at);
        let closed = verdict.gates.iter().filter(|g| matches!(g.state, GateState::Blocked | GateState::Insufficient));
        (verdict.state, closed.map(|g| g.id).collect())
    }

    fn gate(&mut self, id: &str, at: Time) -> gates::Gate {
        self.verdict(at).gates.into_iter().find(|gate| gate.id == id).unwrap_or_else(|| panic!("no gate {id}"))
    }

    /// What is written, if anything.
    fn written(&mut self, at: Time) -> Option<(Rung, String)> {
        match self.due(at).what {
            Move::Write { rung, to, .. } => Some((rung, to.to_string())),
            Move::Stay => None,
        }
    }
}

fn adopt(course: &mut Course, text: &str, at: Time) {
    let change = Change {
        at,
        by: "anna".into(),
        kind: ChangeKind::Adopt,
        from: None,
        to: text.into(),
        ttl: 300,
        why: "".into(),
    };
    course.settle(change, at);
}

const QUARANTINE: &str = "v=DMARC1; p=quarantine; rua=mailto:dmarc@example.com; x=kept";
const REJECT: &str = "v=DMARC1; p=reject; np=reject; rua=mailto:dmarc@example.com; x=kept";

fn copy(page: &Page) -> Page {
    Page {
        policy: page.policy.clone(),
        course: page.course.clone(),
        reports: page.reports.clone(),
        rows: page.rows.clone(),
        rejected: page.rejected,
        around: page.around.clone(),
        selectors: page.selectors.clone(),
        spf: page.spf.clone(),
    }
}
