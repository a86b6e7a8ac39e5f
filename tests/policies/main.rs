//! SPF and DMARC through the program, as people and cron run it, at a real name server: what is ours changes, what is
//! others' stays to the octet.

#[path = "../servers/mod.rs"]
mod servers;

mod place;
mod refused;
mod two_providers;
mod wildcard;

use std::fs;

use dkimctl_state::time::{Span, Time};
use place::{Place, to_active, to_committed};

/// Texts of others at the apex, one of them in two strings.
const FOREIGN: &str = "@ TXT \"google-site-verification=abc\"\n@ TXT \"odd \\\"quoted\\\"; two\" \"strings\"\n";

fn foreign(place: &Place, name: &str, ours: &str) -> Vec<Vec<Vec<u8>>> {
    place.texts(name).into_iter().filter(|text| !text.concat().starts_with(ours.as_bytes())).collect()
}

#[test]
fn spf_is_adopted_written_overtaken_and_rolled_back() {
    let records = format!("{FOREIGN}@ TXT \"v=spf1 mx ~all\"\n@ MX 10 mail\nmail A 192.0.2.9");
    let Some(place) = Place::new(&records, "") else { return };
    let others = foreign(&place, "example.com", "v=spf1");
    assert_eq!(others.len(), 2);
    let spf = || place.text("example.com", "v=spf1", &others).unwrap();
    let resolver = place.resolver();
    let apply = ["spf", "apply", "example.com", "--resolver", &resolver];
    let first = "v=spf1 mx ~all";

    // Nothing is touched before somebody agreed to exactly this text.
    let serial = place.serial("example.com");
    assert!(place.ends(&apply, 1).contains("dkimctl spf adopt example.com"));
    assert!(place.ends(&["spf", "adopt", "example.com"], 2).contains("nobody is there to agree"));
    let other = ["spf", "adopt", "example.com", "--yes", "--text", "v=spf1 -all"];
    assert!(place.ends(&other, 1).contains("not the text that was agreed to"));
    assert!(place.ends(&apply, 1).contains("neither the text that was adopted"));
    place.run(&["spf", "adopt", "example.com", "--yes", "--text", first]);
    let dry = place.run(&["spf", "apply", "example.com", "--dry-run", "--resolver", &resolver]);
    assert!(dry.contains("to be written") && dry.contains("+ v=spf1 mx ip4:192.0.2.1 ~all"), "{dry}");
    assert_eq!(place.serial("example.com"), serial, "nothing was written so far");

    // Somebody else is faster between the look and the write.
    let theirs = "v=spf1 mx a:mail.example.com ~all";
    place.configure(place.overtaken("example.com", first, theirs));
    let said = place.ends(&apply, 1);
    assert!(said.contains("changed after it was looked at; nothing was written"), "{said}");
    assert_eq!(spf(), theirs);
    place.configure(place.dns.address);
    assert!(place.ends(&apply, 1).contains("neither the text that was adopted"));
    place.edit("example.com", Some(theirs), first);

    let written = "v=spf1 mx ip4:192.0.2.1 ~all";
    assert!(place.run(&apply).contains("written and read back"));
    assert_eq!(spf(), written);
    let serial = place.serial("example.com");
    assert_eq!(place.run(&apply), "", "twice is once");
    assert_eq!(place.serial("example.com"), serial);

    // Back to the octet; and while a key is being switched nothing else is.
    let back = place.run(&["spf", "rollback", "example.com", "--reason", "the newsletter fails"]);
    assert!(back.contains(&format!("+ {first}")), "{back}");
    assert_eq!(spf(), first, "to the octet");
    let serial = place.serial("example.com");
    assert_eq!(place.run(&apply), "");
    assert_eq!(place.serial("example.com"), serial, "nobody goes on by himself");
    place.happened(to_committed(1, "s1", now_here()));
    let said = place.ends(&["spf", "apply", "example.com", "--resume", "--resolver", &resolver], 5);
    assert!(said.contains("not written: a key is being switched (s1)"), "{said}");
    assert_eq!((spf().as_str(), place.serial("example.com")), (first, serial));
    place.happened(to_active(1, "s1", now_here()));
    assert!(place.run(&apply).contains("written and read back"));
    assert_eq!(spf(), written);

    let log = place.json(&["log", "example.com"]);
    let changes: Vec<&str> = log["events"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["fact"] == "policy" && event["record"] == "spf")
        .map(|event| event["change"].as_str().unwrap())
        .collect();
    assert_eq!(changes, ["adopted", "written", "rolled_back", "written"]);
    assert!(place.run(&["log"]).contains("(the newsletter fails)"));
    assert!(place.run(&["state", "verify"]).contains("ok "));

    // Two records: nobody but the operator can say which one is meant.
    place.edit("example.com", None, "v=spf1 -all");
    let serial = place.serial("example.com");
    for command in [&apply[..], &["spf", "adopt", "example.com", "--yes"]] {
        assert!(place.ends(command, 1).contains("2 SPF records"));
    }
    assert_eq!(place.serial("example.com"), serial);
}

