use super::*;

#[test]
fn content_is_read_quoted_or_bare() {
    for (content, meant) in [
        (r#""v=DKIM1; " "p=AB""#, "v=DKIM1; p=AB"),
        ("challengetoken", "challengetoken"),
        (r#""a""b""#, "ab"),
        (r#"say "hi""#, r#"say "hi""#),
        ("\"", "\""),
    ] {
        assert_eq!(decode(content), TxtText::from(meant), "{content}");
    }
}

#[test]
fn a_token_goes_to_no_plain_url_of_others() {
    for api in [
        "http://example.com/client/v4",
        "ftp://127.0.0.1",
        "http://127.0.0.1@evil.example/",
        "http://127.0.0.1.evil.example",
    ] {
        let config = Config { api: api.into(), ..Config::new(Secret::new("canary")) };
        let error = Cloudflare::new(config).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("canary"), "{error}");
    }
}

/// Codes above 65,535, and the reason that stands below a general code.
#[test]
fn the_innermost_reason_is_told() {
    let body = r#"{"result":null,"success":false,"errors":[{"code":1004,"message":"DNS Validation Error",
        "error_chain":[{"code":81058,"message":"An identical record already exists."}]}],"messages":[]}"#;
    let reply: Reply<Vec<ApiRecord>> = serde_json::from_str(body).unwrap();
    let answer = crate::http::Answer { status: 400, body: body.into() };
    let error = words::explain(&answer, &reply.errors.unwrap(), true, &Secret::new("canary"));
    let ProviderError::Rejected { code, message } = error else { panic!("{error:?}") };
    assert_eq!(code, "81058");
    assert!(message.contains("An identical record already exists. (81058)"), "{message}");
}

#[test]
fn a_record_of_any_type_can_stand_beside() {
    let body = r#"[{"id":"a","name":"x.example","type":"HTTPS","data":{"priority":1},"ttl":1},
        {"id":"b","name":"x.example","type":"CAA","content":"0 issue \"ca.example\"","ttl":1,"settings":{}},
        {"id":"c","name":"x.example","type":"TXT","content":"bare","ttl":1,"comment":null,"tags":[]}]"#;
    let records: Vec<ApiRecord> = serde_json::from_str(body).unwrap();
    let AtName::Txt { ttl: 300, entries } = at_name(&records, true) else { panic!() };
    assert_eq!(entries[0].id.as_deref(), Some("c"));
}
