use proptest::prelude::*;

use super::*;
use crate::doctor::catalog;

/// A delivery that failed, as Postfix writes it: relay, what was said, and with which end.
fn line(relay: &str, dsn: &str, status: &str, said: &str) -> String {
    format!(
        "Nov 22 10:00:00 mail postfix/smtp[311]: 4F1A2B3C: to=<a@example.net>, relay={relay}[192.0.2.25]:25, delay=1, \
         delays=0/0/1/0, dsn={dsn}, status={status} (host {relay}[192.0.2.25] said: {said} (in reply to end of DATA command))"
    )
}

#[test]
fn the_codes_of_the_large_providers_lead_to_checks() {
    let gmail = "gmail-smtp-in.l.google.com";
    let outlook = "outlook-com.olc.protection.outlook.com";
    let yahoo = "mta5.am0.yahoodns.net";
    let other = "mx.example.net";
    let table: &[(&str, &str, &str, Cause, &str)] = &[
        (gmail, "450-4.7.23 This message was deferred: no PTR", "450 4.7.23", Cause::ReverseName, "NET003"),
        (gmail, "550-5.7.25 The IP address does not have a PTR record", "550 5.7.25", Cause::ReverseName, "NET002"),
        (
            gmail,
            "550-5.7.26 blocked because the sender is unauthenticated",
            "550 5.7.26",
            Cause::Authentication,
            "DKIM005",
        ),
        (gmail, "550-5.7.26 against the domain's DMARC policy", "550 5.7.26", Cause::Dmarc, "DMARC001"),
        (gmail, "421-4.7.27 SPF did not pass", "421 4.7.27", Cause::Spf, "SPF001"),
        (gmail, "550-5.7.27 SPF did not pass", "550 5.7.27", Cause::Spf, "SPF001"),
        (gmail, "421-4.7.29 not over TLS", "421 4.7.29", Cause::Tls, "PF003"),
        (gmail, "550 5.7.30 DKIM did not pass", "550 5.7.30", Cause::Dkim, "DKIM005"),
        (gmail, "421 4.7.31 no DMARC policy", "421 4.7.31", Cause::Dmarc, "DMARC001"),
        (gmail, "550-5.7.40 no DMARC policy", "550 5.7.40", Cause::Dmarc, "DMARC001"),
        (gmail, "421 4.7.32 From is not aligned", "421 4.7.32", Cause::Alignment, "DMARC001"),
        (
            gmail,
            "550-5.7.1 meets not the IPv6 sending guidelines regarding PTR records",
            "550 5.7.1",
            Cause::Ipv6ReverseName,
            "IP6001",
        ),
        (gmail, "550-5.7.1 likely unsolicited mail", "550 5.7.1", Cause::Content, ""),
        (gmail, "421-4.7.0 unusual rate", "421 4.7.0", Cause::Rate, ""),
        (gmail, "421-4.7.28 unusual rate", "421 4.7.28", Cause::Rate, ""),
        (
            outlook,
            "550 5.7.515 Access denied, sending domain does not meet the level",
            "550 5.7.515",
            Cause::Authentication,
            "SPF001",
        ),
        (
            outlook,
            "550 5.7.1 messages weren't sent; on our block list (S3140). You can",
            "550 5.7.1 S3140",
            Cause::BlockList,
            "NET008",
        ),
        (outlook, "451 4.7.500 Server busy. Please try again later (S775)", "451 4.7.500 S775", Cause::Rate, ""),
        (outlook, "451 4.7.650 The mail server has been temporarily rate limited", "451 4.7.650", Cause::Rate, ""),
        (outlook, "550 5.7.606 Access denied, banned sending IP", "550 5.7.606", Cause::BlockList, "NET008"),
        (outlook, "550 DY-001 Mail rejected", "550 DY-001", Cause::ReverseName, "NET006"),
        (outlook, "550 5.7.509 Access denied, DMARC", "550 5.7.509", Cause::Dmarc, "DMARC001"),
        (yahoo, "421 4.7.0 [TSS04] Messages temporarily deferred", "421 4.7.0 TSS04", Cause::Rate, ""),
        (yahoo, "553 5.7.1 [BL21] Connections will not be accepted", "553 5.7.1 BL21", Cause::BlockList, "NET008"),
        (yahoo, "554 5.7.9 Message not accepted for policy reasons", "554 5.7.9", Cause::Authentication, "DKIM005"),
        (
            other,
            "450 4.7.25 Client host rejected: cannot find your hostname, [192.0.2.1]",
            "450 4.7.25",
            Cause::ReverseName,
            "NET003",
        ),
        (
            other,
            "450 4.7.1 Client host rejected: cannot find your reverse hostname",
            "450 4.7.1",
            Cause::ReverseName,
            "NET002",
        ),
        (
            other,
            "504 5.5.2 <f7a2c4b1d3e5>: Helo command rejected: need fully-qualified hostname",
            "504 5.5.2",
            Cause::Helo,
            "HELO001",
        ),
        (
            other,
            "450 4.7.1 <x.localdomain>: Helo command rejected: Host not found",
            "450 4.7.1",
            Cause::Helo,
            "HELO002",
        ),
        (other, "550 5.7.20 no passing DKIM signature", "550 5.7.20", Cause::Dkim, "DKIM005"),
        (other, "550 5.7.23 SPF validation failed", "550 5.7.23", Cause::Spf, "SPF001"),
        (
            other,
            "554 5.7.1 Service unavailable; blocked using zen.spamhaus.org",
            "554 5.7.1",
            Cause::BlockList,
            "NET008",
        ),
        (other, "550 5.1.1 <a@example.net>: User unknown", "550 5.1.1", Cause::Unknown, ""),
        (other, "530 5.7.0 Must issue a STARTTLS command first", "530 5.7.0", Cause::Tls, "PF003"),
        (other, "599 what is this", "599 4.0.0", Cause::Unknown, ""),
    ];
    for (relay, said, code, cause, check) in table {
        let logs = read([line(relay, "4.0.0", "deferred", said)]);
        let [row] = logs.rows.as_slice() else { panic!("{said}: {logs:?}") };
        // Without an enhanced code in the reply, Postfix's own stands for it.
        assert_eq!(row.code.replace("550 4.0.0 DY-001", "550 DY-001"), *code, "{said}");
        assert_eq!(row.cause, *cause, "{said}");
        assert_eq!(row.checks.first().copied().unwrap_or_default(), *check, "{said}");
        assert_eq!((row.deferred, row.bounced), (1, 0), "{said}");
    }
}

