use super::{Play, kinds};
use crate::{
    domain::{ChatId, Revision, Seq},
    ports::{Appended, Content, DeleteMessage, EditMessage, MessageRecord, MoveMarker, NewMessage},
    testkit::model::step::{Line, Mark, Pick},
};

impl Play {
    pub(super) async fn append(&mut self, batch: Vec<Line>) {
        let batch: Vec<_> = batch.into_iter().map(|line| self.line(&line)).collect();
        let answers = self.ask(async |store| store.append_messages(&batch).await.map(kinds)).await.unwrap();
        for answer in answers {
            if let Ok(Appended::New(message)) = answer {
                self.texts.push((message.chat, message.id));
            }
        }
    }

    fn line(&self, line: &Line) -> NewMessage {
        let (chat, sender) = (self.chat(line.chat), self.user(line.sender));
        let body = format!("text {}", self.texts.len());
        let message = match line.client_id {
            Some(id) => self.world.named(chat, sender, &body, &format!("c{id}")),
            None => self.world.text(chat, sender, &body),
        };
        let answered = self.texts.iter().rev().find(|(place, _)| *place == chat && line.reply);
        NewMessage { reply_to: answered.map(|(_, id)| *id), ..message }
    }

    pub(super) async fn edit(&self, message: Pick, stale: bool, misplaced: bool) {
        let Some(message) = self.text(message).await else { return };
        let edit = EditMessage {
            chat: self.place(&message, misplaced),
            message: message.id,
            sender: message.sender,
            expected: expected(&message, stale),
            body: Content(format!("edited {}", self.world.tick()).into_bytes()),
            edited_at: self.world.tick(),
        };
        let _ = self.ask(async |store| store.edit_message(edit.clone()).await).await;
    }

    pub(super) async fn delete(&self, message: Pick, stale: bool, misplaced: bool) {
        let Some(message) = self.text(message).await else { return };
        let delete = DeleteMessage {
            chat: self.place(&message, misplaced),
            message: message.id,
            expected: expected(&message, stale),
            deleted_at: self.world.tick(),
        };
        let _ = self.ask(async |store| store.delete_message(delete).await).await;
    }

    /// Erases messages of the person who wrote this one.
    pub(super) async fn erase_messages(&self, message: Pick, limit: Pick) {
        let Some(MessageRecord { chat, sender, .. }) = self.text(message).await else { return };
        let at = self.world.tick();
        let erase = self.ask(async |store| store.erase_messages(chat, sender, at, limit.into()).await);
        erase.await.unwrap();
    }

    pub(super) async fn mark(&self, batch: Vec<Mark>) {
        let step = |mark: Mark| MoveMarker {
            chat: self.chat(mark.chat),
            user: self.user(mark.who),
            seq: Seq::new(mark.seq.into()),
            read: mark.read,
        };
        let batch: Vec<_> = batch.into_iter().map(step).collect();
        self.ask(async |store| store.move_markers(&batch).await.map(kinds)).await.unwrap();
    }

    async fn text(&self, pick: Pick) -> Option<MessageRecord> {
        // Prefers the newest messages, as people do.
        let back = usize::from(pick) % self.texts.len().max(1);
        let (chat, id) = self.texts.iter().rev().nth(back)?;
        self.world.store.message(*chat, *id).await.ok()
    }

    fn place(&self, message: &MessageRecord, misplaced: bool) -> ChatId {
        let other = self.chats.iter().find(|chat| **chat != message.chat).filter(|_| misplaced);
        other.copied().unwrap_or(message.chat)
    }
}

/// The message's revision, or an older one. The core never changes a tombstone, so for one it is always an older
/// revision.
fn expected(message: &MessageRecord, stale: bool) -> Revision {
    let older = stale || message.deleted_at.is_some();
    Revision::new(message.revision.get() - u64::from(older))
}
