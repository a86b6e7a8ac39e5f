use std::os::unix::fs::symlink;

use super::*;

/// A /proc as these processes would make it: pid, parent, comm, arguments.
fn proc(dir: &Path, processes: &[(i32, i32, &str, &[&str])]) {
    for (pid, parent, comm, arguments) in processes {
        let dir = dir.join(pid.to_string());
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("comm"), format!("{comm}\n")).unwrap();
        fs::write(dir.join("cmdline"), arguments.join("\0") + "\0").unwrap();
        fs::write(dir.join("stat"), format!("{pid} ({comm}) S {parent} 1 1")).unwrap();
        symlink("/", dir.join("root")).unwrap();
        symlink("/", dir.join("cwd")).unwrap();
    }
}

#[test]
fn the_one_process_with_our_configuration_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let (conf, other, link) = (dir.path().join("ours"), dir.path().join("other"), dir.path().join("link"));
    fs::write(&conf, "").unwrap();
    fs::write(&other, "").unwrap();
    symlink(&conf, &link).unwrap();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let find = |processes: &[(i32, i32, &str, &[&str])]| {
        let at = tempfile::tempdir().unwrap();
        fs::create_dir(at.path().join("self")).unwrap();
        proc(at.path(), processes);
        super::find(at.path(), &conf)
    };
    let ours = text(&conf);
    let ours = ["opendkim", "-f", "-x", ours.as_str()];

    assert_eq!(find(&[(7, 1, "opendkim", &ours)]).unwrap(), 7);
    assert_eq!(find(&[(7, 1, "opendkim", &["opendkim", &format!("-x{}", text(&link))])]).unwrap(), 7);
    // AutoRestart: the parent supervises the child.
    assert_eq!(find(&[(7, 1, "opendkim", &ours), (8, 7, "opendkim", &ours)]).unwrap(), 7);
    // Others do not count: another configuration, the default one, another program with our arguments.
    let strangers: &[(i32, i32, &str, &[&str])] = &[
        (5, 1, "opendkim", &["opendkim", "-x", &text(&other)]),
        (6, 1, "opendkim", &["opendkim"]),
        (9, 1, "vi", &ours),
    ];
    assert!(matches!(find(strangers), Err(ReloadError::NotRunning { .. })));
    let error = find(&[(7, 1, "opendkim", &ours), (8, 1, "opendkim", &ours)]).unwrap_err();
    let ReloadError::Ambiguous { mut pids, .. } = error else { panic!("{error}") };
    pids.sort_unstable();
    assert_eq!(pids, [7, 8]);
}

#[test]
fn a_command_is_run_without_a_shell_and_in_bounded_time() {
    let run = |argv: &[&str], milliseconds| {
        let argv = argv.iter().map(|&part| part.to_owned()).collect();
        let timeout = Duration::from_millis(milliseconds);
        Reload::Command { argv, timeout }.run(Path::new("/etc/opendkim.conf"))
    };
    run(&["true"], 5000).unwrap();
    let error = run(&["sh", "-c", "echo no such container >&2; exit 3"], 5000).unwrap_err().to_string();
    assert!(error.contains("exit status: 3") && error.contains("no such container"), "{error}");
    let error = run(&["sh", "-c", "sleep 60"], 100).unwrap_err().to_string();
    assert!(error.contains("did not end within"), "{error}");
    assert!(matches!(run(&["true; false"], 1000), Err(ReloadError::Spawn { .. })), "no shell");
    assert!(matches!(run(&[], 1000), Err(ReloadError::EmptyCommand)));
}
