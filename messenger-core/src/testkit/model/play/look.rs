use super::{Play, sorted};
use crate::{
    domain::{ChatId, Revision, Seq, UserId, Username},
    ports::{Anchor, Budget, ChatHead, LoginKey, Memberships, NamePlace, Store, StoreResult},
    testkit::{check_chat, model::step::Pick},
};

/// More than any history creates.
const ALL: usize = 10_000;

impl Play {
    /// Reads some data while the history goes on.
    pub(super) async fn look(&self, who: Pick, chat: Pick, place: Pick, limit: Pick) {
        let (user, chat, limit) = (self.user(who), self.chat(chat), usize::from(limit % 8));
        let seq = Seq::new(place.into());
        // Budgets for a few messages, for one and for many.
        let budget = Budget { messages: limit, bytes: 300 * usize::from(place) };
        for anchor in [Anchor::Newest, Anchor::Before(seq), Anchor::After(seq), Anchor::Around(seq)] {
            let _ = self.ask(async |store| store.history(chat, user, anchor, budget).await).await;
        }
        let _ = self.ask(async |store| store.membership(chat, user).await).await;
        let since = [(chat, Revision::new(place.into()))];
        self.ask(async |store| store.changes(&since, budget).await).await.unwrap();

        let page =
            self.ask(async |store| store.list_chats(user, None, limit, usize::MAX).await).await.unwrap();
        let after = page.last().map(|view| view.activity());
        self.ask(async |store| store.list_chats(user, after, limit, usize::MAX).await).await.unwrap();

        let prefix = ["", "user", "user1", "dr. user1", "name 1", "erased", "nobody"][usize::from(place) % 7];
        let (name, key) =
            (Username::trusted(format!("user{}", place % 12)), format!("address{}", place % 12));
        let after = NamePlace { name: format!("{prefix}{}", place % 3), username: name.clone() };
        self.ask(async |store| store.find_users(prefix, Some(&after), limit).await).await.unwrap();
        self.ask(async |store| store.find_users(prefix, None, limit).await).await.unwrap();
        let _ = self.ask(async |store| store.user_by_login(LoginKey::Username(&name)).await).await;
        let _ = self.ask(async |store| store.user_by_login(LoginKey::Email(key.as_bytes())).await).await;
    }

    /// Reads and compares everything.
    pub(in crate::testkit::model) async fn compare_everything(&self) {
        for user in &self.users {
            self.compare_user(*user).await;
        }
        for chat in &self.chats {
            self.compare_chat(*chat).await;
        }
        let (users, chats) = (&self.users, &self.chats);
        self.ask(async |store| store.membership_counts(users).await.map(sorted)).await.unwrap();
        self.ask(async |store| store.revisions(chats).await.map(sorted)).await.unwrap();
        self.ask(async |store| {
            let mut users = store.users(users).await?;
            users.sort_by_key(|user| user.id);
            Ok(users)
        })
        .await
        .unwrap();
        let sessions: Vec<_> = self.sessions.iter().map(|(_, session)| *session).collect();
        self.ask(async |store| store.existing_sessions(&sessions).await.map(sorted)).await.unwrap();
    }

    async fn compare_user(&self, user: UserId) {
        self.ask(async |store| store.user(user).await).await.unwrap();
        self.ask(async |store| store.sessions(user).await).await.unwrap();
        self.ask(async |store| memberships(store, user).await).await.unwrap();
        self.ask(async |store| store.list_chats(user, None, ALL, usize::MAX).await).await.unwrap();
        self.ask(async |store| {
            let mut views = store.chat_views(user, &self.chats, usize::MAX).await?;
            views.sort_by_key(|view| view.chat.id);
            Ok(views)
        })
        .await
        .unwrap();
        self.ask(async |store| store.chats_ever_joined(user).await.map(sorted)).await.unwrap();
        for chat in &self.chats {
            let _ = self.ask(async |store| store.membership(*chat, user).await).await;
        }
    }

    async fn compare_chat(&self, chat: ChatId) {
        self.ask(async |store| store.roster(chat).await).await.unwrap();
        self.ask(async |store| store.changes(&[(chat, Revision::ZERO)], Budget::of_messages(ALL)).await)
            .await
            .unwrap();
        for user in &self.users {
            self.ask(async |store| Ok(check_chat(store, chat, *user).await)).await.unwrap();
        }
    }

    /// Lets the replica read the rest, and compares it with a fresh read.
    pub(in crate::testkit::model) async fn compare_replica(&mut self) {
        let Some(replica) = &mut self.replica else { return };
        while replica.sync(&*self.world.store, &self.chats, 3).await {}
        for chat in &self.chats {
            for user in &self.users {
                let messages = check_chat(&*self.world.store, *chat, *user).await;
                assert_eq!(replica.messages(*chat), messages, "state plus changes is a fresh read");
            }
        }
    }
}

async fn memberships(store: &dyn Store, user: UserId) -> StoreResult<(u64, Vec<ChatHead>)> {
    let Memberships { count, chats, .. } = store.memberships(user, None).await?;
    // Each store counts its own commits.
    let mut heads: Vec<ChatHead> = chats.into_iter().map(|chat| chat.head).collect();
    heads.sort_by_key(|head| head.chat);
    Ok((count, heads))
}
