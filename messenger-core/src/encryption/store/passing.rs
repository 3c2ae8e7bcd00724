//! What has little or nothing to seal.

use async_trait::async_trait;

use super::SealedStore;
use crate::{
    domain::{Timestamp, UserId},
    ports::{
        AskContents, AskOverdue, AskUnread, ClaimUnread, ClaimedChat, ContentField, ContentPage,
        ContentStore, Hold, HoldSubject, KeyId, KeyStore, MarkerMoved, MarkerStore, MessageRecord,
        MoveMarker, Notified, OverdueChat, PendingChat, PendingMember, Purge, PurgeId, PurgeRecord, Purged,
        ReplaceContent, RetentionChange, RetentionStore, Rewrap, RosterChanged, SeenPlace, StoreResult,
        StoredKey, UnreadRange, UnreadStore,
    },
};

#[async_trait]
impl MarkerStore for SealedStore {
    async fn move_markers(&self, batch: &[MoveMarker]) -> StoreResult<Vec<StoreResult<MarkerMoved>>> {
        self.inner.move_markers(batch).await
    }
}

#[async_trait]
impl UnreadStore for SealedStore {
    async fn claim_unread_chats(&self, claim: &ClaimUnread, limit: usize) -> StoreResult<Vec<ClaimedChat>> {
        self.inner.claim_unread_chats(claim, limit).await
    }

    async fn finish_unread_chat(&self, claimed: &ClaimedChat, due: Timestamp) -> StoreResult<bool> {
        self.inner.finish_unread_chat(claimed, due).await
    }

    async fn unread_members(
        &self,
        asked: &AskUnread,
        after: Option<UserId>,
        limit: usize,
    ) -> StoreResult<Vec<PendingMember>> {
        self.inner.unread_members(asked, after, limit).await
    }

    async fn unread_chats(
        &self,
        user: UserId,
        until: Timestamp,
        now: Timestamp,
        limit: usize,
    ) -> StoreResult<Vec<PendingChat>> {
        self.inner.unread_chats(user, until, now, limit).await
    }

    async fn unread_lines(
        &self,
        user: UserId,
        ranges: &[UnreadRange],
        lines: usize,
    ) -> StoreResult<Vec<MessageRecord>> {
        let mut messages = self.inner.unread_lines(user, ranges, lines).await?;
        self.open_messages(messages.iter_mut().collect()).await?;
        Ok(messages)
    }

    async fn record_notified(&self, notified: &Notified) -> StoreResult<bool> {
        let jobs = self.seal_jobs(&notified.jobs).await?;
        self.inner.record_notified(&Notified { jobs, ..notified.clone() }).await
    }

    async fn people_last_seen(
        &self,
        after: SeenPlace,
        until: Timestamp,
        limit: usize,
    ) -> StoreResult<Vec<SeenPlace>> {
        self.inner.people_last_seen(after, until, limit).await
    }
}

#[async_trait]
impl KeyStore for SealedStore {
    async fn create_keys(&self, keys: &[StoredKey]) -> StoreResult<Vec<StoredKey>> {
        self.inner.create_keys(keys).await
    }

    async fn keys(&self, ids: &[KeyId]) -> StoreResult<Vec<StoredKey>> {
        self.inner.keys(ids).await
    }

    async fn list_keys(&self, after: Option<KeyId>, limit: usize) -> StoreResult<Vec<StoredKey>> {
        self.inner.list_keys(after, limit).await
    }

    async fn rewrap_keys(&self, rewraps: &[Rewrap]) -> StoreResult<usize> {
        self.inner.rewrap_keys(rewraps).await
    }

    async fn destroy_keys(&self, user: UserId, at: Timestamp) -> StoreResult<()> {
        self.inner.destroy_keys(user, at).await?;
        self.sealer.keys.destroyed(user);
        Ok(())
    }
}

#[async_trait]
impl RetentionStore for SealedStore {
    async fn set_retention(&self, change: RetentionChange) -> StoreResult<RosterChanged> {
        let message = self.seal_note(change.chat, change.message.clone()).await?;
        let mut changed = self.inner.set_retention(RetentionChange { message, ..change }).await?;
        self.open_chat(&mut changed.chat)?;
        self.open_messages(changed.messages.iter_mut().collect()).await?;
        Ok(changed)
    }

    async fn overdue_chats(&self, asked: &AskOverdue, limit: usize) -> StoreResult<Vec<OverdueChat>> {
        self.inner.overdue_chats(asked, limit).await
    }

    async fn purge(&self, purge: &Purge) -> StoreResult<Purged> {
        self.inner.purge(purge).await
    }

    async fn hold(&self, hold: &Hold) -> StoreResult<bool> {
        self.inner.hold(hold).await
    }

    async fn release(&self, subject: HoldSubject) -> StoreResult<bool> {
        self.inner.release(subject).await
    }

    async fn holds(&self, after: Option<HoldSubject>, limit: usize) -> StoreResult<Vec<Hold>> {
        self.inner.holds(after, limit).await
    }

    async fn purges(&self, after: Option<PurgeId>, limit: usize) -> StoreResult<Vec<PurgeRecord>> {
        self.inner.purges(after, limit).await
    }
}

/// Contents as the wrapped store has them.
#[async_trait]
impl ContentStore for SealedStore {
    async fn contents(&self, asked: &AskContents) -> StoreResult<ContentPage> {
        self.inner.contents(asked).await
    }

    async fn replace_contents(
        &self,
        field: ContentField,
        replacements: &[ReplaceContent],
    ) -> StoreResult<usize> {
        self.inner.replace_contents(field, replacements).await
    }
}
