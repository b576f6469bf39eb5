//! Who is asked for dead letters: a running server, or the journal of one that is not.
//!
//! Not here: how either is reached ([`super::super::operator`]).

use std::time::Duration;

use anyhow::Context as _;

use super::super::operator::{self, OperatorArgs, Reach};
use crate::admin::AdminError;
use crate::admin::dead_letters::{self, LONGEST_PAGE, Letter, Page, Redrive, Redriven, Selection};
use crate::admin::originals::{self, Original, Originals};
use crate::clock::{Clock as _, SystemClock};

/// Answers from the server, or from the journal itself: the same either way.
pub(super) struct Desk(Reach);

impl Desk {
    /// The server, or the journal of one that does not run.
    pub(super) fn reach(args: &OperatorArgs) -> anyhow::Result<Self> {
        operator::reach(args).map(Self)
    }

    /// Whether a server answers.
    pub(super) fn is_served(&self) -> bool {
        matches!(self.0, Reach::Server(_))
    }

    /// A page of the list.
    pub(super) fn page(
        &self,
        which: &Selection,
        after: Option<u64>,
        limit: usize,
    ) -> anyhow::Result<Page> {
        match &self.0 {
            Reach::Folder(journal) => {
                Ok(dead_letters::list(journal, which, after, limit, SystemClock.now())?)
            }
            Reach::Server(server) => server.get("/api/dead-letters", &query(which, after, limit)),
        }
    }

    /// A page of the originals.
    pub(super) fn originals(
        &self,
        which: &Selection,
        after: Option<u64>,
    ) -> anyhow::Result<Originals> {
        match &self.0 {
            Reach::Folder(journal) => {
                let now = SystemClock.now();
                Ok(originals::dead(journal, which, after, LONGEST_PAGE, now)?)
            }
            Reach::Server(server) => {
                server.get("/api/dead-letters/export", &query(which, after, LONGEST_PAGE))
            }
        }
    }

    /// One with its payload; `None`: there is none of this number.
    pub(super) fn letter(&self, seq: u64) -> anyhow::Result<Option<Letter>> {
        match &self.0 {
            Reach::Folder(journal) => match dead_letters::show(journal, seq) {
                Err(AdminError::NoSuchDeadLetter(_)) => Ok(None),
                found => Ok(Some(found?)),
            },
            Reach::Server(server) => server.find(&format!("/api/dead-letters/{seq}")),
        }
    }

    /// Puts those back that are meant.
    pub(super) fn redrive(&self, request: &Redrive) -> anyhow::Result<Redriven> {
        match &self.0 {
            Reach::Folder(journal) => {
                let reply = dead_letters::redrive(journal, request, SystemClock.now())?;
                let redriven = reply.blocking_recv().context("the journal did not answer")??;
                Ok(Redriven { redriven })
            }
            Reach::Server(server) => server.post("/api/dead-letters/redrive", request),
        }
    }

    /// Puts back so many a second. What dies again meanwhile is not put back again.
    pub(super) fn redrive_paced(
        &self,
        mut request: Redrive,
        rate: u64,
    ) -> anyhow::Result<Redriven> {
        if request.filter == Selection::default() && !request.all {
            return Err(AdminError::EmptyFilter.into());
        }
        let now = SystemClock.now();
        let until = request.filter.filter(now)?.until.map_or(now, |until| until.min(now));
        request.filter.until = Some(until.to_string());
        let progress = indicatif::ProgressBar::new_spinner();
        let mut left = request.max.unwrap_or(u64::MAX);
        let mut redriven = 0;
        while left > 0 {
            let step = Redrive { max: Some(rate.min(left)), ..request.clone() };
            let done = self.redrive(&step)?.redriven;
            redriven += done;
            left -= done.min(left);
            progress.set_message(format!("{redriven} are back in their queues"));
            if done < rate {
                break;
            }
            std::thread::sleep(Duration::from_secs(1));
        }
        progress.finish_and_clear();
        Ok(Redriven { redriven })
    }

    /// The originals that a request means.
    pub(super) fn chosen(&self, request: &Redrive) -> anyhow::Result<Vec<Original>> {
        if request.filter == Selection::default() && !request.all {
            return Err(AdminError::EmptyFilter.into());
        }
        let most = usize::try_from(request.max.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
        let (mut chosen, mut after) = (Vec::new(), None);
        loop {
            let page = self.originals(&request.filter, after)?;
            after = page.next;
            let meant = |one: &Original| request.filter.seq.is_none_or(|seq| one.seq == seq);
            chosen.extend(page.originals.into_iter().filter(meant));
            if after.is_none() || chosen.len() >= most {
                chosen.truncate(most);
                return Ok(chosen);
            }
        }
    }

    /// Closes the journal, where that was opened.
    pub(super) fn leave(&self) -> anyhow::Result<()> {
        match &self.0 {
            Reach::Folder(journal) => operator::close(journal),
            Reach::Server(_) => Ok(()),
        }
    }
}

/// A filter and a page as the server reads them.
fn query(
    which: &Selection,
    after: Option<u64>,
    limit: usize,
) -> [(&'static str, Option<String>); 7] {
    [
        ("code", which.code.clone()),
        ("source", which.source.clone()),
        ("bundle", which.bundle.clone()),
        ("since", which.since.clone()),
        ("until", which.until.clone()),
        ("after", after.map(|after| after.to_string())),
        ("limit", Some(limit.to_string())),
    ]
}
