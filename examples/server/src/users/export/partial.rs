//! What an export has read so far: a folder with its files, and how far they go.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, ErrorKind, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use messenger_core::{
    Cursor, UserId,
    queries::{ExportFile, ExportPart},
};
use serde::{Deserialize, Serialize};

use super::archive;

const PROGRESS: &str = "progress.json";
const LOCK: &str = "lock";

pub(super) struct Partial {
    folder: PathBuf,
    progress: Progress,
    /// Held while this goes on.
    lock: File,
}

/// Whether the folder can be used, or why not.
pub(super) enum Opening {
    Opened(Partial),
    Refused(String),
}

/// Up to where the files are right: what is behind is of a part that was not finished.
#[derive(Serialize, Deserialize)]
struct Progress {
    user: UserId,
    #[serde(default)]
    cursor: Option<Cursor>,
    whole: bool,
    messages: u64,
    lengths: BTreeMap<ExportFile, u64>,
}

impl Partial {
    pub(super) fn open(folder: &Path, user: UserId) -> io::Result<Opening> {
        let is_new = make_folder(folder)?;
        let lock = for_its_owner().create(true).truncate(false).open(folder.join(LOCK))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return refused("Another export to this file is under way", folder);
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let progress = match fs::read(folder.join(PROGRESS)) {
            Ok(text) => serde_json::from_slice::<Progress>(&text).ok(),
            Err(error) if error.kind() == ErrorKind::NotFound && (is_new || has_nothing(folder)?) => {
                let lengths = BTreeMap::new();
                Some(Progress { user, cursor: None, whole: false, messages: 0, lengths })
            }
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let Some(progress) = progress else {
            return refused(
                "There is something else where the export would be kept until it is whole",
                folder,
            );
        };
        if progress.user != user {
            return refused("There is the begun export of another account", folder);
        }
        let partial = Self { folder: folder.to_owned(), progress, lock };
        if !partial.cut()? {
            return refused("What was exported before is not there any more as it was", folder);
        }
        partial.store()?;
        Ok(Opening::Opened(partial))
    }

    pub(super) const fn cursor(&self) -> Option<&Cursor> {
        self.progress.cursor.as_ref()
    }

    pub(super) const fn is_begun(&self) -> bool {
        self.progress.cursor.is_some() || self.progress.whole
    }

    pub(super) const fn is_whole(&self) -> bool {
        self.progress.whole
    }

    pub(super) const fn messages(&self) -> u64 {
        self.progress.messages
    }

    /// Adds the part, and only then notes that it is there.
    pub(super) fn add(&mut self, part: &ExportPart) -> io::Result<()> {
        let mut file = for_its_owner().create(true).append(true).open(self.folder.join(part.file.name()))?;
        file.write_all(part.lines.as_bytes())?;
        file.sync_data()?;
        self.progress.lengths.insert(part.file, file.seek(SeekFrom::End(0))?);
        if part.file == ExportFile::Messages {
            self.progress.messages += part.count;
        }
        self.progress.cursor.clone_from(&part.next_cursor);
        self.progress.whole = part.next_cursor.is_none();
        self.store()
    }

    /// Makes the archive of the files, beside them.
    pub(super) fn archive(&self) -> io::Result<PathBuf> {
        let path = self.folder.join("export.zip");
        let file = for_its_owner().create(true).truncate(true).open(&path)?;
        archive::write(file, &self.folder)?;
        Ok(path)
    }

    /// Removes the folder, which is not needed any more.
    pub(super) fn remove(self) -> io::Result<()> {
        // Not removed while it is open, where that is refused.
        drop(self.lock);
        fs::remove_dir_all(&self.folder)
    }

    /// Cuts off what was not noted; false if something that was noted is missing.
    fn cut(&self) -> io::Result<bool> {
        for file in ExportFile::ALL {
            let length = self.progress.lengths.get(&file).copied();
            let opened = OpenOptions::new().write(true).open(self.folder.join(file.name()));
            let is_there = match (opened, length) {
                (Ok(opened), length) => {
                    let length = length.unwrap_or(0);
                    let is_long_enough = opened.metadata()?.len() >= length;
                    if is_long_enough {
                        opened.set_len(length)?;
                    }
                    is_long_enough
                }
                (Err(error), length) if error.kind() == ErrorKind::NotFound => length.is_none(),
                (Err(error), _) => return Err(error),
            };
            if !is_there {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn store(&self) -> io::Result<()> {
        let (path, beside) = (self.folder.join(PROGRESS), self.folder.join("progress.new"));
        let mut file = for_its_owner().create(true).truncate(true).open(&beside)?;
        file.write_all(&serde_json::to_vec(&self.progress)?)?;
        file.sync_data()?;
        fs::rename(beside, path)
    }
}

fn refused(why: &str, folder: &Path) -> io::Result<Opening> {
    Ok(Opening::Refused(format!(
        "{why}; look into {}, remove it, or choose another file with --to.",
        folder.display()
    )))
}

/// Tells whether there was none.
fn make_folder(folder: &Path) -> io::Result<bool> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(folder) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether there is nothing in the folder that is not of an export which was broken off before anything was noted.
fn has_nothing(folder: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        if name != LOCK && name != "progress.new" {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A file that nobody else may read.
fn for_its_owner() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use messenger_core::{
        Accounts, Actor, Messenger, Password,
        commands::{CreateGroupChat, RegisterUser, SendMessage},
    };

    use super::*;

    fn opened(folder: &Path, user: UserId) -> Partial {
        match Partial::open(folder, user).unwrap() {
            Opening::Opened(partial) => partial,
            Opening::Refused(why) => panic!("{why}"),
        }
    }

    fn why(folder: &Path, user: UserId) -> String {
        match Partial::open(folder, user).unwrap() {
            Opening::Opened(_) => panic!("it was opened"),
            Opening::Refused(why) => why,
        }
    }

    /// Somebody who wrote more than fits into one part.
    async fn talkative() -> (Messenger, UserId) {
        let messenger = Messenger::in_memory();
        let register = RegisterUser {
            username: "ada".into(),
            email: "ada@example.org".into(),
            password: Password::new("correct horse"),
            display_name: None,
            device: None,
        };
        let registered = messenger.execute(&Actor::anonymous(), register).await.unwrap();
        let ada = messenger.authenticate(registered.token.expose()).await.unwrap();
        let group = CreateGroupChat { title: "Tea".into(), member_ids: vec![], client_id: None };
        let chat_id = messenger.execute(&ada, group).await.unwrap().value.id;
        for n in 0..120 {
            let body = format!("{n} {}", "x".repeat(7900));
            let send = SendMessage { chat_id, body, client_id: None, reply_to: None };
            messenger.execute(&ada, send).await.unwrap();
        }
        (messenger, ada.user().unwrap())
    }

    async fn add_one(partial: &mut Partial, accounts: &Accounts, user: UserId) {
        let part = accounts.export(user, partial.cursor()).await.unwrap();
        partial.add(&part).unwrap();
    }

    fn files(archive: &Path) -> Vec<(String, String)> {
        let mut archive = zip::ZipArchive::new(File::open(archive).unwrap()).unwrap();
        let mut files = Vec::new();
        for at in 0..archive.len() {
            let mut file = archive.by_index(at).unwrap();
            let mut text = String::new();
            file.read_to_string(&mut text).unwrap();
            files.push((file.name().unwrap().into_owned(), text));
        }
        files
    }

    #[tokio::test]
    async fn one_that_is_broken_off_after_any_part_goes_on_to_the_same() {
        let (messenger, user) = talkative().await;
        let accounts = messenger.accounts();
        let parent = tempfile::tempdir().unwrap();
        let mut undisturbed = opened(&parent.path().join("undisturbed"), user);
        let mut parts = 0;
        while !undisturbed.is_whole() {
            add_one(&mut undisturbed, &accounts, user).await;
            parts += 1;
        }
        assert!(parts > 8, "{parts}");
        let expected = files(&undisturbed.archive().unwrap());
        assert_eq!(undisturbed.messages(), 121);

        let folder = parent.path().join("disturbed");
        for n in 0..parts {
            let mut partial = opened(&folder, user);
            assert_eq!(partial.is_begun(), n > 0);
            assert!(!partial.is_whole());
            add_one(&mut partial, &accounts, user).await;
            drop(partial);
            // Of each file it had written more than it noted.
            for file in ExportFile::ALL {
                let mut file =
                    OpenOptions::new().create(true).append(true).open(folder.join(file.name())).unwrap();
                file.write_all(b"{\"half\":").unwrap();
            }
        }
        let partial = opened(&folder, user);
        assert!(partial.is_whole());
        assert_eq!(partial.messages(), 121);
        assert_eq!(files(&partial.archive().unwrap()), expected);
        partial.remove().unwrap();
        assert!(!folder.exists());
    }

    #[tokio::test]
    async fn what_is_somebody_elses_or_was_changed_is_refused() {
        let (messenger, user) = talkative().await;
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("part");
        let mut partial = opened(&folder, user);
        add_one(&mut partial, &messenger.accounts(), user).await;
        assert!(why(&folder, user).contains("under way"));
        drop(partial);
        let other = UserId::from_bytes([7; 16]);
        assert!(why(&folder, other).contains("another account"));
        File::create(folder.join(ExportFile::Profile.name())).unwrap();
        assert!(why(&folder, user).contains("not there any more"));

        let strange = parent.path().join("strange");
        fs::create_dir(&strange).unwrap();
        fs::write(strange.join("diary.txt"), "dear diary").unwrap();
        assert!(why(&strange, user).contains("something else"));
    }

    #[test]
    fn no_file_takes_the_place_of_another() {
        let parent = tempfile::tempdir().unwrap();
        let (new, old) = (parent.path().join("new"), parent.path().join("old"));
        fs::write(&new, "new").unwrap();
        fs::write(&old, "old").unwrap();
        assert!(!archive::put(&new, &old).unwrap());
        assert_eq!(fs::read_to_string(&old).unwrap(), "old");
        assert!(archive::put(&new, &parent.path().join("none")).unwrap());
        assert_eq!(fs::read_to_string(parent.path().join("none")).unwrap(), "new");
    }
}
