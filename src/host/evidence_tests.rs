use chrono::{FixedOffset, TimeZone, Utc};

use super::*;

const LOG: &str = "\
Nov 20 10:00:00 mail opendkim[7]: AAAA1: DKIM-Signature field added (s=s1, d=example.com)
Nov 22 09:54:30 mail opendkim[7]: AAAA2: DKIM-Signature field added (s=s1, d=Example.com)
Nov 21 10:00:00 mail opendkim[7]: AAAA3: DKIM-Signature field added (s=s1, d=example.com)
Nov 22 10:30:00 mail opendkim[7]: DKIMCTLPROBE: DKIM-Signature field added (s=s1, d=example.com)
2026-11-22T11:00:00.123456+01:00 mail opendkim[7]: AAAA4: DKIM-Signature field added (s=s2, d=example.com)
Dec 31 23:00:00 mail opendkim[7]: AAAA5: DKIM-Signature field added (s=s1, d=old.example)
Nov 22 10:40:00 mail postfix/cleanup[9]: A: warning: Subject: opendkim[7]: X: DKIM-Signature field added (s=s9, d=evil.example)
Nov 22 10:41:00 mail postfix/cleanup[9]: A: Subject: DKIM-Signature field added (s=s9, d=evil.example)
nonsense: DKIM-Signature field added (s=s9, d=evil.example)
Nov 22 10:42:00 mail opendkim[7]: AAAA6: DKIM-Signature field added (s=, d=../evil)
Nov 22 10:43:00 mail opendkim[7]: AAAA7: s=s1 d=example.com SSL error:04091068
2026-11-22T11:10:00+01:00 mail rspamd[9]: <6bf209>; proxy; rspamd_task_write_log: qid: <AAAA8>, [DKIM_SIGNED{r.example:s=s3;}] (no action)
2026-11-22T11:11:00+01:00 mail rspamd[9]: <6bf209>; proxy; rspamd_task_write_log: qid: <DKIMCTLPROBE>, [DKIM_SIGNED{r.example:s=s3;}] (no action)
2026-11-22T11:12:00+01:00 mail rspamd[9]: <be0f1e>; proxy; rspamd_task_write_log: qid: <AAAA9>, [FORCE_ACTION_UNSIGNED{soft reject;}] (soft reject)
2026-11-22T11:13:00+01:00 mail rspamd[9]: <a1b2c3>; task; rspamd_task_write_log: id: <DKIM_SIGNED{evil.example:s=s9;}@r.example>, qid: <AAAAA>, ip: 127.0.0.1, from: <a@r.example>, (default: F (no action): [0.00/15.00] [DKIM_SIGNED(0.00){r.example:s=s4;},MIME_TRACE(0.00){0:+;}]), len: 300
2026-11-22T11:14:00+01:00 mail rspamd[9]: <a1b2c3>; lua; DKIM_SIGNED{r.example:s=s5;}
";

#[test]
fn the_last_signature_of_each_selector() {
    let now = FixedOffset::east_opt(3600).unwrap().with_ymd_and_hms(2026, 11, 22, 12, 0, 0).unwrap();
    let last = last_signatures(LOG.as_bytes(), &now).unwrap();
    let seen: Vec<String> =
        last.iter().map(|((domain, selector), time)| format!("{selector} {domain} {time}")).collect();
    assert_eq!(
        seen,
        [
            "s1 example.com 2026-11-22T08:54:30Z",
            "s2 example.com 2026-11-22T10:00:00Z",
            "s1 old.example 2025-12-31T22:00:00Z",
            "s3 r.example 2026-11-22T10:10:00Z",
            "s4 r.example 2026-11-22T10:13:00Z",
        ]
    );
}

#[test]
fn the_oldest_mail_in_the_queue() {
    let listing = r#"{"queue_name": "deferred", "queue_id": "B", "arrival_time": 1795340000, "message_size": 5, "recipients": []}
{"queue_name": "active", "queue_id": "A", "arrival_time": 1795330000, "recipients": [{"address": "a@b"}]}
"#;
    assert_eq!(oldest_queued(listing).unwrap(), Some(Time::from_unix(1_795_330_000)));
    assert_eq!(oldest_queued("").unwrap(), None);
    assert!(oldest_queued("Mail queue is empty\n").is_err());
}

#[test]
fn what_cannot_be_looked_at_is_unknown_and_not_empty() {
    let queue = Some(vec!["sh".into(), "-c".into(), "echo mail system is down >&2; exit 69".into()]);
    let evidence = gather(&Sources { queue, log: Some("/nonexistent".into()) }, Utc::now());
    assert_eq!(evidence.oldest_queued, None);
    assert_eq!(evidence.unknown.len(), 2);
    assert!(evidence.unknown[0].contains("mail system is down"), "{:?}", evidence.unknown);
    assert_eq!(gather(&Sources::default(), Utc::now()), Evidence::default());
}
