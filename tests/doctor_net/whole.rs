//! The command itself, from the host of a container: an engine in small, the real Postfix's own `postconf`, and the
//! laboratory's network, names and peer.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::lab::{At, Lab, PEER, RESOLVER};
use crate::servers::servers_or_skip;

/// What `docker` is asked: to inspect the container, and to run commands in its network.
fn engine(dir: &Path, bx: &str, pid: u32) {
    let inspect = format!(
        r#"[{{"Id":"{}","State":{{"Running":true,"Pid":{pid}}},"Config":{{"Hostname":"mail.example.com","Image":"mail:1"}},"HostConfig":{{}},"NetworkSettings":{{}},"Mounts":[]}}]"#,
        "4d".repeat(32)
    );
    fs::write(dir.join("inspect.json"), inspect).unwrap();
    let script = format!(
        "#!/bin/sh\n\
         case \"$1 $2\" in\n\
         'container inspect') cat {dir}/inspect.json; exit;;\n\
         'exec -u') shift 6;;\n\
         *) echo 'Error: what is that' >&2; exit 125;;\n\
         esac\n\
         program=$1; shift\n\
         [ \"$program\" = postconf ] && set -- -c {dir} \"$@\"\n\
         exec ip netns exec {bx} \"$program\" \"$@\"\n",
        dir = dir.display()
    );
    fs::write(dir.join("docker"), script).unwrap();
    fs::set_permissions(dir.join("docker"), fs::Permissions::from_mode(0o755)).unwrap();
}

fn doctor(lab: &Lab, dir: &Path, only: &str) -> (Vec<Value>, i32, Output) {
    let path = format!("{}:{}:/usr/sbin:/sbin", dir.display(), std::env::var("PATH").unwrap_or_default());
    let mut command =
        lab.command(At::Host, &[env!("CARGO_BIN_EXE_dkimctl"), "doctor", "--container", "mail", "--json"]);
    command.args(["--peer", PEER, "--resolver", RESOLVER, "--only", only]).current_dir(dir).env("PATH", path);
    command.env("HOME", dir).env("XDG_CONFIG_HOME", dir).env("XDG_STATE_HOME", dir).env_remove("DKIMCTL_CONFIG");
    let output = command.output().unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (document["checks"].as_array().unwrap().clone(), output.status.code().unwrap(), output)
}

#[test]
fn a_sound_server_and_then_another_address() {
    let Some(mut lab) = Lab::start() else { return };
    if !servers_or_skip(&["postconf"]) {
        return;
    }
    let dir = lab.directory("engine");
    let pid = lab.start_in_box();
    engine(&dir, &lab.name(At::Box), pid);
    fs::write(dir.join("master.cf"), "").unwrap();
    fs::write(dir.join("main.cf"), "compatibility_level = 3.6\nmyhostname = mail.example.com\n").unwrap();

    let (checks, code, output) = doctor(&lab, &dir, "NET,IP6001,HELO,SYS");
    let bad: Vec<&Value> =
        checks.iter().filter(|check| !["ok", "skip"].contains(&check["result"].as_str().unwrap())).collect();
    assert!(bad.is_empty() && code == 0, "{code} {bad:#?} {output:?}");
    let has = |checks: &[Value], id: &str, about: &str, result: &str| {
        checks.iter().any(|check| check["id"] == id && check["about"] == about && check["result"] == result)
    };
    for (id, about) in [
        ("NET001", "IPv4"),
        ("NET001", "IPv6"),
        ("NET003", "203.0.113.10"),
        ("IP6001", "2001:db8:25::10"),
        ("HELO001", "HELO"),
        ("HELO003", "203.0.113.10"),
        ("SYS001", "clock"),
    ] {
        assert!(has(&checks, id, about, "ok"), "{id} of {about} is missing among {checks:#?}");
    }

    lab.leave_from("203.0.113.11", "2001:db8:25::16");
    fs::write(dir.join("main.cf"), "compatibility_level = 3.6\nmyhostname = f7a2c4b1d3e5.localdomain\n").unwrap();
    let (checks, code, _) = doctor(&lab, &dir, "NET,IP6001,HELO,SYS");
    for (id, about) in
        [("NET002", "203.0.113.11"), ("IP6001", "2001:db8:25::16"), ("HELO001", "HELO"), ("HELO002", "HELO")]
    {
        assert!(has(&checks, id, about, "fail"), "{id} of {about} is missing among {checks:#?}");
    }
    assert_eq!(code, 3);

    // Through a relay none of that counts.
    let relayed = "compatibility_level = 3.6\nmyhostname = mail.example.com\nrelayhost = [smtp.relay.example]:587\n";
    fs::write(dir.join("main.cf"), relayed).unwrap();
    let (checks, code, _) = doctor(&lab, &dir, "NET,IP6001");
    assert!(checks.iter().all(|check| check["result"] == "skip") && code == 0, "{checks:#?}");
}
