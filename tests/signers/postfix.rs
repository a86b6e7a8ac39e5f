//! A switch as Postfix sees it: mail that it takes in after the switch carries the new selector.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use chrono::Utc;
use dkimctl::host::evidence::{self, Sources};

use crate::bench::{Bench, assert_right, order};
use crate::keys::keys;
use crate::servers::opendkimd::{OpenDkimd, Options, available, free_port};

/// A Postfix of its own that takes mail in and never delivers it.
struct Postfix {
    conf: PathBuf,
    port: u16,
}

impl Postfix {
    fn start(dir: &Path, milter_port: u16) -> Postfix {
        let (conf, port) = (dir.join("postfix"), free_port());
        for below in ["postfix", "spool", "data"] {
            fs::create_dir(dir.join(below)).unwrap();
        }
        let user = nix::unistd::User::from_name("postfix").unwrap().unwrap();
        std::os::unix::fs::chown(dir.join("data"), Some(user.uid.as_raw()), None).unwrap();
        let main = format!(
            "compatibility_level = 3.6\nqueue_directory = {0}/spool\ndata_directory = {0}/data\n\
             myhostname = mail.example.com\nmydestination =\ninet_interfaces = 127.0.0.1\ninet_protocols = ipv4\n\
             defer_transports = smtp\nsmtpd_milters = inet:127.0.0.1:{milter_port}\nmilter_default_action = tempfail\n\
             smtpd_recipient_restrictions = permit_mynetworks, reject\nmynetworks = 127.0.0.0/8\nalias_maps =\n\
             alias_database =\nlocal_recipient_maps =\nsmtpd_peername_lookup = no\n",
            dir.display(),
        );
        fs::write(conf.join("main.cf"), main).unwrap();
        let mut master = format!("127.0.0.1:{port} inet n - n - - smtpd\n");
        for (service, chars, program) in [
            ("cleanup", "n - n - 0", "cleanup"),
            ("qmgr", "n - n 300 1", "qmgr"),
            ("rewrite", "- - n - -", "trivial-rewrite"),
            ("bounce", "- - n - 0", "bounce"),
            ("defer", "- - n - 0", "bounce"),
            ("smtp", "- - n - -", "smtp"),
            ("error", "- - n - -", "error"),
            ("retry", "- - n - -", "error"),
            ("showq", "n - n - -", "showq"),
            ("anvil", "- - n - 1", "anvil"),
        ] {
            master.push_str(&format!("{service} unix {chars} {program}\n"));
        }
        fs::write(conf.join("master.cf"), master).unwrap();
        let postfix = Postfix { conf, port };
        let output = postfix.run("postfix", &["start"]);
        assert!(output.0, "postfix does not start: {}", output.1);
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "postfix does not listen");
            thread::sleep(Duration::from_millis(50));
        }
        postfix
    }

    /// Hands in a mail over SMTP; returns its queue id.
    fn send(&self) -> String {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut replies = BufReader::new(stream.try_clone().unwrap()).lines();
        let mut reply = || replies.next().unwrap().unwrap();
        let mut stream = stream;
        assert!(reply().starts_with("220 "));
        let mut last = String::new();
        for line in [
            "HELO app.example.com",
            "MAIL FROM:<app@example.com>",
            "RCPT TO:<you@example.net>",
            "DATA",
            "From: app@example.com\r\nTo: you@example.net\r\nSubject: hello\r\n\r\nhello\r\n.",
        ] {
            stream.write_all(format!("{line}\r\n").as_bytes()).unwrap();
            last = reply();
            assert!(last.starts_with('2') || last.starts_with("354"), "{line}: {last}");
        }
        last.rsplit(' ').next().unwrap().to_owned()
    }

    /// The message as it stands in the queue.
    fn queued(&self, id: &str) -> String {
        let output = self.run("postcat", &["-hq", id]);
        assert!(output.0, "{}", output.1);
        output.1
    }

    fn run(&self, program: &str, arguments: &[&str]) -> (bool, String) {
        let output =
            Command::new(format!("/usr/sbin/{program}")).arg("-c").arg(&self.conf).args(arguments).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        self.run("postfix", &["stop"]);
    }
}

#[test]
fn mail_that_comes_in_after_the_switch_has_the_new_selector() {
    const TEST: &str = "mail_that_comes_in_after_the_switch_has_the_new_selector";
    if !available(TEST) {
        return;
    }
    if !Path::new("/usr/sbin/postfix").exists() {
        assert!(std::env::var_os("DKIMCTL_NO_SKIP").is_none(), "{TEST}: postfix is not installed");
        let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("SKIPPED: {TEST} (no postfix)\n").as_bytes());
        return;
    }
    let bench = Bench::around(OpenDkimd::start(&Options::default()));
    let [first, second] = keys();
    assert_right(&bench.apply(order(first)), first);
    let dkimctl::signers::milter::Socket::Inet { port, .. } = bench.daemon.socket else { unreachable!() };
    let postfix = Postfix::start(&bench.daemon.dir, port);

    let began = Utc::now().timestamp();
    let before = postfix.send();
    assert_right(&bench.apply(order(second)), second);
    let after = postfix.send();
    assert!(postfix.queued(&before).contains("s=s1"), "{}", postfix.queued(&before));
    assert!(postfix.queued(&after).contains("s=s2"), "{}", postfix.queued(&after));

    // The probes were not sent anywhere: two mails are in the queue, and the older one still carries s1.
    let queue = ["/usr/sbin/postqueue", "-c", postfix.conf.to_str().unwrap(), "-j"];
    let queue = Some(queue.map(str::to_owned).to_vec());
    let seen = evidence::gather(&Sources { queue, log: None }, Utc::now());
    assert_eq!(seen.unknown, Vec::<String>::new());
    let oldest = seen.oldest_queued.unwrap().unix();
    assert!((began..=Utc::now().timestamp()).contains(&oldest), "{oldest}");
    assert_eq!(postfix.run("postqueue", &["-j"]).1.lines().count(), 2);
}
