//! Dovecot: mailboxes over IMAP, and logins for a Postfix of ours. An instance of its own; it needs root.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::{find, free_port};

/// A certificate for 127.0.0.1 and localhost, and the authority that signed it.
#[derive(Debug, Clone)]
pub struct Certificate {
    pub authority: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Certificate {
    /// Made by the system's openssl, in `directory`.
    pub fn make(directory: &Path) -> Certificate {
        let path = |name: &str| directory.join(name);
        let openssl = |arguments: &str| {
            let output = Command::new("openssl").args(arguments.split(' ')).current_dir(directory).output().unwrap();
            assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
        };
        let new_key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        openssl(&format!("req -x509 {new_key} -keyout ca.key -out ca.pem -days 2 -subj /CN=authority"));
        openssl(&format!("req -new {new_key} -keyout server.key -out server.csr -subj /CN=localhost"));
        fs::write(path("extensions"), "subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
            .unwrap();
        openssl(
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out server.pem",
        );
        Certificate { authority: path("ca.pem"), certificate: path("server.pem"), key: path("server.key") }
    }
}

/// A running Dovecot.
pub struct Dovecot {
    master: Child,
    directory: PathBuf,
    /// IMAP with STARTTLS.
    pub starttls: SocketAddr,
    /// IMAP over TLS.
    pub implicit: SocketAddr,
}

impl Dovecot {
    pub const PROGRAM: &'static str = "dovecot";

    /// Starts in `directory`, which other users must be able to reach, with these users and passwords.
    pub fn start(directory: &Path, certificate: &Certificate, users: &[(&str, &str)]) -> Dovecot {
        let (starttls, implicit) = (free_port(), free_port());
        let passwd: String = users.iter().map(|(user, password)| format!("{user}:{{PLAIN}}{password}\n")).collect();
        fs::write(directory.join("passwd"), passwd).unwrap();
        fs::create_dir_all(directory.join("mail")).unwrap();
        chown(directory.join("mail"), Some(super::postfix::uid_of("nobody")), None).unwrap();
        fs::write(directory.join("dovecot.conf"), conf(directory, certificate, starttls, implicit)).unwrap();
        let log = fs::File::create(directory.join("errors")).unwrap();
        let master = Command::new(find(Self::PROGRAM).expect("call servers_or_skip first"))
            .args(["-F", "-c"])
            .arg(directory.join("dovecot.conf"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let directory = directory.to_owned();
        let mut started = Dovecot { master, directory, starttls: address(starttls), implicit: address(implicit) };
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(started.starttls).is_err() || !started.login_socket().exists() {
            assert!(matches!(started.master.try_wait(), Ok(None)), "Dovecot ended:\n{}", started.log());
            assert!(Instant::now() < deadline, "Dovecot did not start:\n{}", started.log());
            thread::sleep(Duration::from_millis(20));
        }
        started
    }

    /// Where a Postfix asks whether a password is right.
    pub fn login_socket(&self) -> PathBuf {
        self.directory.join("run/auth-postfix")
    }

    pub fn log(&self) -> String {
        let read = |name: &str| fs::read_to_string(self.directory.join(name)).unwrap_or_default();
        read("errors") + &read("log")
    }

    /// Puts a message into a folder, as a delivery would.
    pub fn deliver(&self, user: &str, folder: &str, message: &[u8]) {
        deliver(&self.directory, user, folder, message);
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

/// Into the Maildir++ of a user: first `tmp`, then `new`.
pub fn deliver(directory: &Path, user: &str, folder: &str, message: &[u8]) {
    let nobody = Some(super::postfix::uid_of("nobody"));
    let mut maildir = directory.join("mail").join(user);
    let mut made = vec![maildir.clone()];
    if folder != "INBOX" {
        maildir = maildir.join(format!(".{folder}"));
        made.push(maildir.clone());
    }
    made.extend(["tmp", "new", "cur"].map(|below| maildir.join(below)));
    for path in &made {
        fs::create_dir_all(path).unwrap();
        chown(path, nobody, None).unwrap();
    }
    let name = super::nonce();
    let (partial, whole) = (maildir.join("tmp").join(&name), maildir.join("new").join(&name));
    fs::write(&partial, message).unwrap();
    fs::set_permissions(&partial, fs::Permissions::from_mode(0o600)).unwrap();
    chown(&partial, nobody, None).unwrap();
    fs::rename(partial, whole).unwrap();
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.master.id().to_string()).stderr(Stdio::null()).status();
        let _ = self.master.wait();
    }
}

fn conf(directory: &Path, certificate: &Certificate, starttls: u16, implicit: u16) -> String {
    let base = directory.display();
    let Certificate { certificate, key, .. } = certificate;
    format!(
        "base_dir = {base}/run\n\
         log_path = {base}/log\n\
         protocols = imap\n\
         listen = 127.0.0.1\n\
         ssl = required\n\
         ssl_cert = <{}\n\
         ssl_key = <{}\n\
         disable_plaintext_auth = yes\n\
         auth_mechanisms = plain login\n\
         auth_failure_delay = 0\n\
         mail_location = maildir:{base}/mail/%u\n\
         first_valid_uid = 1\n\
         passdb {{\n driver = passwd-file\n args = {base}/passwd\n}}\n\
         userdb {{\n driver = static\n args = uid=nobody gid=nogroup home={base}/mail/%u\n}}\n\
         namespace inbox {{\n inbox = yes\n separator = .\n mailbox Junk {{\n  special_use = \\Junk\n  auto = create\n }}\n}}\n\
         service imap-login {{\n chroot =\n inet_listener imap {{\n  port = {starttls}\n }}\n inet_listener imaps {{\n  port = {implicit}\n  ssl = yes\n }}\n}}\n\
         service auth {{\n unix_listener auth-postfix {{\n  mode = 0666\n }}\n}}\n",
        certificate.display(),
        key.display(),
    )
}
