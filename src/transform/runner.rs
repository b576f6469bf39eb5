//! Runs one event through the stages of a bundle, again where that is needed.
//!
//! A stage that fails and lets the original pass (`forward_original`) is left out of a second run
//! from the beginning: scripts are pure, so that gives exactly the event that came to the stage, and
//! nobody pays for copies that are hardly ever needed. An error that Rhai reports without a line is
//! followed step by step in a second run, for the same reason.
//!
//! Not here: one run through the stages ([`super::stages`]).

use std::rc::Rc;
use std::sync::Arc;

use super::blame;
use super::bundle::{self, Bundle};
use super::compile::{Program, following_program, program};
use super::coverage::Coverage;
use super::error::{ScriptError, code};
use super::handle::MapHandle;
use super::made::{Made, StageTrace};
use super::script_context::Context;
use super::stages::{Again, GUARANTEED, Run};
use crate::spec::{Event, Object};

/// The scripts of one bundle, ready to run on one thread.
pub struct Runner {
    bundle: Arc<Bundle>,
    program: Option<Program>,
    /// For finding the line of an error; made when the first such error comes.
    follower: Option<Program>,
    vars: MapHandle,
    hash: Arc<str>,
}

impl Runner {
    /// Compiles a bundle for this thread. It should have a stack of 16 MiB.
    pub fn new(bundle: Arc<Bundle>) -> Self {
        // A loaded bundle compiles; should it ever not, every event says so.
        let program = program(&bundle).ok();
        super::helpers::warm_up();
        let vars = MapHandle::new(bundle.vars().clone(), 1, true);
        let hash = bundle.hash().into();
        Self { bundle, program, follower: None, vars, hash }
    }

    /// The hash of the bundle, to be handed on.
    pub fn hash(&self) -> Arc<str> {
        Arc::clone(&self.hash)
    }

    /// As [`Bundle::canonical`], and remembers names.
    pub fn canonical(&self, name: &str) -> String {
        match &self.program {
            Some(program) => program.session.canonical(name).to_string(),
            None => self.bundle.canonical(name),
        }
    }

    /// As [`Self::new`], and tells `coverage` what runs. Several times slower.
    pub fn covering(bundle: Arc<Bundle>, coverage: &Arc<Coverage>) -> Self {
        let mut runner = Self::new(bundle);
        if let Some(program) = &mut runner.program {
            coverage.watch(&mut program.engine, &program.session);
            program.follows_steps = true;
        }
        runner
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
        let original = event.clone();
        self.process(event, &mut || Some(original.clone()), ctx, None)
    }

    /// As [`Self::run`], for callers that can make the event again: `original` is asked for it in the
    /// rare case that a run must start again, and no copy is taken beforehand. Copying an event costs
    /// half as much as parsing it.
    pub fn run_with_original(
        &mut self,
        event: Event,
        original: &mut dyn FnMut() -> Option<Event>,
        ctx: &Context,
    ) -> Made {
        self.process(event, original, ctx, None)
    }

    /// As [`Self::run`], with what every stage did.
    pub fn trace(&mut self, event: Event, ctx: &Context) -> (Made, Vec<StageTrace>) {
        let mut traces = Vec::new();
        let original = event.clone();
        let made = self.process(event, &mut || Some(original.clone()), ctx, Some(&mut traces));
        (made, traces)
    }

