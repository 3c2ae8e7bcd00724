use std::ops::RangeInclusive;

/// Bounds on lengths and counts; lengths are counted in characters (Unicode scalar values).
///
/// ```
/// use messenger_core::Limits;
///
/// let limits = Limits { body: 1..=500, ..Limits::default() };
/// assert_eq!(*limits.username.start(), 3);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Length of a username. Default: 3 to 32.
    pub username: RangeInclusive<usize>,
    /// Length of a password. Default: 8 to 256.
    pub password: RangeInclusive<usize>,
    /// Length of a display name. Default: 1 to 64.
    pub display_name: RangeInclusive<usize>,
    /// Length of a group's title. Default: 1 to 128.
    pub title: RangeInclusive<usize>,
    /// Length of a message's text. Default: 1 to 8,000.
    pub body: RangeInclusive<usize>,
    /// Maximum number of members of one chat. Default: 1,000.
    pub members: usize,
    /// Chats with more members than this send no ephemeral events: no `typing`, and no marks of others. Default: 100.
    pub ephemeral_members: usize,
    /// Maximum number of users in one presence query or watch. Default: 200.
    pub presence_users: usize,
    /// Number of entries on one page of a list, default and maximum, and the weight of its messages.
    pub page: PageLimits,
    /// How many changes of one chat are sent to a resuming client before it is told to read the history instead.
    /// Default: 1,000.
    pub catch_up: usize,
    /// Maximum number of live sessions of one person; a further one ends the least recently used. Default: 100.
    pub sessions: usize,
}

/// The limits of one page of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageLimits {
    /// Number of entries if the caller does not say. Default: 50.
    pub default: usize,
    /// Maximum number of entries. Default: 200.
    pub max: usize,
    /// Maximum weight of the messages of a page, in bytes: each weighs its stored text plus 256. A page has at least
    /// one message. The same limit applies to one step of a catch-up, and to one answer to a `Sync`. From 4 KiB to 16
    /// MiB; values outside are clamped. Default: 256 KiB.
    pub bytes: usize,
}

impl PageLimits {
    pub(crate) fn bytes(self) -> usize {
        self.bytes.clamp(4 << 10, 16 << 20)
    }
}

impl Default for PageLimits {
    fn default() -> Self {
        Self { default: 50, max: 200, bytes: 256 << 10 }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            username: 3..=32,
            password: 8..=256,
            display_name: 1..=64,
            title: 1..=128,
            body: 1..=8000,
            members: 1000,
            ephemeral_members: 100,
            presence_users: 200,
            page: PageLimits::default(),
            catch_up: 1000,
            sessions: 100,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_unless_a_host_says_otherwise_is_what_clients_are_told() {
        let expected = Limits {
            username: 3..=32,
            password: 8..=256,
            display_name: 1..=64,
            title: 1..=128,
            body: 1..=8000,
            members: 1000,
            ephemeral_members: 100,
            presence_users: 200,
            page: PageLimits { default: 50, max: 200, bytes: 262_144 },
            catch_up: 1000,
            sessions: 100,
        };
        assert_eq!(Limits::default(), expected);
    }

    #[test]
    fn a_page_is_given_at_least_4_kib_and_at_most_16_mib() {
        for (bytes, given) in [(0, 4096), (4097, 4097), (16_777_215, 16_777_215), (usize::MAX, 16_777_216)] {
            assert_eq!(PageLimits { bytes, ..PageLimits::default() }.bytes(), given);
        }
    }
}
