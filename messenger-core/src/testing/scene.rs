use std::{collections::HashMap, sync::Arc, time::Duration};

use super::{
    HostPolicy, TestStore, Told,
    bus::{RecordingBus, in_doubt, last_word},
};
use crate::{
    Actor, Limits, Messenger, PasswordCost, Settings,
    commands::*,
    context::{Context, CountingRandom, ManualClock},
    convert,
    cx::Cx,
    doc::register,
    domain::{
        Chat, ChatId, ChatUpdate, Event, LinkKeys, Message, MessageChange, Password, PublicUrl, Role,
        SessionId, SystemNote, UserId,
    },
    error::{Error, ErrorCode, Result},
    memory::{MemoryNotifier, MemoryPresence},
    notify::NotifySettings,
    operation::{Command, Query},
    ports::{BusMessage, ChatStore as _, Content, MessageStore as _, Topic},
    queries::{GetChat, GetMessage},
};

/// A person, named by their relation to the [group](Scene::group), in the order in which they joined it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Who {
    /// Has created it.
    Owner,
    /// Has been in it longer than the admins.
    Member,
    Admin,
    OtherAdmin,
    OtherMember,
    /// Was a member, and left.
    Left,
    /// Was a member, and was removed.
    Removed,
    /// Was a member, and erased the account.
    Erased,
    /// Was never a member.
    Stranger,
    /// An id without an account.
    Nobody,
}

/// The state of a text message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Sent,
    Edited,
    Deleted,
}

/// A service in memory, and people in every relation to a group.
pub(crate) struct Scene {
    pub(crate) messenger: Messenger,
    pub(crate) store: Arc<TestStore>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) policy: Arc<HostPolicy>,
    /// A group of the owner, the member, the admins and the other member, in this order of joining.
    pub(crate) group: ChatId,
    /// The direct chat of the owner and the member.
    pub(crate) direct: ChatId,
    pub(crate) bus: Arc<RecordingBus>,
    people: HashMap<Who, Actor>,
}

/// How a scene differs from the default.
#[derive(Default)]
pub(crate) struct Setup {
    pub(crate) limits: Limits,
    /// Whether the host has a [policy](HostPolicy).
    pub(crate) policy: bool,
    pub(crate) settings: Settings,
    /// Whether no other process may write to the store.
    pub(crate) is_alone: bool,
    /// Whether people are told outside of the chat.
    pub(crate) notifies: bool,
}

/// An announced change of members, roles or title.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Update {
    pub(crate) to: Vec<Topic>,
    /// The person who made the change.
    pub(crate) by: UserId,
    pub(crate) note: SystemNote,
}

/// What links are signed with where people are told outside of the chat.
pub(crate) const LINK_KEY: [u8; 32] = [7; 32];

pub(crate) fn link_keys() -> LinkKeys {
    LinkKeys::new(&LINK_KEY).unwrap()
}

fn notify_settings() -> NotifySettings {
    NotifySettings::new(link_keys(), PublicUrl::parse("https://chat.example.org").unwrap())
}

impl Scene {
    pub(crate) async fn new() -> Self {
        Self::with(Setup::default()).await
    }

    pub(crate) async fn with(setup: Setup) -> Self {
        let Setup { limits, policy: has_policy, mut settings, is_alone, notifies } = setup;
        // As cheap as possible: the cost of a hash does not matter here.
        settings.password_cost = PasswordCost { memory_kib: 8, passes: 1, ..settings.password_cost };
        let (clock, store) = (Arc::new(ManualClock::default()), Arc::new(TestStore::of(is_alone)));
        let (bus, policy) = (Arc::new(RecordingBus::default()), Arc::new(HostPolicy::default()));
        let context = Context::new(Arc::clone(&clock) as _, Arc::new(CountingRandom::default()));
        let nobody = Actor::on_behalf_of(context.id());
        let presence = Arc::new(MemoryPresence::new(Arc::clone(&clock) as _));
        let builder = Messenger::builder(Arc::clone(&store) as _).presence(presence).context(context);
        let builder = builder.bus(Arc::clone(&bus) as _).limits(limits).settings(settings);
        let builder = if has_policy { builder.policy(Arc::clone(&policy) as _) } else { builder };
        let builder = if notifies {
            builder.notifier(Arc::new(MemoryNotifier::new()), notify_settings())
        } else {
            builder
        };
        let messenger = builder.build().unwrap();

        let mut people = HashMap::from([(Who::Nobody, nobody)]);
        for (who, name) in NAMES {
            people.insert(who, register(&messenger, name).await);
        }
        let (owner, member) = (people[&Who::Owner], people[&Who::Member].user().unwrap());
        let group = CreateGroupChat { title: "Tea".into(), member_ids: vec![member], client_id: None };
        let group = messenger.execute(&owner, group).await.unwrap().value.id;
        let direct = messenger.execute(&owner, OpenDirectChat { user_id: member }).await.unwrap().value.id;
        let scene = Self { messenger, store, clock, policy, group, direct, bus, people };
        scene.gather().await;
        scene.told().await;
        scene
    }

