//! Files that a content file names instead of a link: read beside it, looked at, and kept with the template.

use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use fanfare_domain::content::{Shown, StoredFile, mime_of};
use fanfare_store::{Store, media};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// A file that was read.
pub struct Attached {
    sha256: media::Hash,
    mime: String,
    bytes: Vec<u8>,
}

/// Reads the files that a content names, from the directory of the content file, and puts what they are in
/// the places of their names.
pub fn read(content: &mut Value, directory: &Path, found: &mut Vec<Attached>) -> anyhow::Result<()> {
    match content {
        Value::Array(items) => items.iter_mut().try_for_each(|item| read(item, directory, found)),
        Value::Object(fields) => {
            // What comes with an e-mail has no type of its own.
            let shown = match fields.get("type") {
                Some(kind) => kind.as_str().and_then(Shown::named),
                None => Some(Shown::Attachment),
            };
            if let (Some(shown), Some(Value::String(name))) = (shown, fields.get("file")) {
                let (stored, attached) = read_one(&directory.join(name), shown)?;
                fields.insert("file".to_owned(), serde_json::to_value(stored)?);
                found.push(attached);
            }
            fields.values_mut().try_for_each(|value| read(value, directory, found))
        }
        _ => Ok(()),
    }
}

fn read_one(path: &Path, shown: Shown) -> anyhow::Result<(StoredFile, Attached)> {
    let place = path.display();
    let file = std::fs::File::open(path).with_context(|| format!("cannot open {place}"))?;
    let mut bytes = Vec::new();
    // One byte more than is allowed, so that it shows.
    file.take(shown.bytes_max() + 1).read_to_end(&mut bytes).with_context(|| format!("cannot read {place}"))?;
    // It becomes a text of the template, which must not read it as one with variables.
    let name = path.file_name().map(|name| name.to_string_lossy().replace('{', "_")).unwrap_or_default();
    if bytes.is_empty() {
        bail!("{place} is empty");
    }
    let Some(mime) = mime_of(&bytes, &name) else {
        let expected = if shown == Shown::Attachment { Shown::Document } else { shown }.mimes().join(", ");
        bail!("{place} is nothing that messages carry as {}: expected {expected}", shown.name());
    };
    let length = bytes.len() as u64;
    if length > shown.bytes_max() {
        bail!("{place} has more than {} bytes, the most of type {}", shown.bytes_max(), shown.name());
    }
    if let Some(why) = shown.problem(mime, length) {
        bail!("{place} {why}");
    }
    let sha256: media::Hash = Sha256::digest(&bytes).into();
    let stored = StoredFile { sha256: hex::encode(sha256), mime: mime.to_owned(), bytes: length, name };
    Ok((stored, Attached { sha256, mime: mime.to_owned(), bytes }))
}

impl Attached {
    /// Keeps it.
    pub async fn keep(&self, store: &Store, workspace_id: i32) -> anyhow::Result<()> {
        Ok(media::put(store, workspace_id, self.sha256, &self.mime, &self.bytes).await?)
    }
}
