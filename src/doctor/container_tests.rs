use std::sync::Mutex;

use serde_json::json;

use super::*;

/// Answers as an engine gave them once.
struct Recorded(Mutex<Vec<(Vec<&'static str>, Ran)>>);

impl Engine for Recorded {
    fn run(&self, args: &[&str]) -> Result<Ran, CommandError> {
        let mut answers = self.0.lock().unwrap();
        let found = answers.iter().position(|(wanted, _)| args.ends_with(wanted));
        let at = found.unwrap_or_else(|| panic!("nobody recorded {args:?}"));
        Ok(answers.remove(at).1)
    }

    fn stream(&self, _: &[&str]) -> Result<Box<dyn std::io::Read + Send>, CommandError> {
        unreachable!("nothing is streamed here")
    }
}

fn ran(code: i32, stdout: impl Into<Vec<u8>>, stderr: &str) -> Ran {
    Ran { code: Some(code), stdout: stdout.into(), stderr: stderr.as_bytes().to_vec() }
}

fn container(answers: Vec<(Vec<&'static str>, Ran)>) -> Container {
    let inspect = json!([{
        "Id": "f7a2c4b1d3e5",
        "State": {"Running": true, "Pid": 4711},
        "Config": {"Hostname": "mail", "Env": ["A=1", "B=x=y", "odd"], "Labels": {"com.docker.compose.service": "smtp"}},
        "HostConfig": {"NetworkMode": "app_default", "Tmpfs": {"/run": "size=1m"}},
        "NetworkSettings": {
            "Ports": {"25/tcp": [{"HostIp": "0.0.0.0", "HostPort": "25"}, {"HostIp": "::", "HostPort": "25"}], "587/tcp": null, "53/udp": []},
            "Networks": {"app_default": {"IPAddress": "172.20.0.5", "Gateway": "172.20.0.1", "GlobalIPv6Address": "", "IPv6Gateway": ""}}
        },
        "Mounts": [
            {"Type": "volume", "Name": "mail_queue", "Destination": "/var/spool/postfix", "RW": true},
            {"Type": "volume", "Name": "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "Destination": "/var/mail"},
            {"Type": "bind", "Source": "/srv/keys", "Destination": "/etc/opendkim/keys", "RW": false}
        ]
    }]);
    let mut all = vec![(vec!["container", "inspect", "mail"], ran(0, inspect.to_string(), ""))];
    all.extend(answers);
    Container::open(Arc::new(Recorded(Mutex::new(all))), "mail").unwrap()
}

#[test]
fn inspection_is_read_where_it_says_something() {
    let container = container(vec![]);
    assert!(container.is_running());
    assert_eq!(container.pid(), Some(4711));
    assert_eq!(container.service(), Some("smtp"));
    assert_eq!(container.environment(), [("A", "1"), ("B", "x=y")]);
    assert_eq!(container.addresses(), ["172.20.0.5".parse::<IpAddr>().unwrap()]);
    assert_eq!(container.gateways(), ["172.20.0.1".parse::<IpAddr>().unwrap()]);
    let published: Vec<_> = container.published().into_iter().map(|p| (p.port, p.host_ip)).collect();
    assert_eq!(published, [(25, "0.0.0.0".to_owned()), (25, "::".to_owned())]);
}

#[test]
fn a_path_lies_on_the_deepest_mount() {
    let container = container(vec![]);
    let kind = |path| container.mount_of(path).map(|mount| mount.kind);
    assert_eq!(kind("/var/spool/postfix/deferred/1"), Some(MountKind::Volume));
    assert_eq!(kind("/var/mail"), Some(MountKind::Anonymous));
    assert_eq!(kind("/etc/opendkim/keys/s1.private"), Some(MountKind::Bind));
    assert_eq!(kind("/run/secrets"), Some(MountKind::Tmpfs));
    assert_eq!(kind("/var/spool/postfixes"), None);
}

#[test]
fn a_command_is_asked_once_and_may_end_badly() {
    let container = container(vec![(vec!["postconf", "-n"], ran(1, "", "postconf: fatal: open /etc/postfix/main.cf"))]);
    for _ in 0..2 {
        let ran = container.exec(&["postconf", "-n"]).unwrap();
        assert_eq!((ran.code, ran.complaint()), (Some(1), "postconf: fatal: open /etc/postfix/main.cf".to_owned()));
    }
}

#[test]
fn an_engine_that_could_not_run_it_is_an_error() {
    for refused in [
        ran(1, "", "Error response from daemon: Container f7a2 is not running"),
        ran(127, "OCI runtime exec failed: exec failed: \"cat\": executable file not found in $PATH: unknown\n", ""),
        ran(126, "", "OCI runtime exec failed: exec failed: permission denied"),
    ] {
        let container = container(vec![(vec!["cat", "--", "/x"], refused)]);
        assert!(matches!(container.read("/x"), Err(CommandError::Refused { .. })));
    }
}

#[test]
fn a_missing_file_is_none_and_an_unreadable_one_an_error() {
    let missing = ran(1, "", "cat: /x: No such file or directory");
    assert_eq!(container(vec![(vec!["cat", "--", "/x"], missing)]).read("/x").unwrap(), None);
    let directory = ran(1, "", "cat: /x: Is a directory");
    assert!(container(vec![(vec!["cat", "--", "/x"], directory)]).read("/x").is_err());
}
