//! How fast small reports are read, and read and kept: 10,000 files of a directory, by the clock and by the processor
//! time that the kernel counts, which a busy machine does not change. Beside it, if it is installed
//! (`pip install parsedmarc`), what parsedmarc needs for the same reports, offline.

use std::hint::black_box;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use dkimctl::dmarc::authentic::Authenticator;
use dkimctl::dmarc::ingest::{Entry, Ingest};
use dkimctl::dmarc::xml;
use dkimctl_state::name::Fqdn;
use dkimctl_state::record::txt::TxtText;
use dkimctl_state::store::evidence::EvidenceStore;
use dkimctl_state::store::sqlite::{Options, SqliteStore};
use dkimctl_state::time::Time;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

/// Two records, some 2 kB: what most reporters send about most domains.
fn report(number: u64) -> Vec<u8> {
    let record = |source: u64, word: &str| {
        format!(
            "  <record>\n    <row>\n      <source_ip>192.0.2.{source}</source_ip>\n      <count>3</count>\n\
             \x20     <policy_evaluated>\n        <disposition>none</disposition>\n        <dkim>{word}</dkim>\n\
             \x20       <spf>{word}</spf>\n      </policy_evaluated>\n    </row>\n    <identifiers>\n\
             \x20     <header_from>example.com</header_from>\n    </identifiers>\n    <auth_results>\n      <dkim>\n\
             \x20       <domain>example.com</domain>\n        <selector>s1</selector>\n        <result>{word}</result>\n\
             \x20     </dkim>\n      <spf>\n        <domain>example.com</domain>\n        <result>{word}</result>\n\
             \x20     </spf>\n    </auth_results>\n  </record>\n"
        )
    };
    let begin = 1_700_006_400 + number % 300 * 86400;
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\" ?>\n<feedback>\n  <report_metadata>\n    <org_name>google.com</org_name>\n\
         \x20   <email>noreply-dmarc-support@google.com</email>\n    <report_id>{number}</report_id>\n    <date_range>\n\
         \x20     <begin>{begin}</begin>\n      <end>{}</end>\n    </date_range>\n  </report_metadata>\n  <policy_published>\n\
         \x20   <domain>example.com</domain>\n    <adkim>r</adkim>\n    <aspf>r</aspf>\n    <p>none</p>\n    <sp>none</sp>\n\
         \x20   <pct>100</pct>\n  </policy_published>\n{}{}</feedback>\n",
        begin + 86399,
        record(number % 200, "pass"),
        record(number % 7, "fail")
    )
    .into_bytes()
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn take_in(store: Option<&mut dyn EvidenceStore>, inputs: &[Vec<u8>]) -> u64 {
    let nobody = |_: &Fqdn| Err::<Vec<TxtText>, _>("offline".to_owned());
    let mut say = |entry: &Entry| {
        black_box(entry.messages);
    };
    let now = Time::from_unix(1_800_000_000);
    let store = store.map(|store| store as &mut dyn EvidenceStore);
    let mut run = Ingest::new(store, Authenticator::new(&nobody), now, false, &mut say);
    for input in inputs {
        run.stream("r", input.as_slice());
    }
    run.finish().unwrap().0.ok
}

fn small_reports(c: &mut Criterion) {
    let mut group = c.benchmark_group("dmarc");
    let plain = report(1);
    group.throughput(Throughput::Elements(1));
    group.bench_function("parse", |b| b.iter(|| xml::parse(black_box(plain.as_slice())).unwrap().messages));
    let inputs: Vec<Vec<u8>> = (0..2000).map(|n| gz(&report(n))).collect();
    group.throughput(Throughput::Elements(inputs.len() as u64));
    group.sample_size(10);
    group.bench_function("gzip, nothing kept", |b| b.iter(|| assert_eq!(take_in(None, &inputs), 2000)));
    group.bench_function("gzip, kept in the state", |b| {
        let fresh = || {
            let dir = tempfile::tempdir().unwrap();
            let store = SqliteStore::create(&dir.path().join("s"), uuid::Uuid::from_u128(1), &Options::read_write());
            (dir, store.unwrap())
        };
        b.iter_batched(
            fresh,
            |(_dir, mut store)| assert_eq!(take_in(Some(&mut store), &inputs), 2000),
            BatchSize::PerIteration,
        );
    });
    group.finish();
    let dir = tempfile::tempdir().unwrap();
    for n in 0..FILES {
        std::fs::write(dir.path().join(format!("{n}.xml.gz")), gz(&report(n))).unwrap();
    }
    for keep in [false, true] {
        directory(dir.path(), keep);
    }
    beside_parsedmarc(dir.path());
}

const FILES: u64 = 10_000;

/// A directory of small files, once.
fn directory(reports: &Path, keep: bool) {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(&dir.path().join("s"), uuid::Uuid::from_u128(1), &Options::read_write());
    let mut store = store.unwrap();
    let nobody = |_: &Fqdn| Err::<Vec<TxtText>, _>("offline".to_owned());
    let mut say = |entry: &Entry| {
        black_box(entry.messages);
    };
    let (begun, processor) = (Instant::now(), processor_time());
    let to = keep.then_some(&mut store as &mut dyn EvidenceStore);
    let mut run = Ingest::new(to, Authenticator::new(&nobody), Time::from_unix(1_800_000_000), false, &mut say);
    run.path(reports);
    assert_eq!(run.finish().unwrap().0.ok, FILES);
    let (wall, processor) = (begun.elapsed(), processor_time() - processor);
    let what = if keep { "read and kept" } else { "read" };
    let rate = FILES as f64 / processor.as_secs_f64();
    let _ = writeln!(
        std::io::stderr(),
        "{FILES} files {what}: {:.2} s of processor time ({rate:.0} reports/s of one core), {:.2} s by the clock",
        processor.as_secs_f64(),
        wall.as_secs_f64()
    );
}

/// Of this process, in user mode and in the kernel.
fn processor_time() -> Duration {
    let used = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    let time = |t: nix::sys::time::TimeVal| Duration::from_micros(t.num_microseconds() as u64);
    time(used.user_time()) + time(used.system_time())
}

/// `DKIMCTL_PYTHON` names an interpreter that has parsedmarc. It takes some hundreds of the files.
fn beside_parsedmarc(reports: &Path) {
    let python = std::env::var("DKIMCTL_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = "import sys, glob, time, parsedmarc\nfiles = glob.glob(sys.argv[1] + '/*')[:300]\n\
                  begun = time.time(), time.process_time()\n\
                  for f in files: parsedmarc.parse_report_file(f, offline=True)\n\
                  wall, cpu = time.time() - begun[0], time.process_time() - begun[1]\n\
                  print('%d reports/s of one core, %d by the clock' % (len(files) / cpu, len(files) / wall))";
    let out = Command::new(&python).args(["-c", script]).arg(reports).output();
    let said = match out {
        Ok(out) if out.status.success() => {
            format!("parsedmarc, offline: {}", String::from_utf8_lossy(&out.stdout).trim())
        }
        Ok(out) => format!(
            "parsedmarc was not measured: {}",
            String::from_utf8_lossy(&out.stderr).lines().last().unwrap_or("")
        ),
        Err(error) => format!("parsedmarc was not measured: {error}"),
    };
    let _ = writeln!(std::io::stderr(), "{said}");
}

criterion_group!(benches, small_reports);
criterion_main!(benches);
