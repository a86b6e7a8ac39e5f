#![allow(clippy::disallowed_methods)] // tests reach out
use super::*;
use crate::lifecycle::staging::evidence::{AuthWord, Overrides, SpfResult};
use crate::record::dmarc::Policy;
use crate::store::sqlite::Options;

fn filed(reporter: &str, id: &str, hash: u8, trust: Trust, count: u64) -> Filed {
    let auth = Auth { dkim: vec![], spf: vec![SpfResult { domain: "example.com".into(), result: AuthWord::Pass }] };
    let outcome = Outcome { disposition: Policy::None, dkim: false, spf: true, overrides: Overrides::default() };
    Filed {
        report: Report {
            reporter: reporter.into(),
            id: id.into(),
            domain: "example.com".parse().unwrap(),
            begin: Time::from_unix(1_700_006_400),
            end: Time::from_unix(1_700_092_799),
            published: Published { policy: Some(Policy::None), ..Published::default() },
            trust,
            complete: true,
            records: 1,
            messages: count,
            aligned: count,
            received: Time::from_unix(1_700_100_000),
        },
        hash: [hash; 32],
        rows: ["192.0.2.1", "2001:db8::1"]
            .map(|source| FiledRow {
                source: source.parse().unwrap(),
                header_from: "example.com".into(),
                auth: auth.to_string().into(),
                outcome,
                count,
            })
            .to_vec(),
    }
}

#[test]
fn a_report_counts_once_however_often_it_comes() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("state");
    let mut store = SqliteStore::create(&dir, uuid::Uuid::new_v4(), &Options::read_write()).unwrap();
    let domain: Fqdn = "example.com".parse().unwrap();
    let sum = |store: &SqliteStore, trust| {
        let rows = store.rows(&domain, Time::from_unix(1_700_000_000)).unwrap();
        rows.iter().filter(|row| row.trust == trust).map(|row| row.count).sum::<u64>()
    };
    let mut file = |filed: Filed| {
        let kept = store.file_reports(&[filed]).unwrap()[0];
        (kept, sum(&store, Trust::Unverified), sum(&store, Trust::Verified))
    };
    assert_eq!(file(filed("google.com", "1", 1, Trust::Unverified, 5)), (Kept::New, 10, 0));
    assert_eq!(file(filed("google.com", "1", 1, Trust::Unverified, 5)), (Kept::Duplicate, 10, 0));
    // The same report by better mail: moved, not added. A worse copy changes nothing.
    assert_eq!(file(filed("google.com", "1", 1, Trust::Verified, 5)), (Kept::Confirmed, 0, 10));
    assert_eq!(file(filed("google.com", "1", 1, Trust::Unverified, 5)), (Kept::Duplicate, 0, 10));
    // Another reporter with the same words, and the same number with other words, are other reports.
    assert_eq!(file(filed("example.net", "1", 1, Trust::Verified, 5)), (Kept::New, 0, 20));
    assert_eq!(file(filed("google.com", "1", 2, Trust::Verified, 7)), (Kept::SameNumber, 0, 34));

    let reports = store.reports(&domain, Time::from_unix(0)).unwrap();
    assert_eq!((reports.len(), reports[0].trust), (3, Trust::Verified));
    assert_eq!(reports[0], Report { trust: Trust::Verified, ..filed("google.com", "1", 1, Trust::Verified, 5).report });
    assert_eq!(store.reports(&domain, Time::from_unix(1_700_092_799)).unwrap(), []);
    assert_eq!(store.forget_reports(Time::from_unix(1_800_000_000)).unwrap(), 3);
    assert!(store.rows(&domain, Time::from_unix(0)).unwrap().is_empty());
}
