use std::{collections::BTreeMap, ops::Bound};

use async_trait::async_trait;

use super::{MemoryStore, State};
use crate::{
    domain::{ChatId, JobId, MessageId, SessionId, UserId},
    ports::{
        AskContents, Content, ContentField, ContentPage, ContentPlace, ContentStore, Fingerprint, JobRecord,
        ReplaceContent, RowId, StoreErrorKind, StoreResult, StoredAddress, StoredContent, StoredName, Unique,
    },
};

#[async_trait]
impl ContentStore for MemoryStore {
    async fn contents(&self, asked: &AskContents) -> StoreResult<ContentPage> {
        let rows = self.lock()?.rows(asked.field);
        let mut page = ContentPage::default();
        let later = rows.range((Bound::Excluded(asked.after), Bound::Unbounded));
        for (looked_at, (row, stored)) in later.enumerate() {
            if looked_at == asked.rows || page.contents.len() == asked.limit {
                return Ok(page);
            }
            page.next = Some(*row);
            let is_wanted = |stored: &&StoredContent| stored.content.0.first() != Some(&asked.unlike);
            page.contents.extend(stored.as_ref().filter(is_wanted).cloned());
        }
        page.next = None;
        Ok(page)
    }

    async fn replace_contents(
        &self,
        field: ContentField,
        replacements: &[ReplaceContent],
    ) -> StoreResult<usize> {
        let mut state = self.lock()?;
        if field == ContentField::Address {
            state.check_addresses(replacements)?;
        }
        Ok(replacements.iter().filter(|replacement| state.replace(field, replacement)).count())
    }
}

impl State {
    /// All rows of a field, with what they have in it.
    fn rows(&self, field: ContentField) -> BTreeMap<RowId, Option<StoredContent>> {
        let rows: Box<dyn Iterator<Item = Row<'_>>> = match field {
            ContentField::Address => Box::new(self.users.by_id.values().map(|user| {
                let address = user.email.as_ref();
                let key = address.map(|address| address.key.clone());
                (ContentPlace::Address { user: user.id }, address.map(|address| &address.content), key)
            })),
            ContentField::DisplayName => Box::new(self.users.by_id.values().map(|user| {
                let name = Some(&user.display_name).filter(|_| user.erased_at.is_none());
                (ContentPlace::DisplayName { user: user.id }, name, None)
            })),
            ContentField::Device => Box::new(self.sessions.all().map(|session| {
                let place = ContentPlace::Device { session: session.id, user: session.user_id };
                (place, session.device.as_ref(), None)
            })),
            ContentField::Title => Box::new(self.chats.values().map(|chat| {
                let print = self.groups.values().find(|(id, _)| *id == chat.record.id);
                let place = ContentPlace::Title { chat: chat.record.id };
                (place, chat.record.title.as_ref(), print.map(|(_, print)| print.0.to_vec()))
            })),
            ContentField::Body => {
                let messages = self.chats.values().flat_map(|chat| &chat.messages);
                Box::new(messages.map(|stored| {
                    let message = &stored.record;
                    let place = ContentPlace::Body {
                        message: message.id,
                        chat: message.chat,
                        sender: message.sender,
                        kind: message.kind,
                    };
                    (place, message.body.as_ref(), message.fingerprint.map(|print| print.0.to_vec()))
                }))
            }
            ContentField::Payload => Box::new(
                self.jobs.all().map(|job| (ContentPlace::Payload { job: job.id }, Some(&job.payload), None)),
            ),
            ContentField::Reason => return self.reasons(),
        };
        let stored = |(place, content, derived): Row<'_>| {
            let content = content.cloned();
            (place.row(), content.map(|content| StoredContent { place, content, derived }))
        };
        rows.map(stored).collect()
    }

    fn reasons(&self) -> BTreeMap<RowId, Option<StoredContent>> {
        let row = |job: &JobRecord| {
            let place = ContentPlace::Reason { job: job.id };
            let reason = job.reason.as_deref().map(Content::from);
            (place.row(), reason.map(|content| StoredContent { place, content, derived: None }))
        };
        self.jobs.all().map(row).collect()
    }

    /// Before any is replaced: an intent is carried out as a whole or not at all.
    fn check_addresses(&self, replacements: &[ReplaceContent]) -> StoreResult<()> {
        for replacement in replacements {
            let owner = replacement.derived.as_ref().and_then(|key| self.users.by_address.get(key));
            if owner.is_some_and(|owner| *owner != UserId::from_bytes(replacement.row)) {
                return Err(StoreErrorKind::AlreadyExists(Unique::Email).into());
            }
        }
        Ok(())
    }

    /// Tells whether it was replaced.
    fn replace(&mut self, field: ContentField, replacement: &ReplaceContent) -> bool {
        let ReplaceContent { row, expected, content, derived } = replacement;
        let print = derived.as_ref().and_then(|bytes| bytes.as_slice().try_into().ok()).map(Fingerprint);
        match field {
            ContentField::Address => {
                let key = derived.clone().unwrap_or_default();
                let address = StoredAddress { content: content.clone(), key };
                self.users.replace_address(UserId::from_bytes(*row), expected, address)
            }
            ContentField::DisplayName => {
                let key = derived.clone().and_then(|key| String::from_utf8(key).ok()).unwrap_or_default();
                let name = StoredName { content: content.clone(), key };
                self.users.replace_name(UserId::from_bytes(*row), expected, name)
            }
            ContentField::Device => {
                let session = self.sessions.get_mut(SessionId::from_bytes(*row));
                session.is_some_and(|session| swap(session.device.as_mut(), expected, content))
            }
            ContentField::Title => {
                let id = ChatId::from_bytes(*row);
                let title = self.chats.get_mut(&id).and_then(|chat| chat.record.title.as_mut());
                let replaced = swap(title, expected, content);
                let of_group = self.groups.values_mut().find(|(chat, _)| *chat == id);
                if let Some(((_, stored), print)) = of_group.zip(print).filter(|_| replaced) {
                    *stored = print;
                }
                replaced
            }
            ContentField::Body => {
                let message = self.message_mut(MessageId::from_bytes(*row));
                message.is_some_and(|message| {
                    let replaced = swap(message.body.as_mut(), expected, content);
                    if replaced {
                        message.fingerprint = print;
                    }
                    replaced
                })
            }
            ContentField::Payload => {
                let job = self.jobs.get_mut(JobId::from_bytes(*row));
                job.is_some_and(|job| swap(Some(&mut job.payload), expected, content))
            }
            ContentField::Reason => {
                let job = self.jobs.get_mut(JobId::from_bytes(*row));
                let reason = job.and_then(|job| job.reason.as_mut());
                let reason = reason.filter(|reason| reason.as_bytes() == expected.0);
                reason.map(|reason| *reason = String::from_utf8_lossy(&content.0).into_owned()).is_some()
            }
        }
    }
}

/// Where a content is, the content, and what was made of it.
type Row<'s> = (ContentPlace, Option<&'s Content>, Option<Vec<u8>>);

/// Replaces the content if it is the expected one, and tells whether it was.
pub(super) fn swap(stored: Option<&mut Content>, expected: &Content, content: &Content) -> bool {
    let stored = stored.filter(|stored| *stored == expected);
    stored.map(|stored| stored.clone_from(content)).is_some()
}
