use async_trait::async_trait;
use messenger_core::ports::{Notice, Notification, Notifier, NotifyError};

/// Writes a line to the log for each notification, at `info`: the claim, the person's id, the kind and the numbers, and neither texts, names,
/// addresses nor links.
///
/// ```
/// use std::sync::Arc;
/// use messenger_core::ports::Notifier;
/// use messenger_mail::LogNotifier;
///
/// let notifier: Arc<dyn Notifier> = Arc::new(LogNotifier::new());
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct LogNotifier {
    _private: (),
}

impl LogNotifier {
    /// Makes one.
    pub const fn new() -> Self {
        Self { _private: () }
    }
}

#[async_trait]
impl Notifier for LogNotifier {
    async fn notify(&self, notification: &Notification) -> Result<(), NotifyError> {
        let Notification { claim, to, notice, .. } = notification;
        let (user, kind, language) = (to.user, notice.kind(), to.language.as_str());
        match notice {
            Notice::Unread(digest) => {
                let chats = digest.chats.len() as u64 + u64::from(digest.further_chats);
                tracing::info!(%claim, %user, kind, language, unread = digest.unread, chats, "mail");
            }
            _ => tracing::info!(%claim, %user, kind, language, "mail"),
        }
        Ok(())
    }
}
