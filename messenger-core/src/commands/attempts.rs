use crate::{
    error::Result,
    ports::{StoreErrorKind, StoreResult},
};

/// How many times a command is decided anew when others write first.
const ATTEMPTS: usize = 8;

/// Counts the attempts of a command that decides on a snapshot and writes with the snapshot's version.
///
/// The command reads, decides and writes in a `loop`, which [`settled`](Self::settled) ends.
pub(super) struct Attempts {
    left: usize,
}

impl Attempts {
    pub(super) const fn new() -> Self {
        Self { left: ATTEMPTS }
    }

    /// The result of a write; `None` if somebody else wrote first, and the command must read and decide anew.
    pub(super) fn settled<T>(&mut self, written: StoreResult<T>) -> Result<Option<T>> {
        self.left -= 1;
        match written {
            Err(error) if error.kind() == StoreErrorKind::Conflict && self.left > 0 => Ok(None),
            written => Ok(Some(written?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::code;

    #[test]
    fn a_conflict_is_for_another_attempt_and_everything_else_is_settled() {
        let mut attempts = Attempts::new();
        let conflict = || Err::<(), _>(StoreErrorKind::Conflict.into());
        assert_eq!(attempts.settled(conflict()).unwrap(), None);
        assert_eq!(attempts.settled(Ok(7)).unwrap(), Some(7));
        assert_eq!(code(&attempts.settled::<()>(Err(StoreErrorKind::Unavailable.into()))), "unavailable");
    }

    #[test]
    fn the_eighth_conflict_in_turn_is_told_to_the_caller() {
        let mut attempts = Attempts::new();
        let conflict = || Err::<(), _>(StoreErrorKind::Conflict.into());
        for attempt in 1..8 {
            assert_eq!(attempts.settled(conflict()).unwrap(), None, "{attempt}");
        }
        assert_eq!(code(&attempts.settled(conflict())), "conflict");
    }
}
