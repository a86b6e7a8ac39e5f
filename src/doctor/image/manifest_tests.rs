use super::*;

#[test]
fn history_lines_read_as_the_dockerfile_did() {
    for (created_by, wanted) in [
        (
            "/bin/sh -c #(nop) COPY file:61f4faee8d3546bc59f21fe6168a562bac0717406832d488e77bd582568a57fb in /etc/x ",
            "COPY file:61f4fa... in /etc/x",
        ),
        ("COPY keys/ /etc/opendkim/keys/ # buildkit", "COPY keys/ /etc/opendkim/keys/"),
        ("/bin/sh -c opendkim-genkey -d example.com", "RUN opendkim-genkey -d example.com"),
        ("RUN /bin/sh -c true # buildkit", "RUN /bin/sh -c true"),
        ("a\u{1b}[31mb", "a\\u{1b}[31mb"),
    ] {
        assert_eq!(line(created_by), wanted);
    }
}

#[test]
fn a_key_in_a_history_line_is_not_repeated() {
    let key = crate::keygen::generate(crate::keygen::KeyKind::Rsa { bits: 2048 }).unwrap();
    let body: String = key.pem().lines().filter(|line| !line.starts_with("---")).collect();
    for text in [
        format!("RUN echo '{}' > /k", key.pem()),
        format!("RUN echo {} | base64 -d > /k", &body[200..]),
        format!("ENV K={}", key.pem().replace('\n', "\\n")),
    ] {
        let shown = line(&text);
        assert!(!(0..body.len() - 16).any(|at| shown.contains(&body[at..at + 16])), "{shown}");
    }
}

#[test]
fn a_directory_that_goes_takes_what_is_in_it() {
    let mut layer = LayerSeen::default();
    layer.whiteouts = vec![Whiteout::Path("etc/keys".into()), Whiteout::Below("srv".into())];
    layer.names.insert(hash("app/k"));
    assert_eq!(gone("etc/keys/a", 3, &layer), Some(Gone::Deleted { layer: 3 }));
    assert_eq!(gone("etc/keys", 3, &layer), Some(Gone::Deleted { layer: 3 }));
    assert_eq!(gone("etc/keysmith", 3, &layer), None);
    assert_eq!(gone("srv/x/y", 3, &layer), Some(Gone::Deleted { layer: 3 }));
    assert_eq!(gone("app/k", 3, &layer), Some(Gone::Replaced { layer: 3 }));
}
