use std::time::Duration;

use crate::domain::{ChatLink, Language, LinkKeys, PublicUrl, QuietHours, TimeZone};

/// When and of what people are told outside of the chat, and where the links lead.
///
/// ```
/// use std::time::Duration;
/// use messenger_core::{LinkKeys, PublicUrl, notify::NotifySettings};
///
/// let keys = LinkKeys::new(&[7; 32]).unwrap();
/// let settings = NotifySettings {
///     after: Duration::from_secs(600),
///     texts: false,
///     ..NotifySettings::new(keys, PublicUrl::parse("https://chat.example.org").unwrap())
/// };
/// assert_eq!(settings.per_day, 20);
/// ```
#[derive(Debug, Clone)]
pub struct NotifySettings {
    /// How long a message stays unread, and its reader away, until the reader is told; also the shortest time between two
    /// times that a person is told. At least 1 s. Default: 5 minutes.
    pub after: Duration,
    /// After a person was told of a chat without reading it, they are told of what comes there only after three times
    /// [`after`](Self::after), then after three times that, and so on, up to this. Default: one day.
    pub longest_pause: Duration,
    /// Who was told of nothing for so long, because nobody did it or because they were online, is not told of it any more, unless there
    /// is something newer in the chat: so that a deployment which begins to tell people does not tell everybody of the last years. At
    /// least ten times [`after`](Self::after). Default: 7 days.
    pub forget_after: Duration,
    /// How often a person is told within 24 hours at most; at least 1. Default: 20.
    pub per_day: u32,
    /// When people who have not said so themselves are not told anything. Default: never.
    pub quiet_hours: Option<QuietHours>,
    /// The time zone of people who have not said theirs. Default: UTC.
    pub time_zone: Option<TimeZone>,
    /// The language of people who have not said theirs. Default: English.
    pub language: Language,
    /// Whether people are told what was written, and not only where and by whom. Default: they are.
    pub texts: bool,
    /// How many messages of a chat are told of with their texts, 1 to 20. Default: 5.
    pub lines: usize,
    /// After so many refusals in a row an address gets no more mail, until the person sets one. Default: 3.
    pub refusals: u32,
    /// With what links are signed.
    pub keys: LinkKeys,
    /// Where the API is for people outside, which links begin with.
    pub public_url: PublicUrl,
    /// Where a chat is opened. Default: there is no such link.
    pub chat_link: Option<ChatLink>,
    /// How long a link that confirms an address works. Default: 2 days.
    pub confirm_within: Duration,
    /// How long a link that sets a new password works. Default: 30 minutes.
    pub reset_within: Duration,
}

impl NotifySettings {
    /// The defaults, with these keys and this address.
    pub fn new(keys: LinkKeys, public_url: PublicUrl) -> Self {
        Self {
            after: Duration::from_secs(300),
            longest_pause: Duration::from_secs(86_400),
            forget_after: Duration::from_secs(7 * 86_400),
            per_day: 20,
            quiet_hours: None,
            time_zone: None,
            language: Language::trusted("en"),
            texts: true,
            lines: 5,
            refusals: 3,
            keys,
            public_url,
            chat_link: None,
            confirm_within: Duration::from_secs(2 * 86_400),
            reset_within: Duration::from_secs(30 * 60),
        }
    }

    /// With values that are out of their range at its ends.
    pub(super) fn clamped(mut self) -> Self {
        self.after = self.after.max(Duration::from_secs(1));
        self.longest_pause = self.longest_pause.max(self.after);
        self.forget_after = self.forget_after.max(10 * self.after);
        self.per_day = self.per_day.max(1);
        self.lines = self.lines.clamp(1, 20);
        self.refusals = self.refusals.max(1);
        self
    }
}
