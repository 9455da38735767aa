//! One transaction of an import: a batch of rows goes in whole, with the checkpoint behind it, or not at all.
//!
//! As long as the list holds nothing but what this import has put in, rows with new addresses are copied
//! straight in, and the transactions of two batches overlap: [`Load::prepare`] may run while the batch
//! before is not yet committed, [`Prepared::settle`] must not. A list with older contents is merged into,
//! one import at a time.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use sqlx::{Connection as _, PgConnection, Postgres, Transaction};
use tokio::sync::Mutex;

use crate::contacts::{self, NewContact, OnDuplicate, Place, Stamp};
use crate::imports::{self, Counts};
use crate::lists::{self, Hold};
use crate::pepper::Pepper;
use crate::suppressions::{self, Reason};
use crate::{Error, Result, Store};

/// SQLSTATE of a key that is there already.
const UNIQUE_VIOLATION: &str = "23505";

/// A contact of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What goes into the list.
    pub contact: NewContact,
    /// The person has opted out.
    pub opted_out: bool,
}

/// A stretch of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// Rows of the file before it.
    pub at: i64,
    /// What is known of its rows already: how many there are, how many are rejected, and how many repeat
    /// an earlier row of the batch.
    pub counts: Counts,
    /// First rows of their address that no row before the batch has had, by address.
    pub fresh: Vec<Row>,
    /// The other first rows of their address within the batch, by address.
    pub met: Vec<Row>,
    /// What the later rows of their address come to, by address.
    pub repeats: Vec<NewContact>,
    /// Those later rows themselves.
    pub repeated: Vec<Row>,
    /// What suppressions by this file are said to come from, e.g. the file's name.
    pub origin: String,
    /// The source of new contacts whose row names none.
    pub source: String,
}

impl Batch {
    fn rows(&self) -> impl Iterator<Item = &Row> {
        self.fresh.iter().chain(&self.met).chain(&self.repeated)
    }

    fn stamp(&self, now: DateTime<Utc>) -> Stamp<'_> {
        Stamp { source: &self.source, now }
    }
}

/// Fills a list on behalf of an import.
pub struct Load {
    store: Store,
    place: Place,
    policy: OnDuplicate,
    /// The list is this import's alone, as far as is known. Decided for one batch after the other: once it
    /// is not, no later batch may hold the list together with this one.
    alone: Mutex<bool>,
}

/// A batch whose new contacts may be in, uncommitted.
pub struct Prepared<'a> {
    load: &'a Load,
    tx: Transaction<'static, Postgres>,
    /// The list is held, and the fresh contacts are in.
    alone: bool,
}

impl Load {
    /// On behalf of an import that has begun.
    pub fn new(store: Store, place: Place, policy: OnDuplicate) -> Self {
        Self { store, place, policy, alone: Mutex::new(true) }
    }

    /// Does what can be done before the batch before is committed.
    ///
    /// # Errors
    /// [`Error::Conflict`] when another program runs the same import; else when the database fails.
    pub async fn prepare(&self, batch: &Batch) -> Result<Prepared<'_>> {
        let mut tx = self.begin().await?;
        let alone = self.hold_alone(&mut tx).await?;
        if alone {
            let stamp = batch.stamp(self.store.clock.now());
            contacts::insert(&mut tx, self.place, stamp, &contacts_of(&batch.fresh)).await.map_err(lost_race)?;
        } else {
            // Lets go of the list: two that hold it together cannot both come to hold it for themselves.
            tx.rollback().await?;
            tx = self.begin().await?;
        }
        Ok(Prepared { load: self, tx, alone })
    }

    /// Begins a transaction whose commit does not wait for the disk. A server that crashes may forget the
    /// last batches together with the checkpoint behind them, and the import goes on from the one before;
    /// the commit that finishes the import waits for all of them.
    async fn begin(&self) -> Result<Transaction<'static, Postgres>> {
        let mut tx = self.store.pool.begin().await?;
        sqlx::query("-- begin\n set local synchronous_commit to off").execute(&mut *tx).await?;
        Ok(tx)
    }

    /// Holds the list against other imports if it is this one's alone.
    async fn hold_alone(&self, c: &mut PgConnection) -> Result<bool> {
        let mut alone = self.alone.lock().await;
        if *alone {
            lists::hold(c, self.place.workspace_id, self.place.list_id, Hold::Shared).await?;
            *alone = imports::is_only(c, self.place.workspace_id, self.place.list_id, self.place.import_id).await?;
        }
        Ok(*alone)
    }
}

impl Prepared<'_> {
    /// Does the rest and commits; says what became of the rows.
    ///
    /// # Errors
    /// [`Error::Conflict`] when another program runs the same import; else when the database fails. Nothing
    /// of the batch is in then.
    pub async fn settle(mut self, batch: &Batch) -> Result<Counts> {
        let Place { workspace_id, list_id, import_id } = self.load.place;
        if !self.alone {
            lists::hold(&mut self.tx, workspace_id, list_id, Hold::Alone).await?;
        }
        imports::lock(&mut self.tx, workspace_id, import_id, batch.at).await?;
        let now = self.load.store.clock.now();
        let any = suppressions::any(&mut self.tx, workspace_id).await?;
        let (place, policy, pepper) = (self.load.place, self.load.policy, self.load.store.seal.pepper().clone());
        let work = Work { place, policy, inserted: self.alone, any, now, pepper };
        let counts = work.put_in(&mut self.tx, batch).await?;
        imports::advance(&mut self.tx, workspace_id, import_id, batch.at, counts).await?;
        self.tx.commit().await?;
        Ok(counts)
    }
}

