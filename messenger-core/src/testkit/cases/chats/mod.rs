mod memberships;
mod opening;
mod roster;
mod views;

use crate::{
    domain::{ChatId, NotifyLevel, Role, Seq, Timestamp, UserId},
    ports::{Activity, MemberRecord},
    testkit::World,
};

pub use self::{memberships::*, opening::*, roster::*, views::*};

/// A member of a chat without messages.
fn newcomer(user_id: UserId, role: Role, joined_at: Timestamp) -> MemberRecord {
    MemberRecord {
        user_id,
        role,
        joined_at,
        read_seq: Seq::ZERO,
        read_texts: 0,
        delivered_seq: Seq::ZERO,
        muted_until: None,
        notify_level: NotifyLevel::All,
    }
}

async fn counts<const N: usize>(world: &World, users: [UserId; N]) -> [u64; N] {
    let mut counts = [0; N];
    for (count, user) in counts.iter_mut().zip(users) {
        *count = world.record(user).await.memberships;
    }
    counts
}

async fn members(world: &World, chat: ChatId) -> Vec<UserId> {
    let roster = world.store.roster(chat).await.unwrap();
    roster.members.into_iter().map(|member| member.user_id).collect()
}

async fn list(world: &World, user: UserId, after: Option<Activity>, limit: usize) -> Vec<ChatId> {
    let views = world.store.list_chats(user, after, limit, usize::MAX).await.unwrap();
    views.into_iter().map(|view| view.chat.id).collect()
}
