use std::{fmt, sync::Arc, time::Duration};

use futures::future::BoxFuture;

use crate::{
    domain::{ChatId, NotifyLevel, Revision, Seq, UserId},
    ports::{
        Anchor, AskUnread, Budget, ClaimUnread, Content, EditMessage, MailOutcome, MemberChat, MoveMarker,
        Notified, PendingChat, RosterChange, StoreErrorKind, StoreResult, Told, UpdateUser,
    },
    testkit::{World, cases::users::update, check_chat, race},
};

const ROUNDS: usize = 12;

pub async fn racing_writers_of_all_kinds_get_along(world: &World) {
    let people = world.people(["ada", "bob", "cleo", "dan", "eve"]).await;
    let [ada, bob, cleo, dan, eve] = people;
    let chats = [
        world.group(people).await,
        world.direct(ada, bob).await,
        world.group([eve, dan, cleo, bob, ada]).await,
    ];
    let scene = Arc::new(Scene { world: world.clone(), people, chats });
    let mut writers: Vec<BoxFuture<'static, ()>> = vec![];
    for n in 0..3 {
        let scene = || Arc::clone(&scene);
        writers.push(Box::pin(scene().send(n)));
        writers.push(Box::pin(scene().move_markers(n)));
        writers.push(Box::pin(scene().change_rosters(n)));
        writers.push(Box::pin(scene().edit_and_erase(n)));
        writers.push(Box::pin(scene().change_accounts(n)));
        writers.push(Box::pin(scene().open_chats(n)));
    }
    race(writers).await;

    for user in people {
        let memberships = world.store.memberships(user, None).await.unwrap();
        for MemberChat { head, .. } in memberships.chats {
            check_chat(&*world.store, head.chat, user).await;
        }
        let joined = world.store.chats_ever_joined(user).await.unwrap().len() as u64;
        assert!(memberships.count >= joined);
        assert_eq!(memberships.count, world.record(user).await.memberships);
    }
    let sent: usize = 3 * ROUNDS;
    assert_eq!(world.view(chats[1], ada).await.chat.texts, 2 * sent as u64, "of those who never leave");
}

/// People and chats that all writers write to, each writer in an order of its own.
struct Scene {
    world: World,
    people: [UserId; 5],
    chats: [ChatId; 3],
}

impl Scene {
    async fn send(self: Arc<Self>, n: usize) {
        for round in 0..ROUNDS {
            let mut batch = vec![];
            for chat in self.chats_from(n + round) {
                for sender in [0, 1, 4].map(|person| self.people[person]) {
                    batch.push(self.world.text(chat, sender, "text"));
                }
            }
            for answer in self.world.store.append_messages(&batch).await.unwrap() {
                tolerate(answer, StoreErrorKind::NotMember);
            }
        }
    }

    async fn move_markers(self: Arc<Self>, n: usize) {
        for round in 0..ROUNDS {
            let mut batch = vec![];
            for chat in self.chats_from(n + 2 * round) {
                for user in self.people_from(n + round) {
                    let seq = Seq::new((round * 10) as u64);
                    batch.push(MoveMarker { chat, user, seq, read: (n + round).is_multiple_of(2) });
                }
            }
            for answer in self.world.store.move_markers(&batch).await.unwrap() {
                tolerate(answer, StoreErrorKind::NotMember);
            }
        }
    }

    /// Adds and removes the last of the people.
    async fn change_rosters(self: Arc<Self>, n: usize) {
        let passer_by = self.people[4];
        for round in 0..ROUNDS {
            let chat = self.chats[if (n + round).is_multiple_of(2) { 0 } else { 2 }];
            let members = self.world.store.roster(chat).await.unwrap();
            let mut change = self.world.change_by(chat, self.people[0]).await;
            change.expected = members.chat.roster_version;
            if members.members.iter().any(|member| member.user_id == passer_by) {
                change.remove.push(passer_by);
            } else {
                change.add.push(passer_by);
            }
            let change = RosterChange { title: Some(Content::from(format!("{n}-{round}"))), ..change };
            tolerate(self.world.store.change_roster(change).await, StoreErrorKind::Conflict);
            let mute = self.world.store.set_mute(chat, passer_by, Some(self.world.tick())).await;
            tolerate(mute, StoreErrorKind::NotMember);
            let level = self.world.store.set_notify_level(chat, passer_by, NotifyLevel::Mentions).await;
            tolerate(level, StoreErrorKind::NotMember);
        }
    }

