//! People who were deleted or suppressed: remembered for a while, so that nothing of them that comes
//! later, or lies here still, brings them back.
//!
//! Not here: what lies here of them ([`crate::relay`]'s purge finds it).

use rusqlite::Connection;

use super::Gone;
use super::trouble::Trouble;
use crate::clock::Time;

/// Remembers a person. Deleted again, the later time counts, and is searched for again.
pub(super) fn remember(connection: &Connection, gone: &Gone) -> Result<(), Trouble> {
    connection
        .prepare_cached(
            "INSERT INTO gone_person VALUES (?1, ?2, ?3, ?4, 0)
             ON CONFLICT DO UPDATE SET at = max(at, excluded.at), done = max(done, excluded.done),
                until = max(until, excluded.until), searched = 0",
        )?
        .execute((&gone.person, gone.at.millis(), gone.done.millis(), gone.until.millis()))?;
    Ok(())
}

/// Notes that everything of a person was found, unless the person was deleted again meanwhile.
pub(super) fn searched(connection: &Connection, gone: &Gone) -> Result<(), Trouble> {
    connection
        .prepare_cached("UPDATE gone_person SET searched = 1 WHERE person = ?1 AND done <= ?2")?
        .execute((&gone.person, gone.done.millis()))?;
    Ok(())
}

/// All of them.
pub(super) fn list(connection: &Connection) -> Result<Vec<Gone>, Trouble> {
    let mut select =
        connection.prepare_cached("SELECT person, at, done, until, searched FROM gone_person")?;
    let rows = select.query_map([], |row| {
        Ok(Gone {
            person: row.get(0)?,
            at: Time::from_millis(row.get(1)?),
            done: Time::from_millis(row.get(2)?),
            until: Time::from_millis(row.get(3)?),
            searched: row.get(4)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Forgets those whose time is over.
pub(super) fn forget_old(connection: &Connection, now: Time) -> Result<(), Trouble> {
    connection
        .prepare_cached("DELETE FROM gone_person WHERE until <= ?1 AND searched = 1")?
        .execute([now.millis()])?;
    Ok(())
}
