//! The zip, written to memory and taken from there.

use std::{
    collections::VecDeque,
    io::{self, Write},
    mem,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use messenger_core::{
    Error, Result,
    queries::{ExportFile, ExportPart},
};
use zip::{
    CompressionMethod, ZipWriter,
    write::{SimpleFileOptions, StreamWriter},
};

/// The size of a piece in bytes.
const PIECE: usize = 32 * 1024;
/// How hard it tries, from 1 to 9: JSON becomes a fraction with the least, and a part is compressed at once.
const LEVEL: i64 = 1;

pub(super) struct Archive {
    /// `None` once it is finished.
    zip: Option<ZipWriter<StreamWriter<Written>>>,
    file: Option<ExportFile>,
    written: Written,
}

impl Archive {
    /// Begins with the text that says what is in it.
    pub(super) fn begin() -> Result<Self> {
        let written = Written::default();
        let mut archive = Self { zip: Some(ZipWriter::new_stream(written.clone())), file: None, written };
        let zip = archive.zip()?;
        zip.start_file("README.txt", options(false)).map_err(Error::internal)?;
        zip.write_all(ExportFile::README.as_bytes()).map_err(Error::internal)?;
        Ok(archive)
    }

    /// Adds the lines of a part. All parts of a file follow each other.
    pub(super) fn add(&mut self, part: &ExportPart) -> Result<()> {
        let begins = self.file != Some(part.file);
        self.file = Some(part.file);
        let zip = self.zip()?;
        if begins {
            // No other file comes near to 4 GiB.
            let options = options(part.file == ExportFile::Messages);
            zip.start_file(part.file.name(), options).map_err(Error::internal)?;
        }
        zip.write_all(part.lines.as_bytes()).map_err(Error::internal)
    }

    /// Writes the end.
    pub(super) fn finish(&mut self) -> Result<()> {
        match self.zip.take() {
            Some(zip) => zip.finish().map(drop).map_err(Error::internal),
            None => Ok(()),
        }
    }

    /// Takes what has been written since the last time.
    pub(super) fn take(&self) -> VecDeque<Bytes> {
        let mut bytes = Bytes::from(mem::take(&mut *self.written.lock()));
        let mut pieces = VecDeque::with_capacity(bytes.len().div_ceil(PIECE));
        while !bytes.is_empty() {
            pieces.push_back(bytes.split_to(bytes.len().min(PIECE)));
        }
        pieces
    }

    fn zip(&mut self) -> Result<&mut ZipWriter<StreamWriter<Written>>> {
        self.zip.as_mut().ok_or_else(|| Error::internal("the archive is finished"))
    }
}

fn options(is_large: bool) -> SimpleFileOptions {
    SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .compression_level(Some(LEVEL))
        .large_file(is_large)
        .unix_permissions(0o600)
}

/// The zip's writer keeps one, and who takes from it the other.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
