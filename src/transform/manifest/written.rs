//! How `transforms.toml` is written: every key with its default, and what is wrong with a file.
//!
//! Not here: what the manifest means ([`super::Manifest`]).

use std::collections::{BTreeMap, BTreeSet};

use glob::Pattern;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{FILE, Filter, Manifest, Mode, OnError, Reload, Stage, is_stage_file};
use crate::spec::{Call, Vendor};
use crate::transform::diagnostic::Diagnostic;
use crate::transform::limits::Limits;

/// The file, key by key. Unknown keys are errors.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Written {
    /// `[pipeline]`.
    pub pipeline: WrittenPipeline,
    /// `[limits]`.
    pub limits: Limits,
    /// `[contracts]`.
    pub contracts: crate::contract::Rules,
    /// `[vars]`: what scripts read as `ctx.vars`.
    pub vars: BTreeMap<String, toml::Value>,
    /// `[reload]`.
    pub reload: Reload,
    /// `[[stage]]`, in order. None: every stage file at the top of the folder, by name.
    pub stage: Vec<WrittenStage>,
}

/// `[pipeline]`: what holds for every stage that says nothing else.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct WrittenPipeline {
    /// What happens to an event that a stage fails on.
    pub on_error: OnError,
    /// The same, for exit events. Not set: `on_error`.
    pub on_error_exit: Option<OnError>,
    /// Which events are exit events, by their canonical keys; `*` stands for anything.
    pub exit_events: Vec<String>,
}

impl Default for WrittenPipeline {
    fn default() -> Self {
        let exits = ["order_completed", "order_cancelled", "order_refunded", "subscription_*"];
        Self {
            on_error: OnError::default(),
            on_error_exit: None,
            exit_events: exits.map(str::to_owned).to_vec(),
        }
    }
}

/// `[[stage]]`.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenStage {
    /// The file, with or without `.rhai`.
    pub file: String,
    /// What the stage runs on.
    #[serde(default, rename = "match")]
    pub filter: WrittenFilter,
    /// What happens when it fails. Not set: `pipeline.on_error`.
    pub on_error: Option<OnError>,
    /// The same, for exit events. Not set: the stage's `on_error`, else `pipeline.on_error_exit`.
    pub on_error_exit: Option<OnError>,
    /// Whether it runs.
    #[serde(default)]
    pub mode: Mode,
}

/// `match` of a stage. What is not set admits everything.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct WrittenFilter {
    /// Types of calls.
    pub r#type: Vec<String>,
    /// Event names in any spelling, or canonical keys; `*` stands for anything.
    pub event: Vec<String>,
    /// A table in `data/` whose keys are the canonical keys of the events.
    pub event_in: Option<String>,
    /// Sources, by name.
    pub source: BTreeSet<String>,
    /// Kinds of sources.
    #[serde(alias = "kind")]
    pub platform: Vec<Vendor>,
}

impl Manifest {
    /// Reads the manifest; without one, every stage file at the top of the folder runs in the order
    /// of the names.
    ///
    /// # Errors
    /// Every finding, with its line where TOML says it.
    pub fn read(text: Option<&str>, files: &BTreeSet<String>) -> Result<Self, Vec<Diagnostic>> {
        let written: Written = match text {
            Some(text) => toml::from_str(text).map_err(|error| vec![toml_error(text, &error)])?,
            None => Written::default(),
        };
        let mut findings = Vec::new();
        let text = text.unwrap_or_default();
        let stages = read_stages(&written, files, text, &mut findings);
        let exit_events = written.pipeline.exit_events.iter();
        let exit_events = exit_events
            .filter_map(|pattern| match Pattern::new(pattern) {
                Ok(pattern) => Some(pattern),
                Err(error) => {
                    findings.push(place(text, pattern, format!("{pattern:?}: {error}")));
                    None
                }
            })
            .collect();
        let vars = written.vars.into_iter().filter_map(|(name, value)| match to_json(value) {
            Some(value) => Some((name, value)),
            None => {
                let message = format!("vars.{name} holds a date: write it as a text");
                findings.push(place(text, &name, message));
                None
            }
        });
        let vars = vars.collect();
        let (limits, contracts, reload) = (written.limits, written.contracts, written.reload);
        if !(0.0..=1.0).contains(&reload.rollback_error_ratio) {
            let message = "reload.rollback_error_ratio is a share from 0 to 1".to_owned();
            findings.push(place(text, "rollback_error_ratio", message));
        }
        let manifest = Self { stages, limits, vars, reload, contracts, exit_events };
        manifest.check_limits(text, &mut findings);
        if findings.is_empty() { Ok(manifest) } else { Err(findings) }
    }

