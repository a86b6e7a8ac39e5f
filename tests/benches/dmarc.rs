//! How fast small reports are read, and read and kept. Beside it, if it is installed (`pip install parsedmarc`), what
//! parsedmarc needs for the same reports, offline.

use std::hint::black_box;
use std::io::Write;
use std::process::Command;
use std::time::Instant;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use dkimctl::dmarc::authentic::Authenticator;
use dkimctl::dmarc::ingest::{Entry, Ingest};
use dkimctl::dmarc::xml;
use dkimctl_state::name::Fqdn;
use dkimctl_state::record::txt::TxtText;
use dkimctl_state::store::evidence::EvidenceStore;
use dkimctl_state::store::sqlite::{Options, SqliteStore};
use dkimctl_state::time::Time;

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
    beside_parsedmarc();
}

/// `DKIMCTL_PYTHON` names an interpreter that has parsedmarc.
fn beside_parsedmarc() {
    let python = std::env::var("DKIMCTL_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let dir = tempfile::tempdir().unwrap();
    let count = 300;
    for n in 0..count {
        std::fs::write(dir.path().join(format!("{n}.xml.gz")), gz(&report(n))).unwrap();
    }
    let script = "import sys, glob, time, parsedmarc\nfiles = glob.glob(sys.argv[1] + '/*')\nbegun = time.time()\n\
                  for f in files: parsedmarc.parse_report_file(f, offline=True)\nprint(len(files) / (time.time() - begun))";
    let begun = Instant::now();
    let out = Command::new(&python).args(["-c", script]).arg(dir.path()).output();
    let said = match out {
        Ok(out) if out.status.success() => {
            format!("parsedmarc, offline: {} reports/s", String::from_utf8_lossy(&out.stdout).trim())
        }
        Ok(out) => format!(
            "parsedmarc was not measured: {}",
            String::from_utf8_lossy(&out.stderr).lines().last().unwrap_or("")
        ),
        Err(error) => format!("parsedmarc was not measured: {error}"),
    };
    let _ = writeln!(std::io::stderr(), "{said} (with its start: {} s)", begun.elapsed().as_secs());
}

criterion_group!(benches, small_reports);
criterion_main!(benches);
