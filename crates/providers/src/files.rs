//! Files of ours: their bytes, and the ids under which a provider keeps them, one for the whole fleet.

use std::fmt;
use std::pin::Pin;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use fanfare_domain::content::StoredFile;
use fanfare_domain::limits::FILES_IN_FLIGHT_MAX;
use fanfare_domain::message::OutMessage;
use fanfare_domain::outcome::{Action, Answer, Failure, FailureKind};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::MayStart;
use crate::tokens::Fetch;

/// Something of a file being fetched.
pub type Fetched<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Keeps the files of one account's workspace, and what its provider calls them.
pub trait Files: fmt::Debug + Send + Sync {
    /// Its bytes. The failure says that they cannot be read now, or are there no more.
    fn bytes<'a>(&'a self, file: &'a StoredFile) -> Fetched<'a, Result<Bytes, Failure>>;

    /// The provider's id of it, if this process knows one that is good still.
    fn known(&self, file: &StoredFile) -> Option<String>;

    /// The provider's id of it. If the fleet knows none that is good still, `upload` is run for one: by one
    /// caller at a time, while the others wait for what it brings.
    fn id<'a>(&'a self, file: &'a StoredFile, upload: Fetch<'a>) -> Fetch<'a>;

    /// Forgets this id, which the provider does not know any more.
    fn forget<'a>(&'a self, file: &'a StoredFile, id: &'a str) -> Fetched<'a, ()>;
}

/// Keeps none.
#[derive(Debug)]
pub(crate) struct NoFiles;

impl Files for NoFiles {
    fn bytes<'a>(&'a self, _: &'a StoredFile) -> Fetched<'a, Result<Bytes, Failure>> {
        Box::pin(async { Err(gone()) })
    }

    fn known(&self, _: &StoredFile) -> Option<String> {
        None
    }

    fn id<'a>(&'a self, _: &'a StoredFile, upload: Fetch<'a>) -> Fetch<'a> {
        upload
    }

    fn forget<'a>(&'a self, _: &'a StoredFile, _: &'a str) -> Fetched<'a, ()> {
        Box::pin(async {})
    }
}

/// What is said of a file that is not kept: every message of the run would miss it.
pub fn gone() -> Failure {
    let failure = Failure::new(FailureKind::PermanentContent, "file is not kept");
    Failure { action: Some(Action::PauseRun), ..failure }
}

/// What a failure of an upload means for the message that waits for it: it certainly was not sent.
pub(crate) fn not_uploaded(failure: Failure) -> Failure {
    let (kind, action) = match failure.kind {
        FailureKind::Throttled | FailureKind::Later | FailureKind::Configuration | FailureKind::Unreachable => {
            (failure.kind, failure.action)
        }
        // A server's error, or silence: the file may be there, the message is not.
        FailureKind::Unknown | FailureKind::Transient => (FailureKind::Transient, None),
        // Others of the run carry the same file.
        FailureKind::PermanentContent | FailureKind::PermanentRecipient => {
            (FailureKind::PermanentContent, Some(Action::PauseRun))
        }
    };
    Failure { action, ..Failure::new(kind, format!("upload: {}", failure.detail)).after(failure.retry_after) }
}

/// The files that a message carries itself, and its part of the memory that such messages may take.
pub(crate) struct Carried {
    /// Their bytes, in the order of [`Content::files`](fanfare_domain::content::Content::files).
    pub files: Vec<Bytes>,
    _room: SemaphorePermit<'static>,
}

impl Carried {
    /// The first, which is the only one of most contents, in base64.
    pub fn base64(&self) -> String {
        self.files.first().map(|bytes| STANDARD.encode(bytes)).unwrap_or_default()
    }
}

/// What a message carries of files of ours; nothing if it has none. Else what becomes of the message.
pub(crate) async fn carried(
    files: &dyn Files,
    message: &OutMessage,
    may_start: MayStart<'_>,
) -> Result<Option<Carried>, Answer> {
    static ROOM: Semaphore = Semaphore::const_new(FILES_IN_FLIGHT_MAX);
    let wanted = message.content.files();
    if wanted.is_empty() {
        return Ok(None);
    }
    let room = ROOM.acquire().await.expect("nobody closes it");
    let mut found = Vec::with_capacity(wanted.len());
    for file in wanted {
        found.push(files.bytes(file).await.map_err(Answer::Failed)?);
    }
    // That took time, and a connection that is there is used without a question.
    if !may_start() {
        return Err(Answer::NotStarted);
    }
    Ok(Some(Carried { files: found, _room: room }))
}
