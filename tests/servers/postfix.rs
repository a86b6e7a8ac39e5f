//! Postfix: an instance of our own that shares nothing with the machine's.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::{find, free_port};

/// Where a Postfix relays to, and what signs for it.
#[derive(Debug, Clone)]
pub struct PostfixPlan {
    /// `inet:127.0.0.1:8891` or `unix:/path`.
    pub milter: String,
    /// Where all mail goes.
    pub relay: SocketAddr,
    /// Domains whose mail goes elsewhere, for example to a port that nobody listens on yet.
    pub routes: Vec<(String, SocketAddr)>,
}

/// A running Postfix; it needs root, as every Postfix does.
pub struct Postfix {
    master: Child,
    directory: PathBuf,
    /// Where it takes mail.
    pub address: SocketAddr,
}

impl Postfix {
    pub const PROGRAM: &'static str = "postfix";

    /// Starts in `directory`, which the users postfix and root must be able to reach.
    pub fn start(directory: &Path, plan: &PostfixPlan) -> Postfix {
        Self::start_with(directory, plan, "")
    }

    /// The same, with lines of one's own for main.cf; of two about one thing the later one counts.
    pub fn start_with(directory: &Path, plan: &PostfixPlan, lines: &str) -> Postfix {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let configuration = directory.join("etc");
        fs::create_dir_all(&configuration).unwrap();
        fs::write(configuration.join("main.cf"), main_cf(directory, plan) + lines).unwrap();
        fs::write(configuration.join("master.cf"), master_cf(address)).unwrap();
        for below in ["queue", "data"] {
            fs::create_dir_all(directory.join(below)).unwrap();
            fs::set_permissions(directory.join(below), fs::Permissions::from_mode(0o755)).unwrap();
        }
        std::os::unix::fs::chown(directory.join("data"), Some(uid_of("postfix")), None).unwrap();
        let postfix = find(Self::PROGRAM).expect("call servers_or_skip first");
        // Makes the queue's directories with the owners that Postfix insists on.
        let check = Command::new(&postfix).arg("-c").arg(&configuration).arg("check").output().unwrap();
        assert!(check.status.success(), "postfix check: {}", String::from_utf8_lossy(&check.stderr));
        let errors = fs::File::create(directory.join("errors")).unwrap();
        let master = Command::new(daemons().join("master"))
            .args(["-d", "-c"])
            .arg(&configuration)
            .stdin(Stdio::null())
            .stdout(errors.try_clone().unwrap())
            .stderr(errors)
            // On SIGTERM master ends its whole process group, which must not be ours.
            .process_group(0)
            .spawn()
            .unwrap();
        let mut started = Postfix { master, directory: directory.to_owned(), address };
        started.wait_for_port();
        started
    }

    /// Tries to deliver everything that is queued, now.
    pub fn flush(&self) {
        let status = self.command("postqueue").arg("-f").status().unwrap();
        assert!(status.success(), "postqueue -f: {status}");
    }

    /// How many messages are queued, in whatever state.
    pub fn queued(&self) -> usize {
        let output = self.command("postqueue").arg("-j").output().unwrap();
        output.stdout.iter().filter(|byte| **byte == b'\n').count()
    }

    pub fn log(&self) -> String {
        let read = |name: &str| fs::read_to_string(self.directory.join(name)).unwrap_or_default();
        read("errors") + &read("mail.log")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(find(program).unwrap());
        command.arg("-c").arg(self.directory.join("etc"));
        command
    }

