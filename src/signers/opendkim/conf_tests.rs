use std::fs;

use super::*;

fn conf(text: &str) -> Conf {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("opendkim.conf");
    fs::write(&path, text).unwrap();
    Conf::read(&path).unwrap()
}

#[test]
fn settings_are_read_as_opendkim_reads_them() {
    let conf = conf(
        "# comment\nsocket   inet:8891@localhost # here\nUserID opendkim:mail\nKeyTable file:/etc/dkim/KeyTable\n\
         SigningTable\trefile:/etc/dkim/SigningTable\nMultipleSignatures Yes\nLogWhy 0\nSocket local:/run/o.sock\n",
    );
    assert_eq!(conf.socket().unwrap(), Socket::Local("/run/o.sock".into()), "the last value counts");
    assert_eq!((conf.user(), conf.group()), (Some("opendkim"), Some("mail")));
    assert_eq!(conf.key_table().unwrap(), TableFile { path: "/etc/dkim/KeyTable".into(), lookup: Lookup::Exact });
    assert_eq!(conf.signing_table().unwrap().lookup, Lookup::Pattern);
    assert!(conf.flag("multiplesignatures", false) && !conf.flag("LogWhy", true) && conf.flag("RequireSafeKeys", true));
}

#[test]
fn what_is_no_flat_file_is_refused_with_the_line() {
    for (value, fine) in [("/etc/t", true), ("dsn:mysql://x", false), ("csl:a b:c:d", false), ("file:relative", false)]
    {
        let conf = conf(&format!("UserID opendkim\nKeyTable {value}\n"));
        match conf.key_table() {
            Ok(table) => assert!(fine && table.path == Path::new("/etc/t"), "{value}"),
            Err(error) => assert!(!fine && error.to_string().contains("opendkim.conf line 2"), "{error}"),
        }
    }
    let error = conf("").signing_table().unwrap_err().to_string();
    assert!(error.contains("has no `SigningTable`") && error.contains("add the line"), "{error}");
}

#[test]
fn includes_are_followed_five_levels_deep() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::write(path("a"), format!("UserID x\nInclude {}\n", path("b").display())).unwrap();
    fs::write(path("b"), "UserID y\nKeyTable dsn:x\n").unwrap();
    let conf = Conf::read(&path("a")).unwrap();
    assert_eq!(conf.user(), Some("y"));
    assert!(conf.key_table().unwrap_err().to_string().contains("b line 2"));
    fs::write(path("b"), format!("Include {}\n", path("a").display())).unwrap();
    assert!(matches!(Conf::read(&path("a")), Err(ConfError::Nesting { .. })));
}

#[test]
fn contradictions_are_named_the_worst_first() {
    let findings = conf(
        "Selector mail\nKeyFile /k\nMode v\nRequireSafeKeys no\nSignatureAlgorithm rsa-sha1\nKeyTable refile:/t\n\
         ChangeRootDirectory /srv\nResolverConfiguration /x\n",
    )
    .findings();
    let all = findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    for word in
        ["Selector mail", "KeyFile", "Mode v", "RequireSafeKeys no", "rsa-sha1", "refile:", "ChangeRoot", "LogWhy"]
    {
        assert!(all.contains(word), "{word} is not in {all}");
    }
    assert!(findings.is_sorted_by_key(|finding| std::cmp::Reverse(finding.severity)));
    assert_eq!(findings.iter().filter(|finding| finding.severity == Severity::Blocks).count(), 3);
    let quiet = "Mode sv\nInternalHosts refile:/h\nLogWhy yes\nSyslogSuccess yes\nAutoRestart yes\n";
    assert_eq!(conf(quiet).findings(), []);
}
