//! Runs one event through the stages of a bundle.
//!
//! The event stays one tree of nodes through all stages. A stage that fails and lets the original
//! pass (`forward_original`) is left out of a second run from the beginning: scripts are pure, so
//! that gives exactly the event that came to the stage, and nobody pays for copies that are hardly
//! ever needed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;

use rhai::{CallFnOptions, Dynamic, EvalAltResult, Position, Scope};
use serde_json::Value;

use super::bundle::{self, Bundle};
use super::compile::{Program, StageCode, following_program, program};
use super::error::{Located, ScriptError, code, locate};
use super::handle::MapHandle;
use super::limits::Stopped;
use super::made::{Hints, Made, Scripted, StageTrace, TraceOutcome};
use super::manifest::{OnError, Subject};
use super::results::{Outcome, read_result};
use super::script_context::{Context, ScriptContext};
use crate::spec::{Event, Object};

/// The objects that every handler may rely on.
const GUARANTEED: [&str; 3] = ["properties", "traits", "context"];

/// Errors that Rhai reports without a line when they happen in a handler itself.
const NEED_LINE: [&str; 5] =
    [code::OPERATIONS, code::DEADLINE, code::DATA, code::STACK, code::SCRIPT];

/// The scripts of one bundle, ready to run on one thread.
pub struct Runner {
    bundle: Arc<Bundle>,
    program: Option<Program>,
    /// For finding the line of an error; made when the first such error comes.
    follower: Option<Program>,
    vars: MapHandle,
}

impl Runner {
    /// Compiles a bundle for this thread. It should have a stack of 16 MiB.
    pub fn new(bundle: Arc<Bundle>) -> Self {
        // A loaded bundle compiles; should it ever not, every event says so.
        let program = program(&bundle).ok();
        super::helpers::warm_up();
        let vars = MapHandle::new(bundle.vars().clone(), 1, true);
        Self { bundle, program, follower: None, vars }
    }

    /// The bundle whose scripts run.
    pub fn bundle(&self) -> &Arc<Bundle> {
        &self.bundle
    }

    /// Changes to another bundle, if it is another one; says whether it did.
    pub fn refresh(&mut self, current: &Arc<Bundle>) -> bool {
        if bundle::is_same(&self.bundle, current) {
            return false;
        }
        *self = Self::new(Arc::clone(current));
        true
    }

    /// Runs one event through all stages.
    pub fn run(&mut self, event: Event, ctx: &Context) -> Made {
        self.process(&event, ctx, None)
    }

    /// As [`Self::run`], with what every stage did.
    pub fn trace(&mut self, event: Event, ctx: &Context) -> (Made, Vec<StageTrace>) {
        let mut traces = Vec::new();
        let made = self.process(&event, ctx, Some(&mut traces));
        (made, traces)
    }

    fn process(
        &mut self,
        event: &Event,
        ctx: &Context,
        mut traces: Option<&mut Vec<StageTrace>>,
    ) -> Made {
        if self.program.is_none() {
            return Made::Failed(self.not_compiled());
        }
        let ctx = Rc::new(ctx.clone());
        let mut skips = Vec::new();
        let mut lost = None;
        loop {
            if let Some(traces) = traces.as_deref_mut() {
                traces.clear();
            }
            let following = lost.as_ref().and(self.follower.as_ref());
            let Some(program) = following.or(self.program.as_ref()) else {
                return Made::Failed(self.not_compiled());
            };
            program.session.tracing.set(traces.is_some());
            program.session.watch.start_event();
            let run = Run {
                bundle: &self.bundle,
                program,
                vars: &self.vars,
                event,
                context: Rc::clone(&ctx),
                skips: &skips,
                lost: lost.as_ref(),
            };
            match run.all_stages(traces.as_deref_mut()) {
                Ok(made) => return made,
                Err(Again::Without(skip)) => {
                    skips.push(*skip);
                    lost = None;
                }
                Err(Again::FindLine(error)) => {
                    if self.follower.is_none() {
                        self.follower = following_program(&self.bundle);
                    }
                    lost = Some(*error);
                }
            }
        }
    }

    fn not_compiled(&self) -> ScriptError {
        ScriptError {
            code: code::SCRIPT,
            message: "the scripts do not compile: run `segue check`".into(),
            stage: String::new(),
            file: super::manifest::FILE.into(),
            function: None,
            line: None,
            column: None,
            source_line: None,
            retryable: false,
            bundle: self.bundle.hash().into(),
        }
    }
}

/// A stage that is left out for one of the events that come to it.
struct Skip {
    stage: usize,
    item: usize,
    /// Why it is left out; `None` to have it tried once more, since the machine was too busy.
    error: Option<ScriptError>,
}

/// Why a run starts again from the beginning.
enum Again {
    /// To leave a stage out.
    Without(Box<Skip>),
    /// Rhai does not say where a limit was exceeded: to follow the script there.
    FindLine(Box<ScriptError>),
}

