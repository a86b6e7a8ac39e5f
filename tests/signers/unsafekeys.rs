//! What KEY003 says of rspamd's keys against what rspamd does: it looks at no owner and no mode, and what it cannot read
//! it does not mention.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};

use dkimctl::doctor::finding::{Finding, Findings, Outcome};
use dkimctl::doctor::inside::Inside;
use dkimctl::doctor::{rspamd::Conf, safekeys, signer};
use dkimctl::signers::Signer as _;
use dkimctl::signers::milter::{Answer, Socket};
use dkimctl_state::name::SigningDomain;
use nix::unistd::{Group, User};

use crate::keys::keys;
use crate::servers::rspamdd::{Rspamdd, available};

type Access = (u32, &'static str, &'static str);

const KEY: Access = (0o400, "_rspamd", "_rspamd");
const DIR: Access = (0o700, "_rspamd", "_rspamd");

/// The directory and the key in it.
fn cases() -> Vec<(Access, Access)> {
    let files = [
        KEY,
        (0o600, "_rspamd", "_rspamd"),
        (0o440, "_rspamd", "_rspamd"),
        (0o644, "_rspamd", "_rspamd"),
        (0o444, "root", "root"),
        (0o640, "root", "_rspamd"),
        (0o644, "nobody", "nogroup"),
        (0o640, "nobody", "_rspamd"),
        (0o600, "root", "root"),
        (0o640, "root", "root"),
        (0o600, "nobody", "nogroup"),
        (0o000, "_rspamd", "_rspamd"),
        (0o200, "_rspamd", "_rspamd"),
        (0o040, "_rspamd", "_rspamd"),
    ];
    let dirs = [
        (0o777, "_rspamd", "_rspamd"),
        (0o755, "root", "root"),
        (0o750, "root", "_rspamd"),
        (0o755, "nobody", "nogroup"),
        (0o700, "root", "root"),
        (0o750, "root", "root"),
        (0o600, "_rspamd", "_rspamd"),
    ];
    files.into_iter().map(|file| (DIR, file)).chain(dirs.into_iter().map(|dir| (dir, KEY))).collect()
}

#[test]
fn the_doctor_says_of_rspamd_what_rspamd_does() {
    if !available("the_doctor_says_of_rspamd_what_rspamd_does") {
        return;
    }
    let mut daemon = Rspamdd::start();
    let mut paths: Vec<PathBuf> = Vec::new();
    for (number, (dir, file)) in cases().iter().enumerate() {
        let path = place(&daemon, number);
        fs::write(&path, &keys()[0].pem).unwrap();
        own(&path, *file);
        own(path.parent().unwrap(), *dir);
        paths.push(path);
    }
    // No file, a directory, and a link to a key.
    let odd = place(&daemon, paths.len());
    fs::create_dir(&odd).unwrap();
    let link = place(&daemon, paths.len() + 1);
    symlink(&paths[0], &link).unwrap();
    let missing = place(&daemon, paths.len() + 2);
    own(missing.parent().unwrap(), DIR);
    paths.extend([odd, link, missing]);

    daemon.stop();
    let rows = |row: &dyn Fn(usize, &Path) -> String| -> String {
        paths.iter().enumerate().map(|(number, path)| row(number, path)).collect()
    };
    let key_table = rows(&|number, path| format!("k{number:02} case{number}.example:s1:{}\n", path.display()));
    fs::write(daemon.key_table(), key_table).unwrap();
    fs::write(daemon.signing_table(), rows(&|number, _| format!("*@case{number}.example k{number:02}\n"))).unwrap();
    daemon.run();

    // As into a container: by commands.
    let inside = Inside { exec: vec!["env".to_owned()], ..Inside::here() };
    let named = signer::Named::KnownRspamd(Conf {
        tables: Some((daemon.key_table(), daemon.signing_table())),
        socket: Ok(Socket::Inet { host: "127.0.0.1".into(), port: daemon.port }),
        user: "_rspamd".into(),
        headers: None,
    });
    let facts = signer::look(&inside, &named).unwrap();
    assert!(facts.running && facts.identity.name == "_rspamd", "{:?}", facts.identity);
    let mut findings = Findings::default();
    safekeys::judge(&facts, Some("mail"), &mut findings);
    let of = |path: &Path| -> &Finding {
        let about = path.display().to_string();
        findings.iter().find(|finding| finding.about == about && finding.id == "KEY003").unwrap()
    };

    let signer = daemon.signer();
    let (mut wrong, mut signed, mut warned) = (Vec::new(), 0, 0);
    for (number, path) in paths.iter().enumerate() {
        let domain: SigningDomain = format!("case{number}.example").parse().unwrap();
        let answer = signer.probe(&domain).answer;
        let signs = match &answer {
            Answer::Passed(headers) => headers.iter().any(|header| header.name == "DKIM-Signature"),
            _ => false,
        };
        let finding = of(path);
        signed += usize::from(signs);
        warned += usize::from(finding.result == Outcome::Warn);
        if (finding.result == Outcome::Fail) == signs {
            wrong.push(format!("{}: {answer:?}, and the doctor says {}", path.display(), finding.evidence));
        }
        let why = if signs { "signs with it all the same" } else { "leaves unsigned" };
        assert!(finding.result == Outcome::Ok || finding.evidence.contains(why), "{}", finding.evidence);
    }
    println!("{} keys: rspamd signed with {signed}, of which others can read {warned}", paths.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(signed >= 8 && paths.len() - signed >= 8 && warned >= 4, "every answer is seen: {signed} {warned}");
}

fn place(daemon: &Rspamdd, number: usize) -> PathBuf {
    let base = daemon.dir.join(format!("case{number}"));
    fs::create_dir(&base).unwrap();
    own(&base, (0o755, "root", "root"));
    let dir = base.join("keys");
    fs::create_dir(&dir).unwrap();
    own(&dir, DIR);
    dir.join("key.pem")
}

fn own(path: &Path, (mode, owner, group): Access) {
    let uid = User::from_name(owner).unwrap().unwrap().uid.as_raw();
    let gid = Group::from_name(group).unwrap().unwrap().gid.as_raw();
    chown(path, Some(uid), Some(gid)).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
