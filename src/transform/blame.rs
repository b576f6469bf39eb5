//! Puts an error of a script at its place: stage, file, line, and the text of the line.

use rhai::{EvalAltResult, Position};

use super::bundle::Bundle;
use super::compile::{Program, StageCode};
use super::error::{ScriptError, code};
use super::limits::Stopped;
use super::mishap::{Located, locate};
use super::repair;

/// An error of Rhai, in the words and at the place that an operator needs.
pub(crate) fn located(
    bundle: &Bundle,
    program: &Program,
    stage: &StageCode,
    handler: &str,
    error: EvalAltResult,
) -> ScriptError {
    let Located { code, message, mishap, file, function, position } = locate(error);
    let mut located = error_of(bundle, stage, code, message);
    if program.session.watch.stopped() == Some(Stopped::Wall) && code == code::DEADLINE {
        located.retryable = true;
        located.message = "the machine was too busy to run the script in time".into();
    }
    located.function = Some(function.unwrap_or_else(|| handler.to_owned()));
    let file = file.unwrap_or_else(|| located.file.clone());
    match program.session.last_step.take() {
        Some((step_file, step)) if position.is_none() => {
            put_at(bundle, &mut located, &step_file, step);
        }
        _ => put_at(bundle, &mut located, &file, position),
    }
    located.corrected = mishap.and_then(|mishap| {
        let line = line_of(bundle, &located)?;
        repair::corrected(&mishap, line.trim_end(), located.column?)
    });
    located
}

/// Says where an error happened.
pub(crate) fn put_at(bundle: &Bundle, error: &mut ScriptError, file: &str, position: Position) {
    if bundle.source(file).is_some() {
        error.file = file.to_owned();
    }
    error.line = position.line();
    error.column = position.position().filter(|column| *column > 0);
    error.source_line =
        line_of(bundle, error).map(|text| super::mask::shortened(text.trim_end(), 200));
}

/// The whole line at which an error happened.
fn line_of<'b>(bundle: &'b Bundle, error: &ScriptError) -> Option<&'b str> {
    bundle.source(&error.file)?.lines().nth(error.line?.checked_sub(1)?)
}

/// An error of a stage, without a place.
pub(crate) fn error_of(
    bundle: &Bundle,
    stage: &StageCode,
    code: &'static str,
    message: String,
) -> ScriptError {
    error(bundle, &stage.name, &bundle.stages()[stage.index].file, code, message)
}

/// An error without a place.
pub(crate) fn error(
    bundle: &Bundle,
    stage: &str,
    file: &str,
    code: &'static str,
    message: String,
) -> ScriptError {
    ScriptError {
        code,
        message,
        stage: stage.to_owned(),
        file: file.to_owned(),
        function: None,
        line: None,
        column: None,
        source_line: None,
        corrected: None,
        retryable: false,
        bundle: bundle.hash().into(),
    }
}
