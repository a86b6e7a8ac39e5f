use serde_json::json;

use super::*;
use crate::doctor::rig;

#[test]
fn rsyslog_says_where_it_writes() {
    let text = "# mail.* /tmp/no\nmodule(load=\"/usr/lib/x.so\")\n$IncludeConfig /etc/rsyslog.d/*.conf\n\
                mail.*  -/var/log/mail.log\n*.* action(type=\"omfile\" file=\"/data/all\")\n\
                $outchannel kept,/var/log/mail/mail.log,1000,/usr/sbin/keep\n*.* /dev/stdout\n";
    let all = ["/var/log/mail.log", "/data/all", "/var/log/mail/mail.log", "/usr/sbin/keep", "/dev/stdout"];
    assert_eq!(targets(text), all);
}

#[test]
fn a_log_is_kept_where_its_file_outlives_the_container() {
    let mounts = json!({"Mounts": [
        {"Type": "bind", "Source": "/srv/log", "Destination": "/var/log/mail"},
        {"Type": "volume", "Name": "tmp", "Destination": "/tmp"},
    ], "HostConfig": {"Tmpfs": {"/run/log": ""}}});
    let patient = rig::container(mounts, &[]);
    let read = |said: &str| read(patient.container.there().unwrap(), said);
    let listens = "pipe:[7]\nlistens\nsocket:[9]\nanon_inode:[eventpoll]\n";
    assert_eq!(read(&format!("{listens}/var/log/mail/mail.log\n")), Kept::In("/var/log/mail/mail.log".into()));
    assert_eq!(read(&format!("{listens}/var/log/mail.log\n")), Kept::Lost);
    assert_eq!(read(&format!("{listens}/run/log/mail.log\n")), Kept::Lost, "memory is emptied at every start");
    assert_eq!(read(&format!("{listens}pipe:[7]\n")), Kept::Printed);
    assert_eq!(read(&format!("{listens}pipe:[8]\n")), Kept::Lost, "a pipe to somebody else");
    assert_eq!(read("pipe:[7]\n"), Kept::NobodyListens);
    assert_eq!(read("\n"), Kept::NobodyListens, "standard output is closed");
    assert_eq!(read("\nlistens\n\n"), Kept::Lost);
}