#[test]
fn every_check_that_a_code_leads_to_is_in_the_catalogue() {
    let source = include_str!("logs.rs");
    let ids = source.split('"').filter(|word| {
        let letters = word.trim_end_matches(|c: char| c.is_ascii_digit());
        word.len() - letters.len() == 3
            && letters.len() >= 2
            && word.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
    });
    let mut seen = 0;
    for id in ids {
        assert!(catalog::find(id).is_some(), "{id} is no check");
        seen += 1;
    }
    assert!(seen > 30, "only {seen} ids were found");
}

#[test]
fn nothing_is_lost_in_silence() {
    let logs = read([
        &line("mx.example.net", "2.0.0", "sent", "250 2.0.0 Ok"),
        &line("mx.example.net", "5.1.1", "bounced", "550 5.1.1 no such user"),
        &line("mx.example.net", "5.1.1", "bounced", "550 5.1.1 no such user"),
        "Nov 22 postfix/smtp[1]: 4F: to=<a@x.example>, relay=none, delay=1, dsn=4.4.1, status=deferred (connect to mx.x.example[192.0.2.9]:25: Connection timed out)",
        "Nov 22 postfix/smtp[1]: 4F: to=<a@x.example>, relay=none, dsn=4.4.3, status=deferred (Host or domain name not found. Name service error for name=x.example type=MX: Host not found, try again)",
        "Nov 22 postfix/smtp[1]: 4F: to=<a@typo.example>, relay=none, dsn=5.4.4, status=bounced (Host or domain name not found. Name service error for name=typo.example type=A: Host not found)",
        "Nov 22 postfix/smtp[1]: 4F: host gmail-smtp-in.l.google.com[192.0.2.1] said: 421-4.7.0 unusual rate (in reply to end of DATA command)",
        "Nov 22 postfix/cleanup[1]: 4F: milter-reject: END-OF-MESSAGE from app[172.18.0.3]: 4.7.1 Service unavailable - try again later; from=<a@b>",
        "Nov 22 postfix/cleanup[1]: 4F: milter-reject: END-OF-MESSAGE from app[172.18.0.3]: 5.7.1 Virus found; from=<a@b>",
        "Nov 22 postfix/smtpd[1]: warning: connect to Milter service inet:localhost:8891: Connection refused",
        "Nov 22 postfix/smtpd[1]: NOQUEUE: reject: RCPT from unknown[198.51.100.7]: 450 4.7.25 Client host rejected: cannot find your hostname",
        "Nov 22 postfix/smtp[1]: 4F: to=<a@x.example>, relay=none, status=deferred (no idea)",
        "Nov 22 postfix/qmgr[1]: 4F: removed",
        "",
    ]);
    assert_eq!((logs.lines, logs.sent, logs.without_code, logs.turned_away), (14, 1, 1, 1));
    let seen: Vec<_> = logs.rows.iter().map(|row| (row.code.as_str(), row.cause, row.count())).collect();
    assert_eq!(
        seen,
        [
            ("4.7.1", Cause::Signer, 2),
            ("4.4.1", Cause::Network, 1),
            ("4.4.3", Cause::Resolver, 1),
            ("550 5.1.1", Cause::Unknown, 2),
            ("5.4.4", Cause::Unknown, 1),
            ("421 4.7.0", Cause::Rate, 1),
        ],
        "{:#?}",
        logs.rows
    );
    assert_eq!(logs.unknown(), 3);
}

proptest! {
    #[test]
    fn no_line_panics(line in "\\PC{0,200}", said in "(said: |status=|deferred|bounced|\\(|\\)|host |550|5\\.7|\\.|-| |\\[|dsn=|relay=|milter-reject: |\u{fc}){0,40}") {
        let logs = read([line.clone(), said.clone(), format!("a status=deferred (host x said: {said}{line}"), format!("q: host {line} said: {said}")]);
        let counted: u64 = logs.rows.iter().map(Row::count).sum();
        prop_assert!(counted + logs.sent + logs.without_code + logs.turned_away <= logs.lines);
    }
}
