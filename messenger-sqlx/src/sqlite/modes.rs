//! Who may read the files of a database: messages, addresses and hashes of passwords lie there.

use std::path::Path;

/// Makes the file, if it is not there, for its owner alone. SQLite would leave it to the umask, and gives its log and the other files
/// beside a database the mode of the database.
///
/// What goes wrong here goes wrong for SQLite, too, which says what it is.
pub(super) fn create(database: &Path) {
    let mut options = std::fs::File::options();
    options.write(true).create_new(true);
    for_owner(&mut options);
    drop(options.open(database));
}

/// So that what these options make is for its owner alone.
pub(super) fn for_owner(options: &mut std::fs::OpenOptions) {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    #[cfg(not(unix))]
    let _ = options;
}

/// Takes the database and what lies beside it from everybody but its owner, if everybody on this machine may use it: that comes of a
/// umask, and is meant by nobody. One that a group alone may use is left to it.
#[cfg(unix)]
pub(super) fn narrow(database: &Path) {
    use std::{
        fs::{self, Permissions},
        io,
        os::unix::fs::PermissionsExt as _,
    };

    let narrow = |path: &Path| {
        if fs::metadata(path)?.permissions().mode() & OTHERS == 0 {
            return Ok(false);
        }
        fs::set_permissions(path, Permissions::from_mode(0o600)).map(|()| true)
    };
    // They lie beside the file itself, and not beside a link to it.
    let Ok(database) = fs::canonicalize(database) else { return };
    for end in ["", "-wal", "-shm", "-journal", "-lock"] {
        let mut path = database.clone().into_os_string();
        path.push(end);
        let path = Path::new(&path);
        match narrow(path) {
            Ok(true) => {
                tracing::warn!(path = %path.display(), "everybody on this machine could use this file; now its owner alone may");
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %path.display(), %error, "everybody on this machine may use this file, or it can't be found out");
            }
            _ => {}
        }
    }
}

#[cfg(unix)]
const OTHERS: u32 = 0o007;

#[cfg(not(unix))]
pub(super) fn narrow(_: &Path) {}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::{
        fs::{self, Permissions},
        os::unix::fs::PermissionsExt as _,
    };

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_new_file_is_for_its_owner_and_one_that_is_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chat.db");
        create(&path);
        assert_eq!((mode(&path), fs::read(&path).unwrap().len()), (0o600, 0));
        fs::write(&path, "data").unwrap();
        create(&path);
        assert_eq!(fs::read(&path).unwrap(), b"data");
    }

    #[test]
    fn what_everybody_may_use_is_narrowed_and_what_a_group_may_use_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chat.db");
        for (before, after) in [
            (0o644, 0o600),
            (0o666, 0o600),
            (0o604, 0o600),
            (0o640, 0o640),
            (0o660, 0o660),
            (0o600, 0o600),
            (0o400, 0o400),
        ] {
            let files = ["chat.db", "chat.db-wal", "chat.db-shm", "chat.db-journal", "chat.db-lock"];
            let files = files.map(|name| folder.path().join(name));
            for file in &files {
                let _ = fs::remove_file(file);
                fs::write(file, "").unwrap();
                fs::set_permissions(file, Permissions::from_mode(before)).unwrap();
            }
            narrow(&path);
            for file in &files {
                assert_eq!(mode(file), after, "{} was {before:o}", file.display());
            }
        }
    }
}
