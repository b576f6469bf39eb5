//! The command line: one file for each command, one place that knows them all.

pub mod capture;
mod changes;
pub mod check;
pub mod config;
pub mod contracts;
pub mod dead_letters;
pub mod docs;
pub mod dev;
pub mod emulate;
pub mod explain;
pub mod health;
pub mod init;
pub mod map;
mod offline;
pub mod operator;
pub mod recorded;
pub mod reload;
pub mod replay;
pub mod runs;
pub mod serve;
pub mod status;
mod stdout;
mod table;
pub mod tap;
pub mod test;
pub mod why;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Between Segment or RudderStack and Customer.io: nothing lost, nothing fired by mistake.
#[derive(Debug, Parser)]
#[command(version, disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::ServeArgs),
    Map(map::MapArgs),
    Test(test::TestArgs),
    Dev(dev::DevArgs),
    Explain(explain::ExplainArgs),
    Capture(capture::CaptureArgs),
    Check(check::CheckArgs),
    Docs(docs::DocsArgs),
    Contracts(contracts::ContractsArgs),
    Config(config::ConfigArgs),
    Init(init::InitArgs),
    Replay(replay::ReplayArgs),
    Emulate(emulate::EmulateArgs),
    Status(status::StatusArgs),
    Health(health::HealthArgs),
    Runs(runs::RunsArgs),
    Tap(tap::TapArgs),
    Why(why::WhyArgs),
    DeadLetters(dead_letters::DeadLettersArgs),
    Recorded(recorded::RecordedArgs),
    Reload(reload::ReloadArgs),
}

impl Cli {
    /// Runs the command.
    ///
    /// # Errors
    /// What went wrong, for people.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Serve(args) => serve::run(&args),
            Command::Map(args) => map::run(args),
            Command::Test(args) => test::run(&args),
            Command::Dev(args) => dev::run(&args),
            Command::Explain(args) => explain::run(&args),
            Command::Capture(args) => capture::run(&args),
            Command::Check(args) => check::run(&args),
            Command::Docs(args) => docs::run(&args),
            Command::Contracts(args) => contracts::run(args),
            Command::Config(args) => config::run(&args),
            Command::Init(args) => init::run(&args),
            Command::Replay(args) => replay::run(&args),
            Command::Emulate(args) => emulate::run(args),
            Command::Status(args) => status::run(args),
            Command::Health(args) => health::run(args),
            Command::Runs(args) => runs::run(args),
            Command::Tap(args) => tap::run(args),
            Command::Why(args) => why::run(args),
            Command::DeadLetters(args) => dead_letters::run(args),
            Command::Recorded(args) => recorded::run(args),
            Command::Reload(args) => reload::run(args),
        }
    }
}
