use async_trait::async_trait;

use super::{MemoryStore, State};
use crate::ports::{MarkerMoved, MarkerStore, MoveMarker, StoreErrorKind, StoreResult};

#[async_trait]
impl MarkerStore for MemoryStore {
    async fn move_markers(&self, batch: &[MoveMarker]) -> StoreResult<Vec<StoreResult<MarkerMoved>>> {
        let mut state = self.lock()?;
        Ok(batch.iter().map(|step| state.move_marker(step)).collect())
    }
}

impl State {
    fn move_marker(&mut self, step: &MoveMarker) -> StoreResult<MarkerMoved> {
        let chat = self.chats.get_mut(&step.chat).ok_or(StoreErrorKind::NotMember)?;
        let (texts, member_count) = (chat.record.texts, chat.record.member_count);
        let to = step.seq.min(chat.record.last_seq);
        let texts_at = chat.texts_up_to(to);
        let member = chat.member_mut(step.user).ok_or(StoreErrorKind::NotMember)?;
        let moved = to > if step.read { member.read_seq } else { member.delivered_seq };
        if moved && step.read {
            member.read_seq = to;
            member.read_texts = texts_at;
        }
        member.delivered_seq = member.delivered_seq.max(to);
        Ok(MarkerMoved {
            read_seq: member.read_seq,
            delivered_seq: member.delivered_seq,
            unread: texts - member.read_texts,
            moved,
            member_count,
        })
    }
}
