use std::fmt::Write as _;
use std::path::Path;

use proptest::prelude::*;

use super::*;

const HOSTS: &str = r#"
[provider.main]
type = "memory"
zones = ["example.com"]
[signer.mail]
outbox = "outbox"
receipts = "receipts"
"#;

fn read(text: &str) -> Result<Config, ConfigError> {
    Config::parse(Path::new("/etc/dkimctl/dkimctl.toml"), text)
}

/// What is said about a mistake: its place, the sentence, and the hint.
fn refusal(text: &str) -> String {
    let error = read(text).err().unwrap_or_else(|| panic!("accepted: {text}"));
    let hint = error.mistake.hint().map(|hint| format!("\n{hint}")).unwrap_or_default();
    format!("{error}{hint}").replace("/etc/dkimctl/dkimctl.toml:", "")
}

/// A host through the crate dns-update, known whether or not the program is built with it.
fn by_crate(server: &str, ttl: u32) -> String {
    let name = if server == "desec" { "desec" } else { "ocean" };
    format!(
        "[provider.{name}]\ntype = \"dnsupdate\"\nserver = \"{server}\"\nzones = [\"example.com\"]\ndefault_ttl = {ttl}\n\
         secret_env = \"TOKEN\""
    )
}

#[test]
fn two_lines_and_a_host_are_a_configuration() {
    let config = read(&format!("[[domain]]\nname = \"Example.COM\"\n{HOSTS}")).unwrap();
    let settings = config.settings(&"example.com".parse().unwrap()).unwrap();
    let rsa = &settings.slots[&dkimctl_state::record::dkim::Algorithm::Rsa];
    assert_eq!(rsa.regular.iter().map(|slot| slot.as_str()).collect::<Vec<_>>(), ["s1", "s2"]);
    assert_eq!(rsa.spare.as_ref().map(|slot| slot.as_str()), Some("s3"));
    assert_eq!((settings.rsa_bits, settings.ttl), (2048, 3600));
    assert_eq!(settings.providers[0].as_str(), "main");
    assert_eq!(config.state, Path::new("/etc/dkimctl/state"));
    assert_eq!(config.signers[&settings.hosts[0]].outbox, Path::new("/etc/dkimctl/outbox"));
}

#[test]
fn every_mistake_says_where_and_what_instead() {
    let domain = "[[domain]]\nname = \"example.com\"\n";
    let with = |line: &str| format!("{domain}{line}\n{HOSTS}");
    for (text, said) in [
        (
            with("selectrs = [\"a\"]"),
            "3:1: there is no key `selectrs` here; did you mean `selectors`?\nwrite `selectors`",
        ),
        (with("ttl = \"1h\""), "3:7: invalid type: string \"1h\", expected u32"),
        (with("selectors = [\"s1\", \"S1\"]"), "3:20: the selector `s1` is listed twice"),
        (with("selectors = [\"a b\"]"), "3:14: `a b`: ' ' cannot stand in a selector"),
        (with("algorithms = [\"rsa\", \"ed22519\"]"), "3:22: `ed22519` is no algorithm; did you mean `ed25519`?"),
        (with("algorithms = [\"ed25519\"]"), "3:14: `rsa` is missing"),
        (
            with("algorithms = [\"rsa\", \"ed25519\"]\ned25519_selectors = [\"s1\", \"e2\"]"),
            "4:21: the selector `s1` is listed for rsa and for ed25519",
        ),
        (with("rsa_bits = 1024"), "3:12: an RSA key of 1024 bits is not made"),
        (with("ttl = 0"), "3:7: a TTL of 0 s is less than the 1 s that [provider.main] can do"),
        (with("provider = \"mian\""), "3:12: no [provider.mian] is configured; did you mean `main`?\nwrite \"main\""),
        (with("signer = \"other\""), "3:10: no [signer.other] is configured\nadd a [signer.other]"),
        (with("policy.window = \"3d\""), "2:8: the window is 3d, and queued mail needs 6d1h"),
        (with("policy.window = \"3 days\""), "3:17: `3 days` is not a length of time such as 30d"),
        (format!("{domain}{domain}{HOSTS}"), "4:8: the domain `example.com` is listed twice (first in 2)"),
        (format!("{domain}[provider.p]\ntype=\"memory\"\nzones=[]"), "2:8: the domain `example.com` has no signer"),
        (with("[provider.two]\ntype = \"rfc2137\""), "4:8: `rfc2137` is no type of provider; did you mean `rfc2136`?"),
        (with("[provider.two]\ntype = \"memory\"\ntoken = \"hunter2\""), "5:9: a literal `token` stands in the file"),
        (with("[provider.two]\ntype = \"memory\"\nserver = \"a\""), "5:10: `server` has no meaning in [provider.two]"),
        (
            with("[provider.two]\ntype = \"rfc2136\"\nserver = \"a\"\nzones = []\nkey_name = \"k\""),
            "3:1: the secret has 0 sources, and exactly one of",
        ),
        (
            with(&format!("rsa_bits = 4096\nprovider = \"ocean\"\n{}", by_crate("digitalocean", 3600))),
            "3:12: the record of an RSA key of 4096 bits has 764 octets, and [provider.ocean] holds texts of 500 at most\n\
             write rsa_bits = 2048, or name another provider",
        ),
        (
            with(&format!("ttl = 300\nprovider = \"desec\"\n{}", by_crate("desec", 3600))),
            "3:7: a TTL of 300 s is less than the 3600 s that [provider.desec] can do\nwrite ttl = 3600 or more",
        ),
        (
            with(&format!("provider = \"ocean\"\n{}", by_crate("digitalocean", 300))),
            "2:8: a TTL of 3600 s is not the 300 s that all records of [provider.ocean] have",
        ),
        ("[defaults]\nname = \"x\"".into(), "2:8: `name` has no meaning in [defaults]"),
        ("[signer.mail]\noutbox = \"o\"".into(), "1:1: `receipts` is missing in [signer.mail]"),
        ("[observe]\nnameservers = [\"ns1\"]".into(), "2:16: `ns1` is no address"),
        ("[secrets]\nrecipients = [\"AGE-SECRET-KEY-1X\"]".into(), "2:15: that is an age identity, the secret half"),
        ("state = ".into(), "1:9: "),
    ] {
        let seen = refusal(&text);
        assert!(seen.starts_with(said), "{text}\nwanted: {said}\n   saw: {seen}");
        assert!(!seen.contains("hunter2"), "a secret was repeated: {seen}");
    }
}

