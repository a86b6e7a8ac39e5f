//! The three parties of a rotation, each as a user of its own: the secure host, the mail host, and CI. They share two
//! directories, the outbox and the receipts, and nothing else.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use dkimctl::sealing::host_identity;
use dkimctl::secrets::signed::SigningKey;
use serde_json::Value;

use crate::rig::{Rig, TTL, ZONE};
use crate::users::User;

/// The waits that a test configures.
pub type Policy = &'static [(&'static str, &'static str)];

/// One who runs the program, in a directory that nobody else may enter.
pub struct Party {
    pub user: User,
    pub home: PathBuf,
    program: PathBuf,
}

impl Party {
    fn new(rig: &Rig, name: &str, user: User) -> Party {
        let home = rig.directory().join(name);
        fs::create_dir(&home).unwrap();
        give(&home, &user, 0o700);
        let program = rig.directory().join("dkimctl");
        if !program.exists() {
            // Where the program was built, other users may not get to.
            fs::copy(env!("CARGO_BIN_EXE_dkimctl"), &program).unwrap();
        }
        Party { user, home, program }
    }

    /// A file of this party's own.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.home.join(name);
        fs::write(&path, text).unwrap();
        give(&path, &self.user, 0o600);
        path
    }

    /// Runs the program, which must succeed, and returns what it printed.
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = self.try_run(arguments);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "dkimctl {arguments:?} as {}: {}\n{out}{err}", self.user.name, output.status);
        out
    }

    pub fn try_run(&self, arguments: &[&str]) -> Output {
        self.command(self.program.to_str().unwrap()).args(arguments).output().unwrap()
    }

    /// Whether this party can read a file, or list a directory.
    pub fn can_read(&self, path: &Path) -> bool {
        self.command("ls").arg(path).output().unwrap().status.success()
            && (path.is_dir() || self.command("cat").arg(path).output().unwrap().status.success())
    }

    pub fn can_write(&self, directory: &Path) -> bool {
        let file = directory.join("written-by-a-test");
        let _ = self.command("touch").arg(&file).output().unwrap();
        fs::remove_file(&file).is_ok()
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin").env("HOME", &self.home);
        command.current_dir(&self.home).uid(self.user.uid).gid(self.user.gid);
        command
    }
}

/// All three, and what they share.
pub struct Parties {
    /// Has the state, the sealed keys and the DNS key. Cannot open what it sealed.
    pub secure: Party,
    /// Has its own identity, and is the signer's own user: who may change what is signed with is who signs.
    pub mail: Party,
    /// Has its own identity, and reads the outbox.
    pub ci: Party,
    pub outbox: PathBuf,
    pub receipts: PathBuf,
}

impl Parties {
    /// Sets the three up as their operators would; nothing is published yet.
    pub fn meet(rig: &Rig, policy: Policy, nameservers: &[SocketAddr]) -> Parties {
        let secure = Party::new(rig, "secure", User::create("dkimctl-secure"));
        let mail = Party::new(rig, "mail", User::existing("opendkim"));
        let ci = Party::new(rig, "ci", User::create("dkimctl-ci"));
        let shared = |name: &str, owner: &Party| {
            let path = rig.directory().join(name);
            fs::create_dir(&path).unwrap();
            give(&path, &owner.user, 0o755);
            path
        };
        let outbox = shared("outbox", &secure);
        let receipts = shared("receipts", &mail);
        let tables = rig.signer.key_table().parent().unwrap().to_owned();
        for path in [&tables, &rig.signer.key_table(), &rig.signer.signing_table()] {
            give(path, &mail.user, if path.is_dir() { 0o755 } else { 0o644 });
        }
        let parties = Parties { secure, mail, ci, outbox, receipts };
        parties.introduce(rig, policy, nameservers);
        parties
    }
}

