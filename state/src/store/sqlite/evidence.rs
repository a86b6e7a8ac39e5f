//! Reports and their rows in the file.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use sha2::{Digest, Sha256};

use super::{Failure, SqliteStore, damaged};
use crate::lifecycle::staging::evidence::{Auth, Day, Outcome, Published, Report, Row, Trust};
use crate::name::Fqdn;
use crate::store::StoreError;
use crate::store::evidence::{EvidenceStore, Filed, FiledRow, Kept, Refusal};
use crate::time::Time;

const COMPLETE: i64 = 4;

impl EvidenceStore for SqliteStore {
    fn file_reports(&mut self, batch: &[Filed]) -> Result<Vec<Kept>, StoreError> {
        let mut kept = Vec::with_capacity(batch.len());
        self.write(|tx, _| {
            let mut texts = Texts { tx, known: HashMap::new() };
            for filed in batch {
                kept.push(file(tx, &mut texts, filed)?);
            }
            Ok(())
        })?;
        Ok(kept)
    }

    fn reports(&self, domain: &Fqdn, since: Time) -> Result<Vec<Report>, StoreError> {
        self.read(|db| {
            let mut select = db.prepare_cached(
                "SELECT reporter.text, name, begin, until, published.text, quality, records, messages, aligned, received \
                 FROM report JOIN text AS domain ON domain.id = report.domain \
                 JOIN text AS reporter ON reporter.id = report.reporter \
                 JOIN text AS published ON published.id = report.published \
                 WHERE domain.text = ?1 AND until > ?2 ORDER BY until, report.id",
            )?;
            let mut rows = select.query(params![domain.as_str(), since.unix()])?;
            let mut reports = Vec::new();
            while let Some(row) = rows.next()? {
                let (published, quality): (String, i64) = (row.get(4)?, row.get(5)?);
                let count = |column| row.get::<_, i64>(column).map(|n| n as u64);
                reports.push(Report {
                    reporter: row.get(0)?,
                    id: row.get(1)?,
                    domain: domain.clone(),
                    begin: Time::from_unix(row.get(2)?),
                    end: Time::from_unix(row.get(3)?),
                    published: published.parse().map_err(|problem| damaged(domain.as_str(), problem))?,
                    trust: trust(quality),
                    complete: quality & COMPLETE != 0,
                    records: count(6)?,
                    messages: count(7)?,
                    aligned: count(8)?,
                    received: Time::from_unix(row.get(9)?),
                });
            }
            Ok(reports)
        })
    }

    fn rows(&self, domain: &Fqdn, since: Time) -> Result<Vec<Row>, StoreError> {
        self.read(|db| {
            let mut known = Known {
                db,
                domain: domain.as_str(),
                texts: HashMap::new(),
                auths: HashMap::new(),
                published: HashMap::new(),
            };
            let Some(number) = number_of(db, domain.as_str())? else { return Ok(Vec::new()) };
            let mut select = db.prepare_cached(
                "SELECT day, reporter, quality, published, source, header_from, auth, outcome, count FROM evidence \
                 WHERE domain = ?1 AND day >= ?2",
            )?;
            let mut found = select.query(params![number, Day::of(since).0])?;
            let mut rows = Vec::new();
            while let Some(row) = found.next()? {
                let quality: i64 = row.get(2)?;
                let source: Vec<u8> = row.get(4)?;
                rows.push(Row {
                    day: Day(row.get(0)?),
                    reporter: known.text(row.get(1)?)?,
                    trust: trust(quality),
                    complete: quality & COMPLETE != 0,
                    published: known.published(row.get(3)?)?,
                    source: address(&source)
                        .ok_or_else(|| damaged(domain.as_str(), "an address of evidence".into()))?,
                    header_from: known.text(row.get(5)?)?,
                    auth: known.auth(row.get(6)?)?,
                    outcome: Outcome::from_bits(row.get::<_, i64>(7)? as u16),
                    count: row.get::<_, i64>(8)? as u64,
                });
            }
            Ok(rows)
        })
    }

