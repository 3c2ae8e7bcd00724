use std::fmt;

use lettre::address::Envelope;

/// A mail as it is sent, made by [`Composer::compose`](crate::Composer::compose). `Debug` shows its Message-ID alone.
#[derive(Clone)]
pub struct Mail {
    pub(crate) message_id: String,
    pub(crate) subject: String,
    pub(crate) text: String,
    pub(crate) html: String,
    #[cfg_attr(not(feature = "smtp"), expect(dead_code, reason = "only SMTP has an envelope"))]
    pub(crate) envelope: Envelope,
    pub(crate) bytes: Vec<u8>,
}

impl Mail {
    /// The Message-ID, with its angle brackets: the same for each try of one notification.
    pub fn message_id(&self) -> &str {
        &self.message_id
    }

    /// The subject.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The text for those who read no HTML.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The HTML.
    pub fn html(&self) -> &str {
        &self.html
    }

    /// The whole mail, as RFC 5322 has it: ASCII, but for addresses that are not.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// From whom, to whom.
    #[cfg(feature = "smtp")]
    pub(crate) const fn envelope(&self) -> &Envelope {
        &self.envelope
    }
}

impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mail").field("message_id", &self.message_id).finish_non_exhaustive()
    }
}
