//! What `safekeys` says against what OpenDKIM does, case by case: a key is opened, or mail is answered with 451.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::PathBuf;

use dkimctl::doctor;
use dkimctl::doctor::finding::{Findings, Outcome};
use dkimctl::doctor::inside::Inside;
use dkimctl::signers::Signer;
use dkimctl::signers::milter::Answer;
use dkimctl::signers::safekeys::{self, Accounts};
use dkimctl_state::name::SigningDomain;

use crate::keys::keys;
use crate::servers::opendkimd::{OpenDkimd, Options, available_with_accounts};

/// A key file and the directory it lies in. Owners and groups are names of the accounts below.
#[derive(Clone, Copy)]
struct Case {
    what: &'static str,
    dir: (u32, &'static str, &'static str),
    file: (u32, &'static str, &'static str),
    link: Link,
}

#[derive(Clone, Copy, PartialEq)]
enum Link {
    No,
    /// The table names a symbolic link to the key.
    File,
    /// The link lies below a directory that everybody may write to; where it points is safe.
    FromOpenDirectory,
    /// There is no key.
    Missing,
    /// A directory stands where the key should.
    Directory,
}

/// Groups of every kind that matters, beside the accounts of this machine.
const GROUPS: &str = "dkimshared:x:40001:opendkim,nobody\ndkimonly:x:40002:opendkim\ndkimprimary:x:40003:opendkim\n\
                      dkimroot:x:40004:opendkim,root\ndkimempty:x:40005:\ndkimghost:x:40006:opendkim,nobody-by-this-name\n\
                      dkimother:x:40007:nobody\n";
const USERS: &str = "dkimtwin:x:40009:40003::/nonexistent:/usr/sbin/nologin\n";

const OWN: (u32, &str, &str) = (0o700, "opendkim", "opendkim");
const KEY: (u32, &str, &str) = (0o600, "opendkim", "opendkim");

fn cases() -> Vec<Case> {
    let plain = Case { what: "plain", dir: OWN, file: KEY, link: Link::No };
    let mut cases = vec![plain];
    for file in [
        (0o400, "opendkim", "opendkim"),
        (0o440, "opendkim", "opendkim"),
        (0o640, "opendkim", "opendkim"),
        (0o660, "opendkim", "opendkim"),
        (0o604, "opendkim", "opendkim"),
        (0o602, "opendkim", "opendkim"),
        (0o601, "opendkim", "opendkim"),
        (0o610, "opendkim", "dkimshared"),
        (0o644, "opendkim", "opendkim"),
        (0o444, "opendkim", "opendkim"),
        (0o000, "opendkim", "opendkim"),
        (0o200, "opendkim", "opendkim"),
        (0o040, "opendkim", "opendkim"),
        (0o600, "root", "root"),
        (0o440, "root", "opendkim"),
        (0o640, "root", "opendkim"),
        (0o640, "root", "root"),
        (0o444, "root", "root"),
        (0o600, "nobody", "nogroup"),
        (0o640, "nobody", "opendkim"),
        (0o644, "nobody", "nogroup"),
        (0o640, "opendkim", "dkimshared"),
        (0o620, "opendkim", "dkimshared"),
        (0o640, "opendkim", "dkimonly"),
        (0o640, "opendkim", "dkimprimary"),
        (0o640, "opendkim", "dkimroot"),
        (0o640, "opendkim", "dkimempty"),
        (0o640, "opendkim", "dkimghost"),
        (0o640, "opendkim", "dkimother"),
        (0o640, "root", "dkimonly"),
        (0o640, "root", "dkimshared"),
        (0o640, "opendkim", "root"),
        (0o640, "opendkim", "nogroup"),
    ] {
        cases.push(Case { what: "file", file, ..plain });
    }
    for dir in [
        (0o755, "opendkim", "opendkim"),
        (0o500, "opendkim", "opendkim"),
        (0o777, "opendkim", "opendkim"),
        (0o1777, "root", "root"),
        (0o702, "opendkim", "opendkim"),
        (0o770, "opendkim", "opendkim"),
        (0o770, "opendkim", "dkimshared"),
        (0o750, "opendkim", "dkimshared"),
        (0o770, "opendkim", "dkimonly"),
        (0o775, "opendkim", "dkimother"),
        (0o775, "opendkim", "dkimempty"),
        (0o775, "opendkim", "root"),
        (0o755, "root", "root"),
        (0o750, "root", "opendkim"),
        (0o700, "root", "root"),
        (0o750, "root", "root"),
        (0o600, "opendkim", "opendkim"),
        (0o755, "nobody", "nogroup"),
        (0o555, "nobody", "nogroup"),
        (0o750, "nobody", "opendkim"),
        (0o550, "nobody", "opendkim"),
    ] {
        cases.push(Case { what: "directory", dir, ..plain });
    }
    for link in [Link::File, Link::FromOpenDirectory, Link::Missing, Link::Directory] {
        cases.push(Case { what: "link", link, ..plain });
    }
    cases.push(Case { what: "link to an open file", file: (0o644, "opendkim", "opendkim"), link: Link::File, ..plain });
    cases.push(Case { what: "0444 in a 0700 directory", file: (0o444, "root", "root"), ..plain });
    cases
}

