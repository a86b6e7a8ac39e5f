use proptest::prelude::*;

use super::*;

/// helo, ptr, the client's address, by, TLS
type Row = (
    &'static str,
    Option<&'static str>,
    Option<&'static str>,
    Option<&'static str>,
    &'static str,
    Option<&'static str>,
);

#[test]
fn every_provider_writes_it_in_its_own_way() {
    let rows: [Row; 10] = [
        (
            "from mail.example.com (mail.example.com. [203.0.113.10]) by mx.google.com with ESMTPS id a1 for \
             <seed@gmail.com> (version=TLS1_3 cipher=TLS_AES_256_GCM_SHA384 bits=256/256); Mon, 1 Jun 2026",
            Some("mail.example.com"),
            Some("mail.example.com"),
            Some("203.0.113.10"),
            "mx.google.com",
            Some("TLS1.3"),
        ),
        (
            "from mail.example.com (203.0.113.10) by AM6EUR05FT012.mail.protection.outlook.com (10.233.240.1) with \
             Microsoft SMTP Server (version=TLS1_2, cipher=TLS_ECDHE) id 15.20.1 via Frontend Transport; Mon",
            Some("mail.example.com"),
            None,
            Some("203.0.113.10"),
            "am6eur05ft012.mail.protection.outlook.com",
            Some("TLS1.2"),
        ),
        (
            "from 203.0.113.10 (EHLO mail.example.com) by 10.253.60.28 with SMTPs (version=TLS1_3 cipher=X); Mon",
            Some("mail.example.com"),
            None,
            Some("203.0.113.10"),
            "10.253.60.28",
            Some("TLS1.3"),
        ),
        (
            "from 203.0.113.10 (EHLO [10.0.0.1]) by 10.253.60.28 with SMTP; Mon",
            Some("[10.0.0.1]"),
            None,
            Some("203.0.113.10"),
            "10.253.60.28",
            None,
        ),
        (
            "from mail.example.com (unknown [IPv6:2001:db8:25::16]) (using TLSv1.3 with cipher X (256/256 bits)) (No \
             client certificate requested) by mx5.messagingengine.com (Postfix) with ESMTPS id 1; Mon",
            Some("mail.example.com"),
            None,
            Some("2001:db8:25::16"),
            "mx5.messagingengine.com",
            Some("TLS1.3"),
        ),
        (
            "from [203.0.113.10] (port=54884 helo=[10.0.0.1]) by mx5.mail.ru with esmtp (envelope-from <a@b>) id 1; Mon",
            Some("[10.0.0.1]"),
            None,
            Some("203.0.113.10"),
            "mx5.mail.ru",
            None,
        ),
        (
            "from mail.example.com ([203.0.113.10]) by mx-ha.gmx.net (mxgmx114 [212.227.17.5]) with ESMTPS (Nemesis) id 1; Mon",
            Some("mail.example.com"),
            None,
            Some("203.0.113.10"),
            "mx-ha.gmx.net",
            None,
        ),
        (
            "from by (host.example.com [203.0.113.10]) by mx.example.net (Postfix) with ESMTP id 1; Mon",
            Some("by"),
            Some("host.example.com"),
            Some("203.0.113.10"),
            "mx.example.net",
            None,
        ),
        (
            "from host.example.com (HELO [10.0.0.1]) (203.0.113.10) by mx.example.net with SMTP; Mon",
            Some("[10.0.0.1]"),
            Some("host.example.com"),
            Some("203.0.113.10"),
            "mx.example.net",
            None,
        ),
        ("by 2002:a05:6512:3ba8:b0:500 with SMTP id g40; Mon", None, None, None, "2002:a05:6512:3ba8:b0:500", None),
    ];
    for (value, helo, ptr, client, by, tls) in rows {
        let seen = parse(value);
        assert_eq!(seen.helo.as_deref(), helo, "{value}");
        assert_eq!(seen.ptr.as_deref(), ptr, "{value}");
        assert_eq!(seen.client().map(|ip| ip.to_string()).as_deref(), client, "{value}");
        assert_eq!(seen.by.as_deref(), Some(by), "{value}");
        assert_eq!(seen.tls.as_deref(), tls, "{value}");
    }
}

#[test]
fn what_is_not_said_is_not_known() {
    assert_eq!(parse("from a (b.example [192.0.2.1]) by c with ESMTP").encrypted(), Some(false));
    assert_eq!(parse("from a (b.example [192.0.2.1]) by c with ESMTPS").encrypted(), Some(true));
    assert_eq!(parse("from a (b.example [192.0.2.1]) by c with HTTP").encrypted(), None);
    assert!(parse("from a (unknown [192.0.2.1]) by c with ESMTP").ptr_unknown);
    assert!(!parse("from a (192.0.2.1) by c with Microsoft SMTP Server").ptr_unknown);
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,300}", glue in "(from|by|with|\\(|\\)|\\[|\\]|;| |EHLO|helo=){0,30}") {
        let _ = parse(&text);
        let _ = parse(&format!("from {glue}{text}"));
        let _ = parse(&format!("{text} by {glue}"));
    }
}
