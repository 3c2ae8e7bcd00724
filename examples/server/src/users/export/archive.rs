//! The archive that is made of the files, and put where it is wanted.

use std::{
    fs::{self, File},
    io::{self, BufWriter, ErrorKind, Write as _},
    path::Path,
};

use messenger_core::queries::ExportFile;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

/// Where sizes need more than four bytes, with room for what does not compress.
const LARGE: u64 = 4_000_000_000;

pub(super) fn write(file: File, folder: &Path) -> io::Result<()> {
    let mut zip = ZipWriter::new(BufWriter::new(file));
    let options = |length: u64| {
        SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .unix_permissions(0o600)
            .large_file(length > LARGE)
    };
    zip.start_file("README.txt", options(0))?;
    zip.write_all(ExportFile::README.as_bytes())?;
    for file in ExportFile::ALL {
        let mut lines = File::open(folder.join(file.name()))?;
        zip.start_file(file.name(), options(lines.metadata()?.len()))?;
        io::copy(&mut lines, &mut zip)?;
    }
    let file = zip.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()
}

/// Gives the archive its name, and tells whether nothing had that before. Nobody ever sees half of it.
pub(super) fn put(archive: &Path, file: &Path) -> io::Result<bool> {
    match fs::hard_link(archive, file) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        // Not every file system has links.
        Err(_) if !file.try_exists()? => fs::rename(archive, file).map(|()| true),
        Err(error) => Err(error),
    }
}