    /// Puts everybody into their relation to the group.
    async fn gather(&self) {
        use Who::*;
        for who in [Admin, OtherAdmin, OtherMember] {
            self.comes(who).await;
        }
        let chat_id = self.group;
        for who in [Admin, OtherAdmin] {
            self.must(Owner, SetRole { chat_id, user_id: self.id(who), role: Role::Admin }).await;
        }
        self.comes(Left).await;
        self.must(Left, LeaveChat { chat_id }).await;
        self.comes(Removed).await;
        self.must(Owner, RemoveMember { chat_id, user_id: self.id(Removed) }).await;
        self.comes(Erased).await;
        self.must(Erased, EraseMe { password: Password::new("correct horse") }).await;
    }

    async fn comes(&self, who: Who) {
        let add = AddMembers { chat_id: self.group, user_ids: self.ids([who]) };
        self.must(Who::Owner, add).await;
    }

    /// The person as an actor.
    pub(crate) fn actor(&self, who: Who) -> Actor {
        self.people[&who]
    }

    pub(crate) fn id(&self, who: Who) -> UserId {
        self.people[&who].user().unwrap()
    }

    pub(crate) fn ids<const N: usize>(&self, who: [Who; N]) -> Vec<UserId> {
        who.iter().map(|who| self.id(*who)).collect()
    }

    /// The session of the person's requests.
    pub(crate) fn session(&self, who: Who) -> SessionId {
        self.people[&who].session().unwrap()
    }

    pub(crate) async fn execute<C: Command>(&self, who: Who, command: C) -> Result<C::Output> {
        self.messenger.execute(&self.actor(who), command).await
    }

    /// Executes a command that must succeed.
    pub(crate) async fn must<C: Command>(&self, who: Who, command: C) -> C::Output {
        let done = self.execute(who, command).await;
        done.unwrap_or_else(|error| panic!("{} of {who:?}: {error:?}", C::NAME))
    }

    pub(crate) async fn query<Q: Query>(&self, who: Who, query: Q) -> Result<Q::Output> {
        self.messenger.query(&self.actor(who), query).await
    }

    /// Runs a query that must succeed.
    pub(crate) async fn ask<Q: Query>(&self, who: Who, query: Q) -> Q::Output {
        let answer = self.query(who, query).await;
        answer.unwrap_or_else(|error| panic!("{} of {who:?}: {error:?}", Q::NAME))
    }

    /// Sends a text to the group.
    pub(crate) async fn says(&self, who: Who, body: &str) -> Message {
        self.says_in(self.group, who, body).await
    }

    pub(crate) async fn says_in(&self, chat_id: ChatId, who: Who, body: &str) -> Message {
        let send = SendMessage { chat_id, body: body.into(), client_id: None, reply_to: None };
        self.must(who, send).await.value
    }

    /// Sends a text of a person to the group, and brings it into this state.
    pub(crate) async fn text(&self, author: Who, state: State) -> Message {
        let sent = self.says(author, "hello").await;
        let (chat_id, message_id) = (sent.chat_id, sent.id);
        match state {
            State::Sent => sent,
            State::Edited => self.must(author, EditMessage { chat_id, message_id, body: "hi".into() }).await,
            State::Deleted => self.must(author, DeleteMessage { chat_id, message_id }).await,
        }
    }

    /// The last system message of the group, whose sender is the owner.
    pub(crate) async fn system_message(&self) -> Message {
        let title = format!("Tea at {}", self.chat(Who::Owner, self.group).await.revision);
        let renamed = self.must(Who::Owner, UpdateChat { chat_id: self.group, title }).await;
        renamed.last_message.unwrap()
    }

