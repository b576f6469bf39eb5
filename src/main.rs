//! Segue's command line.

use std::process::ExitCode;

use clap::Parser;
use segue::cli::Cli;

/// Scripts and JSON allocate all the time, on several threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("segue: {error:#}");
            ExitCode::from(2)
        }
    }
}
