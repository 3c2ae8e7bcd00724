use std::{fmt, sync::Arc, time::Duration};

use super::FreshStore;
use crate::{
    context::{Context, CountingRandom, ManualClock},
    domain::{
        ChatId, ClientId, DisplayName, Id, MessageKind, Revision, Seq, SessionId, SystemEvent, SystemNote,
        Timestamp, Token, UserId, Username,
    },
    encryption::SealedStore,
    ports::{
        Appended, ChatView, Content, DeleteMessage, DirectChat, EditMessage, EraseUser, Fingerprint,
        JobPriority, MessageRecord, NewGroup, NewJob, NewMessage, NewSession, NewSystemMessage, NewUser,
        RosterChange, RosterChanged, Store, StoreErrorKind, StoreResult, StoredAddress, StoredName,
        UserRecord,
    },
};

/// A store with its own time and ids, and shorthands to fill it.
///
/// ```
/// use std::sync::Arc;
/// use messenger_core::{memory::MemoryStore, testkit::{World, run}};
///
/// run(async {
///     let world = World::new(Arc::new(MemoryStore::new()));
///     let [ada, bob] = world.people(["ada", "bob"]).await;
///     let chat = world.direct(ada, bob).await;
///     world.send(chat, ada, "hello").await;
///     assert_eq!(world.unread(chat, bob).await, 1);
/// });
/// ```
///
/// A clone shares the store, clock and ids.
#[derive(Clone)]
pub struct World {
    /// The store.
    pub store: Arc<dyn Store>,
    /// Time, ids and randomness.
    pub context: Context,
    clock: Arc<ManualClock>,
    sealed: Option<Arc<SealedStore>>,
}

impl World {
    /// Wraps a store that nobody has used yet.
    pub fn new(store: Arc<dyn Store>) -> Self {
        let clock = Arc::new(ManualClock::default());
        let context = Context::new(Arc::clone(&clock) as _, Arc::new(CountingRandom::default()));
        Self { store, context, clock, sealed: None }
    }

    pub(super) fn of(fresh: &impl FreshStore) -> Self {
        Self { sealed: fresh.sealed(), ..Self::new(fresh.store()) }
    }

    /// The same world over the store that a wrapper seals for, if there is one: what is about stored contents sees them there.
    pub(super) fn beneath(&self) -> Self {
        match &self.sealed {
            Some(sealed) => self.over(sealed.wrapped()),
            None => self.clone(),
        }
    }

    /// The same world over another way to its store.
    pub(super) fn over(&self, store: Arc<dyn Store>) -> Self {
        Self { store, sealed: None, ..self.clone() }
    }

    /// The text as it is stored with this seq and revision.
    pub(super) fn stored_text(&self, new: &NewMessage, seq: u64, revision: u64) -> MessageRecord {
        let mut record = expected_text(new, seq, revision);
        if let (Some(sealed), Some(fingerprint)) = (&self.sealed, &mut record.fingerprint) {
            *fingerprint = sealed.fingerprint(*fingerprint);
        }
        record
    }

    /// The address as it is stored.
    pub(super) fn stored_address(&self, address: &StoredAddress) -> StoredAddress {
        let key = match &self.sealed {
            Some(sealed) => sealed.address_key(&address.key),
            None => address.key.clone(),
        };
        StoredAddress { key, ..address.clone() }
    }

    /// What the message weighs as it is stored.
    pub(super) fn stored_weight(&self, message: &MessageRecord) -> usize {
        match (&self.sealed, &message.body) {
            (Some(_), Some(body)) => SealedStore::weight_of(body.0.len()),
            _ => message.weight(),
        }
    }

    /// Returns a time later than all before: no two events of a world happen at the same time, unless a case says so.
    pub fn tick(&self) -> Timestamp {
        // Not a whole number of milliseconds, so that a store without microsecond precision is detected.
        self.clock.advance(Duration::from_micros(1_000_001));
        self.context.now()
    }

    /// Lets time pass.
    pub fn advance(&self, time: Duration) {
        self.clock.advance(time);
    }

    /// Makes a new id.
    pub fn id<K>(&self) -> Id<K> {
        self.context.id()
    }

    /// A job of this kind that is due at once.
    pub(super) fn job(&self, kind: &str) -> NewJob {
        let created_at = self.tick();
        NewJob {
            id: self.id(),
            kind: kind.parse().unwrap(),
            payload: Content::from("{}"),
            priority: JobPriority::Normal,
            run_at: created_at,
            max_attempts: 3,
            unique: None,
            after: None,
            created_at,
        }
    }

    /// An account with this username, not yet stored, and its first session.
    pub fn account(&self, username: &str) -> (NewUser, NewSession) {
        let created_at = self.tick();
        let id = self.id();
        let email = format!("{username}@example.org");
        let user = NewUser {
            id,
            username: Username::trusted(username),
            display_name: StoredName::from(&DisplayName::trusted(format!("Dr. {username}"))),
            email: StoredAddress { content: Content::from(&*email), key: email.into_bytes() },
            password_hash: format!("$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$of-{username}"),
            created_at,
        };
        (user, self.session(id))
    }