    /// Creates another group with this person as owner and the others as members.
    pub(crate) async fn makes_group<const N: usize>(&self, who: Who, others: [Who; N]) -> ChatId {
        let group = CreateGroupChat { title: "Other".into(), member_ids: self.ids(others), client_id: None };
        self.must(who, group).await.value.id
    }

    /// The chat in its current state.
    pub(crate) async fn chat(&self, who: Who, chat_id: ChatId) -> Chat {
        self.ask(who, GetChat { chat_id }).await
    }

    /// The message in its current state.
    pub(crate) async fn message(&self, who: Who, message: &Message) -> Message {
        self.ask(who, GetMessage { chat_id: message.chat_id, message_id: message.id }).await
    }

    /// The role of a person in the group; `None` if they are not a member.
    pub(crate) async fn role(&self, who: Who) -> Option<Role> {
        self.query(who, GetChat { chat_id: self.group }).await.ok().map(|chat| chat.me.role)
    }

    /// Takes what the others were told since the last call, without requests to compare.
    pub(crate) async fn told(&self) -> Vec<Told> {
        self.heard().await.into_iter().filter_map(Told::of).collect()
    }

    /// Takes the requests to compare since the last call, which are made because a change may not have been announced.
    pub(crate) async fn in_doubt(&self) -> Vec<Vec<Topic>> {
        self.heard().await.into_iter().filter_map(in_doubt).collect()
    }

    async fn heard(&self) -> Vec<BusMessage> {
        let mark = self.messenger.service().context.id();
        self.messenger.execute(&Actor::anonymous(), LastWord(mark)).await.unwrap();
        let told = tokio::time::timeout(Duration::from_secs(20), self.bus.take_until(&last_word(mark))).await;
        told.expect("the last word comes")
    }

    /// Takes the announced changes of the group since the last call; nothing else may have been announced.
    ///
    /// Each reports the current state of the group, under the message's own revision, with the message as it is stored.
    pub(crate) async fn updates(&self) -> Vec<Update> {
        let mut updates = Vec::new();
        let chat = self.store.roster(self.group).await.unwrap().chat;
        for told in self.told().await {
            let Some(Event::ChatUpdated(update)) = told.event() else { panic!("no update: {told:?}") };
            let ChatUpdate { chat_id, revision, title, member_count, message } = update.clone();
            let stored = self.store.message(chat_id, message.id).await.unwrap();
            assert_eq!(convert::message(stored), message);
            let title = title.map(|title| Content::from(title.as_str()));
            assert_eq!((chat_id, title, member_count), (chat.id, chat.title.clone(), chat.member_count));
            assert_eq!(revision, message.revision);
            let (by, note) = (message.sender_id, message.system.unwrap());
            updates.push(Update { to: told.to().to_vec(), by, note });
        }
        updates
    }

    /// An announced change to those in the group.
    pub(crate) fn update(&self, by: Who, note: SystemNote) -> Update {
        Update { to: vec![Topic::Chat(self.group)], by: self.id(by), note }
    }
}

const NAMES: [(Who, &str); 9] = [
    (Who::Owner, "owner"),
    (Who::Member, "member"),
    (Who::Admin, "admin"),
    (Who::OtherAdmin, "other-admin"),
    (Who::OtherMember, "other-member"),
    (Who::Left, "left"),
    (Who::Removed, "removed"),
    (Who::Erased, "erased"),
    (Who::Stranger, "stranger"),
];

/// The change that an event about this message reports.
pub(crate) fn change(message: &Message) -> MessageChange {
    MessageChange { chat_id: message.chat_id, revision: message.revision, message: message.clone() }
}

/// A command that announces a message without meaning, after all earlier announcements.
struct LastWord(UserId);

impl Command for LastWord {
    type Output = ();
    const NAME: &'static str = "LastWord";
    const ERRORS: &'static [ErrorCode] = &[];

    async fn run(self, cx: &mut Cx) -> Result<()> {
        cx.publish(None, last_word(self.0));
        Ok(())
    }
}

/// The error code of the result; `ok` for no error.
pub(crate) fn code<T>(answer: &Result<T>) -> &'static str {
    answer.as_ref().err().map_or("ok", Error::code)
}

/// The pointers of the invalid fields; none for any other error.
pub(crate) fn pointers<T>(answer: &Result<T>) -> Vec<&str> {
    match answer {
        Err(Error::Invalid(fields)) => fields.iter().map(|field| &*field.pointer).collect(),
        _ => Vec::new(),
    }
}