    async fn edit_and_erase(self: Arc<Self>, n: usize) {
        for round in 0..ROUNDS {
            let chat = self.chats[(n + round) % 3];
            let changes = self
                .world
                .store
                .changes(&[(chat, Revision::ZERO)], Budget::of_messages(1000))
                .await
                .unwrap()
                .remove(0);
            let text = changes.messages.iter().rev().find(|m| m.body.is_some() && m.sender == self.people[0]);
            if let Some(text) = text {
                let (body, edited_at) = (Content::from("edited"), self.world.tick());
                let (message, sender, expected) = (text.id, text.sender, text.revision);
                let edit = EditMessage { chat, message, sender, expected, body, edited_at };
                tolerate(self.world.store.edit_message(edit).await, StoreErrorKind::Conflict);
            }
            let at = self.world.tick();
            self.world.store.erase_messages(chat, self.people[1], at, 2).await.unwrap();
            let page = self
                .world
                .store
                .history(chat, self.people[0], Anchor::Newest, Budget::of_messages(10))
                .await
                .unwrap();
            assert_eq!(page.messages.last().map_or(Seq::ZERO, |message| message.seq), page.last_seq);
        }
    }

    async fn change_accounts(self: Arc<Self>, n: usize) {
        for round in 0..ROUNDS {
            let now = self.world.tick();
            let seen: Vec<_> = self.people_from(n + round).into_iter().map(|user| (user, now)).collect();
            self.world.store.set_last_seen(&seen).await.unwrap();
            let user = self.people[(n + round) % 5];
            let change = UpdateUser { notify_email: Some(true), ..update(&self.world.record(user).await) };
            tolerate(self.world.store.update_user(change).await, StoreErrorKind::Conflict);
            let version = self.world.record(user).await.version;
            let session = self.world.store.create_session(self.world.session(user), version, 2).await;
            tolerate(session, StoreErrorKind::Conflict);
            self.tell(user).await;
        }
    }

    /// As those do who tell people of what they have not read.
    async fn tell(&self, user: UserId) {
        let (store, now) = (&self.world.store, self.world.tick());
        let claim = ClaimUnread { due: now, now, until: now.after(Duration::from_secs(1)) };
        for claimed in store.claim_unread_chats(&claim, 10).await.unwrap() {
            let asked = AskUnread { chat: claimed.chat, due: now, now };
            store.unread_members(&asked, None, 10).await.unwrap();
            store.finish_unread_chat(&claimed, now).await.unwrap();
        }
        let pending = store.unread_chats(user, now, now, 10).await.unwrap();
        let ranges: Vec<_> = pending.iter().map(PendingChat::range).collect();
        store.unread_lines(user, &ranges, 3).await.unwrap();
        let record = self.world.record(user).await;
        let expected = record.mail.told.map(|told| told.at);
        let told = Told { at: self.world.tick(), since: now, times: 1 };
        store.record_notified(&Notified { user, expected, told, ranges, jobs: vec![] }).await.unwrap();
        let key = record.email.map(|email| email.key).unwrap_or_default();
        store.note_mail(user, &key, MailOutcome::Refused { at: now, most: 3 }).await.unwrap();
        assert!(store.confirm_email(user, &key, now).await.unwrap());
    }

    async fn open_chats(self: Arc<Self>, n: usize) {
        for round in 0..ROUNDS {
            let [a, b, rest @ ..] = self.people_from(n + round);
            self.world.direct(a, b).await;
            if round < 3 {
                let group = self.world.new_group(b, &rest);
                self.world.store.create_group(group).await.unwrap();
            }
        }
    }

    fn chats_from(&self, n: usize) -> [ChatId; 3] {
        std::array::from_fn(|k| self.chats[(n + k) % 3])
    }

    fn people_from(&self, n: usize) -> [UserId; 5] {
        std::array::from_fn(|k| self.people[(n + k) % 5])
    }
}

fn tolerate<T: fmt::Debug>(answer: StoreResult<T>, kind: StoreErrorKind) {
    if let Err(error) = answer {
        assert_eq!(error.kind(), kind);
    }
}