    /// A session, not yet stored.
    pub fn session(&self, user: UserId) -> NewSession {
        let created_at = self.tick();
        NewSession {
            id: self.id(),
            user_id: user,
            token_hash: Token::from_random(&self.context.random()).hash(),
            device: Some(Content::from("phone")),
            created_at,
            expires_at: created_at.after(Duration::from_secs(30 * 24 * 3600)),
        }
    }

    /// Registers a person.
    pub async fn user(&self, username: &str) -> UserId {
        let (user, session) = self.account(username);
        let id = user.id;
        self.store.create_user(user, session).await.expect("the account is stored");
        id
    }

    /// Registers several people.
    pub async fn people<const N: usize>(&self, usernames: [&str; N]) -> [UserId; N] {
        let mut people = Vec::with_capacity(N);
        for username in usernames {
            people.push(self.user(username).await);
        }
        people.try_into().unwrap()
    }

    /// The account as it is stored.
    pub async fn record(&self, user: UserId) -> UserRecord {
        self.store.user(user).await.expect("the account is there")
    }

    /// Erases the account, which must exist.
    pub async fn erase(&self, user: UserId) -> Timestamp {
        let (version, at) = (self.record(user).await.version, self.tick());
        self.store.erase_user(&self.erasure(user, version, at)).await.expect("it is erased");
        at
    }

    /// An erasure of the account, without jobs.
    pub fn erasure(&self, user: UserId, expected: u64, at: Timestamp) -> EraseUser {
        let (username, display_name) = erased_names(user);
        EraseUser { id: user, expected, username, display_name, at, jobs: vec![] }
    }

    /// Logs the person in, as `create_session` does it who knows the account as it is.
    pub async fn log_in(&self, session: NewSession, max: usize) -> StoreResult<Vec<SessionId>> {
        let version = self.store.user(session.user_id).await.map_or(1, |user| user.version);
        self.store.create_session(session, version, max).await
    }

    /// A direct chat, not yet opened.
    pub fn new_direct(&self, a: UserId, b: UserId) -> DirectChat {
        DirectChat { created_at: self.tick(), id: self.id(), users: [a, b] }
    }

    /// Opens the direct chat of the two people.
    pub async fn direct(&self, a: UserId, b: UserId) -> ChatId {
        self.store.open_direct(self.new_direct(a, b)).await.expect("the chat is opened").chat
    }

    /// A group, not yet created, without a client id.
    pub fn new_group(&self, creator: UserId, members: &[UserId]) -> NewGroup {
        let message = self.system(creator, SystemEvent::Created);
        NewGroup {
            created_at: message.at,
            id: self.id(),
            creator,
            members: members.to_vec(),
            title: Content::from("Friends"),
            client_id: None,
            message,
        }
    }

    /// Creates a group of these people; the first one is the creator.
    pub async fn group<const N: usize>(&self, people: [UserId; N]) -> ChatId {
        let group = self.new_group(people[0], &people[1..]);
        self.store.create_group(group).await.expect("the group is made").chat
    }

    /// A system message, not yet written.
    pub fn system(&self, sender: UserId, event: SystemEvent) -> NewSystemMessage {
        let note = SystemNote { event, user_ids: vec![sender], title: None, role: None, retention: None };
        let note = Content(serde_json::to_vec(&note).unwrap());
        NewSystemMessage { at: self.tick(), id: self.id(), sender, note }
    }

    /// A change by this person on the latest version, which changes nothing yet but has its system message.
    pub async fn change_by(&self, chat: ChatId, actor: UserId) -> RosterChange {
        RosterChange {
            chat,
            expected: self.store.roster(chat).await.expect("the chat is there").chat.roster_version,
            add: vec![],
            remove: vec![],
            roles: vec![],
            title: None,
            messages: vec![self.system(actor, SystemEvent::TitleChanged)],
        }
    }

    /// Adds people.
    pub async fn add(&self, chat: ChatId, actor: UserId, add: &[UserId]) -> RosterChanged {
        let change = RosterChange { add: add.to_vec(), ..self.change_by(chat, actor).await };
        self.store.change_roster(change).await.expect("they are added")
    }

    /// Removes people.
    pub async fn remove(&self, chat: ChatId, actor: UserId, remove: &[UserId]) -> RosterChanged {
        let change = RosterChange { remove: remove.to_vec(), ..self.change_by(chat, actor).await };
        self.store.change_roster(change).await.expect("they are removed")
    }

