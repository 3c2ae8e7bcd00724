use std::{
    fmt::Debug,
    future::Future,
    sync::Arc,
    task::{Context, Waker},
    time::Duration,
};

use futures::{
    FutureExt as _,
    future::{BoxFuture, MaybeDone, join_all, maybe_done},
};
use tokio::time::timeout;

use crate::{
    domain::{ChatId, NotifyLevel, Revision, Role, Seq, SystemEvent, UserId},
    ports::{
        Anchor, AskUnread, Budget, ClaimUnread, ClaimedChat, Content, DeleteMessage, EditMessage, LoginKey,
        MailOutcome, MessageRecord, MoveMarker, NewSession, NewUser, Notified, RosterChange, SeenPlace,
        Store, StoreErrorKind, StoreResult, Told, UnreadRange, UpdateUser,
    },
    testkit::World,
};

/// More than a store has connections.
const CROWD: usize = 40;
/// Less than a store may let a caller wait who is served in the end, and much more than it normally takes.
const PATIENCE: Duration = Duration::from_secs(60);

pub async fn intents_left_alone_keep_nobody_waiting(world: &World) {
    let scene = Scene::new(world).await;
    for (name, begin) in scene.reads() {
        let alone = begin_many(&begin);
        scene.others_are_served(name).await;
        let fresh = begin(0).await;
        for answer in finish(alone).await {
            assert_eq!(answer, fresh, "{name} gives its answer when it is polled again");
        }
    }
    for (name, begin) in scene.writes() {
        let alone = begin_many(&begin);
        scene.others_are_served(name).await;
        for answer in finish(alone).await {
            assert_ne!(answer, Err(StoreErrorKind::Unavailable), "{name} is done");
        }
    }
}

pub async fn intents_of_all_kinds_left_alone_keep_nobody_waiting(world: &World) {
    let scene = Scene::new(world).await;
    let intents: Vec<_> = scene.reads().into_iter().chain(scene.writes()).collect();
    let alone: Vec<_> = intents.iter().flat_map(|(_, begin)| begin_many(begin)).collect();
    scene.others_are_served("all of them").await;
    let answers = finish(alone).await;
    let unavailable = answers.iter().filter(|answer| **answer == Err(StoreErrorKind::Unavailable)).count();
    assert_eq!(unavailable, 0, "each gives its answer when it is polled again");
}

pub async fn intents_dropped_half_way_keep_nobody_waiting(world: &World) {
    let scene = Scene::new(world).await;
    for (name, begin) in scene.reads().into_iter().chain(scene.writes()) {
        for _ in 0..3 {
            drop(begin_many(&begin));
        }
        scene.others_are_served(name).await;
    }
}

