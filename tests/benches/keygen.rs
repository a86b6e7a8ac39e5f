//! How fast RSA-2048 keys are made: ours on one core, beside the two programs that people use, in the same run.
//!
//! `cargo bench --bench keygen` prints the usual figures and then the ratios. The three are measured in turns, and by
//! the processor time that they take, so that a busy machine treats all of them alike. The programs' start is
//! included: nobody gets a key without.

use std::hint::black_box;
use std::process::{Command, Stdio};
use std::time::Duration;

use criterion::Criterion;
use dkimctl::keygen::{KeyKind, generate};
use nix::sys::resource::{UsageWho, getrusage};

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
        spent[0] += cost(UsageWho::RUSAGE_SELF, &ours);
        if openssl_there {
            spent[1] += cost(UsageWho::RUSAGE_CHILDREN, || assert!(openssl()));
        }
        if opendkim_there {
            spent[2] += cost(UsageWho::RUSAGE_CHILDREN, || assert!(opendkim()));
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

/// The processor time that some work takes, in this process or in its children.
fn cost(whose: UsageWho, work: impl FnOnce()) -> Duration {
    let used = || {
        let usage = getrusage(whose).expect("the kernel counts");
        let part = |time: nix::sys::time::TimeVal| {
            Duration::from_secs(time.tv_sec() as u64) + Duration::from_micros(time.tv_usec() as u64)
        };
        part(usage.user_time()) + part(usage.system_time())
    };
    let before = used();
    work();
    used() - before
}

fn run(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}