    fn check_limits(&self, text: &str, findings: &mut Vec<Diagnostic>) {
        let Limits { operations, deadline_ms, wall_ms, outputs, .. } = self.limits;
        for (name, value) in [
            ("operations", operations),
            ("deadline_ms", deadline_ms),
            ("wall_ms", wall_ms),
            ("outputs", outputs as u64),
        ] {
            if value == 0 {
                findings.push(place(text, name, format!("limits.{name} must be more than 0")));
            }
        }
        if self.limits.elements > 50_000 {
            let message = "limits.elements must be at most 50000: nested that deeply, a value would \
                           exhaust the stack";
            findings.push(place(text, "elements", message.into()));
        }
    }
}

fn read_stages(
    written: &Written,
    files: &BTreeSet<String>,
    text: &str,
    findings: &mut Vec<Diagnostic>,
) -> Vec<Stage> {
    if written.stage.is_empty() {
        let tops = files.iter().filter(|file| is_stage_file(file));
        return tops.map(|file| Stage::plain(file, &written.pipeline)).collect();
    }
    let mut seen = BTreeSet::new();
    let mut stages = Vec::new();
    for stage in &written.stage {
        let file = match stage.file.strip_suffix(".rhai") {
            Some(_) => stage.file.clone(),
            None => format!("{}.rhai", stage.file),
        };
        if !files.contains(&file) {
            let there: Vec<&str> =
                files.iter().filter(|file| is_stage_file(file)).map(String::as_str).collect();
            let finding = place(text, &stage.file, format!("there is no file {file}"));
            findings.push(finding.with_hint(format!("there are {}", there.join(", "))));
            continue;
        }
        if !seen.insert(file.clone()) {
            findings.push(place(text, &stage.file, format!("{file} is listed twice")));
            continue;
        }
        let mut read = Stage::plain(&file, &written.pipeline);
        read.mode = stage.mode;
        read.on_error = stage.on_error.unwrap_or(read.on_error);
        read.on_error_exit = stage.on_error_exit.or(stage.on_error).unwrap_or(read.on_error_exit);
        read.filter = read_filter(&stage.filter, text, findings);
        stages.push(read);
    }
    stages
}

impl Stage {
    fn plain(file: &str, pipeline: &WrittenPipeline) -> Self {
        Self {
            name: file.trim_end_matches(".rhai").to_owned(),
            file: file.to_owned(),
            on_error: pipeline.on_error,
            on_error_exit: pipeline.on_error_exit.unwrap_or(pipeline.on_error),
            mode: Mode::Live,
            filter: Filter::default(),
        }
    }
}

fn read_filter(written: &WrittenFilter, text: &str, findings: &mut Vec<Diagnostic>) -> Filter {
    let mut filter = Filter {
        event_in: written.event_in.clone(),
        sources: written.source.clone(),
        platforms: written.platform.clone(),
        ..Filter::default()
    };
    for name in &written.r#type {
        match Call::from_name(name) {
            Some(call) => filter.calls.push(call),
            None => {
                let finding = place(text, name, format!("{name:?} is no type of event"));
                findings.push(finding.with_hint(format!("one of {}", Call::NAMES.join(", "))));
            }
        }
    }
    for pattern in &written.event {
        match Pattern::new(pattern) {
            Ok(pattern) => filter.events.push(pattern),
            Err(error) => findings.push(place(text, pattern, format!("{pattern:?}: {error}"))),
        }
    }
    filter
}

fn to_json(value: toml::Value) -> Option<Value> {
    Some(match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(whole) => whole.into(),
        toml::Value::Float(float) => float.into(),
        toml::Value::Boolean(flag) => flag.into(),
        toml::Value::Array(items) => items.into_iter().map(to_json).collect::<Option<_>>()?,
        toml::Value::Table(fields) => {
            let fields = fields.into_iter().map(|(name, value)| Some((name, to_json(value)?)));
            Value::Object(fields.collect::<Option<_>>()?)
        }
        toml::Value::Datetime(_) => return None,
    })
}

fn toml_error(text: &str, error: &toml::de::Error) -> Diagnostic {
    let finding = Diagnostic::error(FILE, error.message().trim());
    match error.span() {
        Some(span) => {
            let before = text.get(..span.start).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            finding.at(text, Some(line), Some(column))
        }
        None => finding,
    }
}

/// A finding at the first line that mentions `word`.
pub(crate) fn place(text: &str, word: &str, message: String) -> Diagnostic {
    let finding = Diagnostic::error(FILE, message);
    let found = text.lines().enumerate().find_map(|(at, line)| {
        let column = line.find(word)?;
        Some((at + 1, line[..column].chars().count() + 1))
    });
    match found {
        Some((line, column)) => finding.at(text, Some(line), Some(column)),
        None => finding,
    }
}
