//! Files of ours that messages carry: what they are, by their bytes, and how large each may be.
//!
//! Source: Meta, Cloud API reference: supported media types (2026-03).

use serde::{Deserialize, Serialize};

use super::{Approved, Content, Header, Media};

const MB: u64 = 1024 * 1024;

/// A file that is kept, by its hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredFile {
    /// SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
    /// What it is, by its bytes: `image/jpeg`.
    pub mime: String,
    /// Its length.
    pub bytes: u64,
    /// What it was called.
    pub name: String,
}

/// What a message shows a file as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// A picture.
    Image,
    /// A film.
    Video,
    /// A sound.
    Audio,
    /// A file to open.
    Document,
    /// A file that comes with an e-mail.
    Attachment,
}

impl Shown {
    /// By the `type` of its content or header.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "image" => Self::Image,
            "video" => Self::Video,
            "audio" => Self::Audio,
            "document" => Self::Document,
            _ => return None,
        })
    }

    /// Its `type`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Video => "video",
            Self::Audio => "audio",
            Self::Document => "document",
            Self::Attachment => "attachment",
        }
    }

    /// Most bytes.
    pub fn bytes_max(self) -> u64 {
        match self {
            Self::Image => 5 * MB,
            Self::Video | Self::Audio => 16 * MB,
            Self::Document => 100 * MB,
            // Base64 makes a third more of it, and mail servers rarely take more than 10 MB.
            Self::Attachment => 7 * MB,
        }
    }

    /// The types it may have; none listed for any.
    pub fn mimes(self) -> &'static [&'static str] {
        match self {
            Self::Image => &["image/jpeg", "image/png"],
            Self::Video => &["video/mp4", "video/3gpp"],
            Self::Audio => &["audio/aac", "audio/amr", "audio/mpeg", "audio/mp4", "audio/ogg"],
            Self::Attachment => &[],
            Self::Document => &[
                "application/pdf",
                "text/plain",
                "application/msword",
                "application/vnd.ms-excel",
                "application/vnd.ms-powerpoint",
                "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
                "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
                "application/vnd.openxmlformats-officedocument.presentationml.presentation",
            ],
        }
    }

    /// Why a file cannot be shown so; `None` if it can.
    pub fn problem(self, mime: &str, bytes: u64) -> Option<String> {
        let what = self.name();
        if !self.mimes().is_empty() && !self.mimes().contains(&mime) {
            return Some(format!("is {mime}, which is no {what}: expected {}", self.mimes().join(", ")));
        }
        let most = self.bytes_max();
        (bytes > most).then(|| format!("has {bytes} bytes: expected at most {most} of type {what}"))
    }
}

/// What a file is: by its first bytes, and where these leave it open, by the end of its name. None if it is
/// nothing that a message carries.
pub fn mime_of(bytes: &[u8], name: &str) -> Option<&'static str> {
    let end = name.rsplit_once('.').map(|(_, end)| end.to_ascii_lowercase()).unwrap_or_default();
    let office = |end: &str| match end {
        "doc" => Some("application/msword"),
        "xls" => Some("application/vnd.ms-excel"),
        "ppt" => Some("application/vnd.ms-powerpoint"),
        _ => None,
    };
    let zipped = |end: &str| match end {
        "docx" => Some("application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
        "xlsx" => Some("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
        "pptx" => Some("application/vnd.openxmlformats-officedocument.presentationml.presentation"),
        _ => None,
    };
    match bytes {
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, ..] => Some("image/png"),
        [b'%', b'P', b'D', b'F', b'-', ..] => Some("application/pdf"),
        [b'O', b'g', b'g', b'S', ..] => Some("audio/ogg"),
        [b'#', b'!', b'A', b'M', b'R', ..] => Some("audio/amr"),
        [b'I', b'D', b'3', ..] => Some("audio/mpeg"),
        [0xff, b, ..] if b & 0xf6 == 0xf0 => Some("audio/aac"),
        [0xff, b, ..] if b & 0xe6 == 0xe2 => Some("audio/mpeg"),
        [_, _, _, _, b'f', b't', b'y', b'p', b'3', b'g', ..] => Some("video/3gpp"),
        [_, _, _, _, b'f', b't', b'y', b'p', b'M', b'4', b'A', ..] => Some("audio/mp4"),
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => Some("video/mp4"),
        [0xd0, 0xcf, 0x11, 0xe0, ..] => office(&end),
        [b'P', b'K', 3, 4, ..] => zipped(&end),
        text if matches!(end.as_str(), "txt" | "csv") && std::str::from_utf8(text).is_ok() => Some("text/plain"),
        _ => None,
    }
}

impl Content {
    /// The files of ours that it carries.
    pub fn files(&self) -> Vec<&StoredFile> {
        let media: Vec<&Media> = match self {
            Self::Image(media) | Self::Video(media) | Self::Audio(media) | Self::Document(media) => vec![media],
            Self::Template(approved) => approved.media(),
            Self::Html { attachments, .. } => return attachments.iter().map(|attached| &attached.file).collect(),
            _ => Vec::new(),
        };
        media.into_iter().filter_map(|media| media.file.as_ref()).collect()
    }
}

impl Approved {
    /// What its headers show.
    pub(super) fn media(&self) -> Vec<&Media> {
        let headers = self.header.iter().chain(self.cards.iter().map(|card| &card.header));
        headers
            .filter_map(|header| match header {
                Header::Image(media) | Header::Video(media) | Header::Document(media) => Some(media),
                Header::Text { .. } | Header::Product { .. } => None,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_what_its_bytes_say() {
        let check = |bytes: &[u8], name: &str, expect: Option<&str>| assert_eq!(mime_of(bytes, name), expect, "{name}");
        check(b"\xff\xd8\xff\xe0rest", "offer.png", Some("image/jpeg"));
        check(b"\x89PNG\r\n\x1a\nrest", "offer.jpg", Some("image/png"));
        check(b"%PDF-1.7", "a.jpg", Some("application/pdf"));
        check(b"\0\0\0\x18ftypmp42", "a.mp4", Some("video/mp4"));
        check(b"\0\0\0\x18ftyp3gp4", "a.mp4", Some("video/3gpp"));
        check(b"\0\0\0\x18ftypM4A ", "a.m4a", Some("audio/mp4"));
        check(b"ID3\x04", "a", Some("audio/mpeg"));
        check(b"\xff\xfb\x90\0", "a.mp3", Some("audio/mpeg"));
        check(b"\xff\xf1\x50\x80", "a.aac", Some("audio/aac"));
        let word = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";
        check(b"PK\x03\x04", "a.DOCX", Some(word));
        check(b"PK\x03\x04", "a.zip", None);
        check("naïve".as_bytes(), "a.txt", Some("text/plain"));
        check(b"\xff\xfe\0", "a.txt", None);
        check(b"GIF89a", "a.gif", None);
        check(b"", "a.jpg", None);
    }

    #[test]
    fn each_kind_has_its_types_and_its_size() {
        assert_eq!(Shown::Image.problem("image/png", 5 * MB), None);
        let said = Shown::Image.problem("image/png", 5 * MB + 1).unwrap();
        assert_eq!(said, "has 5242881 bytes: expected at most 5242880 of type image");
        let said = Shown::Image.problem("application/pdf", 1).unwrap();
        assert!(said.starts_with("is application/pdf, which is no image: expected image/jpeg"), "{said}");
    }
}
