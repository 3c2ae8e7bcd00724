use std::{io, path::PathBuf};

use async_trait::async_trait;
use messenger_core::ports::{Notification, Notifier, NotifyError};

#[cfg(feature = "smtp")]
use crate::smtp::{SmtpBuildError, SmtpError, SmtpNotifier};
use crate::{composer::Composer, folder::FolderNotifier, log::LogNotifier, url::MailUrl};

/// What a [`MailUrl`] stands for.
///
/// ```
/// use messenger_mail::{Composer, MailNotifier, MailUrl};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let composer = Composer::builder("Chat <chat@example.org>").build()?;
/// let url: MailUrl = "log:".parse()?;
/// let notifier = MailNotifier::open(url, composer)?;
/// notifier.check().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum MailNotifier {
    /// A server.
    #[cfg(feature = "smtp")]
    Smtp(Box<SmtpNotifier>),
    /// A folder.
    Folder(FolderNotifier),
    /// The log.
    Log(LogNotifier),
}

/// Why mail can't go where a [`MailUrl`] says.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The settings of the server don't fit.
    #[cfg(feature = "smtp")]
    #[error("the mail server can't be used")]
    Smtp(#[from] SmtpBuildError),
    /// SMTP is left out of this program.
    #[error("this program has no SMTP: messenger-mail was built without its feature `smtp`")]
    NoSmtp,
    /// The folder can't be made.
    #[error("the folder for mail, {}, can't be made", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Why mail can't be sent now, although its settings fit.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// The server can't be had.
    #[cfg(feature = "smtp")]
    #[error("no mail can be sent now")]
    Smtp(#[from] SmtpError),
}

impl MailNotifier {
    /// Checks the settings, without connecting; a folder is made.
    ///
    /// # Errors
    /// [`OpenError`] says what does not fit.
    pub fn open(url: MailUrl, composer: Composer) -> Result<Self, OpenError> {
        match url {
            #[cfg(feature = "smtp")]
            MailUrl::Smtp(address) => {
                Ok(Self::Smtp(Box::new(SmtpNotifier::builder(address, composer).build()?)))
            }
            #[cfg(not(feature = "smtp"))]
            MailUrl::Smtp(_) => Err(OpenError::NoSmtp),
            MailUrl::Folder(path) => match FolderNotifier::open(&path, composer) {
                Ok(folder) => Ok(Self::Folder(folder)),
                Err(source) => Err(OpenError::Folder { path, source }),
            },
            MailUrl::Log => Ok(Self::Log(LogNotifier::new())),
        }
    }

    /// Whether mail could be sent now: connects to a server and logs in, and sends nothing.
    ///
    /// # Errors
    /// [`CheckError`] says what is in the way. It may be over the next minute.
    pub async fn check(&self) -> Result<(), CheckError> {
        match self {
            #[cfg(feature = "smtp")]
            Self::Smtp(smtp) => Ok(smtp.check().await?),
            Self::Folder(_) | Self::Log(_) => Ok(()),
        }
    }
}

#[async_trait]
impl Notifier for MailNotifier {
    async fn notify(&self, notification: &Notification) -> Result<(), NotifyError> {
        match self {
            #[cfg(feature = "smtp")]
            Self::Smtp(smtp) => smtp.notify(notification).await,
            Self::Folder(folder) => folder.notify(notification).await,
            Self::Log(log) => log.notify(notification).await,
        }
    }
}
