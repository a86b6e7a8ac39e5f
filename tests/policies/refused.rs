//! Evidence that is refused in bulk: the gate closes, says why in a few lines, and opens again.

use std::fs;

use super::place::Place;
use super::{FIRST, now_here, report};

#[test]
fn a_thousand_refused_reports_are_a_few_lines_of_status() {
    let records = format!("@ TXT \"v=spf1 ip4:192.0.2.1 ~all\"\n_dmarc TXT \"{FIRST}\"");
    let Some(place) = Place::new(&records, "in A 192.0.2.7") else { return };
    let resolver = place.resolver();
    place.run(&["dmarc", "adopt", "example.com", "--yes", "--text", FIRST]);
    place.run(&["dmarc", "ack", "example.com", "192.0.2.0/28", "--sender", "our server", "--selector", "s1"]);
    place.days_pass(21);
    place.reports(1..=19, "none", 100, "s1");
    let status = ["dmarc", "status", "example.com", "--resolver", &resolver];
    let clean = place.run(&status);
    assert!(clean.contains("CLEAN") && clean.contains("0 refused"), "{clean}");

    // Of 1,300 files none is a report; 1,000 of them have the name of one about the domain.
    let dir = place.dir.path().join("bulk");
    fs::create_dir(&dir).unwrap();
    let begin = now_here().unix() / 86400 * 86400 - 2 * 86400;
    for n in 0..1000 {
        let name = format!("mail.ru!example.com!{begin}!{}!{n}.xml.gz", begin + 86399);
        let future = report("mail.ru", -30, "none", 100, "s1");
        let text: &[u8] = match n % 4 {
            0 => b"",
            1 => b"<html><body>quota exceeded</body></html>",
            2 => b"unused",
            _ => future.as_bytes(),
        };
        fs::write(dir.join(name), text).unwrap();
    }
    for n in 0..300 {
        fs::write(dir.join(format!("{n}.txt")), "holiday").unwrap();
    }
    let said = place.ends(&["dmarc", "ingest", "bulk", "--offline", "--quiet"], 1);
    assert_eq!(said.lines().count(), 1300, "each is told");
    for again in 1..=2 {
        let text = place.ends(&[&status[..], &["--exit-code"]].concat(), 4);
        let gate: Vec<&str> = text.lines().skip_while(|line| !line.contains("integrity")).take(6).collect();
        assert!(gate[0].contains("not yet") && gate[0].contains("(0 partial, 1000 refused)"), "{again}: {text}");
        for reason in
            ["250 refused: it is empty (", "250 refused: it ends in the future (", "250 refused: it is no agg"]
        {
            assert!(gate.iter().any(|line| line.trim_start().starts_with(reason)), "`{reason}` in {gate:#?}");
        }
        assert!(text.lines().count() < 40, "{text}");
        let json = place.json(&status);
        let gates = json["domains"][0]["verdict"]["gates"].as_array().unwrap();
        let integrity = gates.iter().find(|gate| gate["id"] == "integrity").unwrap();
        assert_eq!((&integrity["state"], integrity["rows"].as_array().unwrap().len()), (&"insufficient".into(), 4));
        let advance = ["dmarc", "advance", "example.com", "--resolver", &resolver];
        assert_eq!(place.run(&advance), "", "nothing is built on what may have been failures");
        // Read every night, each counts once.
        place.ends(&["dmarc", "ingest", "bulk", "--offline", "--quiet"], 1);
    }
}