    fn process(
        &mut self,
        event: Event,
        original: &mut dyn FnMut() -> Option<Event>,
        ctx: &Context,
        mut traces: Option<&mut Vec<StageTrace>>,
    ) -> Made {
        if self.program.is_none() {
            return Made::Failed(not_compiled(&self.bundle));
        }
        let ctx = Rc::new(ctx.clone());
        let mut skips = Vec::new();
        let mut lost = None;
        let mut event = event;
        loop {
            if let Some(traces) = traces.as_deref_mut() {
                traces.clear();
            }
            let following = lost.as_ref().and(self.follower.as_ref());
            let Some(program) = following.or(self.program.as_ref()) else {
                return Made::Failed(not_compiled(&self.bundle));
            };
            program.session.tracing.set(traces.is_some());
            program.session.watch.start_event();
            let (fields, absent) = take_fields(&mut event);
            let run = Run {
                bundle: &self.bundle,
                program,
                vars: &self.vars,
                event: &event,
                absent,
                context: Rc::clone(&ctx),
                skips: &skips,
                lost: lost.as_ref(),
            };
            let again = match run.all_stages(fields, traces.as_deref_mut()) {
                Ok(made) => return made,
                Err(again) => again,
            };
            match original() {
                Some(original) => event = original,
                None => return Made::Failed(again.into_error()),
            }
            match again {
                Again::Without(skip) => {
                    skips.push(*skip);
                    lost = None;
                }
                Again::FindLine(error) => {
                    if self.follower.is_none() {
                        self.follower = following_program(&self.bundle);
                    }
                    lost = Some(*error);
                }
            }
        }
    }
}

/// Takes the fields out for the scripts; what makes an event again of what they leave stays. Says
/// beside which of the [`GUARANTEED`] objects the event did not have.
fn take_fields(event: &mut Event) -> (Object, [bool; 3]) {
    let fields = std::mem::take(event.fields_mut());
    for name in ["timestamp", "messageId"] {
        if let Some(value) = fields.get(name) {
            event.fields_mut().insert(name.into(), value.clone());
        }
    }
    let absent = GUARANTEED.map(|name| !fields.contains_key(name));
    (fields, absent)
}

fn not_compiled(bundle: &Bundle) -> ScriptError {
    let message = "the scripts do not compile: run `segue check`".to_owned();
    blame::error(bundle, "", super::manifest::FILE, code::SCRIPT, message)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::{bundle_of, context, events, failure, track};
    use super::*;

    #[test]
    fn a_native_that_panics_is_an_error_like_any_other() {
        let script = "fn on_track(event, ctx) {\n let boom = Fn(\"boom\");\n \
                      if event.event == \"Bad\" { boom.call(); }\n event }";
        let bundle = bundle_of(&[("10_test.rhai", script)]).unwrap();
        let mut runner = Runner::new(Arc::new(bundle));
        let engine = &mut runner.program.as_mut().unwrap().engine;
        engine.register_fn("boom", || -> bool { panic!("expected in this test") });
        let error = failure(runner.run(track("Bad", json!({})), &context()));
        assert_eq!(error.code, code::PANIC);
        assert_eq!(events(runner.run(track("Good", json!({})), &context())).len(), 1);
    }

    #[test]
    fn an_event_that_can_be_made_again_is_asked_for_only_when_a_run_starts_again() {
        let manifest = "[pipeline]\non_error = \"forward_original\"";
        let script = "fn on_track(event, ctx) { event.properties.x = 1; \
                      if event.event == \"Bad\" { fail(\"bad\"); } event }";
        let files = [("transforms.toml", manifest), ("10_test.rhai", script)];
        let mut runner = Runner::new(Arc::new(bundle_of(&files).unwrap()));
        for (name, expected_asks, x) in [("Good", 0, true), ("Bad", 1, false)] {
            let event = track(name, json!({"a": 1}));
            let mut asked = 0;
            let made = runner.run_with_original(
                event.clone(),
                &mut || {
                    asked += 1;
                    Some(event.clone())
                },
                &context(),
            );
            let made = events(made).remove(0).event;
            assert_eq!(asked, expected_asks, "{name}");
            assert_eq!(made.properties().unwrap().contains_key("x"), x, "{name}");
            assert_eq!(made.time(), event.time(), "{name}");
        }
        let made = runner.run_with_original(track("Bad", json!({})), &mut || None, &context());
        assert_eq!(failure(made).code, code::FAILED);
    }
}
