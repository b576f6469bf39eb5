//! The one thread that writes: requests in, transactions out, then the answers.
//!
//! Nobody is answered before the commit, and nothing in memory changes before it either: a transaction
//! that fails leaves no trace, whoever asked is told, and the thread goes on.
//!
//! Not here: which requests share a commit ([`super::line`]), and what a request does in it
//! ([`super::transaction`]).

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::counters::State;
use super::draft::{Answer, Draft};
use super::line::{Line, Round, Turn};
use super::mark::Mark;
use super::record::Record;
use super::requests::{Redrive, ReplyTo, Request};
use super::seen::Seen;
use super::shared::{Shared, locked, with};
use super::trouble::Trouble;
use super::upkeep::Sweep;
use super::{Attempts, JournalError, Place, Receipt, Seq, SqliteOptions, Stored, schema};
use crate::clock::{Clock, Time};

/// The writer's side of a journal.
pub(super) struct Writer {
    pub(super) line: Line,
    pub(super) shared: Arc<Shared>,
    pub(super) options: SqliteOptions,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) seen: Seen,
    pub(super) state: State,
    /// The last fact that the search for expired ones looked at.
    pub(super) sweep: Sweep,
    /// How far it has come, for the next start.
    pub(super) mark: Mark,
    /// Keeps other processes away; released when this is dropped.
    pub(super) lock: Option<File>,
    /// Whether transactions also do a little housekeeping. Not after one failed, until the next
    /// [`Request::Maintain`].
    pub(super) tidies: bool,
}

impl Writer {
    /// Works until it is told to close, or until nobody can ask any more.
    pub(super) fn run(mut self) {
        while let Some(turn) = self.line.next() {
            match turn {
                Turn::Together(round) => {
                    let begun = Instant::now();
                    let has_old = round.has_old();
                    self.serve(round);
                    self.line.committed(has_old, begun.elapsed());
                }
                Turn::Alone(Request::Close { reply }) => return self.close(reply),
                #[cfg(test)]
                Turn::Alone(Request::Inspect(inspection)) => self.inspect(inspection),
                Turn::Alone(other) => self.serve(Round::of(other)),
            }
        }
    }

    /// Serves requests in one transaction; if that fails, each in its own and without anything
    /// besides, so that neither one of them nor the housekeeping can fail the others.
    fn serve(&mut self, mut round: Round) {
        round.begin_redrives(Seq(self.state.last_seq));
        match self.transact(&round) {
            Ok(draft) => self.publish(round, draft),
            Err(trouble) => {
                tracing::warn!(error = ?trouble, "journal: a shared commit failed");
                self.tidies = false;
                round.into_iter().for_each(|request| self.serve_alone(request));
            }
        }
    }

    fn serve_alone(&mut self, request: Request) {
        let round = Round::of(request);
        match self.transact(&round) {
            Ok(draft) => self.publish(round, draft),
            Err(trouble) => {
                round.into_iter().for_each(|request| self.try_again(request, trouble.clone()));
            }
        }
    }

    /// What can be done for a request whose own transaction failed: once more, after the reserve was
    /// given up if there was no room. The reserve is for settling: nobody else gets it.
    fn try_again(&mut self, request: Request, trouble: Trouble) {
        let worthwhile = match &trouble {
            Trouble::Space(_) => {
                matches!(request, Request::Commit { .. }) && self.shared.space.release_ballast()
            }
            Trouble::Busy(_) => true,
            Trouble::Other(_) => false,
        };
        let takes_none = matches!(request, Request::Accept { .. });
        let round = Round::of(request);
        let trouble = if worthwhile {
            match self.transact(&round) {
                Ok(draft) => return self.publish(round, draft),
                Err(trouble) => trouble,
            }
        } else {
            trouble
        };
        let error = JournalError::from(trouble);
        tracing::error!(error = %error, "journal: nothing was written");
        match &error {
            JournalError::Full(reason) => *locked(&self.shared.failing) = Some(reason.clone()),
            // Whatever it is: no events are taken.
            other if takes_none => *locked(&self.shared.failing) = Some(other.to_string()),
            _ => {}
        }
        round.into_iter().for_each(|request| request.fail(error.clone()));
    }