/// The answer, in printable form.
type Answer = Result<String, StoreErrorKind>;
type Begin = Box<dyn Fn(usize) -> BoxFuture<'static, Answer> + Send + Sync>;
type Intent = (&'static str, Begin);
type Alone = MaybeDone<BoxFuture<'static, Answer>>;

/// Begins the intent many times, polls each future once, and does not poll it again when it is woken.
fn begin_many(begin: &Begin) -> Vec<Alone> {
    let mut alone: Vec<_> = (0..CROWD).map(|n| maybe_done(begin(n))).collect();
    for one in &mut alone {
        let _ = one.poll_unpin(&mut Context::from_waker(Waker::noop()));
    }
    alone
}

async fn finish(alone: Vec<Alone>) -> Vec<Answer> {
    let answers = alone.into_iter().map(async |mut one| {
        (&mut one).await;
        std::pin::Pin::new(&mut one).take_output().unwrap()
    });
    timeout(PATIENCE, join_all(answers)).await.expect("those who come back are answered")
}

/// People and chats for the intents, and others that are unrelated to them.
struct Scene {
    world: World,
    people: [UserId; 3],
    chat: ChatId,
    message: MessageRecord,
    account: NewUser,
    session: NewSession,
    others: (ChatId, UserId),
}

impl Scene {
    async fn new(world: &World) -> Arc<Self> {
        let (account, session) = world.account("ada");
        world.store.create_user(account.clone(), session.clone()).await.unwrap();
        let [bob, cleo, dan, eve] = world.people(["bob", "cleo", "dan", "eve"]).await;
        let chat = world.group([account.id, bob, cleo]).await;
        let message = world.send(chat, account.id, "first").await;
        for _ in 0..20 {
            world.send(chat, bob, "more").await;
        }
        let others = (world.direct(dan, eve).await, dan);
        let people = [account.id, bob, cleo];
        Arc::new(Self { world: world.clone(), people, chat, message, account, session, others })
    }

    /// Reads and writes for the unrelated people, which may be slow but must be served.
    async fn others_are_served(&self, meanwhile: &str) {
        let (store, (chat, dan)) = (&self.world.store, self.others);
        let served = async {
            for _ in 0..3 {
                store.user(dan).await?;
                store.history(chat, dan, Anchor::Newest, Budget::of_messages(10)).await?;
                store.append_messages(&[self.world.text(chat, dan, "hello")]).await?;
                store.ping().await?;
            }
            StoreResult::Ok(())
        };
        let served = timeout(PATIENCE, served).await;
        let served = served.unwrap_or_else(|_| panic!("others wait for {meanwhile}"));
        served.unwrap_or_else(|error| panic!("others are refused for {meanwhile}: {error:?}"));
    }

    fn intent<T: Debug, F>(
        self: &Arc<Self>,
        name: &'static str,
        ask: impl Fn(Arc<Self>, Arc<dyn Store>, usize) -> F + Send + Sync + 'static,
    ) -> Intent
    where
        F: Future<Output = StoreResult<T>> + Send + 'static,
    {
        let scene = Arc::clone(self);
        let begin = move |n| -> BoxFuture<'static, Answer> {
            let asked = ask(Arc::clone(&scene), Arc::clone(&scene.world.store), n);
            Box::pin(async { asked.await.map(|answer| format!("{answer:?}")).map_err(|error| error.kind()) })
        };
        (name, Box::new(begin))
    }

    /// Every method that reads.
    fn reads(self: &Arc<Self>) -> Vec<Intent> {
        let mut reads = Vec::from(self.reads_of_people());
        reads.extend(self.reads_of_chats());
        reads.extend(self.reads_of_unread());
        reads
    }

    fn reads_of_people(self: &Arc<Self>) -> [Intent; 9] {
        [
            self.intent("user", async |scene, store, _| store.user(scene.people[0]).await),
            self.intent("users", async |scene, store, _| store.users(&scene.people[..1]).await),
            self.intent("user_by_login", async |scene, store, _| {
                store.user_by_login(LoginKey::Username(&scene.account.username)).await
            }),
            self.intent("find_users", async |_, store, _| store.find_users("ad", None, 10).await),
            self.intent("session_by_token", async |scene, store, _| {
                store.session_by_token(&scene.session.token_hash).await
            }),
            self.intent("sessions", async |scene, store, _| store.sessions(scene.people[0]).await),
            self.intent("existing_sessions", async |scene, store, _| {
                store.existing_sessions(&[scene.session.id]).await
            }),
            self.intent("memberships", async |scene, store, _| {
                // The commits also depend on other intents.
                store.memberships(scene.people[0], None).await.map(|found| (found.count, found.chats))
            }),
            self.intent("membership_counts", async |scene, store, _| {
                store.membership_counts(&scene.people[..1]).await
            }),
        ]
    }

    fn reads_of_chats(self: &Arc<Self>) -> [Intent; 9] {
        [
            self.intent("chat_views", async |scene, store, _| {
                store.chat_views(scene.people[0], &[scene.chat], 100).await
            }),
            self.intent("list_chats", async |scene, store, _| {
                store.list_chats(scene.people[0], None, 10, 100).await
            }),
            self.intent("membership", async |scene, store, _| {
                store.membership(scene.chat, scene.people[0]).await
            }),
            self.intent("roster", async |scene, store, _| store.roster(scene.chat).await),
            self.intent("revisions", async |scene, store, _| store.revisions(&[scene.chat]).await),
            self.intent("chats_ever_joined", async |scene, store, _| {
                store.chats_ever_joined(scene.people[0]).await
            }),
            self.intent("message", async |scene, store, _| store.message(scene.chat, scene.message.id).await),
            self.intent("history", async |scene, store, _| {
                store.history(scene.chat, scene.people[0], Anchor::Newest, Budget::of_messages(10)).await
            }),
            self.intent("changes", async |scene, store, _| {
                store.changes(&[(scene.chat, Revision::ZERO)], Budget::of_messages(10)).await
            }),
        ]
    }

    fn reads_of_unread(self: &Arc<Self>) -> [Intent; 4] {
        [
            self.intent("unread_members", async |scene, store, _| {
                let now = scene.world.tick();
                store.unread_members(&AskUnread { chat: scene.chat, due: now, now }, None, 10).await
            }),
            self.intent("unread_chats", async |scene, store, _| {
                let now = scene.world.tick();
                store.unread_chats(scene.people[2], now, now, 10).await
            }),
            self.intent("unread_lines", async |scene, store, _| {
                let up_to = scene.message.seq.next();
                let range = UnreadRange { chat: scene.chat, after: Seq::ZERO, up_to };
                store.unread_lines(scene.people[2], &[range], 10).await
            }),
            self.intent("people_last_seen", async |scene, store, _| {
                let after = SeenPlace { at: scene.account.created_at, user: scene.people[0] };
                store.people_last_seen(after, scene.world.tick(), 10).await
            }),
        ]
    }

    /// Every method that writes, and `ping`. Most of many conflicting writes are refused.
    fn writes(self: &Arc<Self>) -> Vec<Intent> {
        let mut writes = self.writes_of_chats();
        writes.extend(self.writes_of_sessions());
        writes.extend(self.writes_of_people());
        writes.extend(self.writes_of_unread());
        writes.push(self.intent("ping", async |_, store, _| store.ping().await));
        writes
    }

    fn writes_of_people(self: &Arc<Self>) -> Vec<Intent> {
        vec![
            self.intent("create_user", async |scene, store, n| {
                let (user, session) =
                    scene.world.account(&format!("new-{n}-{}", scene.world.tick().as_micros()));
                store.create_user(user, session).await
            }),
            self.intent("set_last_seen", async |scene, store, _| {
                store.set_last_seen(&[(scene.people[1], scene.world.tick())]).await
            }),
            self.intent("update_user", async |scene, store, n| {
                let (id, expected) = (scene.people[1], n as u64);
                store
                    .update_user(UpdateUser { notify_email: Some(false), ..UpdateUser::of(id, expected) })
                    .await
            }),
            self.intent("note_mail", async |scene, store, _| {
                let refused = MailOutcome::Refused { at: scene.world.tick(), most: 3 };
                store.note_mail(scene.people[0], &scene.account.email.key, refused).await
            }),
            self.intent("change_password", async |scene, store, n| {
                store.change_password(scene.people[1], n as u64, "$hash", None).await
            }),
            self.intent("erase_user", async |scene, store, n| {
                let erasure = scene.world.erasure(scene.people[2], n as u64, scene.world.tick());
                store.erase_user(&erasure).await
            }),
        ]
    }

    fn writes_of_unread(self: &Arc<Self>) -> Vec<Intent> {
        vec![
            self.intent("claim_unread_chats", async |scene, store, _| {
                let now = scene.world.tick();
                store.claim_unread_chats(&ClaimUnread { due: now, now, until: now }, 1).await
            }),
            self.intent("finish_unread_chat", async |scene, store, n| {
                let (chat, since, last_seq) = (scene.chat, scene.message.created_at, scene.message.seq);
                let claimed = ClaimedChat { chat, number: n as u64, since, last_seq };
                store.finish_unread_chat(&claimed, scene.world.tick()).await
            }),
            self.intent("record_notified", async |scene, store, n| {
                let at = scene.world.tick();
                let after = Seq::new(n as u64);
                let told = Told { at, since: at, times: 1 };
                let ranges = vec![UnreadRange { chat: scene.chat, after, up_to: after.next() }];
                let user = scene.people[0];
                store.record_notified(&Notified { user, expected: None, told, ranges, jobs: vec![] }).await
            }),
            self.intent("set_notify_level", async |scene, store, _| {
                store.set_notify_level(scene.chat, scene.people[0], NotifyLevel::Mentions).await
            }),
        ]
    }

    fn writes_of_sessions(self: &Arc<Self>) -> Vec<Intent> {
        vec![
            self.intent("create_session", async |scene, store, n| {
                store.create_session(scene.world.session(scene.people[0]), n as u64, 100).await
            }),
            self.intent("touch_session", async |scene, store, _| {
                let now = scene.world.tick();
                store.touch_session(scene.session.id, now, now).await
            }),
            self.intent("end_session", async |scene, store, _| {
                store.end_session(scene.people[0], scene.session.id).await
            }),
            self.intent("remove_expired_sessions", async |scene, store, _| {
                store.remove_expired_sessions(scene.account.created_at, 10).await
            }),
        ]
    }

    fn writes_of_chats(self: &Arc<Self>) -> Vec<Intent> {
        vec![
            self.intent("append_messages", async |scene, store, _| {
                store.append_messages(&[scene.world.text(scene.chat, scene.people[0], "hello")]).await
            }),
            self.intent("move_markers", async |scene, store, n| {
                let (chat, user, seq) = (scene.chat, scene.people[1], Seq::new(n as u64));
                store.move_markers(&[MoveMarker { chat, user, seq, read: true }]).await
            }),
            self.intent("edit_message", async |scene, store, n| {
                store
                    .edit_message(EditMessage {
                        chat: scene.chat,
                        message: scene.message.id,
                        sender: scene.message.sender,
                        expected: scene.message.revision,
                        body: Content::from(&*n.to_string()),
                        edited_at: scene.world.tick(),
                    })
                    .await
            }),
            self.intent("delete_message", async |scene, store, _| {
                store
                    .delete_message(DeleteMessage {
                        chat: scene.chat,
                        message: scene.message.id,
                        expected: scene.message.revision,
                        deleted_at: scene.world.tick(),
                    })
                    .await
            }),
            self.intent("erase_messages", async |scene, store, _| {
                store.erase_messages(scene.chat, scene.people[1], scene.world.tick(), 2).await
            }),
            self.intent("open_direct", async |scene, store, _| {
                store.open_direct(scene.world.new_direct(scene.people[0], scene.people[1])).await
            }),
            self.intent("create_group", async |scene, store, _| {
                store.create_group(scene.world.new_group(scene.people[0], &scene.people[1..2])).await
            }),
            self.intent("set_mute", async |scene, store, _| {
                store.set_mute(scene.chat, scene.people[0], Some(scene.world.tick())).await
            }),
            self.intent("change_roster", async |scene, store, n| {
                store
                    .change_roster(RosterChange {
                        chat: scene.chat,
                        expected: n as u64,
                        add: vec![],
                        remove: vec![],
                        roles: vec![(scene.people[1], Role::Admin)],
                        title: None,
                        messages: vec![scene.world.system(scene.people[0], SystemEvent::TitleChanged)],
                    })
                    .await
            }),
        ]
    }
}
