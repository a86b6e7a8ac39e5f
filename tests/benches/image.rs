//! How fast the layers of an image are searched for private keys, beside `grep -c BEGIN` over the same octets in the same
//! run: that is what reading them once and looking for one word costs.
//!
//! `DKIMCTL_BENCH_MIB` sets the size of a layer (default 1024), `DKIMCTL_BENCH_DIR` where archives are put.

use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dkimctl::doctor::image::scan::Scanner;
use dkimctl::doctor::image::walk::{self, Limits};

const MIB: usize = 1 << 20;

fn mebibytes() -> usize {
    std::env::var("DKIMCTL_BENCH_MIB").ok().and_then(|text| text.parse().ok()).unwrap_or(1024)
}

/// Octets without a pattern, the same in every run (splitmix64).
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0_u64;
    let mut octets = Vec::with_capacity(length + 8);
    while octets.len() < length {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        octets.extend_from_slice(&(word ^ (word >> 31)).to_le_bytes());
    }
    octets.truncate(length);
    octets
}

/// One mebibyte of each kind of file.
fn kinds() -> Vec<(&'static str, Vec<u8>)> {
    let noise = noise(MIB);
    let lines = STANDARD.encode(&noise).into_bytes();
    let base64: Vec<u8> = lines.chunks(64).flat_map(|line| [line, b"\n"].concat()).take(MIB).collect();
    let rule = format!("{}\n# A heading\n{} and some text about MIIEv and AGE\n", "-".repeat(78), "word ".repeat(14));
    let text: Vec<u8> = rule.bytes().cycle().take(MIB).collect();
    vec![("noise", noise), ("base64", base64), ("text", text), ("zeros", vec![0; MIB])]
}

/// The scanner alone, in memory.
fn scanner(c: &mut Criterion) {
    let mut group = c.benchmark_group("scanner");
    group.throughput(Throughput::Bytes(MIB as u64)).sample_size(20).measurement_time(Duration::from_secs(3));
    for (name, octets) in kinds() {
        group.bench_function(name, |b| {
            b.iter(|| {
                let mut scanner = Scanner::default();
                octets.chunks(64 << 10).for_each(|chunk| scanner.feed(chunk));
                assert!(scanner.finish().is_empty());
            });
        });
    }
    group.finish();
}

/// Whole archives, from the disk's cache to the last finding.
fn archives(_: &mut Criterion) {
    let base = std::env::var_os("DKIMCTL_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = tempfile::tempdir_in(base).unwrap();
    let size = mebibytes() * MIB;
    let mixed: Vec<u8> = kinds().into_iter().flat_map(|(_, octets)| octets).collect();
    let plain = dir.path().join("plain.tar");
    image(&plain, size / mixed.len(), &mixed, &[]);
    report(&plain, &format!("a plain layer of {} MiB, files of 4 MiB", mebibytes()));
    let small = dir.path().join("small.tar");
    image(&small, size / 16 / 2048, &mixed[..2048], &[]);
    report(&small, &format!("{} files of 2 KiB", size / 16 / 2048));
    for (program, args) in [("gzip", &["-1"][..]), ("zstd", &["-q"][..]), ("xz", &["-0"][..])] {
        let packed = dir.path().join(program);
        if image(&packed, size / 4 / mixed.len(), &mixed, &[&[program], args].concat()) {
            report(&packed, &format!("a layer of {} MiB packed by {program}", mebibytes() / 4));
        }
    }
}

/// An archive of one layer that holds so many files, packed by a program if one is given; `false` if it is not there.
fn image(path: &Path, files: usize, octets: &[u8], packer: &[&str]) -> bool {
    let layer = path.with_extension("layer");
    let mut tar = tar::Builder::new(BufWriter::new(File::create(&layer).unwrap()));
    for number in 0..files {
        append(&mut tar, &format!("usr/lib/{number}"), octets);
    }
    tar.into_inner().unwrap().flush().unwrap();
    if let [program, args @ ..] = packer {
        let packed = path.with_extension("packed");
        let input = Stdio::from(File::open(&layer).unwrap());
        let done = Command::new(program)
            .args(args)
            .arg("-c")
            .stdin(input)
            .stdout(File::create(&packed).unwrap())
            .status()
            .is_ok_and(|status| status.success());
        if !done {
            say(&format!("{program} is not installed, so its layers are not measured"));
            return false;
        }
        fs::rename(&packed, &layer).unwrap();
    }
    let mut outer = tar::Builder::new(BufWriter::new(File::create(path).unwrap()));
    let manifest = br#"[{"Config":"c.json","Layers":["layer.tar"]}]"#;
    append(&mut outer, "manifest.json", manifest);
    append(&mut outer, "c.json", b"{}");
    outer.append_path_with_name(&layer, "layer.tar").unwrap();
    outer.into_inner().unwrap().flush().unwrap();
    fs::remove_file(layer).unwrap();
    true
}

fn append(tar: &mut tar::Builder<impl Write>, path: &str, octets: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_size(octets.len() as u64);
    tar.append_data(&mut header, path, octets).unwrap();
}

/// The better of two runs, as `grep` is measured too; the rate is that of the archive as it lies on the disk.
fn report(path: &Path, what: &str) {
    let octets = path.metadata().unwrap().len();
    let ours = best(|| {
        let image = walk::archive("bench", File::open(path).unwrap(), &Limits::default()).unwrap();
        assert!(image.keys.is_empty() && image.unscanned.is_empty() && image.files > 0, "{:?}", image.unscanned);
    });
    let reading = best(|| {
        std::io::copy(&mut File::open(path).unwrap().take(octets), &mut std::io::sink()).unwrap();
    });
    let grep = best(|| {
        let mut grep = Command::new("grep");
        grep.env("LC_ALL", "C").args(["-c", "BEGIN"]).arg(path).stdout(Stdio::null());
        grep.status().expect("grep is everywhere");
    });
    let rate = |took: Duration| octets as f64 / MIB as f64 / took.as_secs_f64();
    say(&format!(
        "{what}: {:.2} s, {:.0} MiB/s; grep -c BEGIN {:.2} s, {:.0} MiB/s (ratio {:.1}); reading alone {:.2} s; {} MiB resident at most",
        ours.as_secs_f64(),
        rate(ours),
        grep.as_secs_f64(),
        rate(grep),
        ours.as_secs_f64() / grep.as_secs_f64(),
        reading.as_secs_f64(),
        peak() >> 10,
    ));
    fs::remove_file(path).unwrap();
}

fn best(mut run: impl FnMut()) -> Duration {
    let mut once = || {
        let begun = Instant::now();
        run();
        begun.elapsed()
    };
    once().min(once())
}

/// KiB.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

criterion_group!(benches, scanner, archives);
criterion_main!(benches);
