//! Segue.

use std::process::ExitCode;

use clap::Parser;

/// A proxy between Segment or RudderStack and Customer.io.
#[derive(Parser)]
enum Command {
    Map(segue::cli::map::MapArgs),
}

fn main() -> ExitCode {
    let Command::Map(args) = Command::parse();
    match segue::cli::map::run(args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("segue: {error:#}");
            ExitCode::FAILURE
        }
    }
}
