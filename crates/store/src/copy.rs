//! Rows in the binary format of COPY (PostgreSQL manual, "COPY", section "Binary Format").

use sqlx::PgConnection;
use tokio::sync::mpsc;

use crate::Result;

/// Magic, flags, and length of the header extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// Microseconds from the Unix epoch to Postgres' own, 2000-01-01.
const POSTGRES_EPOCH_US: i64 = 946_684_800_000_000;
/// Rows that [`each`] sends at once.
const CHUNK_ROWS: usize = 500;
/// Stands after the last row.
const END: i16 = -1;
/// The length of a field that is null.
const NULL: [u8; 4] = (-1i32).to_be_bytes();
/// The type text.
const TEXT_OID: i32 = 25;

/// A COPY stream being put together in memory.
#[derive(Debug)]
pub struct Rows {
    buffer: Vec<u8>,
    rows: u64,
}

impl Default for Rows {
    fn default() -> Self {
        Self { buffer: HEADER.to_vec(), rows: 0 }
    }
}

impl Rows {
    /// Begins a row of `fields` fields.
    pub fn row(&mut self, fields: i16) -> &mut Self {
        self.rows += 1;
        self.put(&fields.to_be_bytes())
    }

    /// How many rows were begun.
    pub fn len(&self) -> u64 {
        self.rows
    }

    /// Whether no row was begun.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Bytes gathered so far.
    pub fn bytes(&self) -> usize {
        self.buffer.len()
    }

    /// A field of type smallint.
    pub fn i16(&mut self, v: i16) -> &mut Self {
        self.field(&v.to_be_bytes())
    }

    /// A field of type int.
    pub fn i32(&mut self, v: i32) -> &mut Self {
        self.field(&v.to_be_bytes())
    }

    /// A field of type bigint.
    pub fn i64(&mut self, v: i64) -> &mut Self {
        self.field(&v.to_be_bytes())
    }

    /// A field of type boolean.
    pub fn bool(&mut self, v: bool) -> &mut Self {
        self.field(&[u8::from(v)])
    }

    /// A field of type timestamptz, from µs since the Unix epoch.
    pub fn timestamp_us(&mut self, v: i64) -> &mut Self {
        self.i64(v - POSTGRES_EPOCH_US)
    }

    /// A field of type text, or null.
    pub fn text(&mut self, v: Option<&str>) -> &mut Self {
        match v {
            Some(v) => self.field(v.as_bytes()),
            None => self.put(&NULL),
        }
    }

    /// A field of type timestamptz, from µs since the Unix epoch, or null.
    pub fn maybe_timestamp_us(&mut self, v: Option<i64>) -> &mut Self {
        match v {
            Some(v) => self.timestamp_us(v),
            None => self.put(&NULL),
        }
    }

    /// A field of type text[]; null when there are none (PostgreSQL source, `array_recv`).
    pub fn texts(&mut self, all: &[String]) -> &mut Self {
        if all.is_empty() {
            return self.put(&NULL);
        }
        let bytes = 20 + all.iter().map(|text| 4 + text.len()).sum::<usize>();
        // One dimension, no nulls, the elements' type, how many, counted from 1.
        self.length(bytes).put(&1i32.to_be_bytes()).put(&0i32.to_be_bytes()).put(&TEXT_OID.to_be_bytes());
        self.put(&(all.len() as i32).to_be_bytes()).put(&1i32.to_be_bytes());
        for text in all {
            self.field(text.as_bytes());
        }
        self
    }

    /// A field of type jsonb, or null.
    pub fn jsonb(&mut self, json: Option<&str>) -> &mut Self {
        match json {
            Some(json) => {
                self.length(json.len() + 1).put(&[1]);
                self.put(json.as_bytes())
            }
            None => self.put(&NULL),
        }
    }

    /// Rows that follow others in a stream.
    pub fn further() -> Self {
        Self { buffer: Vec::new(), rows: 0 }
    }

    /// Takes the bytes gathered since the last time: a chunk for [`stream`].
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    /// Sends the rows by `statement`, a `COPY … FROM STDIN (FORMAT binary)`, and says how many arrived.
    ///
    /// # Errors
    /// When the database refuses them.
    pub async fn copy(mut self, c: &mut PgConnection, statement: &'static str) -> Result<u64> {
        self.put(&END.to_be_bytes());
        let mut sink = c.copy_in_raw(statement).await?;
        match sink.send(self.buffer).await {
            Ok(_) => Ok(sink.finish().await?),
            Err(e) => {
                // The connection is of no more use if this fails too; the first error says why.
                let _ = sink.abort("the sender failed").await;
                Err(e.into())
            }
        }
    }

    fn field(&mut self, bytes: &[u8]) -> &mut Self {
        self.length(bytes.len()).put(bytes)
    }

    fn length(&mut self, bytes: usize) -> &mut Self {
        // Fields are short; a cell's size is limited long before 2 GiB.
        self.put(&(bytes as i32).to_be_bytes())
    }

    fn put(&mut self, bytes: &[u8]) -> &mut Self {
        self.buffer.extend_from_slice(bytes);
        self
    }
}

/// Sends chunks of rows, as they come, by `statement`, a `COPY … FROM STDIN (FORMAT binary)`, and says
/// how many rows arrived.
///
/// # Errors
/// When the database refuses them.
pub async fn stream(
    c: &mut PgConnection,
    statement: &'static str,
    mut chunks: mpsc::UnboundedReceiver<Vec<u8>>,
) -> Result<u64> {
    let mut sink = c.copy_in_raw(statement).await?;
    while let Some(chunk) = chunks.recv().await {
        sink.send(chunk).await?;
    }
    sink.send(&END.to_be_bytes()[..]).await?;
    Ok(sink.finish().await?)
}

/// Puts rows together with `write`, sends them as they are made by `statement`, a
/// `COPY … FROM STDIN (FORMAT binary)`, and says how many arrived. Holds a small part of them at a time.
///
/// # Errors
/// When the database refuses them.
pub async fn each<T>(
    c: &mut PgConnection,
    statement: &'static str,
    items: &[T],
    write: impl Fn(&mut Rows, &T),
) -> Result<u64> {
    let mut rows = Rows::default();
    let mut sink = c.copy_in_raw(statement).await?;
    let mut chunks = items.chunks(CHUNK_ROWS);
    loop {
        let chunk = chunks.next();
        match chunk {
            Some(chunk) => chunk.iter().for_each(|item| write(&mut rows, item)),
            None => {
                rows.put(&END.to_be_bytes());
            }
        }
        if let Err(e) = sink.send(rows.buffer.as_slice()).await {
            // The connection is of no more use if this fails too; the first error says why.
            let _ = sink.abort("the sender failed").await;
            return Err(e.into());
        }
        rows.buffer.clear();
        if chunk.is_none() {
            return Ok(sink.finish().await?);
        }
    }
}
