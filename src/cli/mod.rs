//! The command line: one file a verb, each with its `Args` and its `run`.
//!
//! Data goes to standard output, talk to standard error. [`error`] decides the exit code, [`machine`] makes the world
//! that a verb acts upon, [`drive`] runs the loop for it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod adopt;
mod advance;
mod completions;
mod demo;
mod dmarc;
mod dns;
mod doctor;
mod drive;
mod error;
mod explain;
mod hold;
mod host;
mod init;
mod init_text;
mod local_host;
mod log;
mod machine;
mod man;
mod placement;
mod plan;
mod progress;
mod receipt;
mod record;
mod release;
mod request;
mod retire;
mod revoke;
mod rollback;
mod rotate;
mod secrets;
mod shell;
mod spf;
mod stack;
mod state;
mod status;
mod verify;

pub use error::{Error, Exit, Kind};
pub use machine::{Machine, ReadState, WriteState};
pub use shell::Shell;

use crate::report::paint::When;

/// Rotates DKIM keys without a single unverifiable message
#[derive(Debug, Parser)]
#[command(
    name = "dkimctl",
    version,
    max_term_width = 100,
    after_help = "\
Exit codes:
  0 ok   1 error   2 usage   3 checks failed   4 could not check
  5 changes pending (plan --exit-code)   6 the state is locked

Examples:
  dkimctl init --domain example.com     begin
  dkimctl rotate example.com            a new key, by the whole safe path
  dkimctl status                        where every key stands, and what comes next
  dkimctl advance                       from cron: whatever is due; silent when nothing is"
)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// The configuration [default: ./dkimctl.toml, $XDG_CONFIG_HOME/dkimctl/, /etc/dkimctl/]
    #[arg(long, global = true, value_name = "FILE", env = "DKIMCTL_CONFIG", hide_env_values = true)]
    pub config: Option<PathBuf>,
    /// Print JSON, with "schema": 1
    #[arg(long, global = true)]
    pub json: bool,
    /// When to colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: When,
    /// Say more
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Say only errors
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Accept a state on NFS, SMB or FUSE, where locks cannot be trusted
    #[arg(long, global = true, hide = true)]
    pub allow_network_state: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::Args),
    Demo(demo::Args),
    Plan(plan::Args),
    Rotate(rotate::Args),
    Advance(advance::Args),
    Retire(retire::Args),
    Status(status::Args),
    Verify(verify::Args),
    Rollback(rollback::Args),
    Revoke(revoke::Args),
    Adopt(adopt::Args),
    Hold(hold::Args),
    Release(release::Args),
    Log(log::Args),
    Dmarc(dmarc::Args),
    Dns(dns::Args),
    Secrets(secrets::Args),
    Host(host::Args),
    Receipt(receipt::Args),
    State(state::Args),
    Spf(spf::Args),
    Stack(stack::Args),
    Doctor(doctor::Args),
    Explain(explain::Args),
    Placement(placement::Args),
    Completions(completions::Args),
    Man(man::Args),
}

/// Reads the arguments, performs the command, says how it ended.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let shell = Shell::new(cli.global);
    let ended = match cli.command {
        Command::Init(args) => init::run(&shell, args),
        Command::Demo(args) => demo::run(&shell, args),
        Command::Plan(args) => plan::run(&shell, args),
        Command::Rotate(args) => rotate::run(&shell, args),
        Command::Advance(args) => advance::run(&shell, args),
        Command::Retire(args) => retire::run(&shell, args),
        Command::Status(args) => status::run(&shell, args),
        Command::Verify(args) => verify::run(&shell, args),
        Command::Rollback(args) => rollback::run(&shell, args),
        Command::Revoke(args) => revoke::run(&shell, args),
        Command::Adopt(args) => adopt::run(&shell, args),
        Command::Hold(args) => hold::run(&shell, args),
        Command::Release(args) => release::run(&shell, args),
        Command::Log(args) => log::run(&shell, args),
        Command::Dmarc(args) => dmarc::run(&shell, args),
        Command::Dns(args) => dns::run(&shell, args),
        Command::Secrets(args) => secrets::run(&shell, args),
        Command::Host(args) => host::run(&shell, args),
        Command::Receipt(args) => receipt::run(&shell, args),
        Command::State(args) => state::run(&shell, args),
        Command::Spf(args) => spf::run(&shell, args),
        Command::Stack(args) => stack::run(&shell, args),
        Command::Doctor(args) => doctor::run(&shell, args),
        Command::Explain(args) => explain::run(&shell, args),
        Command::Placement(args) => placement::run(&shell, args),
        Command::Completions(args) => completions::run(&shell, args),
        Command::Man(args) => man::run(&shell, args),
    };
    shell.end(ended)
}
