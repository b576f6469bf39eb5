//! What goes wrong in a script, with the place where it did.
//!
//! Messages are for the operator: they may quote a short value, but e-mail addresses and long digit
//! strings are masked, and nothing of this is ever logged.
//!
//! Not here: what Rhai's own errors mean ([`super::mishap`]), how a line would be right
//! ([`super::repair`]).

use rhai::{Dynamic, EvalAltResult, ImmutableString, Map, Position};
use serde_json::json;

use super::handle::Refusal;
use super::mask;
use crate::outcome::{DeadCode, DeadLetter, Stage};

/// The codes of script errors, stable for dead letters, metrics and fixtures.
pub mod code {
    /// The script called `fail("reason")`.
    pub const FAILED: &str = "T100";
    /// The handler returned nothing, or a value that is no event.
    pub const NO_RESULT: &str = "T110";
    /// An element of the result is no usable event.
    pub const NOT_AN_EVENT: &str = "T111";
    /// The event became more events than allowed.
    pub const TOO_MANY_OUTPUTS: &str = "T120";
    /// A helper could not read a value.
    pub const UNREADABLE: &str = "T201";
    /// A property of a missing value was read.
    pub const MISSING: &str = "T202";
    /// A lookup table is not there.
    pub const UNKNOWN_TABLE: &str = "T203";
    /// A function is not there, or not for these arguments.
    pub const UNKNOWN_FUNCTION: &str = "T210";
    /// Any other error of the script.
    pub const SCRIPT: &str = "T220";
    /// Too many operations.
    pub const OPERATIONS: &str = "T301";
    /// Out of time, or suspended for being out of time too often.
    pub const DEADLINE: &str = "T302";
    /// Too much data.
    pub const DATA: &str = "T303";
    /// Calls nested too deeply.
    pub const STACK: &str = "T304";
    /// A native function panicked: a bug in Segue.
    pub const PANIC: &str = "T399";
    /// A value cannot be expressed in JSON.
    pub const NOT_JSON: &str = "T400";
}

/// Why a stage could not process an event.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ScriptError {
    /// One of [`code`].
    pub code: &'static str,
    /// What happened, masked and short.
    pub message: String,
    /// The stage, as the manifest calls it.
    pub stage: String,
    /// The file, relative to the transforms folder. It may be one of `lib/`.
    pub file: String,
    /// The function in which it happened.
    pub function: Option<String>,
    /// The line, counted from 1.
    pub line: Option<usize>,
    /// The column, counted from 1 in characters.
    pub column: Option<usize>,
    /// The text of that line.
    pub source_line: Option<String>,
    /// The line as it would be right, where that can be said.
    pub corrected: Option<String>,
    /// The machine was too busy: the same event may well succeed when tried once more.
    pub retryable: bool,
    /// The hash of the bundle.
    pub bundle: String,
}

impl ScriptError {
    /// The dead letter of an event that this error stopped.
    pub fn dead_letter(&self) -> DeadLetter {
        let code = match self.code {
            code::NO_RESULT | code::NOT_AN_EVENT | code::TOO_MANY_OUTPUTS | code::NOT_JSON => {
                DeadCode::ScriptResult
            }
            _ => DeadCode::ScriptFailed,
        };
        let detail = json!({
            "code": self.code,
            "stage": self.stage,
            "file": self.file,
            "function": self.function,
            "line": self.line,
            "column": self.column,
            "source_line": self.source_line,
            "corrected": self.corrected,
            "bundle": self.bundle,
        });
        DeadLetter::new(code, Stage::Transform, self.to_string()).with_detail(detail)
    }
}

/// `10_orders.rhai:7:14: T201 cannot read money from "forty nine"`.
impl std::fmt::Display for ScriptError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
            if let Some(column) = self.column {
                write!(f, ":{column}")?;
            }
        }
        write!(f, ": {} {}", self.code, self.message)
    }
}

/// An error for a script to catch, or to fail with: it carries a code and is placed by Rhai.
pub(crate) fn throw(code: &'static str, message: impl Into<String>) -> Box<EvalAltResult> {
    throw_about(code, message, &[])
}

/// As [`throw`], with more that a script may look at.
pub(crate) fn throw_about(
    code: &'static str,
    message: impl Into<String>,
    about: &[(&str, Dynamic)],
) -> Box<EvalAltResult> {
    let mut map = Map::new();
    map.insert("code".into(), code.into());
    map.insert("message".into(), message.into().into());
    for (name, value) in about {
        map.insert((*name).into(), value.clone());
    }
    EvalAltResult::ErrorRuntime(map.into(), Position::NONE).into()
}

/// The error for a value that cannot be written into an event.
pub(crate) fn refused(refusal: Refusal) -> Box<EvalAltResult> {
    match refusal {
        Refusal::NotJson(what) => throw(
            code::NOT_JSON,
            format!("{what} cannot be part of an event: only what JSON has can"),
        ),
        Refusal::TooDeep => {
            throw(code::DATA, "the event would be nested too deeply; a map is put into itself?")
        }
        Refusal::TooMuch => throw(
            code::DATA,
            "the script writes more into the event than [limits] nodes and bytes allow",
        ),
        Refusal::ReadOnly => {
            throw(code::SCRIPT, "ctx can only be read; take a copy with copy() to change it")
        }
    }
}

/// The value of a catch variable, or of a message: a text.
pub(crate) fn quoted(value: &Dynamic) -> ImmutableString {
    let text = match super::handle::as_text(value) {
        Some(text) => format!("{text:?}"),
        None if value.is_unit() => "()".to_owned(),
        None => match super::handle::type_word(value) {
            word @ ("a map" | "an array" | "a function" | "no JSON value") => word.to_owned(),
            _ => value.to_string(),
        },
    };
    mask::shortened(&text, 60).into()
}
