use std::iter::zip;

use async_trait::async_trait;

use super::SealedStore;
use crate::{
    domain::{ChatId, MessageId, Revision, Timestamp, UserId},
    encryption::{DataKey, place::Place},
    ports::{
        Anchor, Appended, Budget, Changes, Content, DeleteMessage, EditMessage, HistoryRange, MessageRecord,
        MessageStore, NewMessage, NewSystemMessage, StoreErrorKind, StoreResult,
    },
};

impl SealedStore {
    /// The message as it is stored.
    fn seal_message(&self, key: &DataKey, message: &NewMessage) -> StoreResult<NewMessage> {
        let &NewMessage { id, chat, sender, reply_to, created_at, .. } = message;
        let place = Place::Text { chat, message: id, author: sender };
        let body = self.sealer.seal_with(key, &place, &message.body)?;
        let client_id = message.client_id.as_ref();
        let client_id = client_id.map(|(id, print)| (id.clone(), self.sealer.fingerprint(*print)));
        Ok(NewMessage { id, chat, sender, body, client_id, reply_to, created_at })
    }

    pub(super) async fn seal_note(
        &self,
        chat: ChatId,
        note: NewSystemMessage,
    ) -> StoreResult<NewSystemMessage> {
        let place = Place::Note { chat, message: note.id, actor: note.sender };
        let sealed = self.sealer.seal(&place, &note.note).await?;
        Ok(NewSystemMessage { note: sealed, ..note })
    }

    /// The answer to `message`, whose text need not be opened if it is the one that was just stored.
    async fn open_appended(&self, message: &NewMessage, appended: Appended) -> StoreResult<Appended> {
        match appended {
            Appended::New(record) => {
                Ok(Appended::New(MessageRecord { body: Some(message.body.clone()), ..record }))
            }
            Appended::Existing { record, same_request } => {
                // Before anything was sealed, fingerprints were not keyed.
                let plain = message.client_id.as_ref().map(|(_, print)| *print);
                let same_request = same_request || (self.accepts_plain() && record.fingerprint == plain);
                Ok(Appended::Existing { record: self.open_message(record).await?, same_request })
            }
        }
    }
}

/// An erased person is no member of any chat.
const fn of_sender(kind: StoreErrorKind) -> StoreErrorKind {
    match kind {
        StoreErrorKind::NotFound => StoreErrorKind::NotMember,
        other => other,
    }
}

#[async_trait]
impl MessageStore for SealedStore {
    async fn append_messages(&self, batch: &[NewMessage]) -> StoreResult<Vec<StoreResult<Appended>>> {
        let senders: Vec<_> = batch.iter().map(|message| message.sender).collect();
        let keys = self.sealer.keys.of(&senders, true).await?;
        let mut answers = Vec::with_capacity(batch.len());
        let mut sealed = Vec::with_capacity(batch.len());
        let mut asked = Vec::with_capacity(batch.len());
        for (index, message) in batch.iter().enumerate() {
            let key = keys[&message.sender].clone().into_key();
            match key.and_then(|key| self.seal_message(&key, message)) {
                Ok(message) => {
                    sealed.push(message);
                    asked.push(index);
                    // Replaced by the store's answer.
                    answers.push(Err(StoreErrorKind::Other.into()));
                }
                Err(error) => answers.push(Err(of_sender(error.kind()).into())),
            }
        }
        if sealed.is_empty() {
            return Ok(answers);
        }
        for (index, answer) in zip(asked, self.inner.append_messages(&sealed).await?) {
            answers[index] = match answer {
                Ok(appended) => self.open_appended(&batch[index], appended).await,
                Err(error) => Err(error),
            };
        }
        Ok(answers)
    }

    async fn message(&self, chat: ChatId, message: MessageId) -> StoreResult<MessageRecord> {
        self.open_message(self.inner.message(chat, message).await?).await
    }

    async fn history(
        &self,
        chat: ChatId,
        user: UserId,
        anchor: Anchor,
        budget: Budget,
    ) -> StoreResult<HistoryRange> {
        let mut range = self.inner.history(chat, user, anchor, budget).await?;
        self.open_messages(range.messages.iter_mut().collect()).await?;
        Ok(range)
    }

    async fn edit_message(&self, edit: EditMessage) -> StoreResult<MessageRecord> {
        let place = Place::Text { chat: edit.chat, message: edit.message, author: edit.sender };
        let plain: Content = edit.body.clone();
        let body = self.sealer.seal(&place, &edit.body).await?;
        let record = self.inner.edit_message(EditMessage { body, ..edit }).await?;
        Ok(MessageRecord { body: Some(plain), ..record })
    }

    async fn delete_message(&self, delete: DeleteMessage) -> StoreResult<MessageRecord> {
        self.inner.delete_message(delete).await
    }

    async fn erase_messages(
        &self,
        chat: ChatId,
        sender: UserId,
        at: Timestamp,
        limit: usize,
    ) -> StoreResult<Vec<MessageRecord>> {
        self.inner.erase_messages(chat, sender, at, limit).await
    }

    async fn changes(&self, since: &[(ChatId, Revision)], budget: Budget) -> StoreResult<Vec<Changes>> {
        let mut changes = self.inner.changes(since, budget).await?;
        for changes in &mut changes {
            self.open_chat(&mut changes.chat)?;
        }
        self.open_messages(changes.iter_mut().flat_map(|changes| &mut changes.messages).collect()).await?;
        Ok(changes)
    }
}
