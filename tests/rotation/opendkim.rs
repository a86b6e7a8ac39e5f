//! OpenDKIM by KeyTable and SigningTable, on a port of its own.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::rig::ZONE;
use crate::servers::free_port;
use crate::servers::postfix::uid_of;

/// A running opendkim.
pub struct OpenDkim {
    child: Child,
    port: u16,
    directory: PathBuf,
    uid: u32,
}

impl OpenDkim {
    pub const PROGRAM: &'static str = "opendkim";

    /// Starts as `user`, to whom the directory then belongs: who may change what is signed with is who signs. The
    /// tables are empty.
    pub fn start(directory: &Path, user: &str) -> OpenDkim {
        let uid = uid_of(user);
        let port = free_port();
        let base = directory.display();
        let conf = format!(
            "Mode s\nSocket inet:{port}@127.0.0.1\nUserID {user}\nPidFile {base}/opendkim.pid\nBackground no\n\
             Canonicalization relaxed/simple\nInternalHosts 127.0.0.1\nRequireSafeKeys yes\nSyslog yes\nLogWhy yes\n\
             KeyTable file:{base}/KeyTable\nSigningTable refile:{base}/SigningTable\n"
        );
        fs::write(directory.join("opendkim.conf"), conf).unwrap();
        chown(directory, Some(uid), None).unwrap();
        for table in ["KeyTable", "SigningTable"] {
            fs::write(directory.join(table), "").unwrap();
            chown(directory.join(table), Some(uid), None).unwrap();
        }
        let mut child = Command::new(Self::PROGRAM)
            .args(["-f", "-x"])
            .arg(directory.join("opendkim.conf"))
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(matches!(child.try_wait(), Ok(None)), "opendkim ended");
            assert!(Instant::now() < deadline, "opendkim did not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        OpenDkim { child, port, directory: directory.to_owned(), uid }
    }

    /// As Postfix writes it.
    pub fn milter(&self) -> String {
        format!("inet:127.0.0.1:{}", self.port)
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// By hand: a key that may be used from now on.
    pub fn add_key(&self, selector: &str, private: &Path) {
        chown(private, Some(self.uid), None).unwrap();
        fs::set_permissions(private, fs::Permissions::from_mode(0o600)).unwrap();
        let table = self.directory.join("KeyTable");
        let rows = fs::read_to_string(&table).unwrap();
        self.put("KeyTable", &format!("{rows}{selector} {ZONE}:{selector}:{}\n", private.display()));
    }

    /// By hand: sign with this selector from the next connection on.
    pub fn sign_with(&self, selector: &str) {
        self.put("SigningTable", &format!("*@{ZONE} {selector}\n"));
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-USR1", &pid]).status().unwrap().success());
    }

    /// A table is never seen half written.
    fn put(&self, table: &str, text: &str) {
        let new = self.directory.join(format!("{table}.new"));
        fs::write(&new, text).unwrap();
        chown(&new, Some(self.uid), None).unwrap();
        fs::rename(&new, self.directory.join(table)).unwrap();
    }
}

impl Drop for OpenDkim {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
