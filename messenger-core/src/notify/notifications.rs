//! How a deployment tells people outside of the chat.

use std::{fmt, sync::Arc};

use super::settings::NotifySettings;
use crate::ports::Notifier;

/// The notifier, and the rules by which it is called.
pub(crate) struct Notifications {
    pub(super) notifier: Arc<dyn Notifier>,
    pub(crate) settings: NotifySettings,
}

impl Notifications {
    pub(crate) fn new(notifier: Arc<dyn Notifier>, settings: NotifySettings) -> Self {
        Self { notifier, settings: settings.clamped() }
    }
}

impl fmt::Debug for Notifications {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notifications").field("settings", &self.settings).finish_non_exhaustive()
    }
}
