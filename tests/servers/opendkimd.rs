//! A real OpenDKIM of its own: configuration, tables and keys in a directory that RequireSafeKeys accepts.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use dkimctl::signers::milter::{Client, Socket};
use dkimctl::signers::opendkim::reload::Reload;
use dkimctl::signers::opendkim::{OpenDkim, Settings};

/// The daemon and its directory; both end with the value.
pub struct OpenDkimd {
    pub dir: PathBuf,
    pub socket: Socket,
    child: Option<Child>,
    own_accounts: bool,
}

/// What a test may want otherwise.
pub struct Options {
    pub unix_socket: bool,
    pub internal_hosts: &'static str,
    pub key_table: String,
    pub signing_table: String,
    /// More lines for opendkim.conf.
    pub extra: &'static str,
    /// The texts of /etc/passwd and /etc/group as the daemon sees them, in a mount namespace of its own.
    pub accounts: Option<(String, String)>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            unix_socket: false,
            internal_hosts: "127.0.0.1",
            key_table: String::new(),
            signing_table: String::new(),
            extra: "",
            accounts: None,
        }
    }
}

/// Whether OpenDKIM can be started here. If not, says so; with DKIMCTL_NO_SKIP=1 that is a failure.
pub fn available(test: &str) -> bool {
    let why = if !nix::unistd::geteuid().is_root() {
        "this needs root, to give keys to other users"
    } else if program().is_none() {
        "opendkim is not installed"
    } else if nix::unistd::User::from_name("opendkim").ok().flatten().is_none() {
        "there is no user opendkim"
    } else {
        return true;
    };
    assert!(std::env::var_os("DKIMCTL_NO_SKIP").is_none(), "{test}: {why}, and DKIMCTL_NO_SKIP forbids to skip it");
    // Past the harness, which shows no output of a test that passes.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {test} ({why})");
    false
}

/// Whether a daemon can be given accounts of its own here; as [`available`].
pub fn available_with_accounts(test: &str) -> bool {
    if !available(test) {
        return false;
    }
    let namespace = Command::new("unshare").args(["--mount", "true"]).stderr(Stdio::null()).status();
    if namespace.is_ok_and(|status| status.success()) {
        return true;
    }
    let why = "mount namespaces are not allowed here";
    assert!(std::env::var_os("DKIMCTL_NO_SKIP").is_none(), "{test}: {why}, and DKIMCTL_NO_SKIP forbids to skip it");
    let _ = writeln!(std::io::stderr(), "SKIPPED: {test} ({why})");
    false
}

impl OpenDkimd {
    pub fn start(options: &Options) -> OpenDkimd {
        let dir = directory();
        let socket = match options.unix_socket {
            true => Socket::Local(dir.join("run/opendkim.sock")),
            false => Socket::Inet { host: "127.0.0.1".into(), port: free_port() },
        };
        for below in ["run", "keys", "tables"] {
            fs::create_dir(dir.join(below)).unwrap();
        }
        let mut daemon = OpenDkimd { dir, socket, child: None, own_accounts: options.accounts.is_some() };
        daemon.give(&daemon.dir.join("run"), 0o755);
        daemon.give(&daemon.keys(), 0o700);
        fs::write(daemon.key_table(), &options.key_table).unwrap();
        fs::write(daemon.signing_table(), &options.signing_table).unwrap();
        let conf = format!(
            "Socket {}\nUserID opendkim\nMode s\nKeyTable file:{}\nSigningTable refile:{}\nInternalHosts {}\n\
             Canonicalization relaxed/simple\nSyslog no\nLogWhy yes\nBackground no\n{}\n",
            daemon.socket,
            daemon.key_table().display(),
            daemon.signing_table().display(),
            options.internal_hosts,
            options.extra,
        );
        fs::write(daemon.conf(), conf).unwrap();
        if let Some((passwd, group)) = &options.accounts {
            fs::write(daemon.dir.join("passwd"), passwd).unwrap();
            fs::write(daemon.dir.join("group"), group).unwrap();
        }
        daemon.run();
        daemon
    }

    /// Starts the daemon again after [`OpenDkimd::stop`].
    pub fn run(&mut self) {
        const WITH_OWN_ACCOUNTS: &str = "mount --bind \"$0/passwd\" /etc/passwd && \
                                         mount --bind \"$0/group\" /etc/group && exec \"$@\"";
        let mut command = match self.own_accounts {
            true => Command::new("unshare"),
            false => Command::new(program().unwrap()),
        };
        if self.own_accounts {
            command.args(["--mount", "sh", "-c", WITH_OWN_ACCOUNTS]).arg(&self.dir).arg(program().unwrap());
        }
        let child = command
            .args(["-f", "-x"])
            .arg(self.conf())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.child = Some(child);
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.listens() {
            assert!(Instant::now() < deadline, "opendkim does not listen on {}", self.socket);
            assert!(self.child.as_mut().unwrap().try_wait().unwrap().is_none(), "opendkim ended at once");
            thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    #[allow(dead_code)] // for tests that signal it by hand
    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    pub fn conf(&self) -> PathBuf {
        self.dir.join("opendkim.conf")
    }

    pub fn keys(&self) -> PathBuf {
        self.dir.join("keys")
    }

    pub fn key_table(&self) -> PathBuf {
        self.dir.join("tables/KeyTable")
    }

    pub fn signing_table(&self) -> PathBuf {
        self.dir.join("tables/SigningTable")
    }

    /// The signer as the program sees it.
    pub fn signer(&self) -> OpenDkim {
        self.signer_seen_from("127.0.0.1")
    }

    /// The signer, asked to sign mail from another client.
    pub fn signer_seen_from(&self, client: &str) -> OpenDkim {
        OpenDkim::open(Settings {
            conf: self.conf(),
            reload: Reload::Signal,
            socket: None,
            client: Client { address: client.parse().unwrap(), ..Client::default() },
            root: "/".into(),
            container: None,
        })
        .unwrap()
    }

    /// Writes a key as the daemon accepts it.
    pub fn write_key(&self, name: &str, pem: &str) -> PathBuf {
        let path = self.keys().join(name);
        fs::write(&path, pem).unwrap();
        self.give(&path, 0o600);
        path
    }

    /// Gives a path to the daemon's user.
    pub fn give(&self, path: &Path, mode: u32) {
        let user = nix::unistd::User::from_name("opendkim").unwrap().unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
    }

    fn listens(&self) -> bool {
        match &self.socket {
            Socket::Inet { host, port } => std::net::TcpStream::connect((host.as_str(), *port)).is_ok(),
            Socket::Local(path) => std::os::unix::net::UnixStream::connect(path).is_ok(),
        }
    }
}

impl Drop for OpenDkimd {
    fn drop(&mut self) {
        self.stop();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A new directory whose parents belong to root and are writable by nobody else: below /tmp OpenDKIM opens no key.
fn directory() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let dir = PathBuf::from(format!("/var/lib/dkimctl-test-{}-{number}", std::process::id()));
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

/// A port that nobody listens on now.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn program() -> Option<&'static str> {
    ["/usr/sbin/opendkim", "/usr/bin/opendkim", "/usr/local/sbin/opendkim"]
        .into_iter()
        .find(|path| Path::new(path).exists())
}
