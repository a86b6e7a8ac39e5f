use serde_json::Value;

use super::*;
use crate::doctor::finding::{Findings, Said, Tier};

fn report() -> DoctorReport {
    let mut findings = Findings::default();
    let said = |evidence: &str, fix: &str| Said { evidence: evidence.to_owned(), fix: fix.to_owned() };
    findings.ok("QUEUE001", Tier::Effective, "queue", "the queue lies on the volume mail_queue");
    findings
        .found(
            "KEY004",
            Tier::Files,
            "mail",
            said("mode is ignored, 100% of the time", "leave it out\nor mount, a directory"),
        )
        .at(Place { file: "deploy/my compose.yaml".to_owned(), line: Some(31), column: Some(7) });
    findings.found("RELAY001", Tier::Files, "mynetworks", said("an open relay", "close it"));
    findings.unknown("DKIM001", Tier::Effective, "s1", said("ns2 timed out", ""));
    findings.skip("NET001", "port 25", "offline");
    DoctorReport { checks: findings.settled(&|_| true, false), look: Look { unicode: true, ..Look::default() } }
}

#[test]
fn people_read_marks_places_and_fixes() {
    assert_eq!(
        report().text(Paint::PLAIN),
        "keys\n  \
           ‼ KEY004   deploy/my compose.yaml:31: mode is ignored, 100% of the time\n             \
             fix  leave it out\n                  \
                  or mount, a directory\n\
         DKIM\n  \
           ? DKIM001  ns2 timed out\n\
         relaying\n  \
           ✗ RELAY001 an open relay\n             \
             fix  close it\n\
         queue\n  \
           ✓ QUEUE001 the queue lies on the volume mail_queue\n\
         1 ok, 1 failed, 1 warning, 1 not checked, 1 passed over.  More: dkimctl explain RELAY001\n"
    );
}

#[test]
fn a_terminal_without_unicode_reads_words() {
    let report = DoctorReport { look: Look { quiet: true, ..Look::default() }, ..report() };
    let text = report.text(Paint::PLAIN);
    assert!(text.contains("FAIL RELAY001") && text.contains("WARN KEY004") && text.contains("?    DKIM001"), "{text}");
    assert!(!text.contains("QUEUE001"), "quiet shows only what is not well");
    assert!(text.is_ascii());
}

#[test]
fn changes_say_nothing_when_there_are_none() {
    let look = Look { changes: true, ..Look::default() };
    assert_eq!(DoctorReport { checks: vec![], look }.text(Paint::PLAIN), "");
}

#[test]
fn json_is_what_it_is_promised_to_be() {
    let document: Value = serde_json::from_str(&report().json()).unwrap();
    assert_eq!(document["schema"], 1);
    assert_eq!(document.as_object().unwrap().keys().collect::<Vec<_>>(), ["schema", "checks"]);
    let checks = document["checks"].as_array().unwrap();
    assert_eq!(checks.len(), 5);
    for check in checks {
        for field in ["id", "severity", "result", "tier", "evidence", "fix"] {
            assert!(check[field].is_string(), "{field} in {check}");
        }
        assert!(["ok", "warn", "fail", "unknown", "skip"].contains(&check["result"].as_str().unwrap()));
        assert!(["files", "effective", "observed"].contains(&check["tier"].as_str().unwrap()));
        assert!(["info", "warn", "error", "critical"].contains(&check["severity"].as_str().unwrap()));
    }
    let key = checks.iter().find(|check| check["id"] == "KEY004").unwrap();
    assert_eq!((key["file"].as_str(), key["line"].as_u64()), (Some("deploy/my compose.yaml"), Some(31)));
}

#[test]
fn github_annotations_are_one_line_each_and_escaped() {
    let text = github::annotations(&report());
    assert_eq!(
        text,
        "::warning file=deploy/my compose.yaml,line=31,col=7,title=KEY004 no uid%2C gid or mode on a Compose file \
         secret::mode is ignored, 100%25 of the time%0Aleave it out%0Aor mount, a directory\n\
         ::notice title=DKIM001 DNS shows the key that signs::ns2 timed out\n\
         ::error title=RELAY001 no open relay through a published port::an open relay%0Aclose it\n"
    );
}

/// The parts of the SARIF 2.1.0 schema that bear on what is written.
#[test]
fn sarif_has_the_shape_that_it_must_have() {
    let document: Value = serde_json::from_str(&sarif::document(&report())).unwrap();
    assert_eq!(document["version"], "2.1.0");
    assert_eq!(document.as_object().unwrap().keys().collect::<Vec<_>>(), ["$schema", "version", "runs"]);
    let run = &document["runs"][0];
    let driver = &run["tool"]["driver"];
    assert!(driver["name"].is_string() && driver["version"].is_string());
    let rules = driver["rules"].as_array().unwrap();
    let mut ids: Vec<&str> = rules.iter().map(|rule| rule["id"].as_str().unwrap()).collect();
    assert_eq!(ids, catalog::CHECKS.iter().map(|check| check.id).collect::<Vec<_>>());
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), rules.len());
    for rule in rules {
        assert!(["note", "warning", "error"].contains(&rule["defaultConfiguration"]["level"].as_str().unwrap()));
        for text in ["shortDescription", "fullDescription", "help"] {
            assert!(!rule[text]["text"].as_str().unwrap().is_empty(), "{text} of {rule}");
        }
    }
    let results = run["results"].as_array().unwrap();
    assert_eq!(results.len(), 5);
    for result in results {
        let index = result["ruleIndex"].as_u64().unwrap() as usize;
        assert_eq!(rules[index]["id"], result["ruleId"]);
        let (kind, level) = (result["kind"].as_str().unwrap(), result["level"].as_str().unwrap());
        assert!(["pass", "open", "notApplicable", "fail"].contains(&kind));
        assert_eq!(kind == "fail", level != "none", "only a failure has a level");
        assert!(!result["message"]["text"].as_str().unwrap().is_empty());
        assert_eq!(result["partialFingerprints"]["dkimctl/v1"].as_str().unwrap().len(), 32);
        for location in result["locations"].as_array().unwrap() {
            let physical = &location["physicalLocation"];
            assert!(physical.is_object() || location["logicalLocations"].is_array());
            if let Some(uri) = physical["artifactLocation"]["uri"].as_str() {
                assert_eq!(uri, "deploy/my%20compose.yaml");
                assert_eq!(physical["region"]["startLine"], 31);
            }
        }
    }
}
