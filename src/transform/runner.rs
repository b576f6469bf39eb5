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
use super::error::{ScriptError, code};
use super::handle::MapHandle;
use super::made::{Made, StageTrace};
use super::script_context::Context;
use super::stages::{Again, Run};
use crate::spec::Event;

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
            return Made::Failed(not_compiled(&self.bundle));
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
                return Made::Failed(not_compiled(&self.bundle));
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
}

fn not_compiled(bundle: &Bundle) -> ScriptError {
    let message = "the scripts do not compile: run `segue check`".to_owned();
    blame::error(bundle, "", super::manifest::FILE, code::SCRIPT, message)
}
