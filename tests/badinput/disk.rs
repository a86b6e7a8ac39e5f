//! A disk without room, and one that cannot be written to.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::place::{Place, ZONE, said};
use crate::servers::skip;

/// A file system of its own, in memory, under the state.
struct Disk(PathBuf);

impl Disk {
    /// `None` where file systems cannot be mounted.
    fn under(place: &Place, size: &str) -> Option<Disk> {
        let state = place.path("state");
        let kept = place.path("kept");
        fs::rename(&state, &kept).unwrap();
        fs::create_dir(&state).unwrap();
        let options = format!("size={size},mode=0700");
        let mounted = mount(&["-t", "tmpfs", "-o", &options, "tmpfs", state.to_str().unwrap()]);
        if !mounted {
            skip("file systems cannot be mounted here");
            return None;
        }
        let disk = Disk(state);
        let copied = Command::new("cp").arg("-a").arg(format!("{}/.", kept.display())).arg(&disk.0).status().unwrap();
        assert!(copied.success());
        Some(disk)
    }

    /// Takes all the room but some octets.
    fn fill(&self, but: usize) -> PathBuf {
        let ballast = self.0.join("ballast");
        let mut bytes = 16 * 1024 * 1024;
        while bytes > 0 {
            let old = fs::metadata(&ballast).map_or(0, |meta| meta.len()) as usize;
            if fallocate(&ballast, old + bytes) {
                continue;
            } else {
                bytes /= 2
            }
            if bytes < 4096 {
                break;
            }
        }
        let full = fs::metadata(&ballast).unwrap().len() as usize;
        fs::File::options().write(true).open(&ballast).unwrap().set_len((full - but) as u64).unwrap();
        ballast
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn mount(arguments: &[&str]) -> bool {
    Command::new("mount")
        .args(arguments)
        .stderr(std::process::Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn fallocate(file: &Path, size: usize) -> bool {
    let mut command = Command::new("fallocate");
    command.args(["-l", &size.to_string()]).arg(file).stderr(std::process::Stdio::null());
    command.status().unwrap().success()
}

#[test]
fn a_full_disk() {
    let Some(place) = Place::new() else { return };
    let Some(disk) = Disk::under(&place, "2m") else { return };
    let mut refused = 0;
    for room in [0, 8192, 32_768, 65_536, 98_304, 131_072, 196_608] {
        let ballast = disk.fill(room);
        let output = place.output(&["rotate", ZONE]);
        let text = said(&output);
        eprintln!("{room} octets left: {text}");
        refused += u32::from(!output.status.success());
        if !output.status.success() {
            assert_eq!(output.status.code(), Some(1), "{text}");
            assert!(text.contains("disk is full") || text.contains("no room"), "{text}");
            assert!(text.contains("dkimctl: hint: "), "{text}");
        }
        fs::remove_file(ballast).unwrap();
        place.whole();
    }
    assert!(refused >= 2, "the disk was never full");
    place.run(&["rotate", ZONE]);
    assert_eq!(place.zone().1.len(), 1, "with room again it goes on");
}

#[test]
fn a_disk_that_cannot_be_written_to() {
    let Some(place) = Place::new() else { return };
    let Some(disk) = Disk::under(&place, "4m") else { return };
    let state = disk.0.to_str().unwrap();
    let before = place.export();
    assert!(mount(&["-o", "remount,ro", state]));
    place.fails(&["rotate", ZONE], 1, &["state"]);
    place.fails(&["advance", ZONE], 1, &["state"]);
    place.run(&["status"]);
    place.whole();
    assert!(mount(&["-o", "remount,rw", state]));
    assert_eq!(place.export(), before);
    place.run(&["rotate", ZONE]);
}
