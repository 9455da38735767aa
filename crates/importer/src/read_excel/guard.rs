//! A look at a zipped workbook before a library opens it: what it is, and that each of its parts is whole
//! and inflates to no more than its reader can bear, whatever the archive declares.

use std::io::{BufReader, Read};

use fanfare_domain::limits::{
    INFLATE_FACTOR_MAX, SHEET_BYTES_MAX, WORKBOOK_PART_BYTES_MAX, WORKBOOK_STRINGS_BYTES_MAX,
};
use zip::ZipArchive;

use super::cells::damaged;
use super::runs::{BadRecord, BinaryRuns, XmlRuns};
use crate::error::{ImportError, Result};
use crate::input::Raw;

const BUFFER_BYTES: usize = 64 * 1024;
/// Smaller parts may inflate by any factor.
const FREE_BYTES: u64 = 4 * 1024 * 1024;
/// A workbook has a few dozen parts.
const PARTS_MAX: usize = 10_000;

/// Kinds of zipped workbooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Xlsx,
    Xlsb,
    Ods,
}

/// What the archive is; an error if it is no workbook or cannot be borne.
pub(super) fn inspect(file: &str, content: Raw, checked: &mut dyn FnMut(u64)) -> Result<Format> {
    let read = content.counter();
    let mut archive = ZipArchive::new(BufReader::new(content)).map_err(damaged(file))?;
    if archive.len() > PARTS_MAX {
        return Err(ImportError::Bomb { file: file.to_owned(), what: format!("it has {} parts", archive.len()) });
    }
    let names: Vec<String> = archive.file_names_raw().map(|n| String::from_utf8_lossy(n).to_lowercase()).collect();
    let format = format(file, &mut archive, &names)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    for (index, name) in names.iter().enumerate() {
        // The other parts of an ODS are not read.
        if format != Format::Ods || name == "content.xml" {
            inspect_part(file, &mut archive, index, (name, made(format, name)), &mut buffer)?;
        }
        checked(read.load(std::sync::atomic::Ordering::Relaxed));
    }
    Ok(format)
}

fn format(file: &str, archive: &mut ZipArchive<BufReader<Raw>>, names: &[String]) -> Result<Format> {
    let has = |name: &str| names.iter().any(|n| n == name);
    let below = |folder: &str| names.iter().any(|n| n.starts_with(folder));
    let refused = |found| Err(ImportError::NotATable { file: file.to_owned(), found });
    if has("content.xml") && has("mimetype") {
        let kind = start_of(archive, "mimetype", 100);
        if has("encrypted-package") || start_of(archive, "META-INF/manifest.xml", 1 << 20).contains("encryption-data") {
            return Err(ImportError::Encrypted(file.to_owned()));
        }
        return match kind.contains("spreadsheet") {
            true => Ok(Format::Ods),
            false => refused("a document of another office program"),
        };
    }
    if has("encrypted-package") {
        return Err(ImportError::Encrypted(file.to_owned()));
    }
    match () {
        () if has("xl/workbook.bin") => Ok(Format::Xlsb),
        () if below("xl/") && has("[content_types].xml") => Ok(Format::Xlsx),
        () if below("word/") => refused("a Word document"),
        () if below("ppt/") => refused("a presentation"),
        () if below("index/") && names.iter().any(|n| n.ends_with(".iwa")) => refused("an Apple Numbers document"),
        () => refused("a ZIP archive"),
    }
}

/// What a part is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Made {
    Xml,
    Records,
    /// Pictures and macros. A hostile workbook may call its sheet so; then it is short.
    Opaque,
}

fn made(format: Format, name: &str) -> Made {
    match name.rsplit('.').next().unwrap_or_default() {
        "bin" if name.contains("vbaproject") || name.contains("printersettings") => Made::Opaque,
        "bin" if format == Format::Xlsb => Made::Records,
        "bin" | "png" | "jpg" | "jpeg" | "gif" | "emf" | "wmf" | "wdp" | "tif" | "tiff" | "bmp" | "svg" => Made::Opaque,
        _ => Made::Xml,
    }
}

fn inspect_part(
    file: &str,
    archive: &mut ZipArchive<BufReader<Raw>>,
    index: usize,
    (name, made): (&str, Made),
    buffer: &mut [u8],
) -> Result<()> {
    let mut part = archive.by_index(index).map_err(damaged(file))?;
    if part.encrypted() {
        return Err(ImportError::Encrypted(file.to_owned()));
    }
    let (packed, declared) = (part.compressed_size(), part.size());
    let bytes_max = if made == Made::Opaque { WORKBOOK_STRINGS_BYTES_MAX } else { bytes_max(name) };
    let bomb = |what: String| Err(ImportError::Bomb { file: file.to_owned(), what: format!("{name} {what}") });
    let too_large = || bomb(format!("inflates to more than {} MiB", bytes_max / 1024 / 1024));
    if declared > bytes_max {
        return too_large();
    }
    let mut xml = XmlRuns::new();
    let mut records = BinaryRuns::default();
    let mut inflated: u64 = 0;
    loop {
        let n = part.read(buffer).map_err(|e| damaged(file)(format!("{name}: {e}")))?;
        if n == 0 {
            return Ok(());
        }
        inflated += n as u64;
        if inflated > bytes_max {
            return too_large();
        }
        if inflated > FREE_BYTES && inflated / INFLATE_FACTOR_MAX > packed {
            return bomb(format!("inflates {INFLATE_FACTOR_MAX}-fold and more"));
        }
        let long = |cell: String| ImportError::CellTooLong { file: file.to_owned(), cell: format!("{cell} of {name}") };
        match made {
            Made::Xml => xml.feed(&buffer[..n]).map_err(long)?,
            Made::Records => records.feed(&buffer[..n]).map_err(|bad| match bad {
                BadRecord::Long => long("?".to_owned()),
                BadRecord::ShortCell => damaged(file)("it has cells in the short form, which is not understood"),
            })?,
            Made::Opaque => {}
        }
    }
}

fn bytes_max(name: &str) -> u64 {
    let last = name.rsplit('/').next().unwrap_or_default();
    match last {
        "sharedstrings.xml" | "sharedstrings.bin" => WORKBOOK_STRINGS_BYTES_MAX,
        "styles.xml" | "styles.bin" | "workbook.xml" | "workbook.bin" | "[content_types].xml" | "manifest.xml" => {
            WORKBOOK_PART_BYTES_MAX
        }
        name if name.ends_with(".rels") => WORKBOOK_PART_BYTES_MAX,
        _ => SHEET_BYTES_MAX,
    }
}

/// The first bytes of a part; empty if there is none.
fn start_of(archive: &mut ZipArchive<BufReader<Raw>>, name: &str, bytes_max: u64) -> String {
    let mut start = Vec::new();
    if let Ok(part) = archive.by_name(name) {
        // What cannot be read is found out when the part is inspected.
        let _ = part.take(bytes_max).read_to_end(&mut start);
    }
    String::from_utf8_lossy(&start).into_owned()
}