/// Does all that [`Load`] does, in tables that vanish with it.
pub struct Rehearsal {
    connection: PgConnection,
    place: Place,
    policy: OnDuplicate,
    alone: bool,
    now: DateTime<Utc>,
    pepper: Pepper,
}

impl Rehearsal {
    /// On a connection of its own.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn begin(store: &Store, place: Place, policy: OnDuplicate) -> Result<Self> {
        let mut connection = PgConnection::connect_with(&store.pool.connect_options()).await?;
        let alone = imports::is_only(&mut connection, place.workspace_id, place.list_id, place.import_id).await?;
        // What was prepared until now means the real tables.
        connection.clear_cached_statements().await?;
        contacts::rehearse(&mut connection).await?;
        let (now, pepper) = (store.clock.now(), store.seal.pepper().clone());
        Ok(Self { connection, place, policy, alone, now, pepper })
    }

    /// Says what would become of the rows.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn settle(&mut self, batch: &Batch) -> Result<Counts> {
        let mut tx = self.connection.begin().await?;
        contacts::rehearse_with(&mut tx, &self.pepper, self.place, &addresses(batch.rows())).await?;
        if self.alone {
            contacts::insert(&mut tx, self.place, batch.stamp(self.now), &contacts_of(&batch.fresh)).await?;
        }
        let Self { place, policy, now, alone: inserted, .. } = *self;
        let counts = Work { place, policy, inserted, any: true, now, pepper: self.pepper.clone() }
            .put_in(&mut tx, batch)
            .await?;
        tx.commit().await?;
        Ok(counts)
    }
}

/// What both kinds of load do with a batch.
struct Work {
    place: Place,
    policy: OnDuplicate,
    /// The fresh contacts are in.
    inserted: bool,
    /// The workspace may suppress something.
    any: bool,
    now: DateTime<Utc>,
    pepper: Pepper,
}

impl Work {
    async fn put_in(&self, c: &mut PgConnection, batch: &Batch) -> Result<Counts> {
        let mut counts = batch.counts;
        let mut met = contacts_of(&batch.met);
        if self.inserted {
            counts.imported += batch.fresh.len() as i64;
        } else {
            met.extend(contacts_of(&batch.fresh));
            met.sort_unstable_by(|a, b| a.address.cmp(&b.address));
        }
        let merged = contacts::merge(c, self.place, batch.stamp(self.now), self.policy, &met).await?;
        counts += Counts { rows: 0, ..merged };
        // Each of these has met its contact in this batch: they are counted already.
        let repeats: Vec<&NewContact> = batch.repeats.iter().collect();
        contacts::merge(c, self.place, batch.stamp(self.now), self.policy, &repeats).await?;
        counts.suppressed = self.suppress(c, batch).await?;
        Ok(counts)
    }

    /// Suppresses those who opted out, and counts the rows whose address is suppressed at their turn.
    async fn suppress(&self, c: &mut PgConnection, batch: &Batch) -> Result<i64> {
        if !self.any && !batch.rows().any(|row| row.opted_out) {
            return Ok(0);
        }
        let workspace_id = self.place.workspace_id;
        let known = suppressions::among(c, &self.pepper, workspace_id, &addresses(batch.rows())).await?;
        let mut suppressed: HashSet<&str> = known.iter().map(String::as_str).collect();
        let mut in_order: Vec<&Row> = batch.rows().collect();
        in_order.sort_unstable_by_key(|row| row.contact.row_no);
        let (mut new, mut count) = (Vec::new(), 0);
        for row in in_order {
            let of_row = [Some(row.contact.address.as_str()), row.contact.email.as_deref()];
            if row.opted_out {
                for address in of_row.into_iter().flatten() {
                    if suppressed.insert(address) {
                        new.push((address.to_owned(), format!("{}, row {}", batch.origin, row.contact.row_no)));
                    }
                }
            }
            count += i64::from(of_row.into_iter().flatten().any(|address| suppressed.contains(address)));
        }
        if !new.is_empty() {
            suppressions::add(c, workspace_id, &new, Reason::File, self.now).await?;
        }
        Ok(count)
    }
}

fn contacts_of(rows: &[Row]) -> Vec<&NewContact> {
    rows.iter().map(|row| &row.contact).collect()
}

fn addresses<'a>(rows: impl Iterator<Item = &'a Row>) -> Vec<&'a str> {
    rows.flat_map(|row| [Some(row.contact.address.as_str()), row.contact.email.as_deref()]).flatten().collect()
}

/// While the list is held, only the same import can have put the same contact in.
fn lost_race(e: Error) -> Error {
    match &e {
        Error::Sql(sqlx::Error::Database(d)) if d.code().as_deref() == Some(UNIQUE_VIOLATION) => imports::taken(),
        _ => e,
    }
}
