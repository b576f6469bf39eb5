//! Stage 3: the durable, ordered store of accepted events.
//!
//! A 200 to the sender means that the event and its deduplication key are in one synced commit of
//! this store. Everything behind the 200 reads from here, and whatever processing learns or decides
//! is written back in the transaction that settles the event: a crash at any moment processes the
//! unsettled events again, in the same order, and learns the same.
//!
//! [`Journal`] is the seam: only the modules below it contain SQL. It stores facts as opaque texts;
//! what they mean is the business of [`crate::identity`] and [`crate::guard`].
//!
//! Not here: what a call means ([`crate::spec`]), when a deferred event is tried again
//! ([`crate::delivery`]).

mod labels;
pub mod sqlite;
mod window;

pub(crate) use labels::Labels;

#[cfg(test)]
mod contract;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::clock::Time;
use crate::outcome::{DeadCode, DeadLetter, Outcome};
use crate::spec::{RawCall, Traffic};

/// The place of an event in the order of acceptance, over both classes of traffic.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Seq(pub u64);

/// The answer to a request that the writer serves in its own time: await it, or wait for it with
/// `blocking_recv` on a thread of your own.
pub type Reply<T> = oneshot::Receiver<Result<T, JournalError>>;

/// What can go wrong with the store itself.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum JournalError {
    /// It takes no more events for now. Of a large batch some may be stored all the same: sent again, they are
    /// copies.
    #[error("the journal takes no more events: {0}")]
    Full(String),
    /// Reading or writing failed. Nothing of it took effect, but that a large batch may be stored in part: sent
    /// again, that part is copies.
    #[error("the journal failed: {0}")]
    Failed(String),
    /// The file belongs to a newer version of Segue.
    #[error(
        "the journal has schema version {found}, this Segue knows up to {known}: start the newer version"
    )]
    NewerSchema {
        /// The version in the file.
        found: u32,
        /// The newest version that this program knows.
        known: u32,
    },
    /// Another process holds the journal.
    #[error("the journal {0} is in use by another process")]
    InUse(String),
}

/// One call to store.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// Its deduplication key.
    pub key: u128,
    /// The call with how it came in.
    pub call: RawCall,
}

/// What became of one call of a batch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Receipt {
    /// Stored: first sight.
    First(Seq),
    /// Known already. Counted as accepted and as dropped.
    Duplicate,
}

/// Which queue an unsettled event is in.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Place {
    /// Untouched or in flight.
    Queue(Traffic),
    /// Out of line: parked, held or waiting to be tried again.
    Deferred,
}

/// Why an event is out of line.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Why {
    /// By the guard, until it is history.
    Parked,
    /// By identity, until its person is known.
    Held,
    /// By delivery, until its person can be tried again. Blocks later events of its keys.
    Retry,
}

impl Why {
    /// The name in metrics and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Parked => "parked",
            Self::Held => "held",
            Self::Retry => "retry",
        }
    }
}

/// What delivery has already tried for an event.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Attempts {
    /// How often.
    pub tries: u32,
    /// When first.
    pub first_at: Option<Time>,
    /// Events that scripts made of it and that need not be sent again.
    pub done: Vec<DonePart>,
    /// Business keys that it holds while it waits.
    pub holds: Vec<Held>,
}

/// One of the events that scripts made of another, so that it is known again when other scripts made
/// others: a number alone would then be somebody else's.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct DonePart {
    /// Its number among its siblings, which its id for Customer.io is made of.
    pub index: u32,
    /// What it is: the type of call and the canonical key of its name.
    pub what: String,
    /// How many of its siblings before it are the same.
    pub nth: u32,
}

/// A business key that an event out of line holds.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Held {
    /// The name of the fact.
    pub key: String,
    /// The ULID of the event that holds it.
    pub owner: String,
}

/// An unsettled event as it comes back out.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Its place in the order.
    pub seq: Seq,
    /// The queue that it is in.
    pub place: Place,
    /// The call; `Err` says what is wrong with a record whose checksum does not match.
    pub call: Result<RawCall, String>,
    /// Why it is out of line, where it is.
    pub why: Option<Why>,
    /// What delivery has already tried.
    pub attempts: Attempts,
}

/// The name of a fact: a kind and what it is about, for example `link:` and an anonymous id.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct FactKey(pub String);

