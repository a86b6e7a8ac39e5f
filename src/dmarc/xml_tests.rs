use super::*;

const META: &str = "<report_metadata><org_name>google.com</org_name><email>noreply-dmarc-support@google.com</email>\
    <report_id>17</report_id><date_range><begin>1700006400</begin><end>1700092799</end></date_range></report_metadata>\
    <policy_published><domain>example.com</domain><adkim>r</adkim><aspf>r</aspf><p>none</p><sp>none</sp><pct>100</pct></policy_published>";

fn record(count: &str, dkim: &str, spf: &str) -> String {
    format!(
        "<record><row><source_ip>192.0.2.1</source_ip><count>{count}</count><policy_evaluated>\
         <disposition>none</disposition><dkim>{dkim}</dkim><spf>{spf}</spf></policy_evaluated></row>\
         <identifiers><header_from>example.com</header_from></identifiers><auth_results><dkim><domain>example.com</domain>\
         <selector>s1</selector><result>{dkim}</result></dkim><spf><domain>example.com</domain><result>{spf}</result></spf>\
         </auth_results></record>"
    )
}

fn report(records: &str) -> String {
    format!("<?xml version=\"1.0\"?><feedback>{META}{records}</feedback>")
}

fn read(text: &str) -> Parsed {
    parse(text.as_bytes()).unwrap()
}

fn counts(parsed: &Parsed) -> (u64, u64, u64) {
    (parsed.records, parsed.messages, parsed.aligned)
}

#[test]
fn a_plain_report() {
    let parsed =
        read(&report(&(record("3", "pass", "pass") + &record("2", "fail", "fail") + &record("4", "pass", "pass"))));
    assert_eq!((parsed.org.as_str(), parsed.id.as_str()), ("google.com", "17"));
    assert_eq!(parsed.domain.as_ref().unwrap().as_str(), "example.com");
    assert_eq!(parsed.begin, Some(Time::from_unix(1_700_006_400)));
    assert_eq!(counts(&parsed), (3, 9, 7));
    assert_eq!(parsed.rows.len(), 2, "equal records are one row");
    assert!(parsed.errors.is_empty() && parsed.notes.is_empty(), "{parsed:?}");
    assert_eq!(parsed.published.to_string(), "p=none sp=none pct=100");
}

#[test]
fn however_it_is_dressed_it_says_the_same() {
    let plain = report(&record("3", "pass", "fail"));
    let spaced = plain.replace("><", ">\r\n  <").replace("google.com</org", " google.com\n</org");
    let namespaced = plain.replace("<feedback>", "<feedback xmlns=\"urn:ietf:params:xml:ns:dmarc-2.0\" a='b'>");
    let prefixed = plain.replace("</", "</d:").replace('<', "<d:").replace("<d:/d:", "</d:").replace("<d:?", "<?");
    let shouted = plain
        .replace("pass", "PASS")
        .replace("fail", "Fail")
        .replace("<record>", "<Record>")
        .replace("</record>", "</Record>");
    let cdata = plain.replace(">google.com<", "><![CDATA[google.com]]><").replace(">192.0.2.1<", ">192.0&#46;2.1<");
    let extended = plain.replace("<record>", "<extension><x:a xmlns:x='u'><b>1</b></x:a></extension><record><new/>");
    let marked = format!("\u{feff}  {plain}\n\n");
    let commented = plain.replace("<row>", "<!-- <record> --><row>");
    let reordered = format!("<feedback>{}{META}</feedback>", record("3", "pass", "fail"));
    let wanted = read(&plain);
    for dressed in [spaced, namespaced, prefixed, shouted, cdata, extended, marked, commented, reordered] {
        let parsed = read(&dressed);
        assert!(parsed.errors.is_empty(), "{dressed}: {:?}", parsed.errors);
        assert_eq!((counts(&parsed), parsed.hash), (counts(&wanted), wanted.hash), "{dressed}");
    }
}

#[test]
fn latin_1_in_a_comment_is_no_reason_to_lose_a_report() {
    let mut bytes = report(&record("3", "pass", "pass")).into_bytes();
    let at = bytes.windows(10).position(|w| w == b"google.com").unwrap();
    bytes[at] = 0xfc;
    let parsed = parse(bytes.as_slice()).unwrap();
    assert_eq!((counts(&parsed), parsed.org.as_str(), parsed.notes.len()), ((1, 3, 3), "üoogle.com", 1));
}

#[test]
fn numbers_are_refused_and_never_zeroed() {
    for bad in ["1.0", "-1", "1e3", "0x10", "", "99999999999", "1,000", "+1", "١", "NaN"] {
        let parsed = read(&report(&(record("5", "fail", "fail") + &record(bad, "fail", "fail"))));
        assert_eq!(counts(&parsed), (1, 5, 0), "{bad}");
        assert!(parsed.errors[0].starts_with("record 2 was not read: its count"), "{bad}: {:?}", parsed.errors);
    }
    for bad in ["1700006400.0", "0", "-5", "99999999999", "", "2023-11-15"] {
        let parsed = read(&report("").replace("<begin>1700006400", &format!("<begin>{bad}")));
        assert_eq!(parsed.begin, None, "{bad}");
        assert!(parsed.errors[0].contains("<begin>"), "{bad}: {:?}", parsed.errors);
    }
}

