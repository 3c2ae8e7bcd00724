//! How marks move, the same on every engine.

use std::collections::HashMap;

use messenger_core::{
    ChatId, Seq, UserId,
    ports::{MarkerMoved, MoveMarker, StoreErrorKind, StoreResult},
};

/// Where the marks of some members are.
pub type MarksOfMembers = HashMap<(ChatId, UserId), Marks>;

/// Answers for each step of a batch, in order, by what was found of it; and says where the marks are then.
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

/// What is known of one step of a batch.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    /// Where the member's marks are before the batch.
    pub marks: Marks,
    /// Where this step wants one of them.
    pub place: Place,
}

/// The marks of a member.
#[derive(Debug, Clone, Copy)]
pub struct Marks {
    /// The last message that was read.
    pub read_seq: Seq,
    /// Texts up to there.
    pub read_texts: u64,
    /// The last message that was delivered.
    pub delivered_seq: Seq,
    /// Whether they differ from what is stored.
    pub moved: bool,
}

/// Where a mark is to go.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// A message of the chat.
    pub seq: Seq,
    /// Texts up to there.
    pub texts: u64,
    /// Texts of the chat.
    pub all_texts: u64,
    /// Members of the chat.
    pub member_count: u32,
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
