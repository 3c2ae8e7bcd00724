//! Mail: the key that signs links in it, and what it is sent with.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::Duration,
};

use messenger_core::{LinkKeys, notify::NotifySettings};
use messenger_mail::MailNotifier;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::{
    config::{Config, MailConfig, Secret, Shared, StoreUrl, keys},
    error::{Sentence, ServerError},
    role::Role,
};

/// How this server tells people by mail.
pub(crate) struct Mail {
    pub(crate) notifier: Arc<MailNotifier>,
    pub(crate) settings: NotifySettings,
}

/// What a server of this role can't do with these settings; warns of what is likely to be wrong.
pub(crate) fn check(config: &Config, role: Role) -> Result<(), ServerError> {
    let Some(mail) = &config.mail else { return Ok(()) };
    // The address of a worker is not that of the page.
    if mail.public_url.is_none() && role == Role::Work {
        return Err(ServerError::NoPublicUrl);
    }
    let is_shared = matches!(config.store.url, StoreUrl::Postgres(_) | StoreUrl::Mssql(_));
    let knows_its_own_alone = matches!(config.nodes.presence, Shared::Memory);
    match role {
        Role::Work if is_shared && knows_its_own_alone => return Err(ServerError::PresenceOfOthers),
        Role::Serve if is_shared && knows_its_own_alone && config.workers => {
            tracing::warn!(
                "this server knows only its own people online, and would mail those who are online at another: if there are other servers \
                 on the database, give them all a presence that they share, with --redis-url or --presence"
            );
        }
        _ => {}
    }
    Ok(())
}

impl Mail {
    /// Makes the key and the folder where they are missing; connects to nothing.
    pub(crate) fn open(config: &MailConfig, address: SocketAddr) -> Result<Self, ServerError> {
        if config.public_url.is_none() && address.ip().is_unspecified() {
            tracing::warn!(
                "links in mails lead to localhost; say with --public-url where people reach the page"
            );
        }
        let keys = signing(&config.secret)?;
        let settings = config.settings(address, keys).ok_or(ServerError::NoPublicUrl)?;
        let notifier =
            MailNotifier::open(config.url.clone(), config.composer.clone()).map_err(ServerError::Mail)?;
        Ok(Self { notifier: Arc::new(notifier), settings })
    }

    /// Says in the log whether mail can be sent now. It is no error if not: it waits until it can.
    pub(crate) fn check(&self, config: &MailConfig) -> AbortOnDropHandle<()> {
        let (notifier, to, after) = (Arc::clone(&self.notifier), config.url.to_string(), config.after);
        AbortOnDropHandle::new(tokio::spawn(async move {
            match timeout(CHECK, notifier.check()).await {
                Ok(Ok(())) => tracing::info!(%to, ?after, "people are mailed what stays unread"),
                Ok(Err(error)) => {
                    tracing::warn!(%to, "the mail server can't be had, and mails wait until it can: {}", Sentence(&error));
                }
                Err(_) => {
                    tracing::warn!(%to, "the mail server does not answer, and mails wait until it does");
                }
            }
        }))
    }
}

/// How long a mail server may take to answer at the start.
const CHECK: Duration = Duration::from_secs(60);

fn signing(secret: &Secret) -> Result<LinkKeys, ServerError> {
    match secret {
        Secret::Given(keys) => Ok(keys.clone()),
        Secret::Beside(path) => beside(path),
        Secret::Fleeting => {
            tracing::warn!(
                "links in mails end with this process, and work at no other server: give all servers on the database the same key \
                 with --secret-file"
            );
            let (_, keys) = fresh()?;
            Ok(keys)
        }
    }
}

/// The key in the file, which is made if it is not there.
fn beside(path: &Path) -> Result<LinkKeys, ServerError> {
    let refused = |error: io::Error| ServerError::Key(path.to_owned(), error);
    match fs::read_to_string(path) {
        Ok(text) => {
            let keys = keys(&text).ok_or_else(|| ServerError::NoKey(path.to_owned()))?;
            narrow(path);
            Ok(keys)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let (text, keys) = fresh()?;
            write(path, &text).map_err(refused)?;
            tracing::info!(path = %path.display(), "made the key that signs links in mails; keep it with the data");
            Ok(keys)
        }
        Err(error) => Err(refused(error)),
    }
}

/// Takes the key from everybody but its owner, if everybody may read it, as after a copy that did not keep the mode.
#[cfg(unix)]
fn narrow(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    if fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o007 == 0) {
        return;
    }
    let path_shown = path.display();
    match fs::set_permissions(path, fs::Permissions::from_mode(0o600)) {
        Ok(()) => {
            tracing::warn!(path = %path_shown, "everybody on this machine could read this key; now its owner alone may");
        }
        Err(error) => {
            tracing::warn!(path = %path_shown, %error, "everybody on this machine may read this key");
        }
    }
}

#[cfg(not(unix))]
fn narrow(_: &Path) {}

/// For its owner alone, and never over another one.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    if written.is_err() {
        // What is half written would be taken for a key that is none.
        let _ = fs::remove_file(path);
    }
    written
}

/// A key as a line of a file.
fn fresh() -> Result<(String, LinkKeys), ServerError> {
    let bytes: [u8; 32] = messenger_core::context::Context::system().random();
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let keys = LinkKeys::new(digits.as_bytes()).map_err(ServerError::start)?;
    Ok((format!("{digits}\n"), keys))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("messenger.key");
        beside(&path).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.trim().len(), 64);
        beside(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        assert_eq!(write(&path, "other").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode(), 0o600);
            for (before, after) in [(0o644, 0o600), (0o640, 0o640)] {
                fs::set_permissions(&path, fs::Permissions::from_mode(before)).unwrap();
                beside(&path).unwrap();
                assert_eq!(mode(), after);
            }
        }
        fs::write(&path, "").unwrap();
        assert!(matches!(beside(&path), Err(ServerError::NoKey(_))));
        assert_ne!(fresh().unwrap().0, fresh().unwrap().0);
    }
}
