use super::*;

fn dialogue_of(greeting: &str, reply: &str) -> Dialogue {
    Dialogue { greeting: greeting.into(), reply: reply.into(), ..Dialogue::default() }
}

#[test]
fn the_address_is_read_from_what_servers_really_write() {
    let echoed = |reply: &str| dialogue_of("", reply).echoed().map(|ip| ip.to_string());
    let cases = [
        ("250-mx.google.com at your service, [203.0.113.10]\n250 SMTPUTF8", Some("203.0.113.10")),
        ("250-mx.example Hello mail.example.com [203.0.113.10]\n250 HELP", Some("203.0.113.10")),
        ("250-mx.example Hello mail.example.com [2001:db8:25::10]\n250 HELP", Some("2001:db8:25::10")),
        ("250-mx.example Hello [172.18.0.5] [203.0.113.10]", Some("203.0.113.10")),
        ("250-AM0.mail.protection.outlook.com Hello [203.0.113.10]", Some("203.0.113.10")),
        ("250-mx Hello [IPv6:2001:db8::1]", Some("2001:db8::1")),
        ("250-mx.example.net\n250 [203.0.113.10]", None),
        ("250 mx.example.net", None),
        ("550 [203.0.113.10] is not welcome", None),
    ];
    for (reply, meant) in cases {
        assert_eq!(echoed(reply).as_deref(), meant, "{reply}");
    }
}

#[test]
fn the_time_is_read_from_greetings_that_have_one() {
    let time = |greeting: &str| dialogue_of(greeting, "").time().map(|time| time.to_string());
    let exim = "220 mx.example ESMTP Exim 4.96 Sun, 22 Nov 2026 12:59:53 +0000";
    assert_eq!(time(exim).as_deref(), Some("2026-11-22T12:59:53Z"));
    let outlook = "220 AM0.outlook.com Microsoft ESMTP MAIL Service ready at Sun, 22 Nov 2026 13:59:53 +0100 [08DE]";
    assert_eq!(time(outlook).as_deref(), Some("2026-11-22T12:59:53Z"));
    assert_eq!(time("220 mx.example ESMTP Postfix (Debian/GNU)"), None);
}

#[test]
fn a_shell_inside_says_how_the_connection_failed() {
    let said = |status, out: &str, err: &str| {
        read_bash(&Ran { code: Some(status), stdout: out.as_bytes().to_vec(), stderr: err.as_bytes().to_vec() })
    };
    assert_eq!(said(7, "", "bash: connect: Connection refused"), Port25::Refused);
    assert!(matches!(said(7, "", "bash: connect: Network is unreachable"), Port25::NoRoute(_)));
    assert!(matches!(said(127, "", "exec: \"bash\": executable file not found"), Port25::Unknown(_)));
    let open = said(0, "220-mx\r\n220 ready\r\n250-mx Hello x [192.0.2.1]\r\n250 HELP\r\n", "");
    let Port25::Open(dialogue) = open else { panic!("{open:?}") };
    assert_eq!(dialogue.greeting, "220-mx\n220 ready");
    assert_eq!(dialogue.echoed(), Some("192.0.2.1".parse().unwrap()));
}

#[test]
fn a_reply_ends_where_it_says_or_not_at_all() {
    let read = |text: &str| reply(&mut text.as_bytes(), Instant::now() + Duration::from_secs(5));
    assert_eq!(read("220-mx\r\n220 ready\r\n250 more\r\n").unwrap(), "220-mx\n220 ready");
    assert!(read("220-mx\r\n").is_err(), "cut off");
    let endless = std::io::repeat(b'2');
    assert!(reply(&mut BufReader::new(endless), Instant::now() + Duration::from_secs(5)).is_err());
    assert!(reply(&mut "220 late\r\n".as_bytes(), Instant::now()).is_err());
}
