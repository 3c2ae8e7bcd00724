use async_trait::async_trait;

use super::SealedStore;
use crate::{
    domain::{ChatId, NotifyLevel, Revision, Timestamp, UserId},
    encryption::{
        place::Place,
        seal::{BEGINNING, FIRST},
    },
    ports::{
        Activity, ChangedChat, ChatStore, ChatView, Content, DirectChat, Membership, Memberships, NewGroup,
        Opened, Roster, RosterChange, RosterChanged, StoreResult,
    },
};

/// How much of a body has to be read so that `shown` bytes of it can be shown.
const fn read(shown: usize) -> usize {
    if shown <= FIRST { BEGINNING } else { usize::MAX }
}

impl SealedStore {
    async fn seal_title(&self, chat: ChatId, title: &Content) -> StoreResult<Content> {
        self.sealer.seal_text(&Place::Title { chat }, title).await
    }
}

#[async_trait]
impl ChatStore for SealedStore {
    async fn open_direct(&self, chat: DirectChat) -> StoreResult<Opened> {
        self.inner.open_direct(chat).await
    }

    async fn create_group(&self, group: NewGroup) -> StoreResult<Opened> {
        let title = self.seal_title(group.id, &group.title).await?;
        let message = self.seal_note(group.id, group.message.clone()).await?;
        let plain = group.client_id.clone();
        let client_id = plain.clone().map(|(id, print)| (id, self.sealer.fingerprint(print)));
        let sealed = NewGroup { title, message, client_id, ..group };
        let opened = self.inner.create_group(sealed.clone()).await?;
        if opened.created || opened.same_request || !self.accepts_plain() {
            return Ok(opened);
        }
        // Before anything was sealed, fingerprints were not keyed. The group exists, so this stores nothing.
        self.inner.create_group(NewGroup { client_id: plain, ..sealed }).await
    }

    async fn chat_views(&self, user: UserId, chats: &[ChatId], preview: usize) -> StoreResult<Vec<ChatView>> {
        let views = self.inner.chat_views(user, chats, read(preview)).await?;
        self.open_views(views, preview).await
    }

    async fn list_chats(
        &self,
        user: UserId,
        after: Option<Activity>,
        limit: usize,
        preview: usize,
    ) -> StoreResult<Vec<ChatView>> {
        let views = self.inner.list_chats(user, after, limit, read(preview)).await?;
        self.open_views(views, preview).await
    }

    async fn membership(&self, chat: ChatId, user: UserId) -> StoreResult<Membership> {
        let mut membership = self.inner.membership(chat, user).await?;
        self.open_chat(&mut membership.chat)?;
        Ok(membership)
    }

    async fn roster(&self, chat: ChatId) -> StoreResult<Roster> {
        let mut roster = self.inner.roster(chat).await?;
        self.open_chat(&mut roster.chat)?;
        Ok(roster)
    }

    async fn change_roster(&self, change: RosterChange) -> StoreResult<RosterChanged> {
        let title = match &change.title {
            Some(title) => Some(self.seal_title(change.chat, title).await?),
            None => None,
        };
        let mut messages = Vec::with_capacity(change.messages.len());
        for message in &change.messages {
            messages.push(self.seal_note(change.chat, message.clone()).await?);
        }
        let mut changed = self.inner.change_roster(RosterChange { title, messages, ..change }).await?;
        self.open_chat(&mut changed.chat)?;
        self.open_messages(changed.messages.iter_mut().collect()).await?;
        Ok(changed)
    }

    async fn set_mute(&self, chat: ChatId, user: UserId, until: Option<Timestamp>) -> StoreResult<()> {
        self.inner.set_mute(chat, user, until).await
    }

    async fn set_notify_level(&self, chat: ChatId, user: UserId, level: NotifyLevel) -> StoreResult<()> {
        self.inner.set_notify_level(chat, user, level).await
    }

    async fn memberships(&self, user: UserId, left_after: Option<u64>) -> StoreResult<Memberships> {
        self.inner.memberships(user, left_after).await
    }

    async fn membership_counts(&self, users: &[UserId]) -> StoreResult<Vec<(UserId, u64)>> {
        self.inner.membership_counts(users).await
    }

    async fn revisions(&self, chats: &[ChatId]) -> StoreResult<Vec<(ChatId, Revision)>> {
        self.inner.revisions(chats).await
    }

    async fn changed_since(&self, since: Timestamp, limit: usize) -> StoreResult<Vec<ChangedChat>> {
        self.inner.changed_since(since, limit).await
    }

    async fn chats_ever_joined(&self, user: UserId) -> StoreResult<Vec<ChatId>> {
        self.inner.chats_ever_joined(user).await
    }
}