    /// A text, not yet appended, without a client id.
    pub fn text(&self, chat: ChatId, sender: UserId, body: &str) -> NewMessage {
        let created_at = self.tick();
        let body = Content::from(body);
        NewMessage { id: self.id(), chat, sender, body, client_id: None, reply_to: None, created_at }
    }

    /// A text, not yet appended, with a client id.
    pub fn named(&self, chat: ChatId, sender: UserId, body: &str, client_id: &str) -> NewMessage {
        NewMessage { client_id: Some(name(client_id, body)), ..self.text(chat, sender, body) }
    }

    /// Appends one message.
    pub async fn append(&self, message: &NewMessage) -> StoreResult<Appended> {
        let batch = std::slice::from_ref(message);
        let mut answers = self.store.append_messages(batch).await.expect("the batch is looked at");
        assert_eq!(answers.len(), 1, "one message has one answer");
        answers.remove(0)
    }

    /// Sends a new text.
    pub async fn send(&self, chat: ChatId, sender: UserId, body: &str) -> MessageRecord {
        match self.append(&self.text(chat, sender, body)).await {
            Ok(Appended::New(message)) => message,
            other => panic!("the message is new, not {other:?}"),
        }
    }

    /// Changes the text of a message whose current state is given.
    pub async fn edit(&self, message: &MessageRecord, body: &str) -> MessageRecord {
        let edit = EditMessage {
            chat: message.chat,
            message: message.id,
            sender: message.sender,
            expected: message.revision,
            body: Content::from(body),
            edited_at: self.tick(),
        };
        self.store.edit_message(edit).await.expect("the message is edited")
    }

    /// Deletes a message whose current state is given.
    pub async fn delete(&self, message: &MessageRecord) -> MessageRecord {
        let (chat, expected, deleted_at) = (message.chat, message.revision, self.tick());
        let delete = DeleteMessage { chat, message: message.id, expected, deleted_at };
        self.store.delete_message(delete).await.expect("the message is deleted")
    }

    /// The chat as this member sees it.
    pub async fn view(&self, chat: ChatId, user: UserId) -> ChatView {
        let mut views = self.store.chat_views(user, &[chat], usize::MAX).await.expect("the chat is read");
        assert_eq!(views.len(), 1, "the person is a member");
        views.remove(0)
    }

    /// Text messages after the member's read mark.
    pub async fn unread(&self, chat: ChatId, user: UserId) -> u64 {
        let view = self.view(chat, user).await;
        view.chat.texts - view.me.read_texts
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("now", &self.context.now()).finish_non_exhaustive()
    }
}

/// A client id, and the fingerprint of a request with `body`.
pub(super) fn name(client_id: &str, body: &str) -> (ClientId, Fingerprint) {
    let mut fingerprint = [0x5a; 16];
    for (to, from) in fingerprint.iter_mut().zip(body.bytes()) {
        *to ^= from;
    }
    (ClientId::trusted(client_id), Fingerprint(fingerprint))
}

/// This many characters of Base64, as a wrapper that seals a text may write.
pub(super) fn sealed_text(length: usize) -> Content {
    let alphabet = "+/09AZaz".chars().cycle();
    Content::from(alphabet.take(length - 2).chain("==".chars()).collect::<String>())
}

/// The names that [`World::erase`] gives.
pub(super) fn erased_names(user: UserId) -> (Username, Content) {
    (Username::trusted(format!("erased~{user}")), Content::from("Erased"))
}

/// The text as it is stored with this seq and revision.
pub fn expected_text(new: &NewMessage, seq: u64, revision: u64) -> MessageRecord {
    MessageRecord {
        id: new.id,
        chat: new.chat,
        seq: Seq::new(seq),
        created_revision: Revision::new(revision),
        revision: Revision::new(revision),
        kind: MessageKind::Text,
        sender: new.sender,
        body: Some(new.body.clone()),
        client_id: new.client_id.as_ref().map(|(id, _)| id.clone()),
        fingerprint: new.client_id.as_ref().map(|(_, fingerprint)| *fingerprint),
        reply_to: new.reply_to,
        created_at: new.created_at,
        edited_at: None,
        deleted_at: None,
    }
}

/// The system message as it is stored with this seq and revision.
pub fn expected_system(chat: ChatId, new: &NewSystemMessage, seq: u64, revision: u64) -> MessageRecord {
    MessageRecord {
        id: new.id,
        chat,
        seq: Seq::new(seq),
        created_revision: Revision::new(revision),
        revision: Revision::new(revision),
        kind: MessageKind::System,
        sender: new.sender,
        body: Some(new.note.clone()),
        client_id: None,
        fingerprint: None,
        reply_to: None,
        created_at: new.at,
        edited_at: None,
        deleted_at: None,
    }
}

/// The error kind of an intent that must fail.
pub fn error_kind<T: fmt::Debug>(answer: StoreResult<T>) -> StoreErrorKind {
    answer.expect_err("the intent is not carried out").kind()
}
