//! How marks move; common to all engines.

use std::collections::HashMap;

use messenger_core::{
    ChatId, Seq, UserId,
    ports::{MarkerMoved, MoveMarker, StoreErrorKind, StoreResult},
};

/// The marks of some members.
pub type MarksOfMembers = HashMap<(ChatId, UserId), Marks>;

/// Answers each move of a batch, in order, by what was found for it; also returns the resulting marks.
pub fn walk(
    batch: &[MoveMarker],
    found: Vec<Option<Found>>,
) -> (Vec<StoreResult<MarkerMoved>>, MarksOfMembers) {
    let mut marks = HashMap::new();
    let answers = batch.iter().zip(found).map(|(step, found)| {
        let found = found.ok_or(StoreErrorKind::NotMember)?;
        let marks = marks.entry((step.chat, step.user)).or_insert(found.marks);
        Ok(found.place.go(step.read, marks))
    });
    (answers.collect(), marks)
}

/// What was found for one move of a batch.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    /// The member's marks before the batch.
    pub marks: Marks,
    /// The target of this move.
    pub place: Place,
}

/// The marks of a member.
#[derive(Debug, Clone, Copy)]
pub struct Marks {
    /// The last message that was read.
    pub read_seq: Seq,
    /// The number of texts up to the read mark.
    pub read_texts: u64,
    /// The last message that was delivered.
    pub delivered_seq: Seq,
    /// Whether they differ from the stored marks.
    pub moved: bool,
}

/// The target of a move.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// The seq of a message of the chat.
    pub seq: Seq,
    /// The number of texts up to it.
    pub texts: u64,
    /// The number of texts in the chat.
    pub all_texts: u64,
    /// The number of members of the chat.
    pub member_count: u32,
}

impl Place {
    /// Moves the mark, if that is forward, and returns the answer.
    fn go(self, read: bool, marks: &mut Marks) -> MarkerMoved {
        let moved = self.seq > if read { marks.read_seq } else { marks.delivered_seq };
        if moved && read {
            (marks.read_seq, marks.read_texts) = (self.seq, self.texts);
        }
        if moved {
            marks.delivered_seq = marks.delivered_seq.max(self.seq);
            marks.moved = true;
        }
        MarkerMoved {
            read_seq: marks.read_seq,
            delivered_seq: marks.delivered_seq,
            unread: self.all_texts.saturating_sub(marks.read_texts),
            moved,
            member_count: self.member_count,
        }
    }
}

#[cfg(test)]
mod tests {
    use messenger_core::Id;

    use super::*;

    fn step(user: u8, seq: u64, read: bool) -> MoveMarker {
        let id = |byte| Id::from_bytes([byte; 16]);
        MoveMarker { chat: Id::from_bytes([1; 16]), user: id(user), seq: Seq::new(seq), read }
    }

    /// In a chat of ten messages, all of them texts; read up to 3, delivered up to 5.
    fn found(step: &MoveMarker) -> Option<Found> {
        let marks = Marks { read_seq: Seq::new(3), read_texts: 3, delivered_seq: Seq::new(5), moved: false };
        let place = Place { seq: step.seq, texts: step.seq.get(), all_texts: 10, member_count: 2 };
        Some(Found { marks, place })
    }

    /// For each move: whether it moved a mark, and the read mark and the delivered mark after it.
    fn walked(batch: &[MoveMarker]) -> Vec<(bool, u64, u64)> {
        let (answers, _) = walk(batch, batch.iter().map(found).collect());
        let answers = answers.into_iter().map(Result::unwrap);
        answers.map(|to| (to.moved, to.read_seq.get(), to.delivered_seq.get())).collect()
    }

    #[test]
    fn marks_move_forward_and_never_back() {
        for (seq, moved) in [(2, (false, 3, 5)), (3, (false, 3, 5)), (4, (true, 4, 5)), (8, (true, 8, 8))] {
            assert_eq!(walked(&[step(1, seq, true)]), [moved], "read {seq}");
        }
        for (seq, moved) in [(4, (false, 3, 5)), (5, (false, 3, 5)), (6, (true, 3, 6))] {
            assert_eq!(walked(&[step(1, seq, false)]), [moved], "delivered {seq}");
        }
    }

    #[test]
    fn each_step_of_a_batch_begins_where_the_last_of_the_same_member_ended() {
        let batch = [step(1, 8, true), step(2, 6, true), step(1, 7, false), step(1, 9, false)];
        assert_eq!(walked(&batch), [(true, 8, 8), (true, 6, 6), (false, 8, 8), (true, 8, 9)]);
        let (answers, marks) = walk(&batch, batch.iter().map(found).collect());
        assert_eq!(answers[3].as_ref().unwrap().unread, 2);
        let ends = &marks[&(batch[0].chat, batch[0].user)];
        assert_eq!((ends.read_seq, ends.read_texts, ends.delivered_seq), (Seq::new(8), 8, Seq::new(9)));
    }

    #[test]
    fn only_marks_that_have_moved_are_to_be_stored() {
        let batch = [step(1, 8, true), step(1, 1, true), step(2, 3, true)];
        let (_, marks) = walk(&batch, batch.iter().map(found).collect());
        assert_eq!([0, 2].map(|of: usize| marks[&(batch[of].chat, batch[of].user)].moved), [true, false]);
    }

    #[test]
    fn who_is_no_member_has_no_marks() {
        let (answers, marks) = walk(&[step(1, 8, true)], vec![None]);
        assert_eq!(answers[0].as_ref().unwrap_err().kind(), StoreErrorKind::NotMember);
        assert!(marks.is_empty());
    }
}
