//! How fast RSA-2048 keys are made: ours on one core, beside the two programs that people use, in the same run.
//!
//! `cargo bench --bench keygen` prints the usual figures and then the ratios. The three are measured in turns, so that
//! a busy machine slows all of them alike. The times of the programs include their start: nobody gets a key without.

use std::hint::black_box;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use criterion::Criterion;
use dkimctl::keygen::{KeyKind, generate};

const KIND: KeyKind = KeyKind::Rsa { bits: 2048 };

/// Making a key takes a random number of steps, so it takes many to say how long it takes.
const ROUNDS: u32 = 100;

fn main() {
    let mut criterion =
        Criterion::default().sample_size(20).measurement_time(Duration::from_secs(5)).configure_from_args();
    // One thread: the two primes of a key are searched for one after the other.
    let one_core = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread starts");
    let ours = || one_core.install(|| drop(black_box(generate(KIND).expect("2048 bits are made here"))));
    criterion.bench_function("rsa2048, ours, one core", |bench| bench.iter(ours));
    criterion.bench_function("rsa2048, ours, two threads", |bench| bench.iter(|| black_box(generate(KIND))));
    criterion.bench_function("ed25519, ours", |bench| bench.iter(|| black_box(generate(KeyKind::Ed25519))));
    criterion.final_summary();
    ratios(ours);
}

fn ratios(ours: impl Fn()) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let openssl = || run(Command::new("openssl").args(["genrsa", "2048"]));
    let opendkim = || {
        let options = ["-b", "2048", "-d", "example.com", "-s", "s1", "-D"];
        run(Command::new("opendkim-genkey").args(options).arg(dir.path()))
    };
    let (openssl_there, opendkim_there) = (openssl(), opendkim());
    let mut spent = [Duration::ZERO; 3];
    for _ in 0..ROUNDS {
        spent[0] += time(&ours);
        if openssl_there {
            spent[1] += time(|| assert!(openssl()));
        }
        if opendkim_there {
            spent[2] += time(|| assert!(opendkim()));
        }
    }
    let mean = |total: Duration| total.as_secs_f64() * 1000.0 / f64::from(ROUNDS);
    let mut lines = vec![format!("ours, one core    {:7.1} ms a key", mean(spent[0]))];
    for (name, there, total) in
        [("openssl genrsa", openssl_there, spent[1]), ("opendkim-genkey", opendkim_there, spent[2])]
    {
        lines.push(match there {
            true => format!("{name:<17} {:7.1} ms a key, {:.1} times ours", mean(total), mean(total) / mean(spent[0])),
            false => format!("{name:<17} is not installed"),
        });
    }
    std::io::Write::write_all(&mut std::io::stdout(), (lines.join("\n") + "\n").as_bytes()).expect("standard output");
}

fn time(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn run(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}
