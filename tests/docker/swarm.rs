//! The same stack as a Swarm service with a secret for each key. One node and the host's network: overlay networks need
//! more of a kernel than a test may ask for.

use crate::engine::{docker, docker_ok};
use crate::lab::{DOMAIN, HOSTNAME, Lab, edit, nothing_bad, text, until, with};
use crate::load::Load;
use crate::turn;

const SERVICE: &str = "dkimctl-mail";
const APP: &str = "dkimctl-swarm-app";

#[test]
fn a_rotation_with_versioned_secrets_loses_nothing_and_the_switch_replaces_no_task() {
    let Some(_turn) = turn() else { return };
    let mut lab = Lab::of_this_network();
    start(&mut lab);
    lab.secure(&["rotate", DOMAIN]);
    lab.run_until("s1", "active");
    assert_eq!(tasks(), 2, "the first task had no secret");

    let app = ["docker", "exec", "-i", APP];
    let load = Load::start(&app);
    until("mail by s1", 60, || with(&lab.received(), "s1") >= 60);
    lab.secure(&["rotate", DOMAIN]);
    until("s2 is delivered", 60, || {
        lab.apply();
        lab.secure(&["receipt", "import"]);
        lab.secure(&["advance", DOMAIN]);
        secrets().len() == 2
    });
    assert_eq!(tasks(), 3, "both keys are there, after one update more");
    lab.run_until("s2", "active");
    until("mail by s2", 60, || with(&lab.received(), "s2") >= 100);
    assert_eq!(tasks(), 3, "the switch replaced no task");
    let tally = load.stop();
    until("everything has arrived", 60, || {
        let received = lab.received();
        tally.accepted.iter().all(|id| received.iter().any(|message| message.id == *id))
    });
    nothing_bad(&tally.accepted, &lab.received());

    // The old secret goes when its key goes, and not before.
    assert_eq!(secrets().len(), 2);
    lab.run_until("s1", "gone");
    let left = secrets();
    assert!(left.len() == 1 && left[0].starts_with("dkim-s2-"), "{left:?}");
    until("it signs on", 60, || {
        let id = docker_ok(&["ps", "-q", "--filter", &format!("label=com.docker.swarm.service.name={SERVICE}")]);
        docker(&["exec", &id, "check-signing"]).status.success()
    });
}

/// A secret without uid, gid and mode is root's and open to all, and OpenDKIM refuses such a key.
#[test]
fn a_secret_as_swarm_mounts_it_by_itself_is_open_to_all() {
    let Some(_turn) = turn() else { return };
    let mut lab = Lab::new();
    swarm(&mut lab);
    for secret in ["dkimctl-trap", "dkimctl-trap-asked"] {
        docker_ok(&["secret", "create", secret, text(&lab.file("secrets/submission"))]);
        lab.undo(&["secret", "rm", secret]);
    }
    docker_ok(&[
        "service",
        "create",
        "--quiet",
        "--name",
        "dkimctl-trap",
        "--network",
        "host",
        "--secret",
        "dkimctl-trap",
        "--secret",
        "source=dkimctl-trap-asked,target=/etc/asked,uid=10101,gid=10101,mode=0400",
        crate::engine::BASE,
        "sleep",
        "600",
    ]);
    lab.undo(&["service", "rm", "dkimctl-trap"]);
    let id = docker_ok(&["ps", "-q", "--filter", "label=com.docker.swarm.service.name=dkimctl-trap"]);
    let stat = docker_ok(&["exec", &id, "stat", "-c", "%u:%g %a", "/run/secrets/dkimctl-trap", "/etc/asked"]);
    assert_eq!(stat, "0:0 444\n10101:10101 400");
}

/// This machine as a Swarm of one, unless it is one already.
fn swarm(lab: &mut Lab) {
    if docker_ok(&["info", "--format", "{{.Swarm.LocalNodeState}}"]) == "inactive" {
        docker_ok(&["swarm", "init", "--advertise-addr", "127.0.0.1", "--listen-addr", "127.0.0.1:2377"]);
        lab.undo(&["swarm", "leave", "--force"]);
    }
}

