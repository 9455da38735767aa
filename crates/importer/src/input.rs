//! The bytes of a contact file: opened once, read several times.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::read::MultiGzDecoder;
use sha2::{Digest as _, Sha256};

use crate::error::{ImportError, Result};
use crate::options::Source;

const BUFFER_BYTES: usize = 128 * 1024;
/// A .gz that holds a workbook is inflated to disk up to this size.
const SPOOL_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// An open file, whatever the source was.
pub(crate) struct Input {
    /// What errors call it.
    pub(crate) name: String,
    file: File,
    /// Size of the file as it is on disk.
    pub(crate) bytes_total: u64,
    stamp: Option<std::time::SystemTime>,
    gzip: bool,
}

impl Input {
    /// Opens the source. What cannot be read twice is first copied to a file without a name.
    pub(crate) fn open(source: Source) -> Result<Self> {
        let name = source.name();
        let file = match source {
            Source::Path(path) => {
                let file = File::open(&path).map_err(ImportError::io(&name, "open it"))?;
                let kind = file.metadata().map_err(ImportError::io(&name, "open it"))?.file_type();
                match (kind.is_dir(), kind.is_file()) {
                    (true, _) => return Err(ImportError::Directory(name)),
                    (_, true) => file,
                    _ => spool(file, u64::MAX, &name)?,
                }
            }
            Source::Stream(stream, _) => spool(stream, u64::MAX, &name)?,
        };
        let mut input = Self { bytes_total: 0, stamp: None, gzip: false, name, file };
        input.measure()?;
        input.gzip = input.head(GZIP.len())? == GZIP;
        Ok(input)
    }

    fn measure(&mut self) -> Result<()> {
        let metadata = self.file.metadata().map_err(ImportError::io(&self.name, "read it"))?;
        self.bytes_total = metadata.len();
        self.stamp = metadata.modified().ok();
        if self.bytes_total == 0 { Err(ImportError::Empty(self.name.clone())) } else { Ok(()) }
    }

    /// Holds that the file is still the one that was opened.
    pub(crate) fn ensure_same(&self) -> Result<()> {
        let metadata = self.file.metadata().map_err(ImportError::io(&self.name, "read it"))?;
        let same = metadata.len() == self.bytes_total && metadata.modified().ok() == self.stamp;
        if same { Ok(()) } else { Err(ImportError::Changed(self.name.clone())) }
    }

    /// SHA-256 of the bytes on disk.
    pub(crate) fn sha256(&self) -> Result<[u8; 32]> {
        let mut hash = Sha256::new();
        let mut reader = self.raw()?;
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            match reader.read(&mut buffer).map_err(ImportError::io(&self.name, "read it"))? {
                0 => return Ok(hash.finalize().into()),
                n => hash.update(&buffer[..n]),
            }
        }
    }

    /// The content from its start, inflated if it is a .gz, and how many bytes on disk it took so far.
    pub(crate) fn reader(&self) -> Result<(Box<dyn Read + Send>, Arc<AtomicU64>)> {
        let raw = self.raw()?;
        let done = raw.counter();
        let reader: Box<dyn Read + Send> = if self.gzip {
            Box::new(MultiGzDecoder::new(BufReader::with_capacity(BUFFER_BYTES, raw)))
        } else {
            Box::new(raw)
        };
        Ok((reader, done))
    }

    /// The first bytes of the content.
    pub(crate) fn head(&self, bytes_max: usize) -> Result<Vec<u8>> {
        let mut head = Vec::new();
        let (reader, _) = self.reader()?;
        reader.take(bytes_max as u64).read_to_end(&mut head).map_err(ImportError::io(&self.name, "read it"))?;
        Ok(head)
    }

    /// The content as a file that can be read in any order.
    pub(crate) fn seekable(&self) -> Result<Raw> {
        if !self.gzip {
            return self.raw();
        }
        let (reader, _) = self.reader()?;
        let file = spool(reader, SPOOL_BYTES_MAX, &self.name)?;
        Ok(Raw::new(file))
    }

    fn raw(&self) -> Result<Raw> {
        let file = self.file.try_clone().map_err(ImportError::io(&self.name, "read it"))?;
        Ok(Raw::new(file))
    }
}

/// A file read at a place of its own: several readers of one open file do not disturb each other.
#[derive(Clone)]
pub(crate) struct Raw {
    file: Arc<File>,
    at: u64,
    read: Arc<AtomicU64>,
}

impl Raw {
    fn new(file: File) -> Self {
        Self { file: Arc::new(file), at: 0, read: Arc::default() }
    }

    /// Counts the bytes that this reader and its clones have read.
    pub(crate) fn counter(&self) -> Arc<AtomicU64> {
        self.read.clone()
    }

    pub(crate) fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
}

impl Read for Raw {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        use std::os::unix::fs::FileExt as _;
        let n = self.file.read_at(buffer, self.at)?;
        self.at += n as u64;
        self.read.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

impl Seek for Raw {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let (base, by) = match to {
            SeekFrom::Start(at) => (at, 0),
            SeekFrom::Current(by) => (self.at, by),
            SeekFrom::End(by) => (self.len()?, by),
        };
        self.at = base.checked_add_signed(by).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

/// Copies a stream to a file that vanishes when it is closed.
fn spool(stream: impl Read, bytes_max: u64, name: &str) -> Result<File> {
    let mut file = tempfile::tempfile().map_err(ImportError::io(name, "keep a copy of it"))?;
    let mut limited = stream.take(bytes_max);
    let copied = io::copy(&mut limited, &mut file).map_err(ImportError::io(name, "read it"))?;
    if copied == bytes_max {
        let what = format!("it inflates to more than {} MiB", bytes_max / 1024 / 1024);
        return Err(ImportError::Bomb { file: name.to_owned(), what });
    }
    file.flush().map_err(ImportError::io(name, "keep a copy of it"))?;
    Ok(file)
}
