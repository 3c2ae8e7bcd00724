//! Whether the messages of a chat come to a socket in their order, and each of them once.

/// What came to one socket, which hears of one chat.
#[derive(Debug, Default)]
pub(crate) struct Order {
    last: Option<u64>,
    /// Where the number was in the last event, which is where it mostly is: a search would cost the clients, who share
    /// the machine with the server, more than all else that they do with an event.
    place: usize,
}

const SEQ: &[u8] = br#""seq":"#;

impl Order {
    /// Whether this event has the message that follows the one before.
    pub(crate) fn follows(&mut self, event: &[u8]) -> bool {
        let Some(seq) = self.seq(event) else { return false };
        let last = self.last.replace(seq);
        last.is_none_or(|last| seq == last + 1)
    }

    fn seq(&mut self, event: &[u8]) -> Option<u64> {
        if !event.get(self.place..).is_some_and(|rest| rest.starts_with(SEQ)) {
            self.place = event.windows(SEQ.len()).position(|some| some == SEQ)?;
        }
        let digits = event[self.place + SEQ.len()..].iter().take_while(|byte| byte.is_ascii_digit());
        Some(digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
    }
}
