//! A database, a folder for files, and imports into one list.

use std::fs;
use std::path::{Path, PathBuf};

use fanfare_importer::{ImportError, Options, Progress, Quiet, Source, Summary, import, parse_country};
use fanfare_store::contacts::{self, Contact, OnDuplicate};
use fanfare_store::imports::Counts;
use fanfare_store::{Store, lists, workspaces};
use fanfare_testdb::TestDb;
use futures::TryStreamExt as _;
use tempfile::TempDir;

/// The list that everything goes into.
pub const LIST: &str = "people";

pub struct Scene {
    pub db: TestDb,
    pub folder: TempDir,
    pub workspace_id: i32,
}

impl Scene {
    pub async fn new() -> Self {
        let db = TestDb::new().await;
        let mut c = db.store.pool.acquire().await.unwrap();
        let workspace_id = workspaces::ensure(&mut c, "default", db.store.clock.now()).await.unwrap();
        drop(c);
        Self { db, folder: TempDir::new().unwrap(), workspace_id }
    }

    pub fn store(&self) -> &Store {
        &self.db.store
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file with these bytes.
    pub fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    pub async fn import(&self, path: &Path, options: Options) -> Result<Summary, ImportError> {
        self.import_watched(Source::Path(path.to_owned()), options, &mut Quiet).await
    }

    pub async fn import_watched(
        &self,
        source: Source,
        options: Options,
        progress: &mut dyn Progress,
    ) -> Result<Summary, ImportError> {
        import(self.store(), self.workspace_id, source, options, progress).await
    }

    /// The account of an import that succeeds.
    pub async fn counts(&self, path: &Path, options: Options) -> Counts {
        self.import(path, options).await.unwrap_or_else(|e| panic!("{}: {e}", path.display())).counts
    }

    /// The error of an import that fails, without the name of the folder. Nothing was written.
    pub async fn refused(&self, path: &Path, options: Options) -> String {
        let e = self.import(path, options).await.expect_err("the import is refused").to_string();
        assert!(self.contacts().await.is_empty(), "{e}: and yet contacts were written");
        let rows: i64 = self.count("select count(*) from import").await + self.count("select count(*) from list").await;
        assert_eq!(rows, 0, "{e}: and yet a list or an import was written");
        e.replace(&format!("{}/", self.folder.path().display()), "")
    }

    pub async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.store().pool).await.unwrap()
    }

    /// The contacts of the list, by address; none if there is no list.
    pub async fn contacts(&self) -> Vec<Contact> {
        let mut c = self.store().pool.acquire().await.unwrap();
        let Some(list) = lists::find(&mut c, self.workspace_id, LIST).await.unwrap() else { return Vec::new() };
        contacts::export(&mut c, self.workspace_id, list.list_id).try_collect().await.unwrap()
    }

    /// The contacts as lines: `address|email|name|country|language|attributes`.
    pub async fn lines(&self) -> Vec<String> {
        self.contacts().await.iter().map(line).collect()
    }

    /// Takes all contacts, lists and imports away.
    pub async fn clear(&self) {
        sqlx::raw_sql("truncate contact, import, list, suppression cascade").execute(&self.store().pool).await.unwrap();
    }
}

pub fn line(c: &Contact) -> String {
    let of = |x: &Option<String>| x.clone().unwrap_or_default();
    let attributes = c.attributes.as_ref().map(ToString::to_string).unwrap_or_default();
    [c.address.clone(), of(&c.email), of(&c.name), of(&c.country), of(&c.language), attributes].join("|")
}

/// Into the list, from Algeria.
pub fn options() -> Options {
    Options { list: LIST.to_owned(), country: Some(parse_country("DZ").unwrap()), ..Options::default() }
}

pub fn with(policy: OnDuplicate) -> Options {
    Options { on_duplicate: policy, ..options() }
}

/// `rows imported updated unchanged duplicates rejected suppressed`
pub fn shown(c: &Counts) -> String {
    let Counts { rows, imported, updated, unchanged, duplicates, rejected, suppressed } = c;
    format!("{rows}: {imported} {updated} {unchanged} {duplicates} {rejected}, {suppressed}")
}

/// A file of the repository.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name)
}

/// A CSV of `rows` contacts with different phones.
pub fn many(rows: usize) -> String {
    let mut csv = String::from("phone,name,city\n");
    for i in 0..rows {
        csv.push_str(&format!("+2135{}{:07},Name {i},Oran\n", 5, (i * 7919) % 10_000_000));
    }
    csv
}
