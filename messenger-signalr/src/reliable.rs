//! Stateful reconnect: the messages to keep so that a new socket can continue where the last one was lost.
//!
//! Both sides number the messages of a connection, except those about the connection itself, in the order in which they
//! are sent; the numbers are not transmitted. `docs/specs/HubProtocol.md` of ASP.NET Core describes the messages `Ack`
//! and `Sequence`.

use std::collections::VecDeque;

use bytes::Bytes;

/// The numbers of one connection, and the messages that the client has not confirmed.
#[derive(Debug)]
pub(super) struct Reliable {
    sent: u64,
    unconfirmed: VecDeque<Bytes>,
    bytes: usize,
    most: usize,
    /// The number of the next message from the client.
    expected: u64,
    latest: u64,
    confirmed: u64,
}

/// The client continues after messages that it has not sent: some are lost permanently.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lost;

impl Reliable {
    pub(super) fn new(most: usize) -> Self {
        Self { sent: 0, unconfirmed: VecDeque::new(), bytes: 0, most, expected: 1, latest: 0, confirmed: 0 }
    }

    /// Whether the client has to confirm something before anything else may be sent.
    pub(super) const fn is_full(&self) -> bool {
        self.bytes > self.most
    }

    /// Numbers and keeps a message that is being sent.
    pub(super) fn send(&mut self, record: &Bytes) {
        self.sent += 1;
        self.bytes += record.len();
        self.unconfirmed.push_back(record.clone());
    }

    /// The client confirms all messages up to this one. Returns whether that was new.
    pub(super) fn confirm(&mut self, number: u64) -> bool {
        let first = self.first_unconfirmed();
        let count = number.saturating_add(1).saturating_sub(first).min(self.unconfirmed.len() as u64);
        for record in self.unconfirmed.drain(..count as usize) {
            self.bytes -= record.len();
        }
        if self.unconfirmed.len() < self.unconfirmed.capacity() / 8 {
            self.unconfirmed.shrink_to(16.max(2 * self.unconfirmed.len()));
        }
        count > 0
    }

    /// The first number on a new socket: that of the first message sent again, or of the next one.
    pub(super) fn first_unconfirmed(&self) -> u64 {
        self.sent - self.unconfirmed.len() as u64 + 1
    }

    /// The messages to send again on a new socket.
    pub(super) fn unconfirmed(&self) -> impl Iterator<Item = &Bytes> {
        self.unconfirmed.iter()
    }

    /// Numbers a message from the client: returns whether it is a new one.
    pub(super) fn receive(&mut self) -> bool {
        let number = self.expected;
        self.expected += 1;
        let is_new = number > self.latest;
        if is_new {
            self.latest = number;
        }
        is_new
    }

    /// The client announces the number of its next message.
    pub(super) fn go_on_at(&mut self, number: u64) -> Result<(), Lost> {
        // It may begin after messages that are just being sent again, if they were confirmed in the meantime.
        if number > self.latest.saturating_add(1) {
            return Err(Lost);
        }
        self.expected = number;
        // The client sends again what it does not know to be confirmed.
        self.confirmed = self.confirmed.min(number.saturating_sub(1));
        Ok(())
    }

    /// Whether a confirmation is due to the client.
    pub(super) const fn owes(&self) -> bool {
        self.latest > self.confirmed
    }

    /// The number to confirm to the client.
    pub(super) fn confirmation(&mut self) -> Option<u64> {
        self.owes().then(|| {
            self.confirmed = self.latest;
            self.latest
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_confirmed_is_not_kept() {
        let mut sender = Reliable::new(10);
        for number in 0..4_u8 {
            sender.send(&Bytes::from(vec![number; 4]));
        }
        assert!(sender.is_full());
        assert_eq!(sender.first_unconfirmed(), 1);
        assert!(sender.confirm(2) && !sender.confirm(2) && !sender.confirm(0));
        assert!(!sender.is_full());
        assert_eq!(sender.first_unconfirmed(), 3);
        assert_eq!(sender.unconfirmed().map(|record| record[0]).collect::<Vec<_>>(), [2, 3]);
        assert!(sender.confirm(u64::MAX));
        assert_eq!((sender.first_unconfirmed(), sender.bytes), (5, 0));
    }

    #[test]
    fn as_much_as_may_be_kept_is_not_too_much() {
        let mut sender = Reliable::new(8);
        for is_full in [false, false, true] {
            sender.send(&Bytes::from_static(b"four"));
            assert_eq!(sender.is_full(), is_full);
        }
    }

    proptest! {
        /// Whatever is lost, and however often, the receiver accepts each message once and in order.
        #[test]
        fn each_message_is_taken_once(cuts in prop::collection::vec((0..20_usize, 0..20_usize, any::<bool>()), 1..20)) {
            let (mut sender, mut receiver) = (Reliable::new(usize::MAX), Reliable::new(usize::MAX));
            let mut taken = Vec::new();
            let mut said = 0_u32;
            for (sends, arrive, confirms) in cuts {
                // On a new socket, unconfirmed messages come first.
                receiver.go_on_at(sender.first_unconfirmed()).unwrap();
                let mut line: Vec<Bytes> = sender.unconfirmed().cloned().collect();
                for _ in 0..sends {
                    let record = Bytes::from(said.to_be_bytes().to_vec());
                    said += 1;
                    sender.send(&record);
                    line.push(record);
                }
                // Cut after this many records.
                for record in line.into_iter().take(arrive) {
                    if receiver.receive() {
                        taken.push(u32::from_be_bytes(record[..].try_into().unwrap()));
                    }
                }
                if confirms && let Some(number) = receiver.confirmation() {
                    sender.confirm(number);
                }
            }
            receiver.go_on_at(sender.first_unconfirmed()).unwrap();
            for record in sender.unconfirmed() {
                if receiver.receive() {
                    taken.push(u32::from_be_bytes(record[..].try_into().unwrap()));
                }
            }
            prop_assert_eq!(taken, (0..said).collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_comes_again_is_confirmed_again() {
        let mut receiver = Reliable::new(1);
        assert!(receiver.receive());
        // Sent over a line that was cut.
        assert_eq!(receiver.confirmation(), Some(1));
        receiver.go_on_at(1).unwrap();
        assert!(!receiver.receive());
        assert_eq!(receiver.confirmation(), Some(1));
    }

    #[test]
    fn a_gap_is_noticed() {
        let mut receiver = Reliable::new(1);
        assert!(receiver.receive());
        assert_eq!(receiver.go_on_at(3), Err(Lost));
        assert_eq!(receiver.go_on_at(1), Ok(()));
        assert!(!receiver.receive());
        assert_eq!((receiver.confirmation(), receiver.confirmation()), (Some(1), None));
    }
}
