//! The bytes of a contact file: opened once, read several times.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

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
    /// Device and inode of the file that was named, if it was.
    origin: Option<(u64, u64)>,
    stop: Stop,
    /// Size of the file as it is on disk.
    pub(crate) bytes_total: u64,
    stamp: Option<std::time::SystemTime>,
    gzip: bool,
}

impl Input {
    /// Opens the source. What cannot be read twice is first copied to a file without a name.
    pub(crate) fn open(source: Source, stop: Stop) -> Result<Self> {
        let name = source.name();
        let (file, origin) = match source {
            Source::Path(path) => {
                let file = File::open(&path).map_err(ImportError::io(&name, "open it"))?;
                let metadata = file.metadata().map_err(ImportError::io(&name, "open it"))?;
                match (metadata.is_dir(), metadata.is_file()) {
                    (true, _) => return Err(ImportError::Directory(name)),
                    (_, true) => (file, Some((metadata.dev(), metadata.ino()))),
                    _ => (spool(Until(file, &stop), u64::MAX, &name)?, None),
                }
            }
            Source::Stream(stream, _) => (spool(Until(stream, &stop), u64::MAX, &name)?, None),
        };
        let mut input = Self { bytes_total: 0, stamp: None, gzip: false, name, file, origin, stop };
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

    /// Whether `path` is the file that was named.
    pub(crate) fn is_at(&self, path: &Path) -> bool {
        std::fs::metadata(path).is_ok_and(|m| self.origin == Some((m.dev(), m.ino())))
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
        Ok(Raw::new(file, self.stop.clone()))
    }

    fn raw(&self) -> Result<Raw> {
        let file = self.file.try_clone().map_err(ImportError::io(&self.name, "read it"))?;
        Ok(Raw::new(file, self.stop.clone()))
    }
}

/// Ends all reading, once it is said. A thread that reads cannot be ended from outside.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Says it when the guard is dropped.
    pub(crate) fn guard(&self) -> StopGuard {
        StopGuard(self.clone())
    }

    fn check(&self) -> io::Result<()> {
        if self.0.load(Ordering::Relaxed) { Err(io::Error::other("the import was stopped")) } else { Ok(()) }
    }
}

/// A stream that is read until it is stopped.
struct Until<'a, R>(R, &'a Stop);

impl<R: Read> Read for Until<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.1.check()?;
        self.0.read(buffer)
    }
}

/// Ends all reading when it is dropped.
pub(crate) struct StopGuard(Stop);

impl Drop for StopGuard {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

/// A file read at a place of its own: several readers of one open file do not disturb each other.
#[derive(Clone)]
pub(crate) struct Raw {
    file: Arc<File>,
    at: u64,
    read: Arc<AtomicU64>,
    stop: Stop,
}

impl Raw {
    fn new(file: File, stop: Stop) -> Self {
        Self { file: Arc::new(file), at: 0, read: Arc::default(), stop }
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
        self.stop.check()?;
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