/// The test's own clock, which the program shares.
fn now_here() -> Time {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Time::from_unix(now.as_secs() as i64)
}

const FIRST: &str = "v=DMARC1; p=none; rua=mailto:d@in.reports.test";
const REHEARSAL: &str = "v=DMARC1; p=quarantine; t=y; pct=0; rua=mailto:d@in.reports.test";
const QUARANTINE: &str = "v=DMARC1; p=quarantine; rua=mailto:d@in.reports.test";
const LEAVE: &str = "example.com._report._dmarc.in.reports.test";

/// A report of the day that began `ago` days before today, with rows of our server and of a forger.
fn report(reporter: &str, ago: i64, policy: &str, percent: u8, selector: &str) -> String {
    let begin = now_here().unix() / 86400 * 86400 - ago * 86400;
    let row = |source: &str, word: &str, auth: &str| {
        format!(
            "<record><row><source_ip>{source}</source_ip><count>40</count><policy_evaluated><disposition>none\
             </disposition><dkim>{word}</dkim><spf>{word}</spf></policy_evaluated></row><identifiers>\
             <header_from>example.com</header_from></identifiers><auth_results>{auth}</auth_results></record>"
        )
    };
    let signed = format!(
        "<dkim><domain>example.com</domain><selector>{selector}</selector><result>pass</result></dkim>\
         <spf><domain>example.com</domain><result>pass</result></spf>"
    );
    let forged = "<spf><domain>example.com</domain><result>fail</result></spf>";
    format!(
        "<feedback><report_metadata><org_name>{reporter}</org_name><report_id>{reporter}.{begin}</report_id><date_range>\
         <begin>{begin}</begin><end>{}</end></date_range></report_metadata><policy_published><domain>example.com</domain>\
         <p>{policy}</p><pct>{percent}</pct></policy_published>{}{}</feedback>",
        begin + 86399,
        row("192.0.2.1", "pass", &signed),
        row(&format!("203.0.113.{}", ago % 250), "fail", forged)
    )
}

impl Place {
    /// Takes in the reports of three reporters about these days, as files, and says how many were new.
    fn reports(&self, days: std::ops::RangeInclusive<i64>, policy: &str, percent: u8, selector: &str) -> u64 {
        let dir = self.dir.path().join("reports");
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).unwrap();
        for ago in days {
            for reporter in ["google.com", "yahoo.com", "mail.ru"] {
                let text = report(reporter, ago, policy, percent, selector);
                fs::write(dir.join(format!("{reporter}!{ago}.xml")), text).unwrap();
            }
        }
        let totals = &self.json(&["dmarc", "ingest", "reports", "--offline"])["totals"];
        assert_eq!((&totals["rejected"], &totals["partial"]), (&0.into(), &0.into()), "{totals}");
        totals["ok"].as_u64().unwrap()
    }
}

