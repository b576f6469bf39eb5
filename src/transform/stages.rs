//! One run of one event through the stages, by each stage's match and error policy.
//!
//! The event stays one tree of nodes through all stages: what a script changes, the next one finds.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use rhai::{Dynamic, ImmutableString};
use serde_json::Value;

use super::blame;
use super::bundle::Bundle;
use super::compile::{Program, StageCode};
use super::error::{ScriptError, code};
use super::handle::MapHandle;
use super::limits::Stopped;
use super::made::{Hints, Made, Scripted, StageTrace};
use super::manifest::{OnError, Subject};
use super::results::{Outcome, read_result};
use super::script_context::{Context, ScriptContext};
use crate::spec::{Call, Event, Object};

/// The objects that every handler may rely on.
pub(crate) const GUARANTEED: [&str; 3] = ["properties", "traits", "context"];

/// Errors that Rhai reports without a line when they happen in a handler itself.
const NEED_LINE: [&str; 5] =
    [code::OPERATIONS, code::DEADLINE, code::DATA, code::STACK, code::SCRIPT];

/// A stage that is left out for one of the events that come to it.
pub(crate) struct Skip {
    stage: usize,
    item: usize,
    /// What went wrong.
    because: ScriptError,
    /// Whether it is tried once more, since the machine was too busy.
    once_more: bool,
}

/// Why a run starts again from the beginning.
pub(crate) enum Again {
    /// To leave a stage out.
    Without(Box<Skip>),
    /// Rhai does not say where a limit was exceeded: to follow the script there.
    FindLine(Box<ScriptError>),
}

impl Again {
    /// The error for which it starts again, when it cannot.
    pub(crate) fn into_error(self) -> ScriptError {
        match self {
            Self::Without(skip) => skip.because,
            Self::FindLine(error) => *error,
        }
    }
}

/// One event on its way through the stages.
pub(crate) struct Item {
    pub(crate) event: MapHandle,
    pub(crate) hints: Hints,
    child: u32,
}

/// What one stage made of one event.
pub(crate) enum Step {
    /// It does not run for this event.
    Skipped(Item),
    Items(Vec<Item>),
    Dropped(String),
    Failed(ScriptError),
}

/// One run.
pub(crate) struct Run<'a> {
    pub(crate) bundle: &'a Bundle,
    pub(crate) program: &'a Program,
    pub(crate) vars: &'a MapHandle,
    /// The event without its fields.
    pub(crate) event: &'a Event,
    /// Which of the [`GUARANTEED`] objects it did not have.
    pub(crate) absent: [bool; 3],
    pub(crate) context: Rc<Context>,
    pub(crate) skips: &'a [Skip],
    /// The error whose line this run is to find.
    pub(crate) lost: Option<&'a ScriptError>,
}

