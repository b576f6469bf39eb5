//! For unit tests of others: a journal for stages that only look facts up, counters for those who read them.

use super::*;

/// A counter.
pub(crate) fn total(source: &str, label: &str, outcome: &str, reason: &str, count: u64) -> Total {
    let [source, label, outcome, reason] = [source, label, outcome, reason].map(String::from);
    Total { source, label, outcome, reason, count }
}

/// Remembers nothing and accepts nothing: for tests in which facts are unsettled all the time.
pub(crate) struct ForgetfulJournal;

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
    fn read(&self, _: Traffic, _: Option<Seq>, _: usize) -> Result<Vec<Stored>, JournalError> {
        Ok(Vec::new())
    }
    fn take_due(&self, _: Time, _: usize) -> Result<Vec<Stored>, JournalError> {
        Ok(Vec::new())
    }
    fn take(&self, _: Vec<Seq>) -> Vec<Seq> {
        Vec::new()
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
    fn note_trying(&self, _: Option<Seq>) -> Result<(), JournalError> {
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
