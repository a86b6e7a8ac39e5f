use dkimctl_state::record::txt::TxtText;
use dkimctl_state::store::sqlite::{Options, SqliteStore};

use super::*;

const NOW: i64 = 1_700_100_000;

pub(crate) fn report(id: &str, domain: &str, counts: &[(&str, u32, bool)]) -> String {
    let mut text = format!(
        "<feedback><report_metadata><org_name>Google.com</org_name><report_id>{id}</report_id><date_range>\
         <begin>1700006400</begin><end>1700092799</end></date_range></report_metadata>\
         <policy_published><domain>{domain}</domain><p>none</p></policy_published>"
    );
    for (source, count, pass) in counts {
        let word = if *pass { "pass" } else { "fail" };
        text += &format!(
            "<record><row><source_ip>{source}</source_ip><count>{count}</count><policy_evaluated><disposition>none\
             </disposition><dkim>{word}</dkim><spf>fail</spf></policy_evaluated></row><identifiers><header_from>{domain}\
             </header_from></identifiers><auth_results><spf><domain>{domain}</domain><result>fail</result></spf></auth_results></record>"
        );
    }
    text + "</feedback>"
}

fn ingest(store: &mut SqliteStore, inputs: &[&[u8]]) -> (Vec<Entry>, Totals) {
    let nobody = |_: &Fqdn| Err::<Vec<TxtText>, _>("no resolver".to_owned());
    let mut entries = Vec::new();
    let mut say = |entry: &Entry| entries.push(entry.clone());
    let mut ingest = Ingest::new(Some(store), Authenticator::new(&nobody), Time::from_unix(NOW), false, &mut say);
    for (number, input) in inputs.iter().enumerate() {
        ingest.stream(&number.to_string(), *input);
    }
    let (totals, _) = ingest.finish().unwrap();
    (entries, totals)
}

#[test]
fn every_report_is_accounted_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut store =
        SqliteStore::create(&dir.path().join("s"), uuid::Uuid::from_u128(1), &Options::read_write()).unwrap();
    let whole = report("1", "example.com", &[("192.0.2.1", 5, true), ("192.0.2.2", 3, false)]);
    let cut = report("2", "example.com", &[("192.0.2.1", 5, true), ("192.0.2.2", 3, false)]);
    let future = report("3", "example.com", &[("192.0.2.1", 1, true)]).replace("1700092799", "1800000000");
    let float = report("4", "example.com", &[("192.0.2.1", 9, true)]).replace("1700006400", "1700006400.0");
    let mail = crate::dmarc::open::tests::mail("r.xml", "text/xml", report("5", "example.com", &[]).as_bytes());
    let inputs: [&[u8]; 7] = [
        whole.as_bytes(),
        whole.as_bytes(),
        &cut.as_bytes()[..cut.len() - 40],
        future.as_bytes(),
        float.as_bytes(),
        &mail,
        b"garbage",
    ];
    let (entries, totals) = ingest(&mut store, &inputs);
    let seen: Vec<_> = entries.iter().map(|e| (e.status, e.records, e.messages, e.aligned)).collect();
    assert_eq!(
        seen,
        [
            (Status::Ok, 2, 8, 5),
            (Status::Duplicate, 2, 8, 5),
            (Status::Partial, 1, 5, 5),
            (Status::Rejected, 0, 0, 0),
            (Status::Rejected, 0, 0, 0),
            (Status::Ok, 0, 0, 0),
            (Status::Rejected, 0, 0, 0),
        ]
    );
    assert_eq!(entries[5].trust, Some(Trust::Unverified));
    assert!(entries[4].errors.iter().any(|e| e.contains("1700006400.0")), "{:?}", entries[4].errors);
    assert!(
        entries[4].errors.iter().any(|e| e.contains("9 messages were read and not kept")),
        "{:?}",
        entries[4].errors
    );
    let Totals { ok, partial, rejected, duplicate, records, messages, aligned, unverified } = totals;
    assert_eq!((ok, partial, rejected, duplicate, unverified), (2, 1, 3, 1, 1));
    assert_eq!((records, messages, aligned), (3, 13, 10));
    let rows = store.rows(&"example.com".parse().unwrap(), Time::from_unix(NOW - 864_000)).unwrap();
    assert_eq!(rows.iter().map(|row| row.count).sum::<u64>(), 13);
    assert!(rows.iter().all(|row| &*row.reporter == "google.com"));
    let json = serde_json::to_value(&entries[0]).unwrap();
    assert_eq!(json["status"], "ok");
    assert_eq!(json["begin"], "2023-11-15T00:00:00Z");
}

#[test]
fn a_report_that_is_lost_counts_against_its_domain_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut store =
        SqliteStore::create(&dir.path().join("s"), uuid::Uuid::from_u128(1), &Options::read_write()).unwrap();
    let nobody = |_: &Fqdn| Err::<Vec<TxtText>, _>("no resolver".to_owned());
    let future = report("3", "example.com", &[("192.0.2.1", 1, true)]).replace("1700092799", "1800000000");
    for _ in 0..2 {
        let mut say = |entry: &Entry| assert_eq!(entry.status, Status::Rejected);
        let mut run = Ingest::new(Some(&mut store), Authenticator::new(&nobody), Time::from_unix(NOW), false, &mut say);
        run.stream("mail#3!google.com!example.com!1700006400!1700092799.xml.gz", &b"\x1f\x8bgarbage"[..]);
        run.stream("future.xml", future.as_bytes());
        // Of nobody in particular.
        run.stream("notes.txt", &b"hello world"[..]);
        run.finish().unwrap();
    }
    let refused = store.refusals(&"example.com".parse().unwrap(), Time::from_unix(NOW - 864_000)).unwrap();
    let seen: Vec<(i64, bool)> = refused.iter().map(|r| (r.until.unix(), r.why.contains("future"))).collect();
    assert_eq!(seen, [(1_700_092_799, false), (NOW, true)]);
}

#[test]
fn a_small_report_in_a_damaged_archive_is_read_as_far_as_it_goes() {
    let text = report("1", "example.com", &[("192.0.2.1", 5, false)]);
    let packed = crate::dmarc::open::tests::gz(text.as_bytes());
    let padded = [packed.as_slice(), &[0; 100]].concat();
    let mut wrong_sum = packed.clone();
    let at = packed.len() - 8;
    wrong_sum[at] ^= 0xff;
    let nobody = |_: &Fqdn| Err::<Vec<TxtText>, _>("no resolver".to_owned());
    let mut seen = Vec::new();
    for bytes in [&padded, &wrong_sum, &packed[..at].to_vec()] {
        let mut say = |entry: &Entry| seen.push((entry.status, entry.messages));
        let mut run = Ingest::new(None, Authenticator::new(&nobody), Time::from_unix(NOW), false, &mut say);
        run.stream("r.xml.gz", bytes.as_slice());
        run.finish().unwrap();
    }
    assert_eq!(seen[0], (Status::Ok, 5));
    assert_eq!(seen[1], (Status::Partial, 5));
    assert!(seen[2].1 == 5, "{seen:?}");
}