/// Something that processing remembers between events.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fact {
    /// What is remembered; JSON, opaque here.
    pub value: String,
    /// When it may be forgotten.
    pub until: Time,
}

/// A change of the unsettled events. All changes of one commit take effect together or not at all.
// Nearly all changes are the larger variant: a box would only cost an allocation for each event.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug)]
pub enum Change {
    /// The event has its outcome: remove its row, count it, keep what it taught.
    Settle(Settlement),
    /// The event goes, or stays, out of line.
    Defer(Deferral),
    /// Something of a person is forgotten before its time.
    Forget(Forget),
    /// Events that identity holds are taken up again.
    Release(Release),
    /// The clock was set back: no retry waits until it is that late again.
    Hasten(Hasten),
}

/// Events that wait for their next try, further ahead than any wait is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Hasten {
    /// Those that are due later than this.
    pub beyond: Time,
    /// When they are taken up instead.
    pub due: Time,
}

/// Held events whose person is known now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Release {
    /// Which events. One that is not held is left alone.
    pub seqs: Vec<Seq>,
    /// When they are taken up again.
    pub due: Time,
}

/// What is forgotten before its time, because a person was deleted or suppressed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Forget {
    /// Remember that this person is gone; what lies here of it is to be searched for.
    Person(Gone),
    /// Everything that lies here of this person was found and is forgotten.
    Searched(Gone),
    /// A dead letter, with its original.
    Dead(Seq),
    /// A recorded original, by its number.
    Recorded(u64),
}

/// A person who was deleted or suppressed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Gone {
    /// Who: the key of the person, as in the order of events.
    pub person: String,
    /// When it happened. What happened before is not sent any more.
    pub at: Time,
    /// When it was done here. What was accepted before is forgotten.
    pub done: Time,
    /// How long it is remembered.
    pub until: Time,
    /// Whether everything that lay here was found.
    pub searched: bool,
}

/// The end of an event.
#[derive(Clone, Debug)]
pub struct Settlement {
    /// Which event.
    pub seq: Seq,
    /// The queue that it is in.
    pub place: Place,
    /// How it ended. A dead letter moves the row with its body to the dead letters.
    pub outcome: Outcome,
    /// Of a dead letter: what need not be sent again when it is redriven.
    pub done: Vec<DonePart>,
    /// What it taught; `None` forgets.
    pub facts: Vec<(FactKey, Option<Fact>)>,
    /// What is remembered for [`Journal::trail`].
    pub trail: TrailEntry,
}

/// An event that is put out of line.
#[derive(Clone, Debug)]
pub struct Deferral {
    /// Which event.
    pub seq: Seq,
    /// The queue that it is in.
    pub place: Place,
    /// Why.
    pub why: Why,
    /// When it is taken up again.
    pub due: Time,
    /// The keys behind which later events wait; empty for parked events.
    pub keys: Vec<String>,
    /// What delivery has tried.
    pub attempts: Attempts,
    /// The status of the last answer.
    pub status: Option<u16>,
    /// The last error, for people.
    pub error: Option<String>,
    /// What it taught already; `None` forgets.
    pub facts: Vec<(FactKey, Option<Fact>)>,
}

/// What happened to one event, kept for 30 days. Ids only.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct TrailEntry {
    /// When it was settled.
    pub at: Time,
    /// Its source.
    pub source: String,
    /// The name of the replay that it belonged to; empty otherwise.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub label: String,
    /// Its message id.
    pub message_id: String,
    /// The person's id, or the anonymous id, that it was sent for. Never an e-mail address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<String>,
    /// Type and name: `track Order Completed`.
    pub event: String,
    /// The guard's class.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub class: String,
    /// The guard's action.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub action: String,
    /// The outcome's label.
    pub outcome: String,
    /// The outcome's reason.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// What was noticed about its person's identifiers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<String>,
    /// The bundle of scripts that made it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub bundle: String,
    /// What Customer.io answered.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub answer: String,
}

/// One counter of the conservation law.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Total {
    /// The source.
    pub source: String,
    /// The name of a replay; empty for ordinary traffic.
    pub label: String,
    /// `accepted`, `delivered`, `dropped`, `dead_lettered` or `redriven`.
    pub outcome: String,
    /// The reason's code.
    pub reason: String,
    /// How many.
    pub count: u64,
}

