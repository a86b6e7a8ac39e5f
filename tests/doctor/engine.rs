//! The article's image, really built and run, and the same one put right: what is in force is found in both.

use std::fs;
use std::process::Command;

use super::containers::{Engine, docker, docker_ok};
use super::*;

const IMAGE: &str = "dkimctl-doctor-article:test";

/// An engine with the base image, or a skipped test.
fn engine() -> Option<&'static Engine> {
    if !servers::servers_or_skip(&["docker", "debootstrap"]) {
        return None;
    }
    Engine::get().inspect_err(|why| servers::skip(why)).ok()
}

/// A container that goes when the test does.
struct Running(String);

impl Running {
    fn start(name: &str, args: &[&str], command: &str) -> Running {
        let name = format!("{name}-{}", std::process::id());
        docker_ok(&[&["run", "-d", "--name", &name], args, &[IMAGE, "sh", "-c", command]].concat());
        let running = Running(name);
        let up = || docker(&["exec", &running.0, "postqueue", "-j"]).status.success();
        let began = std::time::Instant::now();
        while !up() {
            assert!(began.elapsed().as_secs() < 120, "Postfix does not start: {}", docker_ok(&["logs", &running.0]));
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
        running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = docker(&["rm", "-f", "-v", &self.0]);
    }
}

/// Builds what the article prints, with a key of its own where it wants one.
fn build() -> tempfile::TempDir {
    let context = tempfile::tempdir().unwrap();
    let copied = Command::new("cp").arg("-a").arg(fixture("article/postfix/.")).arg(context.path()).status().unwrap();
    assert!(copied.success());
    let key = dkimctl::keygen::generate(dkimctl::keygen::KeyKind::Ed25519).unwrap();
    let place = context.path().join("opendkim/keys/yourdomain.com");
    fs::create_dir_all(&place).unwrap();
    fs::write(place.join("s1.private"), key.pem()).unwrap();
    let context_text = context.path().to_str().unwrap();
    let mut build = Command::new("docker");
    build.args(["build", "-q", "--network", "host", "-t", IMAGE, context_text]).env("DOCKER_BUILDKIT", "0");
    let output = build.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    context
}

fn verdicts(name: &str) -> Vec<String> {
    let only = "HELO001,RELAY,IP6002,IP6003,QUEUE,PF,KEY006,DKIM006";
    let (found, _) = checks(&["--container", name, "--only", only, "--offline"]);
    found.iter().map(line).collect()
}

#[test]
fn what_is_in_force_is_found_and_found_mended() {
    let Some(_) = engine() else { return };
    let _context = build();

    let environment = ["-e", "POSTFIX_mynetworks=127.0.0.0/8", "-p", "25"];
    let broken = Running::start("dkimctl-doctor-broken", &environment, "exec postfix start-fg");
    let found = verdicts(&broken.0);
    for wanted in [
        "HELO001 fail error",
        "RELAY002 ok error",
        "QUEUE001 fail error",
        "QUEUE002 ok warn",
        "PF002 fail error",
        "PF003 warn warn",
        "PF001 fail error",
        "PF004 warn warn",
        "DKIM006 warn warn",
    ] {
        assert!(found.iter().any(|line| line == wanted), "{wanted} is missing among {found:#?}");
    }
    assert!(found.iter().any(|line| line.starts_with("RELAY001 fail")), "{found:#?}");
    assert!(found.iter().any(|line| line.starts_with("KEY006 fail error")), "{found:#?}");
    let complaint = checks(&["--container", &broken.0, "--only", "PF002", "--offline"]).0;
    assert!(complaint.iter().any(|check| text(check, "evidence").contains("SMTP_USER")), "{complaint:#?}");
    drop(broken);

    let volume = format!("dkimctl-doctor-queue-{}", std::process::id());
    let source = format!("{volume}:/var/spool/postfix");
    let mend = "postconf -X smtp_sasl_password_maps relayhost smtp_sasl_auth_enable && \
                postconf -e myhostname=mail.example.com mynetworks=127.0.0.0/8 milter_default_action=tempfail \
                smtp_tls_security_level=may maillog_file=/dev/stdout && postconf -F '*/*/chroot=n' && \
                sed -i 's/mail._domainkey/s1._domainkey/' /etc/opendkim/SigningTable && \
                sed -i 's,file:/etc/opendkim/SigningTable,refile:/etc/opendkim/SigningTable,' /etc/opendkim.conf && \
                exec postfix start-fg";
    let args = ["--hostname", "mail.example.com", "-v", &source, "--health-cmd", "postfix status"];
    let mended = Running::start("dkimctl-doctor-mended", &args, mend);
    let found = verdicts(&mended.0);
    drop(mended);
    docker_ok(&["volume", "rm", &volume]);
    let bad: Vec<&String> = found.iter().filter(|line| !line.contains(" ok ") && !line.contains(" skip ")).collect();
    assert!(bad.is_empty(), "{bad:#?}");
}

#[test]
fn a_container_that_is_not_there_is_unknown() {
    let Some(_) = engine() else { return };
    let (found, code) = checks(&["--container", "dkimctl-nobody", "--only", "RELAY001,QUEUE", "--offline"]);
    assert!(found.iter().all(|check| check["result"] == "unknown"), "{found:#?}");
    assert_eq!((found.len(), code), (3, 4));
}