impl Run<'_> {
    /// Takes an event with these fields through all stages.
    pub(crate) fn all_stages(
        &self,
        fields: Object,
        mut traces: Option<&mut Vec<StageTrace>>,
    ) -> Result<Made, Again> {
        let root = MapHandle::new(fields, 0, false);
        let mut items = vec![Item { event: root, hints: Hints::default(), child: 0 }];
        let mut children = 0;
        for stage in &self.program.stages {
            let mut next = Vec::with_capacity(items.len());
            let mut dropped = None;
            for (place, item) in items.into_iter().enumerate() {
                let before = traces.as_ref().map(|_| self.shown(&item.event));
                let step = self.one_stage(stage, place, item, &mut children)?;
                if let (Some(traces), Some(before)) = (traces.as_deref_mut(), before) {
                    self.trace(traces, stage, before, &step);
                }
                match step {
                    Step::Skipped(item) => next.push(item),
                    Step::Items(items) => next.extend(items),
                    Step::Dropped(reason) => {
                        dropped.get_or_insert((stage.name.to_string(), reason));
                    }
                    Step::Failed(error) => return Ok(Made::Failed(error)),
                }
            }
            items = next;
            match dropped {
                Some((stage, reason)) if items.is_empty() => {
                    return Ok(Made::Dropped { stage, reason });
                }
                _ => {}
            }
            if items.len() > self.bundle.limits().outputs {
                return Ok(Made::Failed(blame::error_of(
                    self.bundle,
                    stage,
                    code::TOO_MANY_OUTPUTS,
                    format!(
                        "the event became {} events; [limits] outputs allows {}",
                        items.len(),
                        self.bundle.limits().outputs
                    ),
                )));
            }
        }
        Ok(self.finish(items))
    }

    /// One event through one stage, by the stage's error policy.
    fn one_stage(
        &self,
        stage: &StageCode,
        place: usize,
        item: Item,
        children: &mut u32,
    ) -> Result<Step, Again> {
        let manifest = &self.bundle.stages()[stage.index];
        let name = item.event.with_scalar(name_field(self.event), as_name).flatten();
        let key = match &name {
            Some(name) if manifest.asks_for_names() => self.program.session.canonical(name),
            _ => ImmutableString::new(),
        };
        let subject = Subject {
            call: self.event.call(),
            name: name.as_deref(),
            key: &key,
            source: &self.context.source,
            platform: self.context.platform,
        };
        let knows = |table| self.bundle.table(table).is_some_and(|table| table.contains_key(&*key));
        let admits = || manifest.admits(&subject) && manifest.event_in().is_none_or(knows);
        let handler = stage.handler(self.event.call()).filter(|_| admits());
        let Some(handler) = handler else { return Ok(Step::Skipped(item)) };
        let skipped = self
            .skips
            .iter()
            .find(|skip| skip.stage == stage.index && skip.item == place && !skip.once_more);
        if let Some(skip) = skipped {
            let mut item = item;
            item.hints.failed_stages.push(skip.because.clone());
            return Ok(Step::Items(vec![item]));
        }
        let error = match self.call(stage, handler, item, children) {
            Ok(step) => return Ok(step),
            Err(error) => self.with_line(*error)?,
        };
        let policy = match &name {
            Some(name) if self.is_exit(name) => manifest.on_error_exit,
            _ => manifest.on_error,
        };
        let tried = self.skips.iter().any(|skip| skip.stage == stage.index && skip.item == place);
        let once_more = error.retryable && !tried && policy != OnError::DeadLetter;
        match policy {
            OnError::DeadLetter => Ok(Step::Failed(error)),
            OnError::Drop if !once_more => Ok(Step::Dropped("stage_error".into())),
            OnError::Drop | OnError::ForwardOriginal => {
                let skip = Skip { stage: stage.index, item: place, because: error, once_more };
                Err(Again::Without(Box::new(skip)))
            }
        }
    }

    /// The error with its line; when it has none, a run that follows the script finds it.
    fn with_line(&self, error: ScriptError) -> Result<ScriptError, Again> {
        match self.lost {
            Some(lost) if lost.stage == error.stage => Ok(ScriptError {
                file: error.file,
                function: error.function,
                line: error.line,
                column: error.column,
                source_line: error.source_line,
                corrected: error.corrected,
                ..lost.clone()
            }),
            None if error.line.is_none()
                && error.function.is_some()
                && NEED_LINE.contains(&error.code)
                && !error.retryable =>
            {
                Err(Again::FindLine(Box::new(error)))
            }
            _ => Ok(error),
        }
    }

    fn is_exit(&self, name: &str) -> bool {
        self.bundle.manifest().is_exit(&self.program.session.canonical(name))
    }

    /// Calls a handler.
    fn call(
        &self,
        stage: &StageCode,
        handler: &'static str,
        item: Item,
        children: &mut u32,
    ) -> Result<Step, Box<ScriptError>> {
        if self.bundle.is_suspended(stage.index) && !self.program.follows_steps {
            return Err(Box::new(blame::error_of(
                self.bundle,
                stage,
                code::DEADLINE,
                "stage_suspended: it ran into its deadline too often; it runs again with the next \
                 bundle"
                    .into(),
            )));
        }
        let session = &self.program.session;
        guarantee(&item.event);
        session.start_call();
        let ctx = ScriptContext::new(
            Rc::clone(&self.context),
            self.vars.clone(),
            stage.name.clone(),
            stage.bundle.clone(),
        );
        let arguments = (Dynamic::from(item.event.clone()), Dynamic::from(ctx));
        let called = catch_unwind(AssertUnwindSafe(|| {
            stage.frame.call(&self.program.engine, &stage.ast, handler, arguments)
        }));
        let stopped = session.watch.stopped();
        if !self.program.follows_steps {
            self.bundle.note_call(stage.index, stopped == Some(Stopped::Cpu));
        }
        let result = match called {
            Ok(Ok(result)) => result,
            Ok(Err(error)) => {
                let error = blame::located(self.bundle, self.program, stage, handler, *error);
                return Err(Box::new(error));
            }
            Err(_) => {
                let message = "a function of Segue panicked; please report it".to_owned();
                return Err(Box::new(blame::error_of(self.bundle, stage, code::PANIC, message)));
            }
        };
        match read_result(&result, handler, self.event, session) {
            Ok(Outcome::Dropped(reason)) => Ok(Step::Dropped(reason)),
            Ok(Outcome::Events(events)) => Ok(self.items(stage, item, events, children)),
            Err(problem) => {
                let mut error = blame::error_of(self.bundle, stage, problem.code, problem.message);
                error.function = Some(handler.to_owned());
                let file = error.file.clone();
                blame::put_at(self.bundle, &mut error, &file, problem.position);
                Err(Box::new(error))
            }
        }
    }

    /// The events that a handler returned, with what was said about each.
    fn items(
        &self,
        stage: &StageCode,
        from: Item,
        events: Vec<MapHandle>,
        children: &mut u32,
    ) -> Step {
        let session = &self.program.session;
        if let [event] = &events[..]
            && event.is(&from.event)
        {
            let Item { event, mut hints, child } = from;
            for said in [session.take_loose(), session.take_hints(&event)].into_iter().flatten() {
                hints.add(said);
            }
            return Step::Items(vec![Item { event, hints, child }]);
        }
        let mut said = session.take_loose().unwrap_or_default();
        said.add(session.take_hints(&from.event).unwrap_or_default());
        let inherited = {
            let mut hints = from.hints.for_child();
            hints.add(said.for_child());
            hints
        };
        // What was said about the event that came in goes with it, or else with the first result.
        let parent = events.iter().position(|event| event.is(&from.event)).unwrap_or(0);
        let mut said = Some((from.hints, said));
        let message_id = from.event.with_scalar("messageId", |id| id.as_str().map(str::to_owned));
        let message_id = message_id.flatten().unwrap_or_else(|| self.event.message_id().to_owned());
        let mut items = Vec::with_capacity(events.len());
        for (at, event) in events.into_iter().enumerate() {
            let of_parent = if at == parent { said.take() } else { None };
            let mut hints = match of_parent {
                Some((mut hints, said)) => {
                    hints.add(said);
                    hints
                }
                None => inherited.clone(),
            };
            hints.add(session.take_hints(&event).unwrap_or_default());
            let child = if at == 0 {
                from.child
            } else {
                *children += 1;
                let id = format!("{message_id}:{}.{at}", stage.index + 1);
                event.put("messageId", Value::String(id));
                *children
            };
            items.push(Item { event, hints, child });
        }
        Step::Items(items)
    }

    /// The events as the stages behind get them.
    fn finish(&self, items: Vec<Item>) -> Made {
        let mut events = Vec::with_capacity(items.len());
        for item in items {
            let fields = without_comfort(item.event.take(), self.absent);
            match self.event.rewritten(fields, item.child) {
                Ok(event) => events.push(Scripted { event, hints: item.hints }),
                Err(letter) => {
                    let last = self.program.stages.last().map_or("", |stage| stage.name.as_str());
                    let file = format!("{last}.rhai");
                    let error =
                        blame::error(self.bundle, last, &file, code::NOT_AN_EVENT, letter.message);
                    return Made::Failed(error);
                }
            }
        }
        Made::Events(events)
    }
}

fn guarantee(event: &MapHandle) {
    for name in GUARANTEED {
        if event.is_nothing(name) {
            event.put(name, Value::Object(Object::new()));
        }
    }
}

/// The fields without what was put there for the script's comfort and stayed empty.
pub(crate) fn without_comfort(mut fields: Object, absent: [bool; 3]) -> Object {
    for (name, was_absent) in GUARANTEED.into_iter().zip(absent) {
        let is_empty = fields.get(name).and_then(Value::as_object).is_some_and(Object::is_empty);
        if is_empty && was_absent {
            fields.shift_remove(name);
        }
    }
    fields
}

/// Where the name of an event is: `event` of a track, `name` of a page or screen.
fn name_field(event: &Event) -> &'static str {
    match event.call() {
        Call::Track => "event",
        _ => "name",
    }
}

fn as_name(value: &Value) -> Option<String> {
    value.as_str().filter(|name| !name.trim().is_empty()).map(str::to_owned)
}