    fn wait_for_port(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(self.address).is_err() {
            assert!(matches!(self.master.try_wait(), Ok(None)), "Postfix ended:\n{}", self.log());
            assert!(Instant::now() < deadline, "Postfix did not start:\n{}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        let group = format!("-{}", self.master.id());
        let _ = Command::new("kill").args(["-TERM", "--", &group]).stderr(Stdio::null()).status();
        let _ = self.master.wait();
    }
}

fn main_cf(directory: &Path, plan: &PostfixPlan) -> String {
    let PostfixPlan { milter, relay, routes } = plan;
    let base = directory.display();
    let next_hop = |to: &SocketAddr| format!("[{}]:{}", to.ip(), to.port());
    let routes: Vec<_> = routes.iter().map(|(domain, to)| format!("{{ {domain} = smtp:{} }}", next_hop(to))).collect();
    let transport = if routes.is_empty() {
        String::new()
    } else {
        format!("transport_maps = inline:{{ {} }}\n", routes.join(", "))
    };
    format!(
        "compatibility_level = 3.6\n\
         queue_directory = {base}/queue\n\
         data_directory = {base}/data\n\
         daemon_directory = {daemons}\n\
         command_directory = {commands}\n\
         mail_owner = postfix\n\
         setgid_group = postdrop\n\
         maillog_file = {base}/mail.log\n\
         maillog_file_prefixes = {base}\n\
         myhostname = mail.rotation.example\n\
         mydestination =\n\
         inet_interfaces = 127.0.0.1\n\
         inet_protocols = ipv4\n\
         mynetworks = 127.0.0.0/8\n\
         smtpd_relay_restrictions = permit_mynetworks, reject\n\
         smtp_dns_support_level = disabled\n\
         alias_maps =\n\
         local_recipient_maps =\n\
         relayhost = {relay}\n\
         {transport}\
         smtpd_milters = {{ {milter}, connect_timeout=5s, default_action=tempfail }}\n\
         milter_default_action = tempfail\n\
         # A session may stay open over a whole rotation, as a client's pool keeps it.\n\
         smtpd_timeout = 300s\n\
         smtpd_client_connection_rate_limit = 0\n\
         smtpd_client_connection_count_limit = 0\n",
        daemons = daemons().display(),
        commands = find("postqueue").expect("call servers_or_skip first").parent().unwrap().display(),
        relay = next_hop(relay),
    )
}

/// No service is chrooted: a chrooted smtpd cannot resolve the milter's name.
fn master_cf(address: SocketAddr) -> String {
    let row = |name: &str, kind: &str, private: &str, wakeup: &str, most: &str, command: &str| {
        format!("{name} {kind} {private} - n {wakeup} {most} {command}\n")
    };
    [
        row(&address.to_string(), "inet", "n", "-", "-", "smtpd"),
        row("pickup", "unix", "n", "60", "1", "pickup"),
        row("cleanup", "unix", "n", "-", "0", "cleanup"),
        row("qmgr", "unix", "n", "300", "1", "qmgr"),
        row("rewrite", "unix", "-", "-", "-", "trivial-rewrite"),
        row("bounce", "unix", "-", "-", "0", "bounce"),
        row("defer", "unix", "-", "-", "0", "bounce"),
        row("trace", "unix", "-", "-", "0", "bounce"),
        row("flush", "unix", "n", "1000?", "0", "flush"),
        row("proxymap", "unix", "-", "-", "-", "proxymap"),
        row("smtp", "unix", "-", "-", "-", "smtp"),
        row("showq", "unix", "n", "-", "-", "showq"),
        row("error", "unix", "-", "-", "-", "error"),
        row("retry", "unix", "-", "-", "-", "error"),
        row("tlsmgr", "unix", "-", "1000?", "1", "tlsmgr"),
        row("anvil", "unix", "-", "-", "1", "anvil"),
        row("scache", "unix", "-", "-", "1", "scache"),
        row("postlog", "unix-dgram", "n", "-", "1", "postlogd"),
    ]
    .concat()
}

/// Where this machine keeps Postfix's daemons.
fn daemons() -> PathBuf {
    let output = Command::new(find("postconf").expect("call servers_or_skip first"))
        .args(["-d", "-h", "daemon_directory"])
        .output()
        .unwrap();
    PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
}

/// The number of a user of this machine.
pub fn uid_of(user: &str) -> u32 {
    let output = Command::new("id").args(["-u", user]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().unwrap_or_else(|_| panic!("no user {user}"))
}