    /// Makes a successful transaction known: numbers first, then the events, then the answers.
    fn publish(&mut self, round: Round, mut draft: Draft) {
        self.state = draft.state;
        self.mark.raise(self.state.last_seq);
        if let Some(step) = draft.step.take() {
            self.seen.stepped(step);
        }
        if let Some(sweep) = draft.sweep.take() {
            self.sweep = sweep;
        }
        let shared = Arc::clone(&self.shared);
        locked(&shared.failing).take();
        locked(&shared.counters).apply(std::mem::take(&mut draft.tally), draft.state.pending);
        forget(&shared, &draft.gone);
        let mut added = !draft.redriven.is_empty();
        for (traffic, seq) in draft.redriven {
            shared.window(traffic).publish_on_disk(seq);
        }
        let answers = std::mem::take(&mut draft.answers);
        self.tidies |= round.iter().any(|request| matches!(request, Request::Maintain { .. }));
        let mut unfinished = Vec::new();
        for (request, answer) in round.into_iter().zip(answers) {
            added |= matches!(&answer, Answer::Receipts(receipts) if !receipts.is_empty());
            unfinished.extend(self.finish(request, answer));
        }
        unfinished.into_iter().rev().for_each(|request| self.line.put_back(request));
        if added {
            locked(&shared.wakes).iter().for_each(|wake| wake());
        }
    }

    /// Answers a request, or gives back what is left of it.
    fn finish(&mut self, request: Request, outcome: Answer) -> Option<Request> {
        match (request, outcome) {
            (request, Answer::Refused(error)) => request.fail(error),
            (Request::Accept { mut records, mut receipts, room, reply }, Answer::Receipts(new)) => {
                let mut before: Option<Arc<str>> = None;
                for (record, receipt) in records.drain(..new.len()).zip(&new) {
                    let Receipt::First(seq) = *receipt else { continue };
                    let Record { traffic, envelope, call, .. } = record;
                    let is_shared = before.is_some_and(|before| Arc::ptr_eq(&before, &envelope));
                    let shared = if is_shared { 0 } else { envelope.len() };
                    before = Some(envelope);
                    let stored = Stored {
                        seq,
                        place: Place::Queue(traffic),
                        call: Ok(call),
                        why: None,
                        attempts: Attempts::default(),
                    };
                    self.shared.window(traffic).publish(stored, shared);
                }
                receipts.extend(new);
                if !records.is_empty() {
                    return Some(Request::Accept { records, receipts, room, reply });
                }
                drop(room);
                reply.answer(Ok(receipts));
            }
            (Request::Redrive(redrive), Answer::Moved(count, last)) => {
                let moved = redrive.moved + count;
                let left =
                    redrive.left.saturating_sub(usize::try_from(count).unwrap_or(usize::MAX));
                match last {
                    // What is left stays where it is when there is no time for it.
                    Some(after) if left > 0 && !self.line.ends() => {
                        return Some(Request::Redrive(Redrive { after, left, moved, ..redrive }));
                    }
                    _ => redrive.reply.answer(Ok(moved)),
                }
            }
            (Request::Commit { reply, .. }, _) => reply.answer(Ok(())),
            (Request::Maintain { reply, .. }, _) => {
                self.mark.sync();
                self.shared.space.restore_ballast();
                reply.answer(Ok(()));
            }
            (request, _) => request.fail(JournalError::Failed("it was not served".into())),
        }
        None
    }

    #[cfg(test)]
    fn inspect(&self, inspection: super::requests::Inspection) {
        if let Some(connection) = locked(&self.shared.writing).as_ref() {
            (inspection.0)(connection);
        }
    }

    /// Writes the note of a stop in good order, closes everything, and only then answers.
    fn close(self, reply: ReplyTo<()>) {
        let Self { line, shared, options, lock, .. } = self;
        let result = with(&shared.writing, |connection| {
            if !options.keep_stop_note {
                schema::set_meta(connection, "stopped", Some("clean"))?;
            }
            Ok(())
        });
        for database in [&shared.reading, &shared.asking] {
            locked(database).take();
        }
        // The last connection that goes writes the log into the file.
        locked(&shared.writing).take();
        drop(lock);
        drop(line);
        reply.answer(result);
    }

    /// The time that expiry in this transaction goes by.
    pub(super) fn now(&self) -> Time {
        self.clock.now()
    }

    /// Remembers how much of the file is in use.
    pub(super) fn note_used(&self, bytes: u64) {
        self.shared.used_bytes.store(bytes, Ordering::Relaxed);
    }
}

/// Events that left their place are neither handed out again nor waited for.
fn forget(shared: &Shared, gone: &[(Place, Seq)]) {
    let mut taken = locked(&shared.taken);
    for (place, seq) in gone {
        if let Place::Deferred = place {
            taken.remove(seq);
        }
    }
    drop(taken);
    for (place, seq) in gone {
        if let Place::Queue(traffic) = place {
            shared.window(*traffic).forget(*seq);
        }
    }
}