#[test]
fn dmarc_climbs_waits_and_goes_back() {
    let records = format!(
        "@ TXT \"v=spf1 ip4:192.0.2.1 ~all\"\n_dmarc TXT \"{FIRST}\"\n_dmarc TXT \"not yours\"\n_dmarc TXT \"in two\" \" \
         strings\"\nwww TXT \"untouched\""
    );
    let reports = "in A 192.0.2.7\nexample.com._report._dmarc.in TXT \"somebody's token\"";
    let Some(place) = Place::new(&records, reports) else { return };
    let others = foreign(&place, "_dmarc.example.com", "v=DMARC1");
    let tokens = place.texts(LEAVE);
    let dmarc = || place.text("_dmarc.example.com", "v=DMARC1", &others).unwrap();
    let leave = || place.text(LEAVE, "v=DMARC1", &tokens);
    let resolver = place.resolver();
    let advance = ["dmarc", "advance", "--resolver", &resolver];
    let status = || place.run(&["dmarc", "status", "example.com", "--resolver", &resolver]);

    let checked = place.ends(&["dmarc", "check", "example.com", "--resolver", &resolver], 3);
    assert!(checked.contains("external-rua") && checked.contains(LEAVE), "{checked}");
    assert_eq!(place.run(&advance), "", "nothing is ours, nothing is due");
    assert!(status().contains("not adopted"));
    assert!(place.ends(&["dmarc", "adopt", "example.com"], 2).contains("nobody is there to agree"));
    let wrong = ["dmarc", "adopt", "example.com", "--yes", "--text", "v=DMARC1; p=reject"];
    assert!(place.ends(&wrong, 1).contains("does not show the text that was agreed to"));
    assert_eq!((dmarc().as_str(), leave()), (FIRST, None));

    // Both zones are ours: leave to send reports is written beside what others have there.
    let said = place.run(&["dmarc", "adopt", "example.com", "--yes", "--text", FIRST]);
    assert!(said.contains("adopted at none") && said.contains(LEAVE), "{said}");
    assert_eq!((dmarc().as_str(), leave().as_deref()), (FIRST, Some("v=DMARC1")));
    let checked = place.output(&["dmarc", "check", "example.com", "--resolver", &resolver]);
    assert!(!String::from_utf8_lossy(&checked.stdout).contains("external-rua"));
    place.run(&["dmarc", "ack", "example.com", "192.0.2.0/28", "--sender", "our server", "--selector", "s1"]);

    assert_eq!(place.run(&advance), "");
    let serial = place.serial("example.com");
    let touched = || fs::metadata(place.dir.path().join("state/dkimctl.db")).unwrap().modified().unwrap();
    let before = touched();
    assert_eq!(place.run(&advance), "", "silent from cron");
    assert_eq!(touched(), before, "with nothing due, not even the state is written");

    // Three weeks of clean reports later: one rung a run, and no further.
    place.days_pass(21);
    assert_eq!(place.reports(1..=19, "none", 100, "s1"), 57);
    assert_eq!(place.reports(1..=19, "none", 100, "s1"), 0, "each report counts once");
    let said = place.run(&advance);
    assert!(said.contains("quarantine-test") && said.contains(REHEARSAL), "{said}\n{}", status());
    assert_eq!(dmarc(), REHEARSAL);
    assert!(place.serial("example.com") > serial);
    for again in [&advance[..], &["dmarc", "advance", "example.com", "--resolver", &resolver]] {
        assert_eq!(place.run(again), "");
    }
    assert_eq!(dmarc(), REHEARSAL, "one rung a run");
    let sources = place.run(&["dmarc", "sources", "example.com", "--resolver", &resolver]);
    assert!(sources.contains("our server") && sources.contains("203.0.113."), "{sources}");

    // The rehearsal is over, but: an operator holds it; then a key is being switched.
    place.days_pass(9);
    place.reports(1..=8, "quarantine", 0, "s1");
    place.run(&["dmarc", "hold", "example.com", "--reason", "quarter's end"]);
    assert_eq!(place.run(&advance), "");
    assert!(status().contains("held by") && status().contains("quarter's end"));
    place.run(&["dmarc", "hold", "example.com", "--release"]);
    place.happened(to_committed(1, "s1", now_here()));
    assert_eq!(place.run(&advance), "");
    assert!(status().contains("a key is being switched (s1)"), "{}", status());
    assert_eq!(dmarc(), REHEARSAL);
    place.happened(to_active(1, "s1", now_here()));

    // Somebody edits by hand: nothing is written over it.
    let by_hand = "v=DMARC1; p=none; fo=1; rua=mailto:d@in.reports.test";
    place.edit("_dmarc.example.com", Some(REHEARSAL), by_hand);
    let named = ["dmarc", "advance", "example.com", "--resolver", &resolver];
    let said = place.ends(&named, 1);
    assert!(said.contains("neither the text that was adopted"), "{said}");
    assert_eq!(dmarc(), by_hand);
    place.edit("_dmarc.example.com", Some(by_hand), REHEARSAL);
    // And once a little faster than we are.
    place.configure(place.overtaken("_dmarc.example.com", REHEARSAL, by_hand));
    let said = place.ends(&named, 1);
    assert!(said.contains("changed after it was looked at; nothing was written"), "{said}\n{}", status());
    assert_eq!(dmarc(), by_hand);
    place.configure(place.dns.address);
    place.edit("_dmarc.example.com", Some(by_hand), REHEARSAL);

    let said = place.run(&named);
    assert!(said.contains(QUARANTINE), "{said}\n{}", status());
    assert_eq!(dmarc(), QUARANTINE);

    // Back, to the octet, at once, and no further than we came.
    place.run(&["dmarc", "rollback", "example.com", "--reason", "the newsletter is held back"]);
    assert_eq!(dmarc(), REHEARSAL);
    place.run(&["dmarc", "rollback", "example.com"]);
    assert_eq!((dmarc().as_str(), leave().as_deref()), (FIRST, Some("v=DMARC1")));
    assert!(place.ends(&["dmarc", "rollback", "example.com"], 1).contains("no earlier record"));

    // Reports go elsewhere from now on: our leave goes, what others have at the name stays.
    let inside = "v=DMARC1; p=none; rua=mailto:d@example.com";
    place.edit("_dmarc.example.com", Some(FIRST), inside);
    let said = place.run(&["dmarc", "adopt", "example.com", "--yes"]);
    assert!(said.contains("removed \"v=DMARC1\""), "{said}");
    assert_eq!((dmarc().as_str(), leave()), (inside, None));
    assert_eq!(place.texts("www.example.com"), [[b"untouched".to_vec()]]);

    let log = place.run(&["log", "example.com"]);
    for sentence in [
        "DMARC at _dmarc.example.com taken over",
        "leave to send reports at example.com._report._dmarc.in.reports.test written",
        "every gate from none to quarantine-test is open",
        "rolled back: \"v=DMARC1; p=quarantine; t=y; pct=0; rua=mailto:d@in.reports.test\"",
        "(the newsletter is held back)",
        "leave to send reports at example.com._report._dmarc.in.reports.test removed",
    ] {
        assert!(log.contains(sentence), "`{sentence}` is not in the log:\n{log}");
    }
    assert!(place.run(&["state", "verify"]).contains("ok "));
}