/// How much waits, by where.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Pending {
    /// In the live queue.
    pub live: u64,
    /// In the backfill queue.
    pub backfill: u64,
    /// Parked by the guard.
    pub parked: u64,
    /// Held by identity.
    pub held: u64,
    /// Waiting to be tried again.
    pub retry: u64,
}

impl Pending {
    /// Everything that has no outcome yet.
    pub fn total(&self) -> u64 {
        self.live + self.backfill + self.parked + self.held + self.retry
    }
}

/// Which dead letters.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct DeadFilter {
    /// Only this one.
    pub seq: Option<Seq>,
    /// Only of this reason.
    pub code: Option<DeadCode>,
    /// Only of this source.
    pub source: Option<String>,
    /// Only those that died under this bundle.
    pub bundle: Option<String>,
    /// Only those that died at this time or later.
    pub since: Option<Time>,
    /// Only those that died before this time.
    pub until: Option<Time>,
}

/// A dead letter as it is kept.
#[derive(Clone, Debug)]
pub struct DeadRow {
    /// The event's place in the order.
    pub seq: Seq,
    /// When it died.
    pub at: Time,
    /// Why.
    pub letter: DeadLetter,
    /// The bundle of scripts that was active.
    pub bundle: String,
    /// The original; `Err` says what is wrong with a damaged record.
    pub call: Result<RawCall, String>,
}

/// Which recorded originals.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct RecordedFilter {
    /// Only of this source.
    pub source: Option<String>,
    /// Only those that were accepted at this time or later.
    pub since: Option<Time>,
    /// Only those that were accepted before this time.
    pub until: Option<Time>,
}

/// The original of an event that has ended, kept because the configuration asks for it.
#[derive(Clone, Debug)]
pub struct RecordedRow {
    /// Its number among the recorded, in the order in which they ended.
    pub number: u64,
    /// The event's place in the order of acceptance.
    pub seq: Seq,
    /// When it ended.
    pub ended: Time,
    /// How: `delivered` or `dropped`.
    pub outcome: String,
    /// The reason of that.
    pub reason: String,
    /// The original; `Err` says what is wrong with a damaged record.
    pub call: Result<RawCall, String>,
}

/// An unsettled event as it is shown to people.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// The event.
    pub event: Stored,
    /// When it is taken up again, where it is out of line.
    pub due: Option<Time>,
    /// The status of the last answer.
    pub status: Option<u16>,
    /// The last error, for people.
    pub error: Option<String>,
}

/// How the journal was found when it was opened.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Opened {
    /// Whether the last process stopped in good order.
    pub clean: bool,
    /// The event that was being tried alone when the last process went down.
    pub trying: Option<Seq>,
    /// How often in a row it went down with that event. Once may be a power cut.
    pub tried: u32,
    /// How many unsettled events there were.
    pub pending: Pending,
    /// How many of its last events are missing: they were answered 200, and the disk has lost them since.
    pub missing: u64,
}

/// What an operator must know about the store.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct JournalHealth {
    /// Why it takes no more events, where it does not.
    pub full: Option<String>,
    /// Free bytes on its disk, where the system tells.
    pub disk_free_bytes: Option<u64>,
    /// Size of its files.
    pub size_bytes: u64,
    /// Records whose checksum did not match since the start.
    pub corrupt_records: u64,
    /// Events that were answered 200 and were missing from its end when it was opened.
    pub missing_events: u64,
    /// Why what waits cannot be read, where it cannot.
    pub unreadable: Option<String>,
    /// What has expired and cannot be forgotten, and why, where that is so.
    pub untidy: Option<String>,
    /// When the oldest event in the queues was accepted.
    pub oldest_pending: Option<Time>,
    /// When the oldest event was accepted that is out of line to be tried again.
    pub oldest_retry: Option<Time>,
}

/// The durable store. Every call may come from any thread; requests that write answer by a
/// [`Reply`], requests that read block shortly.
pub trait Journal: Send + Sync {
    /// Stores a batch with its deduplication keys in one synced commit (or several, for a very large
    /// batch; then a failure in the middle is reported and a retry finds the first part as
    /// duplicates). Answers one receipt for each call, in order, once all of it is durable.
    fn accept(&self, batch: Vec<Accepted>) -> Reply<Vec<Receipt>>;

