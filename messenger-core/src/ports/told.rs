use crate::domain::Timestamp;

/// What is known of mail to a person; empty for a new account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MailState {
    /// How many mails to the address were refused for good, since one was accepted.
    pub refusals: u32,
    /// Since when the address gets no mail because of that.
    pub suppressed_at: Option<Timestamp>,
    /// When and how often the person was told of what they have not read.
    pub told: Option<Told>,
}

/// When and how often a person was told of something, so that it does not become too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// When it was last; later than every time before.
    pub at: Timestamp,
    /// The begin of the time in which it is counted, such as a day.
    pub since: Timestamp,
    /// How many times it was in that time.
    pub times: u32,
}
