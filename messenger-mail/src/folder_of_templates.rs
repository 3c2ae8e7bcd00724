use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{error::ComposerError, templates::Replacements};

/// No template is larger than this.
const LARGEST: u64 = 1024 * 1024;

/// Files of the folder are for all languages, those of folders in it for one: templates, and `words.json`. Hidden files are left out.
pub(crate) fn read(folder: &Path, replacements: &mut Replacements) -> Result<(), ComposerError> {
    for path in entries(folder)? {
        if path.is_dir() {
            let language = name(&path);
            for file in entries(&path)? {
                match name(&file).as_str() {
                    "words.json" => replacements.words(&language, text(&file)?),
                    template => replacements.template(&format!("{language}/{template}"), text(&file)?)?,
                }
            }
        } else {
            replacements.template(&name(&path), text(&path)?)?;
        }
    }
    Ok(())
}

/// In the order of their names, so that what is wrong is the same each time.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, ComposerError> {
    let read = || -> io::Result<Vec<PathBuf>> {
        fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect()
    };
    let mut paths = read().map_err(|source| ComposerError::Folder { path: folder.to_owned(), source })?;
    paths.retain(|path| !name(path).starts_with('.'));
    paths.sort();
    Ok(paths)
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn text(path: &Path) -> Result<String, ComposerError> {
    let read = || {
        if fs::metadata(path)?.len() > LARGEST {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it has more than 1 MiB"));
        }
        fs::read_to_string(path)
    };
    read().map_err(|source| ComposerError::Folder { path: path.to_owned(), source })
}
