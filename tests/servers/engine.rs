//! A container engine: the one that runs here, or one of our own; and the image that everything begins with.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

pub const BASE: &str = "debian:bookworm-slim";

/// An engine that answers.
pub struct Engine;

static ENGINE: OnceLock<Result<Engine, String>> = OnceLock::new();

impl Engine {
    pub fn get() -> Result<&'static Engine, &'static str> {
        ENGINE.get_or_init(Engine::find_or_start).as_ref().map_err(String::as_str)
    }

    fn find_or_start() -> Result<Engine, String> {
        if !answers() {
            start()?;
        }
        if !docker(&["image", "inspect", BASE]).status.success() {
            import_base()?;
        }
        Ok(Engine)
    }
}

/// Runs docker.
pub fn docker(arguments: &[&str]) -> Output {
    Command::new("docker").args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// Runs docker, which must succeed, and returns what it printed.
pub fn docker_ok(arguments: &[&str]) -> String {
    let output = docker(arguments);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "docker {arguments:?}: {}\n{out}{err}", output.status);
    out.trim_end().to_owned()
}

fn answers() -> bool {
    docker(&["version", "--format", "{{.Server.Version}}"]).status.success()
}

/// Starts an engine whose files are below target/.
fn start() -> Result<(), String> {
    let home = cache().join("engine");
    fs::create_dir_all(&home).map_err(|error| error.to_string())?;
    let log = File::create(home.join("log")).map_err(|error| error.to_string())?;
    let at = home.clone();
    let path = move |name: &str| at.join(name).display().to_string();
    // The engine ends with the thread that began it: one that lives as long as this program.
    let (told, heard) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", "dockerd", "--data-root", &path("data"), "--exec-root", &path("exec")])
            .args(["--pidfile", &path("pid")])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        let _ = told.send(child.as_ref().map(drop).map_err(ToString::to_string));
        let _ = child.map(|mut child| child.wait());
    });
    heard.recv().unwrap().map_err(|error| format!("no engine answers, and dockerd does not start: {error}"))?;
    let mut waited = 0;
    while !answers() {
        std::thread::sleep(std::time::Duration::from_millis(200));
        waited += 1;
        if waited > 150 {
            return Err(format!("dockerd does not answer; its log is {}", home.join("log").display()));
        }
    }
    Ok(())
}

/// Debian's smallest system, as an image. The archive is kept: making it takes a minute.
fn import_base() -> Result<(), String> {
    let archive = cache().join("bookworm.tar");
    if !archive.exists() {
        let _ = writeln!(std::io::stderr(), "tests/docker: debootstrap bookworm, once");
        let root = tempfile::Builder::new().prefix("dkimctl-bookworm-").tempdir_in("/var/tmp").unwrap();
        let mirror = "http://deb.debian.org/debian";
        run(Command::new("debootstrap").args(["--variant=minbase", "bookworm"]).arg(root.path()).arg(mirror))?;
        let partial = archive.with_extension("partial");
        run(Command::new("tar").arg("-C").arg(root.path()).arg("-cf").arg(&partial).arg("."))?;
        fs::rename(&partial, &archive).map_err(|error| error.to_string())?;
    }
    let path = "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    run(Command::new("docker").args(["import", "-c", path, "-c", "CMD [\"bash\"]"]).arg(&archive).arg(BASE))
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(format!("{command:?}: {said}")) }
}

/// What survives from run to run.
fn cache() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("docker");
    fs::create_dir_all(&target).unwrap();
    target
}