/// One event on its way through the stages.
struct Item {
    event: MapHandle,
    hints: Hints,
    child: u32,
}

/// What one stage made of one event.
enum Step {
    /// It does not run for this event.
    Skipped(Item),
    Items(Vec<Item>),
    Dropped(String),
    Failed(ScriptError),
}

struct Run<'a> {
    bundle: &'a Bundle,
    program: &'a Program,
    vars: &'a MapHandle,
    event: &'a Event,
    context: Rc<Context>,
    skips: &'a [Skip],
    /// The error whose line this run is to find.
    lost: Option<&'a ScriptError>,
}

impl Run<'_> {
    fn all_stages(&self, mut traces: Option<&mut Vec<StageTrace>>) -> Result<Made, Again> {
        let root = MapHandle::new(self.event.fields().clone(), 0, false);
        let mut items = vec![Item { event: root, hints: Hints::default(), child: 0 }];
        let mut children = 0;
        for stage in &self.program.stages {
            let mut next = Vec::with_capacity(items.len());
            let mut dropped = None;
            for (place, item) in items.into_iter().enumerate() {
                let before = traces.as_ref().map(|_| item.event.copy());
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
                return Ok(Made::Failed(self.error(
                    stage,
                    code::TOO_MANY_OUTPUTS,
                    format!("the event became {} events; [limits] outputs allows {}",
                        items.len(), self.bundle.limits().outputs),
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
            Some(name) if manifest.asks_for_names() => {
                self.program.session.canonical(&name.as_str().into()).to_string()
            }
            _ => String::new(),
        };
        let subject = Subject {
            call: self.event.call(),
            name: name.as_deref(),
            key: &key,
            source: &self.context.source,
            platform: self.context.platform,
        };
        let handler = stage.handler(self.event.call()).filter(|_| manifest.admits(&subject));
        let Some(handler) = handler else { return Ok(Step::Skipped(item)) };
        let skipped = self.skips.iter().find(|skip| {
            skip.stage == stage.index && skip.item == place && skip.error.is_some()
        });
        if let Some(Skip { error: Some(error), .. }) = skipped {
            let mut item = item;
            item.hints.failed_stages.push(error.clone());
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
        match policy {
            OnError::DeadLetter => Ok(Step::Failed(error)),
            _ if error.retryable && !tried => {
                Err(Again::Without(Box::new(Skip { stage: stage.index, item: place, error: None })))
            }
            OnError::Drop => Ok(Step::Dropped("stage_error".into())),
            OnError::ForwardOriginal => {
                Err(Again::Without(Box::new(Skip { stage: stage.index, item: place, error: Some(error) })))
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
        self.bundle.manifest().is_exit(&self.program.session.canonical(&name.into()))
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
            return Err(Box::new(self.error(
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
            self.bundle.hash().into(),
        );
        let arguments = (Dynamic::from(item.event.clone()), Dynamic::from(ctx));
        let options = CallFnOptions::new().eval_ast(stage.evaluates);
        let called = catch_unwind(AssertUnwindSafe(|| {
            self.program.engine.call_fn_with_options::<Dynamic>(
                options,
                &mut Scope::new(),
                &stage.ast,
                handler,
                arguments,
            )
        }));
        let stopped = session.watch.stopped();
        if !self.program.follows_steps {
            self.bundle.note_call(stage.index, stopped == Some(Stopped::Cpu));
        }
        let result = match called {
            Ok(Ok(result)) => result,
            Ok(Err(error)) => return Err(Box::new(self.located(stage, handler, *error, stopped))),
            Err(_) => {
                let message = "a function of Segue panicked; please report it".to_owned();
                return Err(Box::new(self.error(stage, code::PANIC, message)));
            }
        };
        match read_result(&result, handler, session) {
            Ok(Outcome::Dropped(reason)) => Ok(Step::Dropped(reason)),
            Ok(Outcome::Events(events)) => Ok(self.items(stage, item, events, children)),
            Err(problem) => {
                let mut error = self.error(stage, problem.code, problem.message);
                error.function = Some(handler.to_owned());
                self.put_at(&mut error, &stage.ast.source().unwrap_or_default().to_owned(), problem.position);
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
        let mut said = session.take_loose();
        said.add(session.take_hints(&from.event));
        let inherited = {
            let mut hints = from.hints.for_child();
            hints.add(said.for_child());
            hints
        };
        let mut parent = Some((from.hints, said));
        let message_id = from.event.with_scalar("messageId", |id| id.as_str().map(str::to_owned));
        let message_id = message_id.flatten().unwrap_or_else(|| self.event.message_id().to_owned());
        let mut items = Vec::with_capacity(events.len());
        for (at, event) in events.into_iter().enumerate() {
            // What was said about the event that came in stays with it, or with the first result.
            let is_parent = event.is(&from.event);
            let mut hints = match parent.take() {
                Some((mut hints, said)) => {
                    hints.add(said);
                    hints
                }
                None => inherited.clone(),
            };
            if !is_parent {
                hints.add(session.take_hints(&event));
            }
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
            let mut fields = item.event.take();
            for name in GUARANTEED {
                let was_absent = !self.event.fields().contains_key(name);
                if was_absent && fields.get(name).and_then(Value::as_object).is_some_and(Object::is_empty) {
                    fields.shift_remove(name);
                }
            }
            match self.event.rewritten(fields, item.child) {
                Ok(event) => events.push(Scripted { event, hints: item.hints }),
                Err(letter) => {
                    let last = self.program.stages.last().map_or("", |stage| stage.name.as_str());
                    return Made::Failed(ScriptError {
                        code: code::NOT_AN_EVENT,
                        message: letter.message,
                        stage: last.to_owned(),
                        file: format!("{last}.rhai"),
                        function: None,
                        line: None,
                        column: None,
                        source_line: None,
                        retryable: false,
                        bundle: self.bundle.hash().into(),
                    });
                }
            }
        }
        Made::Events(events)
    }

    fn located(
        &self,
        stage: &StageCode,
        handler: &str,
        error: EvalAltResult,
        stopped: Option<Stopped>,
    ) -> ScriptError {
        let Located { code, message, file, function, position } = locate(error);
        let mut located = self.error(stage, code, message);
        if stopped == Some(Stopped::Wall) && code == code::DEADLINE {
            located.retryable = true;
            located.message = "the machine was too busy to run the script in time".into();
        }
        located.function = Some(function.unwrap_or_else(|| handler.to_owned()));
        let mut file = file.unwrap_or_else(|| located.file.clone());
        let mut position = position;
        if let Some((step_file, step)) = self.program.session.last_step.take()
            && position.is_none()
        {
            position = step;
            file = step_file;
        }
        self.put_at(&mut located, &file, position);
        located
    }

    fn put_at(&self, error: &mut ScriptError, file: &str, position: Position) {
        let source = self.bundle.source(file);
        if source.is_some() {
            error.file = file.to_owned();
        }
        error.line = position.line();
        error.column = position.position().filter(|column| *column > 0);
        error.source_line = position
            .line()
            .and_then(|line| source?.lines().nth(line.checked_sub(1)?))
            .map(|text| super::mask::shortened(text.trim_end(), 200));
    }

    fn error(&self, stage: &StageCode, code: &'static str, message: String) -> ScriptError {
        ScriptError {
            code,
            message,
            stage: stage.name.to_string(),
            file: self.bundle.stages()[stage.index].file.clone(),
            function: None,
            line: None,
            column: None,
            source_line: None,
            retryable: false,
            bundle: self.bundle.hash().into(),
        }
    }

    fn trace(&self, traces: &mut Vec<StageTrace>, stage: &StageCode, before: Object, step: &Step) {
        let session = &self.program.session;
        let handler = stage.handler(self.event.call());
        let ran = !matches!(step, Step::Skipped(_));
        let mut events = Vec::new();
        let outcome = match step {
            Step::Skipped(item) => {
                events.push(without_empty(item.event.copy(), &before));
                TraceOutcome::Skipped
            }
            Step::Dropped(reason) => TraceOutcome::Dropped(reason.clone()),
            Step::Failed(error) => TraceOutcome::Failed(error.clone()),
            Step::Items(items) => {
                events = items.iter().map(|item| without_empty(item.event.copy(), &before)).collect();
                match items.as_slice() {
                    [item] => match item.hints.failed_stages.last() {
                        Some(error) if *error.stage == *stage.name => TraceOutcome::Failed(error.clone()),
                        _ if events[0] == Value::Object(before.clone()) => TraceOutcome::Unchanged,
                        _ => TraceOutcome::Changed,
                    },
                    _ => TraceOutcome::Split,
                }
            }
        };
        traces.push(StageTrace {
            stage: stage.name.to_string(),
            handler: handler.filter(|_| ran).map(str::to_owned),
            outcome,
            events,
            operations: if ran { session.watch.operations() } else { 0 },
            printed: session.take_printed(),
        });
    }
}

/// What was put there for the script's comfort is not shown.
fn without_empty(mut fields: Object, before: &Object) -> Value {
    for name in GUARANTEED {
        let is_empty = fields.get(name).and_then(Value::as_object).is_some_and(Object::is_empty);
        if is_empty && !before.contains_key(name) {
            fields.shift_remove(name);
        }
    }
    Value::Object(fields)
}

fn guarantee(event: &MapHandle) {
    for name in GUARANTEED {
        if event.get(name).is_unit() {
            event.put(name, Value::Object(Object::new()));
        }
    }
}

/// Where the name of an event is: `event` of a track, `name` of a page or screen.
fn name_field(event: &Event) -> &'static str {
    match event.call() {
        crate::spec::Call::Track => "event",
        _ => "name",
    }
}

fn as_name(value: &Value) -> Option<String> {
    value.as_str().filter(|name| !name.trim().is_empty()).map(str::to_owned)
}
