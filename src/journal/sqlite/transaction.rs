//! One transaction: what each request does in it, and what every transaction does besides.

use std::sync::Arc;

use rusqlite::Connection;

use super::draft::{Answer, Draft};
use super::line::Round;
use super::requests::{Redrive, Request};
use super::shared::{closed, locked};
use super::trouble::Trouble;
use super::writer::Writer;
use super::{JournalError, Receipt, dead, queues, settle, upkeep};
use crate::clock::Time;

impl Writer {
    /// Runs the requests in one transaction. On success the draft says what changed; on failure
    /// nothing has.
    pub(super) fn transact(&mut self, round: &Round) -> Result<Draft, Trouble> {
        let database = Arc::clone(&self.shared.writing);
        let database = locked(&database);
        let connection = database.as_ref().ok_or_else(|| Trouble::Other(closed().to_string()))?;
        let now = self.now();
        let mut draft = Draft::new(self.state);
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let done = self.apply_all(connection, round, now, &mut draft).and_then(|()| {
            connection.prepare_cached("COMMIT")?.execute([])?;
            Ok(())
        });
        match done {
            Ok(()) => {
                if !draft.keys.is_empty() {
                    self.seen.logged(now);
                }
                for request in round.iter() {
                    if let Request::Maintain { now, .. } = request {
                        self.seen.seal(*now);
                    }
                }
                Ok(draft)
            }
            Err(trouble) => {
                self.seen.undo(&draft.keys);
                // Some errors have rolled it back already.
                if !connection.is_autocommit()
                    && let Err(error) = connection.execute_batch("ROLLBACK")
                {
                    tracing::error!(error = %error, "journal: a transaction cannot be undone");
                }
                Err(trouble)
            }
        }
    }

    fn apply_all(
        &mut self,
        connection: &Connection,
        round: &Round,
        now: Time,
        draft: &mut Draft,
    ) -> Result<(), Trouble> {
        for (request, room) in &round.requests {
            let answer = self.apply(connection, request, *room, draft)?;
            draft.answers.push(answer);
        }
        if !draft.keys.is_empty() {
            self.seen.log(connection, &draft.keys, now)?;
        }
        if self.tidies && draft.step.is_none() {
            draft.step = self.seen.step(connection)?;
        }
        draft.save(connection, self.state)
    }

    fn apply(
        &mut self,
        connection: &Connection,
        request: &Request,
        room: usize,
        draft: &mut Draft,
    ) -> Result<Answer, Trouble> {
        match request {
            Request::Accept { .. } => self.accept(connection, request, room, draft),
            Request::Commit { changes, .. } => {
                for change in changes.iter() {
                    settle::apply(connection, change, &self.options, draft)?;
                }
                Ok(Answer::Done)
            }
            Request::Redrive(Redrive { filter, after, upto, left, .. }) => {
                let max = room.min(*left);
                let (moved, last) = dead::redrive(connection, filter, (*after, *upto), max, draft)?;
                Ok(Answer::Moved(moved, last))
            }
            Request::Maintain { now, .. } => {
                if draft.step.is_none() {
                    draft.step = self.seen.expire(connection, *now)?;
                }
                let sweep = (*now, &self.sweep);
                let failed = upkeep::step(connection, &self.options, sweep, draft)?;
                self.shared.note_untidy(&failed);
                Ok(Answer::Done)
            }
            Request::Close { .. } => Ok(Answer::Done),
            #[cfg(test)]
            Request::Inspect(_) => Ok(Answer::Done),
        }
    }

    /// Takes as many events of the batch as there is room for in this transaction.
    fn accept(
        &mut self,
        connection: &Connection,
        request: &Request,
        room: usize,
        draft: &mut Draft,
    ) -> Result<Answer, Trouble> {
        let Request::Accept { records, .. } = request else { return Ok(Answer::Done) };
        let used = upkeep::used_bytes(connection)?;
        self.note_used(used);
        let incoming = u64::try_from(records.len()).unwrap_or(u64::MAX);
        let pending = draft.state.pending.total();
        if let Some(reason) = self.shared.space.refusal(pending, incoming, used) {
            return Ok(Answer::Refused(JournalError::Full(reason)));
        }
        let mut receipts = Vec::with_capacity(records.len().min(room));
        for record in records.iter().take(room) {
            let arrival = &record.call.arrival;
            let (source, label) = (arrival.source.as_str(), arrival.label());
            draft.tally.add(source, label, "accepted", "");
            let known_below = match &self.options.base {
                Some(base) => base.knows(record.key)?,
                None => false,
            };
            if known_below || !self.seen.first_sight(connection, record.key)? {
                draft.tally.add(source, label, "dropped", "duplicate");
                receipts.push(Receipt::Duplicate);
                continue;
            }
            draft.keys.push(record.key);
            let seq = draft.state.next_seq();
            queues::insert(connection, seq, record)?;
            *draft.state.queue(record.traffic) += 1;
            receipts.push(Receipt::First(seq));
        }
        Ok(Answer::Receipts(receipts))
    }
}