#[test]
fn a_damaged_report_says_what_is_missing() {
    let whole = report(&(record("5", "pass", "pass") + &record("7", "fail", "fail")));
    // Cut anywhere after the first record: what was read counts, and the rest is missed aloud.
    let second = whole.rfind("<record>").unwrap();
    for cut in (second..whole.len() - 1).step_by(7) {
        let parsed = read(&whole[..cut]);
        assert!(parsed.records <= 2 && parsed.messages >= 5, "{cut}");
        assert!(!parsed.errors.is_empty(), "cut at {cut} of {} went unnoticed", whole.len());
    }
    // Cut between tags, so that it looks whole.
    let parsed = read(&whole[..second]);
    assert!(parsed.errors[0].contains("ends before </feedback>"), "{:?}", parsed.errors);
    for (spoilt, word) in [
        (whole.replace("192.0.2.1", "mail.example.com"), "no address"),
        (whole.replace("<source_ip>192.0.2.1</source_ip>", ""), "no source address"),
        (whole.replace("<count>5</count>", ""), "no count"),
        (whole.replace("<dkim>pass</dkim>", "<dkim>passed</dkim>"), "unknown"),
        (
            whole.replace("<record>", "<wrapper><record>").replace("</record>", "</record></wrapper>"),
            "inside <wrapper>",
        ),
        (whole.replace("</row>", "</raw>"), "<row> in it is never closed"),
        (whole.replace("</row>", "</raw>"), "a stray </raw>"),
        (whole.replace("<row>", "<row"), "<row<source_ip> is never closed"),
        (whole.clone() + &whole, "second report"),
        (whole.replace("<version>", "").replace("<row>", &"<row>".repeat(40)), "deeper"),
        (whole.replace("example.com</domain><adkim>", "exa mple</domain><adkim>"), "domain"),
    ] {
        let parsed = read(&spoilt);
        assert!(parsed.errors.iter().any(|e| e.contains(word)), "{word}: {:?}", parsed.errors);
    }
}

#[test]
fn what_is_no_report_is_refused() {
    for (text, refused) in [
        ("", Refused::Empty),
        ("   ", Refused::Empty),
        ("<html><body/></html>", Refused::Root("html".into())),
        ("<!DOCTYPE feedback [<!ENTITY a \"b\">]><feedback/>", Refused::Doctype),
        ("<!DOCTYPE f SYSTEM 'file:///etc/passwd'><feedback/>", Refused::Doctype),
    ] {
        assert_eq!(parse(text.as_bytes()).map(|_| ()).unwrap_err(), refused, "{text}");
    }
    let late = report("").replace("<feedback>", "<feedback><!DOCTYPE a>");
    assert!(parse(late.as_bytes()).is_err());
}

#[test]
fn both_of_two_evaluations_must_pass() {
    let twice = report(&record("1", "pass", "fail")).replace("<dkim>pass</dkim>", "<dkim>fail</dkim><dkim>pass</dkim>");
    assert_eq!(counts(&read(&twice)), (1, 1, 0));
}

#[test]
fn an_address_in_angle_brackets_costs_an_error_and_not_the_report() {
    let good = report(&(record("3", "pass", "fail") + &record("2", "fail", "fail")));
    let spoilt = good.replace("<email>noreply-dmarc-support@google.com</email>", "<email><noreply@google.com></email>");
    let parsed = read(&spoilt);
    assert_eq!((counts(&parsed), parsed.begin.is_some()), ((2, 5, 3), true));
    assert_eq!(parsed.errors, ["<noreply@google.com> is never closed"]);
}

#[test]
fn a_report_inside_its_own_schema_is_read() {
    let good = report(&record("3", "pass", "fail"));
    let opened = good.replace("<feedback>", "<xs:schema xmlns:xs=\"http://www.w3.org/2001/XMLSchema\"><feedback>");
    for wrapped in [opened.clone(), opened + "</xs:schema>"] {
        let parsed = read(&wrapped);
        assert_eq!((counts(&parsed), parsed.errors.len()), ((1, 3, 3), 0), "{wrapped}: {:?}", parsed.errors);
    }
    let schema = "<xs:schema xmlns:xs='x'><xs:element name=\"feedback\"/></xs:schema>";
    assert_eq!(parse(schema.as_bytes()).map(|_| ()).unwrap_err(), Refused::Root("schema".into()));
}

#[test]
fn the_dates_that_rfc_9990_shows_are_dates() {
    let early = report("").replace("1700006400", "161212415").replace("1700092799", "161298815");
    let parsed = read(&early);
    assert_eq!((parsed.begin, parsed.errors.len()), (Some(Time::from_unix(161_212_415)), 0));
}