#[test]
fn a_fleet_shares_what_is_configured() {
    let dir = tempfile::tempdir().unwrap();
    let mut list = String::from("# customers\nname,provider,signer,ttl\n");
    for n in 0..100_000 {
        let ttl = if n % 2 == 0 { "" } else { ",,,300" };
        writeln!(list, "d{n}.example.com{ttl}").unwrap();
    }
    std::fs::write(dir.path().join("fleet.csv"), &list).unwrap();
    let text = format!("domains_file = \"fleet.csv\"\n{HOSTS}");
    let begun = std::time::Instant::now();
    let config = Config::parse(&dir.path().join("dkimctl.toml"), &text).unwrap();
    assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
    assert_eq!(config.domains.len(), 100_000);
    assert_eq!(config.domains.profiles(), 2);
    let ttl = |name: &str| config.settings(&name.parse().unwrap()).unwrap().ttl;
    assert_eq!((ttl("d2.example.com"), ttl("d3.example.com")), (3600, 300));
}

#[test]
fn mistakes_in_a_domains_file_name_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let said = |list: &str| {
        std::fs::write(dir.path().join("list"), list).unwrap();
        let text = format!("domains_file = \"list\"\n{HOSTS}");
        let error = Config::parse(&dir.path().join("dkimctl.toml"), &text).err().unwrap().to_string();
        error.replace(&format!("{}/", dir.path().display()), "")
    };
    assert!(
        said("a.example\nb.example\n a.example\n")
            .starts_with("list:3:2: the domain `a.example` is listed twice (first in list:1)")
    );
    assert!(said("a.example\nb..example\n").starts_with("list:2:1: "));
    assert!(said("a.example,mian\n").starts_with("list:1:11: no [provider.mian] is configured; did you mean `main`?"));
    assert!(said("name,tll\n").starts_with("list:1:6: `tll` is no column; did you mean `ttl`?"));
    assert!(said("name,ttl\na.example,soon").starts_with("list:2:11: `soon` is no TTL"));
}

#[test]
fn a_secret_file_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tsig");
    std::fs::write(&path, "c2VjcmV0\n").unwrap();
    for (mode, accepted) in [(0o644, false), (0o600, true)] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let read = providers::SecretSource::File(path.clone()).read();
        assert_eq!(read.is_ok(), accepted, "mode {mode:o}");
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,200}") {
        let _ = read(&text);
    }

    #[test]
    fn no_mutation_panics(at in 0usize..400, with in "\\PC{0,6}") {
        let mut text = format!("[[domain]]\nname = \"bücher.example\"\nselectors = [\"s{{n}}\"]\npolicy = {{ lab = true }}\n{HOSTS}");
        let mut at = at.min(text.len());
        while !text.is_char_boundary(at) { at -= 1; }
        text.insert_str(at, &with);
        let _ = read(&text).map_err(|error| error.to_string());
    }

    #[test]
    fn no_domains_file_panics(list in "(\\PC{0,40}\n){0,5}") {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("list"), &list).unwrap();
        let _ = Config::parse(&dir.path().join("dkimctl.toml"), &format!("domains_file = \"list\"\n{HOSTS}"));
    }
}

#[test]
fn every_host_is_read_and_keeps_the_keys_of_others_out() {
    let with = |host: &str| {
        let signer = &HOSTS[HOSTS.find("[signer").unwrap()..];
        format!("[[domain]]\nname = \"example.com\"\n[provider.dns]\n{host}\n{signer}")
    };
    for (host, code) in [
        ("type = \"cloudflare\"\nsecret_file = \"token\"\nbatch = 100\ncomment = \"\"", "cloudflare"),
        ("type = \"powerdns\"\nurl = \"http://127.0.0.1:8081\"\nsecret_env = \"PDNS\"", "powerdns"),
        ("type = \"route53\"\nprofile = \"mail\"\nzone_ids = [\"Z1\"]", "route53"),
        ("type = \"manual\"\nzones = [\"example.com\"]\nnameservers = [\"ns1\"]\npatience = \"15m\"", "manual"),
    ] {
        let config = read(&with(host)).unwrap();
        let provider = config.providers.values().next().unwrap();
        assert_eq!(provider.descriptor().code, code);
    }
    assert!(refusal(&with("type = \"powerdns\"\nsecret_env = \"PDNS\"")).contains("`url`"));
    assert!(refusal(&with("type = \"route53\"\nsecret_file = \"x\"")).contains("secret_file"));
    assert!(refusal(&with("type = \"cloudflare\"\ntoken = \"canary\"")).lines().all(|line| !line.contains("canary")));
}
