//! Schema versions: what a new store begins with, and how an older one is brought up to today's.
//!
//! Promises that a step is one commit (after a crash it is done or not begun), and that a store of a later schema is
//! refused untouched. To change the schema: raise `SCHEMA`, add a step, and keep a fixture of the old one.
//!
//! | schema | what changed |
//! |---|---|
//! | 1 | the first |
//! | 2 | letters seen are also listed by time (`seen_by_time`) |
//! | 3 | tables for Cards, contacts, decisions, statements, invites and receipts; the mailbox Requests |
//! | 4 | tables for holding, for being held for, and for Routes |
//! | 5 | the table of guest readers; mailboxes count their bytes |

use super::database::Database;
use super::error::StoreError;
use super::rows::{Rows, Table, be_u64};
use super::tables::mailboxes::{self, DEFAULTS, MailboxName, SpecialUse};
use super::tables::messages::Messages;
use super::tables::seen;
use crate::model::time::UnixTime;
use std::ops::ControlFlow;

/// The schema written today.
pub(super) const SCHEMA: u32 = 5;
const SCHEMA_COUNTER: &str = "schema";

/// Fills a new store.
pub(super) fn fill(rows: &Rows<'_>, now: UnixTime) -> Result<(), StoreError> {
    rows.put_number(SCHEMA_COUNTER, SCHEMA.into())?;
    rows.put_number(mailboxes::UID_VALIDITY_COUNTER, now.0)?;
    for (name, special) in DEFAULTS {
        mailboxes::create(rows, &MailboxName::parse(name)?, Some(special))?;
    }
    Ok(())
}

/// Brings the database up to today's schema.
pub(super) fn migrate(database: &Database) -> Result<(), StoreError> {
    let session = database.session()?;
    let result = session.read(|txn| schema(&Rows::read(txn))).and_then(|found| {
        for step in found..SCHEMA {
            let txn = session.begin_write()?;
            Rows::create_all(&txn)?;
            let rows = Rows::write(&txn);
            match step {
                1 => list_seen_by_time(&rows)?,
                2 => add_requests(&rows)?,
                // Tables, and they are there by now.
                3 => {}
                4 => count_bytes(&rows)?,
                _ => return Err(StoreError::Damaged("the store has a schema that never was")),
            }
            rows.put_number(SCHEMA_COUNTER, u64::from(step) + 1)?;
            drop(rows);
            txn.commit().map_err(StoreError::from_redb)?;
        }
        Ok(())
    });
    session.judge(result)
}

fn schema(rows: &Rows<'_>) -> Result<u32, StoreError> {
    let found = rows.number(SCHEMA_COUNTER)?.ok_or(StoreError::Damaged("the store has no schema"))?;
    let found = u32::try_from(found).unwrap_or(u32::MAX);
    if found > SCHEMA {
        return Err(StoreError::Newer { found, known: SCHEMA });
    }
    Ok(found)
}

fn list_seen_by_time(rows: &Rows<'_>) -> Result<(), StoreError> {
    let mut all = Vec::new();
    rows.scan_prefix(Table::Seen, b"", |key, at| {
        all.push(seen::by_time(be_u64(at)?, key));
        Ok(ControlFlow::Continue(()))
    })?;
    all.iter().try_for_each(|key| rows.put(Table::SeenByTime, key, b""))
}

/// How much is in each mailbox; until then nobody counted.
fn count_bytes(rows: &Rows<'_>) -> Result<(), StoreError> {
    for (no, mut record) in mailboxes::Mailboxes::new(rows).list()? {
        let messages = Messages::new(rows).list(no, ..)?;
        record.bytes = messages.iter().map(|(_, message)| message.size).sum();
        mailboxes::put(rows, no, &record)?;
    }
    Ok(())
}

/// The mailbox Requests; a person's own of that name becomes it. (Junk is there unless something odd removed it.)
fn add_requests(rows: &Rows<'_>) -> Result<(), StoreError> {
    mailboxes::ensure(rows, &MailboxName::parse("Junk")?, SpecialUse::Junk)?;
    mailboxes::ensure(rows, &MailboxName::parse("Requests")?, SpecialUse::Requests)
}
