//! What a stage did, for people who ask (`segue explain`): the event before and after, and what the
//! script printed.

use serde_json::Value;

use super::compile::StageCode;
use super::handle::MapHandle;
use super::made::{StageTrace, TraceOutcome};
use super::stages::{Run, Step, without_comfort};

impl Run<'_> {
    /// An event as a trace shows it.
    pub(super) fn shown(&self, event: &MapHandle) -> Value {
        Value::Object(without_comfort(event.copy(), self.absent))
    }

    /// Writes down what a stage did.
    pub(super) fn trace(
        &self,
        traces: &mut Vec<StageTrace>,
        stage: &StageCode,
        before: Value,
        step: &Step,
    ) {
        let session = &self.program.session;
        let ran = !matches!(step, Step::Skipped(_));
        let (outcome, events) = match step {
            Step::Skipped(_) => (TraceOutcome::Skipped, vec![before]),
            Step::Dropped(reason) => (TraceOutcome::Dropped(reason.clone()), Vec::new()),
            Step::Failed(error) => (TraceOutcome::Failed(error.clone()), Vec::new()),
            Step::Items(items) => {
                let events: Vec<Value> = items.iter().map(|item| self.shown(&item.event)).collect();
                let failed = items[0].hints.failed_stages.last();
                let outcome = match failed.filter(|error| *error.stage == *stage.name) {
                    Some(error) => TraceOutcome::Failed(error.clone()),
                    None if events.len() > 1 => TraceOutcome::Split,
                    None if events[0] == before => TraceOutcome::Unchanged,
                    None => TraceOutcome::Changed,
                };
                (outcome, events)
            }
        };
        let handler = stage.handler(self.event.call()).filter(|_| ran);
        traces.push(StageTrace {
            stage: stage.name.to_string(),
            handler: handler.map(str::to_owned),
            outcome,
            events,
            operations: if ran { session.watch.operations() } else { 0 },
            printed: session.take_printed(),
        });
    }
}
