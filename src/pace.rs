//! How a backfill gives way to live traffic: the same rule at every stage that both pass.
//!
//! While live traffic is there, a backfill moves in small pieces and rests in between, so that whoever
//! comes now waits for one small piece at most. How small is each stage's own matter: what shares a commit
//! (`journal::sqlite::line`), what goes to the scripts (`relay::reading`), what shares a request to
//! Customer.io (`delivery::courier::departures`).

use std::time::Duration;

/// So long after the last of it, live traffic counts as being there.
pub const LIVE_FOR: Duration = Duration::from_secs(1);

/// A backfill rests so many times as long as its last piece took…
const RESTS: u32 = 5;

/// …and no longer than this: what is slow for another reason must not stop it.
pub const LONGEST_REST: Duration = Duration::from_millis(100);

/// How long a backfill rests after a piece that took so long.
pub fn rest_after(took: Duration) -> Duration {
    took.saturating_mul(RESTS).min(LONGEST_REST)
}
