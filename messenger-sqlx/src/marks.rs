//! How marks move, the same on every engine.

use std::collections::HashMap;

use messenger_core::{
    ChatId, Seq, UserId,
    ports::{MarkerMoved, MoveMarker, StoreErrorKind, StoreResult},
};

/// Where the marks of some members are.
pub(crate) type MarksOfMembers = HashMap<(ChatId, UserId), Marks>;

/// Answers for each step of a batch, in order, by what was found of it; and says where the marks are then.
pub(crate) fn walk(
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

/// What is known of one step of a batch.
#[derive(Clone, Copy)]
pub(crate) struct Found {
    pub(crate) marks: Marks,
    pub(crate) place: Place,
}

/// The marks of a member.
#[derive(Clone, Copy)]
pub(crate) struct Marks {
    pub(crate) read_seq: Seq,
    pub(crate) read_texts: u64,
    pub(crate) delivered_seq: Seq,
    /// Whether they differ from what is stored.
    pub(crate) moved: bool,
}

/// Where a mark is to go.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) seq: Seq,
    /// Texts up to there.
    pub(crate) texts: u64,
    /// Texts of the chat.
    pub(crate) all_texts: u64,
    pub(crate) member_count: u32,
}

impl Place {
    /// Moves the mark, if that is forward, and answers for the step.
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
