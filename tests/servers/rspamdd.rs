//! A real rspamd of its own: a proxy worker that speaks milter and scans itself, with nothing but dkim_signing loaded.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use dkimctl::signers::milter::{Client, Socket};
use dkimctl::signers::rspamd::{Rspamd, Settings, USER};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// More than one, since each reads the tables for itself.
const WORKERS: usize = 2;

/// The daemon and its directory; both end with the value.
pub struct Rspamdd {
    pub dir: PathBuf,
    pub port: u16,
    child: Option<Child>,
}

/// Whether rspamd can be started here. If not, says so; with DKIMCTL_NO_SKIP=1 that is a failure.
pub fn available(test: &str) -> bool {
    let why = if !nix::unistd::geteuid().is_root() {
        "this needs root, to give keys to other users"
    } else if !Path::new("/usr/bin/rspamd").exists() || user().is_none() {
        "rspamd is not installed"
    } else {
        return true;
    };
    assert!(std::env::var_os("DKIMCTL_NO_SKIP").is_none(), "{test}: {why}, and DKIMCTL_NO_SKIP forbids to skip it");
    let _ = writeln!(std::io::stderr(), "SKIPPED: {test} ({why})");
    false
}

fn user() -> Option<nix::unistd::User> {
    nix::unistd::User::from_name(USER).ok().flatten()
}

impl Rspamdd {
    pub fn start() -> Rspamdd {
        let daemon = Rspamdd { dir: directory(), port: super::opendkimd::free_port(), child: None };
        for below in ["run", "keys", "tables"] {
            fs::create_dir(daemon.dir.join(below)).unwrap();
        }
        daemon.give(&daemon.dir.join("run"), 0o755);
        daemon.give(&daemon.keys(), 0o700);
        fs::write(daemon.key_table(), "").unwrap();
        fs::write(daemon.signing_table(), "").unwrap();
        // The real list takes seconds to compile.
        fs::write(daemon.dir.join("tld"), "com\n").unwrap();
        let Rspamdd { dir, port, .. } = &daemon;
        let dir = dir.display();
        let conf = format!(
            "lua = \"/usr/share/rspamd/rules/rspamd.lua\"\n\
             options {{ pidfile = \"{dir}/run/pid\"; filters = \"dkim\"; url_tld = \"{dir}/tld\"; hs_cache_dir = \"{dir}/run\";\n\
             dns {{ nameserver = [\"127.0.0.1:1\"]; timeout = 0.1s; retransmits = 1; }}\n\
             local_addrs = [127.0.0.0/8]; control_socket = \"{dir}/run/control mode=0600\"; }}\n\
             logging {{ type = \"file\"; filename = \"{dir}/run/log\"; level = \"info\"; }}\n\
             worker \"rspamd_proxy\" {{ bind_socket = \"127.0.0.1:{port}\"; milter = yes; timeout = 10s; count = {WORKERS};\n\
             upstream \"local\" {{ default = yes; self_scan = yes; }} }}\n\
             modules {{ path = \"/usr/share/rspamd/plugins/dkim_signing.lua\"; }}\n\
             dkim_signing {{ enabled = true; sign_local = true;\n\
             key_table = \"{dir}/tables/KeyTable\"; signing_table = \"{dir}/tables/SigningTable\"; }}\n"
        );
        fs::write(daemon.dir.join("rspamd.conf"), conf).unwrap();
        let mut daemon = daemon;
        daemon.run();
        daemon
    }

    /// Starts the daemon again after [`Rspamdd::stop`].
    pub fn run(&mut self) {
        let at = |name: &str| self.dir.join(name).display().to_string();
        let child = Command::new("/usr/bin/rspamd")
            .args(["-f", "-u", USER, "-g", USER, "-c", &at("rspamd.conf")])
            .args(["DBDIR", "RUNDIR", "LOGDIR"].map(|name| format!("--var={name}={}", at("run"))))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.child = Some(child);
        let deadline = Instant::now() + Duration::from_secs(90);
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < deadline, "rspamd does not listen: {}", self.log());
            assert!(self.child.as_mut().unwrap().try_wait().unwrap().is_none(), "rspamd ended at once: {}", self.log());
            thread::sleep(Duration::from_millis(50));
        }
        self.await_workers();
    }

    /// Waits until every worker watches both tables: one that has not begun to would miss a change for good.
    fn await_workers(&self) {
        let deadline = Instant::now() + Duration::from_secs(90);
        let tables = [self.key_table(), self.signing_table()];
        loop {
            let watching =
                self.workers().into_iter().filter(|worker| tables.iter().all(|table| watches(*worker, table)));
            if watching.count() == WORKERS {
                return;
            }
            assert!(Instant::now() < deadline, "not every worker watches the tables: {}", self.log());
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// The main process ends its workers.
    pub fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let _ = kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM);
        let deadline = Instant::now() + Duration::from_secs(10);
        while matches!(child.try_wait(), Ok(None)) {
            if Instant::now() >= deadline {
                let _ = child.kill();
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends one worker as a crash does, and waits until the main process has another in its place.
    pub fn lose_a_worker(&self) {
        let before = self.workers();
        let lost = before.last().copied().expect("rspamd has workers");
        kill(Pid::from_raw(lost), Signal::SIGKILL).unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.workers().contains(&lost) {
            assert!(Instant::now() < deadline, "{lost} does not end: {}", self.log());
            thread::sleep(Duration::from_millis(50));
        }
        self.await_workers();
    }

    /// The proxy workers, by their process ids.
    fn workers(&self) -> Vec<i32> {
        let main = self.child.as_ref().expect("rspamd runs").id();
        let children = fs::read_to_string(format!("/proc/{main}/task/{main}/children")).unwrap();
        let children = children.split_whitespace().map(|pid| pid.parse::<i32>().unwrap());
        children.filter(|pid| title(*pid).contains("rspamd_proxy")).collect()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("run/log")).unwrap_or_default()
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
    pub fn signer(&self) -> Rspamd {
        self.signer_seen_from("127.0.0.1")
    }

    /// The signer, asked to sign mail from another client.
    pub fn signer_seen_from(&self, client: &str) -> Rspamd {
        Rspamd::open(Settings {
            key_table: self.key_table(),
            signing_table: self.signing_table(),
            socket: Socket::Inet { host: "127.0.0.1".into(), port: self.port },
            client: Client { address: client.parse().unwrap(), ..Client::default() },
            user: USER.into(),
            root: "/".into(),
            container: None,
        })
        .unwrap()
    }

    /// Writes a key as the daemon can read it.
    pub fn write_key(&self, name: &str, pem: &str) -> PathBuf {
        let path = self.keys().join(name);
        fs::write(&path, pem).unwrap();
        self.give(&path, 0o600);
        path
    }

    fn give(&self, path: &Path, mode: u32) {
        let user = user().unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
    }
}

impl Drop for Rspamdd {
    fn drop(&mut self) {
        if thread::panicking() {
            let _ = writeln!(std::io::stderr(), "{}", self.log());
        }
        self.stop();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Whether a process has an inotify watch on a file.
fn watches(pid: i32, file: &Path) -> bool {
    let watch = format!("ino:{:x} ", fs::metadata(file).unwrap().ino());
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fdinfo")) else { return false };
    descriptors.flatten().any(|descriptor| fs::read_to_string(descriptor.path()).unwrap_or_default().contains(&watch))
}

/// What a process calls itself.
fn title(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default()
}

fn directory() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let dir = PathBuf::from(format!("/var/lib/dkimctl-test-rspamd-{}-{number}", std::process::id()));
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
    dir
}