fn start(lab: &mut Lab) {
    lab.compose(&["build", "mail"]);
    for volume in ["dkimctl-swarm-queue", "dkimctl-swarm-data", "dkimctl-swarm-ca"] {
        lab.undo(&["volume", "rm", "-f", volume]);
    }
    swarm(lab);
    docker_ok(&["secret", "create", "dkimctl-submission", text(&lab.file("secrets/submission"))]);
    lab.undo(&["secret", "rm", "dkimctl-submission"]);
    edit(&lab.file("host/host.toml"), |text| {
        let text = text.replace("keys = \"../opendkim/keys\"", "keys = \"/etc/opendkim/keys\"");
        let text = text.replace("\"/etc/opendkim/keys\" = \"../opendkim/keys\"\n", "");
        let text = text
            .replace(&format!("[container]\nname = \"{HOSTNAME}\""), &format!("[container]\nservice = \"{SERVICE}\""));
        let (text, _) = text.split_once("# Evidence").map(|(head, tail)| (head.to_owned(), tail.to_owned())).unwrap();
        let observe = format!("[observe]\nnameservers = [\"{}\"]\n", lab.dns.address);
        text.replace("# [target]\n# type = \"exec\"", "[target]\ntype = \"swarm\"") + &observe
    });
    let bind = |from: &str, to: &str| format!("type=bind,source={},target={to}", text(&lab.file(from)));
    let mounts = [
        bind("opendkim/tables", "/etc/opendkim/tables") + ",readonly",
        bind("run/milter", "/run/milter"),
        bind("log", "/var/log/mail"),
        "type=volume,source=dkimctl-swarm-queue,target=/var/spool/postfix".to_owned(),
        "type=volume,source=dkimctl-swarm-data,target=/var/lib/postfix".to_owned(),
        "type=volume,source=dkimctl-swarm-ca,target=/run/submission-ca".to_owned(),
    ];
    let image = format!("{DOMAIN}/mail");
    let names = lab.dns.address.ip().to_string();
    let mut create =
        vec!["service", "create", "--quiet", "--name", SERVICE, "--network", "host", "--hostname", HOSTNAME];
    create.extend(["--dns", &names, "--secret", "source=dkimctl-submission,target=submission", "--no-resolve-image"]);
    create.extend(["--update-order", "stop-first", "--stop-grace-period", "5s", "--restart-delay", "1s"]);
    for mount in &mounts {
        create.extend(["--mount", mount]);
    }
    create.push(&image);
    docker_ok(&create);
    lab.undo(&["service", "rm", SERVICE]);
    until("the certificate is made", 30, || lab.file("log/mail.log").exists());

    // The application, on the same network.
    let credentials = format!("{}:/run/secrets/submission:ro", text(&lab.file("secrets/submission")));
    let sender = format!("MAIL_FROM=app@{DOMAIN}");
    let mut run = vec!["run", "-d", "--name", APP, "--network", "host", "--entrypoint", "sleep"];
    run.extend(["-v", &credentials, "-v", "dkimctl-swarm-ca:/run/submission-ca:ro", "-e", "SMTP_ANY_NAME=yes"]);
    run.extend(["-e", "SMTP_HOST=127.0.0.1", "-e", "SMTP_PORT=587", "-e", &sender]);
    run.extend([
        "-e",
        "SMTP_CREDENTIALS_FILE=/run/secrets/submission",
        "-e",
        "SMTP_CA_FILE=/run/submission-ca/cert.pem",
    ]);
    run.extend([&*image, "infinity"]);
    docker_ok(&run);
    lab.undo(&["rm", "-f", APP]);
}

/// How many tasks the service has had.
fn tasks() -> usize {
    docker_ok(&["service", "ps", "-q", SERVICE]).lines().count()
}

/// The names of the keys' secrets.
fn secrets() -> Vec<String> {
    let names = docker_ok(&["secret", "ls", "--format", "{{.Name}}", "--filter", "label=dkimctl.fingerprint"]);
    names.lines().map(str::to_owned).collect()
}