    /// Calls `wake` after every commit that added events to a queue.
    fn on_accepted(&self, wake: Box<dyn Fn() + Send + Sync>);

    /// Reads up to `max` events of a class behind `after`, in the order of acceptance, from memory
    /// where they are still there.
    fn read(
        &self,
        traffic: Traffic,
        after: Option<Seq>,
        max: usize,
    ) -> Result<Vec<Stored>, JournalError>;

    /// Takes up to `max` deferred events that are due at `now`: those that are not parked first, and of each
    /// kind the earliest due first and in the order of acceptance among equals. An event that was taken is
    /// not given again before it was settled, deferred anew or given back.
    fn take_due(&self, now: Time, max: usize) -> Result<Vec<Stored>, JournalError>;

    /// Takes a deferred event, due or not, so that nobody else does; answers whether it was not taken yet.
    /// Whether it is there is not looked at.
    fn take(&self, seq: Seq) -> bool;

    /// Gives back what was taken and neither settled nor deferred anew.
    fn give_back(&self, seqs: &[Seq]);

    /// When the next deferred event is due that was not taken yet.
    fn next_due(&self) -> Result<Option<Time>, JournalError>;

    /// The keys behind which later events wait, with the events that they wait for.
    fn blocked_keys(&self) -> Result<Vec<(String, Seq)>, JournalError>;

    /// Looks facts up; one answer for each key, in order. Expired facts are absent.
    fn load(&self, keys: &[FactKey], now: Time) -> Result<Vec<Option<Fact>>, JournalError>;

    /// Applies changes in one synced transaction. A change of an event that is no longer there is
    /// ignored and counts nothing. They are shared: whoever asks may have to ask again.
    fn commit(&self, changes: Arc<Vec<Change>>) -> Reply<()>;

    /// The counters, across restarts.
    fn totals(&self) -> Vec<Total>;

    /// What has no outcome yet.
    fn pending(&self) -> Pending;

    /// The counters and what has no outcome yet, both of the same moment. They always obey
    /// `accepted + redriven = delivered + dropped + dead_lettered + pending`.
    fn balance(&self) -> (Vec<Total>, Pending);

    /// Lists dead letters, oldest first, behind `after`.
    fn dead(
        &self,
        filter: &DeadFilter,
        after: Option<Seq>,
        max: usize,
    ) -> Result<Vec<DeadRow>, JournalError>;

    /// Lists recorded originals behind the number `after`, in the order in which their events ended.
    fn recorded(
        &self,
        filter: &RecordedFilter,
        after: Option<u64>,
        max: usize,
    ) -> Result<Vec<RecordedRow>, JournalError>;

    /// Lists what waits at a place behind `after`, in the order of acceptance, without taking it.
    fn waiting(
        &self,
        place: Place,
        after: Option<Seq>,
        max: usize,
    ) -> Result<Vec<Waiting>, JournalError>;

    /// The people who are remembered as deleted or suppressed.
    fn gone(&self) -> Result<Vec<Gone>, JournalError>;

    /// Puts dead letters back into their queue, at its end, with their stored class; answers how many.
    fn redrive(&self, filter: &DeadFilter, max: usize) -> Reply<u64>;

    /// What happened to the events with this message id or of this person, newest last.
    fn trail(&self, needle: &str, max: usize) -> Result<Vec<TrailEntry>, JournalError>;

    /// How it was found when it was opened.
    fn opened(&self) -> Opened;

    /// Notes that this event is being tried alone (`None`: that none is). If the process goes down with
    /// it, the next start knows. It need not survive the machine, and must be quick.
    fn note_trying(&self, seq: Option<Seq>) -> Result<(), JournalError>;

    /// Forgets what has expired (deduplication keys, facts, trail, old dead letters) and gives space
    /// back, in small steps.
    fn maintain(&self, now: Time) -> Reply<()>;

    /// Its state, for an operator.
    fn health(&self) -> JournalHealth;

    /// Writes everything, notes a stop in good order and closes. Later calls fail.
    fn close(&self) -> Reply<()>;
}

#[cfg(test)]
pub(crate) mod testing;
