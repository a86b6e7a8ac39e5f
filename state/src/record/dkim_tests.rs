use super::*;

fn parse(text: &str) -> Result<KeyRecord, RecordError> {
    KeyRecord::parse(&text.into())
}

#[test]
fn records_as_they_are_in_the_wild() {
    for (text, algorithm, has_key) in [
        ("v=DKIM1; k=rsa; h=sha256; p=QUJD", Algorithm::Rsa, true),
        ("p=QUJD", Algorithm::Rsa, true),            // every tag but p= is optional
        ("v=DKIM1;p=QU JD ;", Algorithm::Rsa, true), // folding white space inside base64
        ("v=DKIM1; k=ed25519; p=QUJD", Algorithm::Ed25519, true),
        ("v=DKIM1; p=", Algorithm::Rsa, false),               // revoked
        ("v=DKIM1; x=unknown; p=QUJD", Algorithm::Rsa, true), // unknown tags are ignored
    ] {
        let record = parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!((record.algorithm, record.key.is_some()), (algorithm, has_key), "{text}");
    }
}

#[test]
fn what_is_not_a_key_record() {
    for (text, error) in [
        ("v=DKIM1; p=QUJD; p=QUJD", RecordError::DuplicateTag("p".into())),
        ("v=DKIM2; p=QUJD", RecordError::Version("DKIM2".into())),
        (r"v=DKIM1\; p=QUJD", RecordError::Version(r"DKIM1\".into())), // an escape that leaked from a zone file
        ("p=QUJD; v=DKIM1", RecordError::VersionNotFirst),
        ("v=DKIM1; k=dsa; p=QUJD", RecordError::KeyType("dsa".into())),
        ("v=DKIM1; k=rsa", RecordError::NoKey),
        ("v=DKIM1; p=Q!", RecordError::KeyEncoding),
        ("google-site-verification", RecordError::NotATagList("google-site-verification".into())),
    ] {
        assert_eq!(parse(text), Err(error), "{text}");
    }
}

#[test]
fn what_we_publish_reads_back() {
    let key = PublicKey::from_bytes(vec![7; 294]);
    for algorithm in [Algorithm::Rsa, Algorithm::Ed25519] {
        let record = KeyRecord::parse(&key.record(algorithm)).unwrap();
        assert_eq!((record.algorithm, record.key), (algorithm, Some(key.clone())));
        assert!(!record.testing && !record.strict);
        assert_eq!(KeyRecord::parse(&revocation(algorithm)).unwrap().key, None);
    }
}

#[test]
fn fingerprints_read_back() {
    let fingerprint = PublicKey::from_bytes(vec![1, 2, 3]).fingerprint();
    assert_eq!(fingerprint.to_string().parse::<Fingerprint>().unwrap(), fingerprint);
    assert!(fingerprint.to_string().starts_with(&fingerprint.short()));
}