    fn file_refusals(&mut self, batch: &[Refusal]) -> Result<u64, StoreError> {
        let mut new = 0;
        self.write(|tx, _| {
            let mut texts = Texts { tx, known: HashMap::new() };
            for Refusal { domain, until, trust, name, why } in batch {
                let domain = texts.number(domain.as_str())?;
                let hash = Sha256::digest(format!("{domain}\n{name}\n{why}"));
                let insert = "INSERT INTO refused (hash, domain, until, trust, name, why) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
                              ON CONFLICT DO NOTHING";
                let row = params![&hash[..16], domain, until.unix(), *trust as i64, name, why];
                new += tx.prepare_cached(insert)?.execute(row)? as u64;
            }
            Ok(())
        })?;
        Ok(new)
    }

    fn refusals(&self, domain: &Fqdn, since: Time) -> Result<Vec<Refusal>, StoreError> {
        self.read(|db| {
            let Some(number) = number_of(db, domain.as_str())? else { return Ok(Vec::new()) };
            let mut select = db.prepare_cached(
                "SELECT until, trust, name, why FROM refused WHERE domain = ?1 AND until > ?2 ORDER BY until",
            )?;
            let refusal = |row: &rusqlite::Row<'_>| {
                Ok(Refusal {
                    domain: domain.clone(),
                    until: Time::from_unix(row.get(0)?),
                    trust: trust(row.get(1)?),
                    name: row.get(2)?,
                    why: row.get(3)?,
                })
            };
            Ok(select.query_map([number, since.unix()], refusal)?.collect::<rusqlite::Result<_>>()?)
        })
    }

    fn forget_reports(&mut self, before: Time) -> Result<u64, StoreError> {
        let mut forgotten = 0;
        self.write(|tx, _| {
            forgotten = tx.execute("DELETE FROM report WHERE until < ?1", [before.unix()])? as u64;
            tx.execute("DELETE FROM evidence WHERE day < ?1", [Day::of(before).0])?;
            tx.execute("DELETE FROM refused WHERE until < ?1", [before.unix()])?;
            Ok(())
        })?;
        Ok(forgotten)
    }
}

fn file(tx: &Transaction<'_>, texts: &mut Texts<'_>, filed: &Filed) -> Result<Kept, Failure> {
    let Filed { report, hash, rows } = filed;
    let number = Sha256::digest(format!(
        "{}\n{}\n{}\n{}\n{}",
        report.reporter,
        report.id,
        report.domain,
        report.begin.unix(),
        report.end.unix()
    ));
    let mut hash: [u8; 32] = *hash;
    // The same words of two reporters are two reports.
    for (byte, other) in hash.iter_mut().zip(Sha256::digest(report.reporter.as_bytes())) {
        *byte ^= other;
    }
    let (hash, number) = (&hash[..16], &number[..16]);
    let quality = report.trust as i64 + if report.complete { COMPLETE } else { 0 };
    let (domain, reporter) = (texts.number(report.domain.as_str())?, texts.number(&report.reporter)?);
    let published = texts.number(&report.published.to_string())?;
    let place = [domain, i64::from(report.day().0), reporter, quality, published];

    let known = tx
        .prepare_cached("SELECT id, quality FROM report WHERE hash = ?1")?
        .query_row([hash], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))
        .optional()?;
    if let Some((id, before)) = known {
        if before & 3 >= report.trust as i64 {
            return Ok(Kept::Duplicate);
        }
        let [domain, day, reporter, _, published] = place;
        count(tx, texts, [domain, day, reporter, before, published], rows, -1)?;
        count(tx, texts, place, rows, 1)?;
        tx.prepare_cached("UPDATE report SET quality = ?2 WHERE id = ?1")?.execute((id, quality))?;
        return Ok(Kept::Confirmed);
    }
    let again = tx.prepare_cached("SELECT 1 FROM report WHERE number = ?1")?.exists([number])?;
    tx.prepare_cached(
        "INSERT INTO report (domain, reporter, name, begin, until, published, quality, records, messages, aligned, \
         received, hash, number) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
    )?
    .execute(params![
        domain,
        reporter,
        report.id,
        report.begin.unix(),
        report.end.unix(),
        published,
        quality,
        sql(report.records),
        sql(report.messages),
        sql(report.aligned),
        report.received.unix(),
        hash,
        number
    ])?;
    count(tx, texts, place, rows, 1)?;
    Ok(if again { Kept::SameNumber } else { Kept::New })
}

