//! What stands in an element, when it is closed.

use dkimctl_state::lifecycle::staging::evidence::clean;
use dkimctl_state::record::dmarc::Policy;
use dkimctl_state::time::Time;

use super::Run;
use super::element::El;

impl Run {
    pub(super) fn leaf(&mut self, el: El, text: &str) {
        let parsed = &mut self.parsed;
        match el {
            El::OrgName => first(&mut parsed.org, text, 255),
            El::Email => first(&mut parsed.email, text, 320),
            El::ReportId => first(&mut parsed.id, text, 255),
            El::ReporterError => {
                let text = clean(text, 200).into_owned();
                self.note(|| format!("the reporter says: {text}"));
            }
            El::Begin => self.time("begin", text),
            El::End => self.time("end", text),
            El::Domain => match text.parse() {
                Ok(domain) if parsed.domain.is_none() => parsed.domain = Some(domain),
                Ok(domain) if parsed.domain.as_ref() == Some(&domain) => {}
                Ok(domain) => self.error(format!("it is about {domain} as well, which cannot be")),
                Err(error) => self.error(format!("the domain of the policy: {error}")),
            },
            El::P => parsed.published.policy = parsed.published.policy.or(policy(text)),
            El::Sp => parsed.published.subdomains = policy(text),
            El::Np => parsed.published.nonexistent = policy(text),
            El::Pct => parsed.published.percent = text.parse().ok().filter(|percent| *percent <= 100),
            El::Testing => parsed.published.testing = Some(text.eq_ignore_ascii_case("y")),
            El::In(part) => self.draft.close(part, text),
            El::Record => self.record(),
            El::Feedback => self.closed = true,
            El::Metadata | El::Range | El::Policy | El::Ignored => {}
        }
    }

    fn record(&mut self) {
        let number = self.parsed.records + self.lost + 1;
        match self.draft.finish() {
            Ok((outcome, count)) => {
                let parsed = &mut self.parsed;
                if !parsed.rows.add(&self.draft, outcome, count) {
                    self.lost += 1;
                    return self.error(format!("record {number}: the report has more different rows than are kept"));
                }
                parsed.records += 1;
                parsed.messages = parsed.messages.saturating_add(count);
                if outcome.aligned() {
                    parsed.aligned = parsed.aligned.saturating_add(count);
                }
                self.draft.digest(outcome, count, &mut self.hasher);
                if let Some(odd) = self.draft.odd.take() {
                    self.error(format!("record {number}: {odd}"));
                }
            }
            Err(why) => {
                self.lost += 1;
                self.error(format!("record {number} was not read: {why}"));
            }
        }
    }

    fn time(&mut self, what: &'static str, text: &str) {
        let place = if what == "begin" { &mut self.parsed.begin } else { &mut self.parsed.end };
        match (whole_number(text, LATEST).filter(|at| *at >= EARLIEST), &place) {
            (Some(at), None) => *place = Some(Time::from_unix(at as i64)),
            (Some(at), Some(before)) if before.unix() == at as i64 => {}
            (Some(_), Some(_)) => self.error(format!("it names two different times for <{what}>")),
            (None, _) => {
                let seen = clean(text, 40).into_owned();
                self.error(format!("<{what}> is `{seen}`, not whole seconds since 1970, up to 2100"));
            }
        }
    }
}

/// A second after 1970-01-01, since zero is what becomes of a time that nobody read, and 2100-01-01. The report that
/// RFC 9990 shows is of 1975.
const EARLIEST: u64 = 1;
const LATEST: u64 = 4_102_444_800;

/// ASCII digits alone, and no more than `most`: `1.0`, `-1`, `1e3` and `0x1` are no numbers.
pub(super) fn whole_number(text: &str, most: u64) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|number| digits && *number <= most)
}

fn policy(text: &str) -> Option<Policy> {
    Policy::ALL.into_iter().find(|policy| text.eq_ignore_ascii_case(policy.as_str()))
}

fn first(place: &mut String, text: &str, longest: usize) {
    if place.is_empty() {
        place.push_str(&clean(text, longest));
    }
}
