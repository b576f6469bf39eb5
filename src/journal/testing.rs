//! For unit tests of others: a journal for stages that only look facts up, counters for those who read them.

use std::sync::Mutex;

use super::*;

/// A counter.
pub(crate) fn total(source: &str, label: &str, outcome: &str, reason: &str, count: u64) -> Total {
    let [source, label, outcome, reason] = [source, label, outcome, reason].map(String::from);
    Total { source, label, outcome, reason, count }
}

/// Remembers nothing and accepts nothing: for tests in which facts are unsettled all the time, or that
/// say themselves what is read.
#[derive(Default)]
pub(crate) struct ForgetfulJournal {
    /// What is in the queues, in order.
    pub(crate) queued: Vec<Stored>,
    /// The place that cannot be read.
    pub(crate) unreadable: Option<Place>,
    /// The event of which it has a note that it is tried alone.
    pub(crate) tries: Mutex<Option<Seq>>,
}

impl ForgetfulJournal {
    fn reads(&self, place: Place) -> Result<(), JournalError> {
        match self.unreadable == Some(place) {
            true => Err(JournalError::Failed("a page is unreadable".into())),
            false => Ok(()),
        }
    }
}

fn no<T>() -> Reply<T> {
    let (answer, reply) = oneshot::channel();
    drop(answer.send(Err(JournalError::Failed("it keeps nothing".into()))));
    reply
}

impl Journal for ForgetfulJournal {
    fn accept(&self, _: Vec<Accepted>) -> Reply<Vec<Receipt>> {
        no()
    }
    fn on_accepted(&self, _: Box<dyn Fn() + Send + Sync>) {}
    fn read(
        &self,
        traffic: Traffic,
        after: Option<Seq>,
        max: usize,
    ) -> Result<Vec<Stored>, JournalError> {
        self.reads(Place::Queue(traffic))?;
        let is_next = |stored: &&Stored| {
            stored.place == Place::Queue(traffic) && after.is_none_or(|after| after < stored.seq)
        };
        Ok(self.queued.iter().filter(is_next).take(max).cloned().collect())
    }
    fn take_due(&self, _: Time, _: usize) -> Result<Vec<Stored>, JournalError> {
        self.reads(Place::Deferred)?;
        Ok(Vec::new())
    }
    fn take(&self, _: Seq) -> bool {
        false
    }
    fn give_back(&self, _: &[Seq]) {}
    fn next_due(&self) -> Result<Option<Time>, JournalError> {
        Ok(None)
    }
    fn blocked_keys(&self) -> Result<Vec<(String, Seq)>, JournalError> {
        Ok(Vec::new())
    }
    fn load(&self, keys: &[FactKey], _: Time) -> Result<Vec<Option<Fact>>, JournalError> {
        Ok(vec![None; keys.len()])
    }
    fn commit(&self, _: std::sync::Arc<Vec<Change>>) -> Reply<()> {
        no()
    }
    fn totals(&self) -> Vec<Total> {
        Vec::new()
    }
    fn pending(&self) -> Pending {
        Pending::default()
    }
    fn balance(&self) -> (Vec<Total>, Pending) {
        (Vec::new(), Pending::default())
    }
    fn dead(&self, _: &DeadFilter, _: Option<Seq>, _: usize) -> Result<Vec<DeadRow>, JournalError> {
        Ok(Vec::new())
    }
    fn recorded(
        &self,
        _: &RecordedFilter,
        _: Option<u64>,
        _: usize,
    ) -> Result<Vec<RecordedRow>, JournalError> {
        Ok(Vec::new())
    }
    fn waiting(&self, _: Place, _: Option<Seq>, _: usize) -> Result<Vec<Waiting>, JournalError> {
        Ok(Vec::new())
    }
    fn gone(&self) -> Result<Vec<Gone>, JournalError> {
        Ok(Vec::new())
    }
    fn redrive(&self, _: &DeadFilter, _: usize) -> Reply<u64> {
        no()
    }
    fn trail(&self, _: &str, _: usize) -> Result<Vec<TrailEntry>, JournalError> {
        Ok(Vec::new())
    }
    fn opened(&self) -> Opened {
        Opened::default()
    }
    fn note_trying(&self, seq: Option<Seq>) -> Result<(), JournalError> {
        *self.tries.lock().unwrap() = seq;
        Ok(())
    }
    fn maintain(&self, _: Time) -> Reply<()> {
        no()
    }
    fn health(&self) -> JournalHealth {
        JournalHealth::default()
    }
    fn close(&self) -> Reply<()> {
        no()
    }
}