impl Parties {
    /// Each makes its keys and is told the public halves of the others.
    fn introduce(&self, rig: &Rig, policy: Policy, nameservers: &[SocketAddr]) {
        let Parties { secure, mail, ci, .. } = self;
        let (identity, mail_recipient) = host_identity();
        mail.write("identity", &identity);
        let (identity, ci_recipient) = host_identity();
        ci.write("identity", &identity);
        let state = mail.home.join("state");
        fs::create_dir(&state).unwrap();
        give(&state, &mail.user, 0o700);
        let receipt_key = SigningKey::open_or_create(&state.join("receipt.key")).unwrap();
        give(&state.join("receipt.key"), &mail.user, 0o600);

        secure.write("tsig", &rig.key.secret);
        let server = rig.primary.address.to_string();
        let (mail_recipient, ci_recipient) = (mail_recipient.to_string(), ci_recipient.to_string());
        let mut init =
            vec!["init", "--no-input", "--dir", ".", "--domain", ZONE, "--provider", "rfc2136", "--server", &server];
        init.extend(["--key-name", &rig.key.name, "--secret-file", "tsig"]);
        init.extend(["--recipient", &mail_recipient, "--recipient", &ci_recipient]);
        let said = secure.run(&init);
        let is_key = |word: &&str| word.starts_with("dkimctl-pk-");
        let manifest_key = said.split(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_').find(is_key);
        let manifest_key = manifest_key.unwrap_or_else(|| panic!("init did not show its key:\n{said}"));

        let servers: Vec<String> = nameservers.iter().map(|server| format!("\"{server}\"")).collect();
        let servers = servers.join(", ");
        let policy: String = policy.iter().map(|(name, value)| format!("{name} = \"{value}\"\n")).collect();
        secure.write(
            "dkimctl.toml",
            &format!(
                "[[domain]]\nname = \"{ZONE}\"\nprovider = \"lab\"\nsigner = \"mail\"\nselectors = [\"s1\", \"s2\"]\n\
                 ttl = {TTL}\n\
                 [provider.lab]\ntype = \"rfc2136\"\nserver = \"{server}\"\nzones = [\"{ZONE}\"]\n\
                 key_name = \"{key}\"\nsecret_file = \"tsig\"\n\
                 [signer.mail]\noutbox = {outbox:?}\nreceipts = {receipts:?}\nreceipt_key = \"{receipt_key}\"\n\
                 [secrets]\nrecipients = [\"{mail_recipient}\", \"{ci_recipient}\"]\n\
                 [observe]\nnameservers = [{servers}]\n\
                 [policy]\nlab = true\n{policy}",
                key = rig.key.name,
                outbox = self.outbox,
                receipts = self.receipts,
                receipt_key = receipt_key.verify_key(),
            ),
        );
        mail.write(
            "host.toml",
            &format!(
                "host = \"mail\"\noutbox = {outbox:?}\nreceipts = {receipts:?}\nmanifest_key = \"{manifest_key}\"\n\
                 identity = \"identity\"\nkeys = {keys:?}\nstate = \"state\"\n\
                 [signer]\ntype = \"opendkim\"\nconf = {conf:?}\n\
                 [observe]\nnameservers = [{servers}]\n",
                outbox = self.outbox,
                receipts = self.receipts,
                keys = rig.signer.keys(),
                conf = rig.signer.conf(),
            ),
        );
        ci.write("manifest-key", manifest_key);
    }

    /// The phase of the key that has this selector.
    pub fn phase(&self, selector: &str) -> Option<String> {
        let status = self.secure.run(&["status", "--json", "-v"]);
        let status: Value = serde_json::from_str(&status).unwrap_or_else(|error| panic!("{error}: {status}"));
        let rows = status["rows"].as_array().unwrap_or_else(|| panic!("no rows: {status}"));
        let row = rows.iter().rev().find(|row| row["selector"] == selector)?;
        Some(row["phase"].as_str().unwrap().to_owned())
    }

    /// What cron does on the two hosts, faster, until a key has come to a phase.
    pub fn run_until(&self, selector: &str, phase: &str) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let applied = self.apply();
            self.secure.run(&["receipt", "import"]);
            let said = self.secure.run(&["advance", ZONE]);
            if self.phase(selector).as_deref() == Some(phase) {
                return;
            }
            assert!(Instant::now() < deadline, "{selector} is not {phase}:\n{said}{applied}");
            thread::sleep(Duration::from_millis(300));
        }
    }

    /// The mail host looks for orders, which the first time may not be there yet.
    fn apply(&self) -> String {
        if !self.outbox.join("manifest.signed").exists() {
            return "there are no orders".to_owned();
        }
        /// Something could not be asked: the next run asks again.
        const NOT_CHECKED: i32 = 4;
        let output = self.mail.try_run(&["host", "apply", "--host", "host.toml"]);
        let code = output.status.code();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(matches!(code, Some(0 | NOT_CHECKED)), "host apply: {code:?}\n{said}");
        said
    }
}

/// Makes a path a user's own.
pub fn give(path: &Path, user: &User, mode: u32) {
    chown(path, Some(user.uid), Some(user.gid)).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
