//! How commands write to standard output, which whoever reads it may close before the end.
//!
//! Not here: what is written.

use std::io::{ErrorKind, Result, Stdout, Write};
use std::process::ExitCode;

use serde::Serialize;

/// Runs a command that only shows something: when nobody reads any more, it ends, and well.
///
/// # Errors
/// Those of the command.
pub(super) fn to_stdout(
    run: impl FnOnce(&mut dyn Write) -> anyhow::Result<ExitCode>,
) -> anyhow::Result<ExitCode> {
    let result = run(&mut std::io::stdout().lock());
    let closed = |error: &anyhow::Error| {
        let cause = error.downcast_ref::<std::io::Error>();
        cause.is_some_and(|cause| cause.kind() == ErrorKind::BrokenPipe)
    };
    match result {
        Err(error) if closed(&error) => Ok(ExitCode::SUCCESS),
        result => result,
    }
}

/// Runs a command that does something or comes to a verdict: when nobody reads any more, it goes on,
/// and its exit code is what it would have been. `segue test | head -1` fails when a case fails.
///
/// # Errors
/// Those of the command.
pub(super) fn to_the_end<T>(
    run: impl FnOnce(&mut (dyn Write + Send)) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    run(&mut Heedless(std::io::stdout()))
}

/// Writes an object as a line of JSON.
pub(super) fn json_line(out: &mut dyn Write, object: &impl Serialize) -> anyhow::Result<()> {
    writeln!(out, "{}", serde_json::to_string(object)?)?;
    Ok(())
}

/// Writes an object as JSON for people.
pub(super) fn json_page(out: &mut dyn Write, object: &impl Serialize) -> anyhow::Result<()> {
    writeln!(out, "{}", serde_json::to_string_pretty(object)?)?;
    Ok(())
}

/// Writes on although nobody reads.
struct Heedless(Stdout);

impl Write for Heedless {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        heedless(self.0.write(bytes), bytes.len())
    }

    fn flush(&mut self) -> Result<()> {
        heedless(self.0.flush(), ())
    }
}

fn heedless<T>(result: Result<T>, otherwise: T) -> Result<T> {
    match result {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(otherwise),
        result => result,
    }
}