#[test]
fn an_old_selector_in_reports_holds_its_retirement_and_status_says_by_whom() {
    let Some(place) = Place::new("@ TXT \"v=spf1 ip4:192.0.2.1 ~all\"", "") else { return };
    let ago = |days| now_here() - Span::days(days);
    for (n, selector, days) in [(1, "s1", 60), (2, "s2", 20)] {
        place.happened(to_committed(n, selector, ago(days)));
        place.happened(to_active(n, selector, ago(days)));
    }
    assert_eq!(place.reports(2..=2, "none", 100, "s1"), 3);
    let log = place.run(&["log", "example.com"]);
    assert!(log.contains("s1: still used by 192.0.2.1 (40 messages, reported by "), "{log}");
    let status = place.output(&["status", "example.com"]);
    let status = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(status.contains("192.0.2.1 (40 messages"), "{status}");
}

#[test]
fn mail_of_reporters_is_believed_where_our_own_server_vouches_for_it() {
    let Some(place) = Place::new("", "") else { return };
    let report = report("google.com", 1, "none", 100, "s1");
    let mail = |vouch: &str| {
        format!(
            "{vouch}From: noreply@google.com\r\nSubject: Report domain: example.com\r\nMIME-Version: 1.0\r\n\
             Content-Type: text/xml; name=\"r.xml\"\r\n\r\n{report}\r\n"
        )
    };
    let file = place.dir.path().join("r.eml");
    let result = "Authentication-Results: mx.example.com; dkim=pass header.d=google.com\r\n";
    let trust = |text: String, more: &[&str]| {
        fs::write(&file, text).unwrap();
        let json = place.json(&[&["dmarc", "ingest", "r.eml", "--offline", "--dry-run"], more].concat());
        json["inputs"][0]["trust"].as_str().unwrap().to_owned()
    };
    assert_eq!(trust(mail(result), &[]), "unverified");
    assert_eq!(trust(mail(result), &["--authserv-id", "mx.example.com"]), "verified");
    let below = format!("Received: from x by other.example\r\n{result}");
    assert_eq!(trust(mail(&below), &["--authserv-id", "mx.example.com"]), "unverified");
    let config = place.dir.path().join("dkimctl.toml");
    let text = fs::read_to_string(&config).unwrap() + "[reports]\nauthserv_ids = [\"mx.example.com\"]\n";
    fs::write(&config, text).unwrap();
    assert_eq!(trust(mail(result), &[]), "verified");
}