#[test]
fn the_verdict_is_what_opendkim_does() {
    if !available_with_accounts("the_verdict_is_what_opendkim_does") {
        return;
    }
    let read = |path: &str| fs::read_to_string(path).unwrap();
    let (passwd, group) = (read("/etc/passwd") + USERS, read("/etc/group") + GROUPS);
    let accounts = Accounts::parse(&passwd, &group);
    let identity = accounts.identity("opendkim", None, "/".as_ref()).unwrap();
    let mut daemon =
        OpenDkimd::start(&Options { accounts: Some((passwd.clone(), group.clone())), ..Options::default() });

    let cases = cases();
    assert!(cases.len() >= 50);
    let (mut key_table, mut signing_table) = (String::new(), String::new());
    let mut paths: Vec<PathBuf> = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let path = create(&daemon, number, case, &passwd, &group);
        key_table.push_str(&format!("k{number} case{number}.example:s1:{}\n", path.display()));
        signing_table.push_str(&format!("*@case{number}.example k{number}\n"));
        paths.push(path);
    }
    daemon.stop();
    fs::write(daemon.key_table(), key_table).unwrap();
    fs::write(daemon.signing_table(), signing_table).unwrap();
    daemon.run();

    let signer = daemon.signer();
    let (mut wrong, mut opened, mut signed) = (Vec::new(), 0, Vec::new());
    for (number, (case, path)) in cases.iter().zip(&paths).enumerate() {
        let domain: SigningDomain = format!("case{number}.example").parse().unwrap();
        let answer = signer.probe(&domain).answer;
        let signs = match &answer {
            Answer::Passed(headers) => headers.iter().any(|header| header.name == "DKIM-Signature"),
            _ => false,
        };
        opened += usize::from(signs);
        signed.push(signs);
        let verdict = safekeys::accepts(path, &identity, &accounts);
        if verdict.is_ok() != signs {
            let show = |(mode, owner, group): (u32, &str, &str)| format!("{mode:04o} {owner}:{group}");
            let (dir, file) = (show(case.dir), show(case.file));
            wrong.push(format!("{} dir {dir} file {file}: opendkim {answer:?}, we {verdict:?}", case.what));
        }
    }
    println!("{} cases: opendkim opened {opened} keys and refused {}", cases.len(), cases.len() - opened);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(opened >= 10 && cases.len() - opened >= 10, "both answers are seen");

    // The doctor, who looks in from outside as into a container, comes to the same verdicts (KEY003).
    let inside = Inside {
        exec: ["nsenter", "-m", "-t", &daemon.pid().to_string()].map(String::from).to_vec(),
        ..Inside::here()
    };
    let facts = doctor::signer::look(&inside, &doctor::signer::Named::OpenDkim(daemon.conf())).unwrap();
    assert!(facts.running && facts.identity.uid == identity.uid, "{:?}", facts.identity);
    let mut findings = Findings::default();
    doctor::safekeys::judge(&facts, Some("mail"), &mut findings);
    let mut wrong = Vec::new();
    for ((case, path), signs) in cases.iter().zip(&paths).zip(&signed) {
        let about = path.display().to_string();
        let finding = findings.iter().find(|finding| finding.about == about).unwrap();
        let wanted = if *signs { Outcome::Ok } else { Outcome::Fail };
        if (finding.id, finding.result) != ("KEY003", wanted) {
            wrong.push(format!("{} {about}: signs {signs}, the doctor says {}", case.what, finding.evidence));
        }
        assert!(*signs || finding.fix.contains("docker exec mail "), "{}", finding.fix);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn create(daemon: &OpenDkimd, number: usize, case: &Case, passwd: &str, group: &str) -> PathBuf {
    let base = daemon.dir.join(format!("case{number}"));
    fs::create_dir(&base).unwrap();
    fs::set_permissions(&base, fs::Permissions::from_mode(0o755)).unwrap();
    let (dir, open) = (base.join("keys"), base.join("open"));
    fs::create_dir(&dir).unwrap();
    let path = dir.join("key.pem");
    match case.link {
        Link::Missing => {}
        Link::Directory => fs::create_dir(&path).unwrap(),
        _ => fs::write(&path, &keys()[0].pem).unwrap(),
    }
    let own = |path: &PathBuf, (mode, owner, of): (u32, &str, &str)| {
        chown(path, Some(id(passwd, owner)), Some(id(group, of))).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    if case.link != Link::Missing {
        own(&path, case.file);
    }
    own(&dir, case.dir);
    match case.link {
        Link::File => {
            symlink(&path, base.join("link.pem")).unwrap();
            base.join("link.pem")
        }
        Link::FromOpenDirectory => {
            fs::create_dir(&open).unwrap();
            own(&open, (0o777, "root", "root"));
            symlink(&path, open.join("link.pem")).unwrap();
            open.join("link.pem")
        }
        _ => path,
    }
}

/// The third field of the line of this name.
fn id(file: &str, name: &str) -> u32 {
    let line = file.lines().find(|line| line.split(':').next() == Some(name)).unwrap();
    line.split(':').nth(2).unwrap().parse().unwrap()
}