fn count(
    tx: &Transaction<'_>,
    texts: &mut Texts<'_>,
    place: [i64; 5],
    rows: &[FiledRow],
    sign: i64,
) -> Result<(), Failure> {
    let [domain, day, reporter, quality, published] = place;
    for row in rows {
        let (header_from, auth) = (texts.number(&row.header_from)?, texts.number(&row.auth)?);
        let (v4, v6);
        let source: &[u8] = match row.source {
            IpAddr::V4(address) => {
                v4 = address.octets();
                &v4
            }
            IpAddr::V6(address) => {
                v6 = address.octets();
                &v6
            }
        };
        let outcome = i64::from(row.outcome.bits());
        tx.prepare_cached(
            "INSERT INTO evidence VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, max(?10, 0)) ON CONFLICT DO UPDATE \
             SET count = min(max(count + ?10, 0), 4611686018427387904)",
        )?
        .execute(params![
            domain,
            day,
            reporter,
            quality,
            published,
            source,
            header_from,
            auth,
            outcome,
            sign * sql(row.count)
        ])?;
    }
    Ok(())
}

fn sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX).min(1 << 62)
}

fn trust(quality: i64) -> Trust {
    match quality & 3 {
        0 => Trust::Unverified,
        1 => Trust::Verified,
        _ => Trust::Operator,
    }
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).ok().map(IpAddr::from);
    v4.or_else(|| <[u8; 16]>::try_from(octets).ok().map(IpAddr::from))
}

fn number_of(db: &Connection, text: &str) -> rusqlite::Result<Option<i64>> {
    db.prepare_cached("SELECT id FROM text WHERE text = ?1")?.query_row([text], |row| row.get(0)).optional()
}

/// Texts that were written in this transaction, so that each is looked for once.
struct Texts<'t> {
    tx: &'t Transaction<'t>,
    known: HashMap<Box<str>, i64>,
}

impl Texts<'_> {
    fn number(&mut self, text: &str) -> Result<i64, Failure> {
        if let Some(number) = self.known.get(text) {
            return Ok(*number);
        }
        let number = match number_of(self.tx, text)? {
            Some(number) => number,
            None => self.tx.prepare_cached("INSERT INTO text (text) VALUES (?1)")?.insert([text])?,
        };
        if self.known.len() > 50_000 {
            self.known.clear();
        }
        self.known.insert(text.into(), number);
        Ok(number)
    }
}

/// Texts that were read, each once.
struct Known<'d> {
    db: &'d Connection,
    domain: &'d str,
    texts: HashMap<i64, Arc<str>>,
    auths: HashMap<i64, Arc<Auth>>,
    published: HashMap<i64, Arc<Published>>,
}

impl Known<'_> {
    fn text(&mut self, number: i64) -> Result<Arc<str>, Failure> {
        if let Some(text) = self.texts.get(&number) {
            return Ok(Arc::clone(text));
        }
        let mut select = self.db.prepare_cached("SELECT text FROM text WHERE id = ?1")?;
        let text: Arc<str> = select.query_row([number], |row| row.get::<_, String>(0))?.into();
        self.texts.insert(number, Arc::clone(&text));
        Ok(text)
    }

    fn auth(&mut self, number: i64) -> Result<Arc<Auth>, Failure> {
        if let Some(auth) = self.auths.get(&number) {
            return Ok(Arc::clone(auth));
        }
        let auth: Auth = self.text(number)?.parse().map_err(|problem| damaged(self.domain, problem))?;
        let auth = Arc::new(auth);
        self.auths.insert(number, Arc::clone(&auth));
        Ok(auth)
    }

    fn published(&mut self, number: i64) -> Result<Arc<Published>, Failure> {
        if let Some(published) = self.published.get(&number) {
            return Ok(Arc::clone(published));
        }
        let published: Published = self.text(number)?.parse().map_err(|problem| damaged(self.domain, problem))?;
        let published = Arc::new(published);
        self.published.insert(number, Arc::clone(&published));
        Ok(published)
    }
}

#[cfg(test)]
#[path = "evidence_tests.rs"]
mod tests;
