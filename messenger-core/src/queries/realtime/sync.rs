use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use crate::{
    convert,
    cx::Cx,
    domain::{Chat, ChatId, Cursor, Message, Position, Revision, Since, UserId},
    error::{ErrorCode, Result},
    operation::Query,
    ports::{Anchor, Budget, Changes, ChatHead, ChatView, MemberChat, MessageRecord, StoreErrorKind},
    queries::{page_size, place},
};

/// Returns what has changed since the client was last up to date: for clients without a socket. Corresponds to the
/// resume of a socket client.
///
/// Chats that have not changed are left out. A chat that the client did not name comes with its newest page.
///
/// A client in very many chats need not name them all: with a `position`, unnamed chats that have not changed since are
/// left out, and unnamed chats that have changed come with their newest page, which replaces what the client has of
/// them.
///
/// An answer is bounded in chats and in bytes; if there is more, it has a `nextCursor`, with which the client asks
/// again. Chats are ordered by id, and an answer is complete for all chats up to its end, including chats to be
/// removed. A client that does not use cursors, and asks again with its updated revisions, gets the rest, too.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use messenger_core::{Since, queries::SyncChats};
///
/// # let messenger = messenger_core::Messenger::in_memory();
/// # let ada = messenger_core::doc::register(&messenger, "ada").await;
/// # let bob = messenger_core::doc::register(&messenger, "bob").await;
/// # let chat_id = messenger_core::doc::direct(&messenger, &ada, &bob).await;
/// # messenger_core::doc::say(&messenger, &ada, chat_id, "hi").await;
/// let first = messenger.query(&bob, SyncChats { position: Since::Nowhere, ..SyncChats::default() }).await?;
/// assert_eq!(first.chats[0].messages.len(), 1);
///
/// // Later, with what was told the last time.
/// let chats = [(chat_id, first.chats[0].chat.revision)].into();
/// let since = SyncChats { chats, position: first.position.map_or(Since::Nowhere, Since::At), ..SyncChats::default() };
/// assert!(messenger.query(&bob, since.clone()).await?.chats.is_empty());
///
/// # messenger_core::doc::say(&messenger, &ada, chat_id, "still there?").await;
/// let news = messenger.query(&bob, since).await?;
/// assert_eq!(news.chats[0].messages[0].body.as_ref().unwrap().as_str(), "still there?");
/// # Ok::<(), messenger_core::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SyncChats {
    /// The client's state: the last revision that it has of each chat. With a cursor, chats of earlier pages are
    /// ignored.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = std::collections::HashMap<String, u64>))]
    pub chats: BTreeMap<ChatId, Revision>,
    /// The `position` of an earlier answer or `caughtUp`: the client has everything up to there. `null` if it has none
    /// yet and wants one. The same for all pages.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub position: Since,
    /// Maximum number of messages of one chat.
    pub limit: Option<u32>,
    /// The `nextCursor` of the previous answer.
    pub cursor: Option<Cursor>,
}

/// What has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Synced {
    /// Chats with changes.
    pub chats: Vec<ChatSync>,
    /// Chats that the client named and that the person is no longer in.
    pub removed: Vec<ChatId>,
    /// Whether the `position` is unknown here, such as that of another database, and was ignored: the client must
    /// discard chats that are neither named nor in an answer.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unknown_position: bool,
    /// The client's position after all pages, to be sent with the next sync; on the last page, if the request had a
    /// `position`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
    /// Requests the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<Cursor>,
}

/// The changes of a chat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ChatSync {
    /// The chat.
    pub chat: Chat,
    /// The changed messages, by revision; if `limited`, the newest page of the history, by seq.
    pub messages: Vec<Message>,
    /// Whether there are too many changes to send: the client must discard what it has of this chat. For a chat that
    /// the client did not name, whether there is more history than this page.
    pub limited: bool,
}

/// How many chats and changes are read in one step.
const CHATS_AT_ONCE: usize = 50;
const CHANGES_AT_ONCE: usize = 1000;

impl Query for SyncChats {
    type Output = Synced;
    const NAME: &'static str = "Sync";
    const ERRORS: &'static [ErrorCode] = &[ErrorCode::Invalid];

    async fn run(self, cx: &Cx) -> Result<Synced> {
        let user = cx.actor().user()?;
        let limit = page_size(self.limit, cx.limits())?;
        let (after, begun): (Option<ChatId>, _) =
            place::<(ChatId, Option<Position>)>(self.cursor.as_ref())?.unzip();
        let follows = |chat: ChatId| after.is_none_or(|after| chat > after);
        let asked = self.position.position().and_then(Position::checkpoint);
        let memberships = cx.store().memberships(user, asked.map(|since| since.commit)).await?;
        let mut named = self.chats;
        let since = asked.filter(|since| memberships.knows(since, |chat| named.get(chat).copied()));
        let unknown_position = self.position.position().is_some() && since.is_none();
        // A change made between two pages may concern a chat before the cursor, and is then left to the next sync.
        let position = begun.unwrap_or_else(|| memberships.position());
        if since.is_some() {
            for left in memberships.left {
                named.entry(left).or_default();
            }
        }
        named.retain(|chat, _| follows(*chat));
        let mut chats = memberships.chats;
        chats.retain(|chat| follows(chat.head.chat));
        chats.sort_unstable_by_key(|chat| chat.head.chat);
        let mut wanted: Vec<Wanted> = Vec::new();
        for MemberChat { head, commit } in chats {
            let has = named.remove(&head.chat);
            let is_unchanged = has.is_none() && since.is_some_and(|since| commit <= since.commit);
            if has != Some(head.revision) && !is_unchanged {
                wanted.push(Wanted::of(head, has, limit));
            }
        }
        let mut reading = Reading::new(cx, user, limit);
        let told = reading.read_all(&wanted).await?;
        let mut removed: Vec<ChatId> = named.into_keys().collect();
        let end = wanted[..told].last().filter(|_| told < wanted.len()).map(|last| last.chat);
        removed.retain(|chat| end.is_none_or(|end| *chat <= end));
        let (next_cursor, position) = match end {
            Some(end) => (Some(Cursor::of(&(end, position))), None),
            None => (None, position.filter(|_| self.position != Since::Unsaid)),
        };
        Ok(Synced { chats: reading.chats, removed, unknown_position, position, next_cursor })
    }
}

/// A chat that has changed.
struct Wanted {
    chat: ChatId,
    /// The client's revision of it, if its state can be extended.
    since: Option<Revision>,
    is_new: bool,
    /// How many changes will be read.
    changes: usize,
}

impl Wanted {
    fn of(head: ChatHead, since: Option<Revision>, limit: usize) -> Self {
        // A revision from the future is from another database: nothing the client has can be trusted.
        let usable = since.filter(|since| *since <= head.revision);
        let missed = usable.map_or(0, |since| head.revision.get() - since.get());
        let changes = usize::try_from(missed).map_or(limit, |missed| missed.min(limit));
        Self { chat: head.chat, since: usable, is_new: since.is_none(), changes }
    }
}

/// How many of the chats are read in the next step, so that memory use is bounded.
fn step(wanted: &[Wanted]) -> usize {
    let mut changes = 0;
    let fits = |wanted: &&Wanted| {
        changes += wanted.changes;
        changes <= CHANGES_AT_ONCE
    };
    wanted.iter().take(CHATS_AT_ONCE).take_while(fits).count().max(1)
}

fn weight(messages: &[MessageRecord]) -> usize {
    messages.iter().map(MessageRecord::weight).sum()
}

/// An answer under construction.
struct Reading<'c> {
    cx: &'c Cx,
    user: UserId,
    /// The budget of one chat: the same as that of the whole answer.
    of_one: Budget,
    /// The space left, in bytes.
    left: usize,
    chats: Vec<ChatSync>,
}

impl<'c> Reading<'c> {
    fn new(cx: &'c Cx, user: UserId, limit: usize) -> Self {
        let of_one = Budget { messages: limit, bytes: cx.limits().page.bytes() };
        Self { cx, user, of_one, left: of_one.bytes, chats: Vec::new() }
    }

    /// Returns how many of the chats were added to the answer; at least one.
    async fn read_all(&mut self, wanted: &[Wanted]) -> Result<usize> {
        let mut told = 0;
        while told < wanted.len() {
            let room = self.cx.limits().page.max.max(1).saturating_sub(self.chats.len());
            let rest = &wanted[told..];
            if room == 0 {
                break;
            }
            let read = self.read(&rest[..step(rest).min(room)]).await?;
            if read == 0 {
                break;
            }
            told += read;
        }
        Ok(told)
    }

    /// Returns how many of the chats were added to the answer: there is no room for the next one.
    async fn read(&mut self, wanted: &[Wanted]) -> Result<usize> {
        let mut changes = self.changes(wanted).await?;
        let ids: Vec<ChatId> = wanted.iter().map(|wanted| wanted.chat).collect();
        let views = self.cx.store().chat_views(self.user, &ids, convert::PREVIEW).await?;
        let mut views: HashMap<ChatId, ChatView> =
            views.into_iter().map(|view| (view.chat.id, view)).collect();
        for (place, wanted) in wanted.iter().enumerate() {
            // The person was removed in the meantime: the client learns of it with its next sync.
            let Some(mut view) = views.remove(&wanted.chat) else { continue };
            let (messages, limited) = match changes.remove(&wanted.chat) {
                Some(found) if !found.truncated => {
                    // Not later than the messages, or the client would skip the changes in between.
                    view.chat.revision = found.chat.revision;
                    (found.messages, false)
                }
                // Too heavy rather than too many: the changes may fit at the beginning of an answer.
                Some(found)
                    if found.messages.len() < self.of_one.messages && (place > 0 || self.has_messages()) =>
                {
                    return Ok(place);
                }
                _ => match self.newest(wanted).await? {
                    Some(newest) => newest,
                    None => continue,
                },
            };
            let weight = weight(&messages);
            if weight > self.left && self.has_messages() {
                return Ok(place);
            }
            self.left = self.left.saturating_sub(weight);
            let (chat, messages) = (convert::chat(view), convert::messages(messages));
            self.chats.push(ChatSync { chat, messages, limited });
        }
        Ok(wanted.len())
    }

    const fn has_messages(&self) -> bool {
        self.left < self.of_one.bytes
    }

    /// Reads the changes of those of the chats whose changes can be sent.
    async fn changes(&self, wanted: &[Wanted]) -> Result<HashMap<ChatId, Changes>> {
        let since: Vec<(ChatId, Revision)> =
            wanted.iter().filter_map(|wanted| Some((wanted.chat, wanted.since?))).collect();
        if since.is_empty() {
            return Ok(HashMap::new());
        }
        let budget = Budget { bytes: self.left, ..self.of_one };
        let changes = self.cx.store().changes(&since, budget).await?;
        Ok(changes.into_iter().map(|found| (found.chat.id, found)).collect())
    }

    /// Reads the newest page of a chat, and whether there are more messages. `None` if the person is no longer in it.
    async fn newest(&self, wanted: &Wanted) -> Result<Option<(Vec<MessageRecord>, bool)>> {
        let page = self.cx.store().history(wanted.chat, self.user, Anchor::Newest, self.of_one).await;
        let page = match page {
            Err(error) if error.kind() == StoreErrorKind::NotMember => return Ok(None),
            page => page?,
        };
        let is_whole = page.messages.first().is_none_or(|first| first.seq.get() == 1);
        Ok(Some((page.messages, !(wanted.is_new && is_whole))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        commands::{DeleteMessage, EditMessage, LeaveChat, RemoveMember, SendMessage},
        domain::{Limits, PageLimits},
        testing::{Scene, Setup, Who::*, code},
    };

    /// Asks for at most 200 messages of each chat.
    fn since<const N: usize>(chats: [(ChatId, Revision); N]) -> SyncChats {
        SyncChats { chats: chats.into(), limit: Some(200), ..SyncChats::default() }
    }

    async fn revision(scene: &Scene, chat: ChatId) -> Revision {
        scene.chat(Member, chat).await.revision
    }

    /// What has changed for the member, who has the current revisions of all chats of the scene except the named ones.
    async fn synced(scene: &Scene, named: &[(ChatId, Revision)], limit: u32) -> Vec<ChatSync> {
        let mut chats = BTreeMap::new();
        for chat in [scene.group, scene.direct] {
            chats.insert(chat, revision(scene, chat).await);
        }
        chats.extend(named.iter().copied());
        scene.ask(Member, SyncChats { chats, limit: Some(limit), ..SyncChats::default() }).await.chats
    }

    /// Makes a chat of the member with a text of this weight.
    async fn weighing(scene: &Scene, weight: usize) -> ChatId {
        let chat = scene.makes_group(Member, []).await;
        scene.says_in(chat, Member, &"x".repeat(weight - MessageRecord::BASE_WEIGHT)).await;
        chat
    }

    /// An answer has room for 10,000 bytes and four chats.
    async fn with_little_room() -> Scene {
        let page = PageLimits { bytes: 10_000, max: 4, default: 4 };
        let limits = Limits { page, body: 1..=100_000, ..Limits::default() };
        Scene::with(Setup { limits, ..Setup::default() }).await
    }

    /// Reads all answers by following the cursors, either with the revisions extended by the answers so far, or
    /// unchanged.
    async fn all_pages(scene: &Scene, mut sync: SyncChats, adds: bool) -> Vec<Synced> {
        let mut pages = Vec::new();
        loop {
            let page = scene.ask(Member, sync.clone()).await;
            if adds {
                sync.chats.extend(page.chats.iter().map(|synced| (synced.chat.id, synced.chat.revision)));
                sync.chats.retain(|chat, _| !page.removed.contains(chat));
            }
            sync.cursor = page.next_cursor.clone();
            pages.push(page);
            if sync.cursor.is_none() {
                return pages;
            }
        }
    }

    /// The current revisions of the chats of the scene, which are then left out, and revision 1 of the given chats.
    async fn known(scene: &Scene, chats: &[ChatId]) -> BTreeMap<ChatId, Revision> {
        let mut known = BTreeMap::new();
        for chat in [scene.group, scene.direct] {
            known.insert(chat, revision(scene, chat).await);
        }
        known.extend(chats.iter().map(|chat| (*chat, Revision::new(1))));
        known
    }

    #[tokio::test]
    async fn chats_that_have_not_changed_are_left_out() {
        let scene = Scene::new().await;
        assert_eq!(synced(&scene, &[], 200).await, []);
    }

    #[tokio::test]
    async fn what_has_changed_comes_by_revision_in_its_present_state() {
        let scene = Scene::new().await;
        let known = revision(&scene, scene.group).await;
        let (chat_id, sent) = (scene.group, [1, 2, 3].map(|n| format!("message {n}")));
        let mut messages = Vec::new();
        for body in sent {
            messages.push(scene.says(Owner, &body).await);
        }
        let edit = EditMessage { chat_id, message_id: messages[0].id, body: "changed".into() };
        messages[0] = scene.must(Owner, edit).await;
        let delete = DeleteMessage { chat_id, message_id: messages[1].id };
        messages[1] = scene.must(Owner, delete).await;
        messages.push(scene.system_message().await);
        messages.sort_by_key(|message| message.revision);

        let chats = synced(&scene, &[(chat_id, known)], 200).await;
        let chat = scene.chat(Member, chat_id).await;
        assert_eq!(chats, [ChatSync { chat, messages, limited: false }]);
    }

    #[tokio::test]
    async fn more_changes_than_the_limit_come_as_the_newest_page() {
        let scene = Scene::new().await;
        let known = revision(&scene, scene.group).await;
        let mut sent = Vec::new();
        for n in 1..=3 {
            sent.push(scene.says(Owner, &format!("message {n}")).await);
        }
        for (limit, messages, limited) in [(3, &sent[..], false), (2, &sent[1..], true)] {
            let chats = synced(&scene, &[(scene.group, known)], limit).await;
            assert_eq!((&chats[0].messages[..], chats[0].limited), (messages, limited), "{limit}");
        }
    }

    #[tokio::test]
    async fn any_number_of_chats_with_more_changes_than_the_limit_come_in_one_answer() {
        let scene = Scene::new().await;
        let mut named = Vec::new();
        for _ in 0..10 {
            let chat = scene.makes_group(Member, []).await;
            named.push((chat, revision(&scene, chat).await));
            for n in 1..=5 {
                scene.says_in(chat, Member, &format!("message {n}")).await;
            }
        }
        let chats = synced(&scene, &named, 2).await;
        let seen: Vec<_> = chats.iter().map(|synced| (synced.messages.len(), synced.limited)).collect();
        assert_eq!(seen, [(2, true); 10]);
    }

    #[tokio::test]
    async fn fifty_messages_of_a_chat_come_if_nothing_else_is_asked_for() {
        let scene = Scene::new().await;
        let known = revision(&scene, scene.group).await;
        for (more, limited) in [(50, false), (1, true)] {
            for _ in 0..more {
                scene.says(Owner, "hello").await;
            }
            let sync = SyncChats { limit: None, ..since([(scene.group, known)]) };
            let chats = scene.ask(Member, sync).await.chats;
            let group = chats.iter().find(|synced| synced.chat.id == scene.group).unwrap();
            assert_eq!((group.messages.len(), group.limited), (50, limited), "{more}");
        }
    }

    #[tokio::test]
    async fn a_chat_that_was_not_named_comes_with_its_newest_page() {
        let scene = Scene::new().await;
        let chat = scene.makes_group(Member, []).await;
        for _ in 0..2 {
            scene.says_in(chat, Member, "hello").await;
        }
        // Three messages; the first one announces the group.
        for (limit, places, limited) in [(4, 1..=3, false), (3, 1..=3, false), (2, 2..=3, true)] {
            let chats = synced(&scene, &[], limit).await;
            let seqs: Vec<_> = chats[0].messages.iter().map(|message| message.seq.get()).collect();
            assert_eq!((seqs, chats[0].limited), (places.collect(), limited), "{limit}");
            assert_eq!(chats[0].chat, scene.chat(Member, chat).await);
        }
        // A chat without a message is complete, too.
        let opened = crate::commands::OpenDirectChat { user_id: scene.id(Stranger) };
        let direct = scene.must(Member, opened).await.value;
        let chats = synced(&scene, &[(chat, Revision::new(3))], 2).await;
        assert_eq!(chats, [ChatSync { chat: direct, messages: Vec::new(), limited: false }]);
    }

    #[tokio::test]
    async fn what_a_client_has_from_another_database_is_forgotten() {
        let scene = Scene::new().await;
        let (chat, new) = (scene.makes_group(Member, []).await, scene.makes_group(Member, []).await);
        for (known, limited) in [(2, true), (1_000_000, true), (0, false)] {
            let chats = synced(&scene, &[(chat, Revision::new(known))], 200).await;
            // The page is the whole history, as it is for the chat that the client did not name.
            let seen: Vec<_> = chats.iter().map(|synced| (synced.chat.id, synced.limited)).collect();
            assert_eq!(seen, [(chat, limited), (new, false)], "{known}");
            assert!(chats.iter().all(|synced| synced.messages.len() == 1), "{known}");
        }
    }

    #[tokio::test]
    async fn chats_that_are_no_longer_ones_own_are_named() {
        let scene = Scene::new().await;
        let (left, removed) = (scene.makes_group(Member, []).await, scene.makes_group(Owner, [Member]).await);
        let unknown = scene.messenger.service().context.id();
        scene.must(Member, LeaveChat { chat_id: left }).await;
        scene.must(Owner, RemoveMember { chat_id: removed, user_id: scene.id(Member) }).await;
        let first = Revision::new(1);
        let answer = scene.ask(Member, since([(unknown, first), (removed, first), (left, first)])).await;
        assert_eq!(answer.removed, [left, removed, unknown]);
        assert!(answer.chats.iter().all(|synced| [scene.group, scene.direct].contains(&synced.chat.id)));
    }

    #[tokio::test]
    async fn a_person_without_chats_has_nothing_to_catch_up_with() {
        let scene = Scene::new().await;
        for who in [Stranger, Left, Removed, Erased, Nobody] {
            let answer = scene.ask(who, since([])).await;
            assert_eq!((answer.chats, answer.removed, answer.next_cursor), (vec![], vec![], None), "{who:?}");
        }
    }

    /// What has changed for the member, who has everything up to a position and names these chats.
    async fn since_then(scene: &Scene, position: &Option<Position>, named: &[(ChatId, Revision)]) -> Synced {
        let chats = named.iter().copied().collect();
        scene
            .ask(
                Member,
                SyncChats {
                    chats,
                    limit: Some(3),
                    position: position.clone().map_or(Since::Nowhere, Since::At),
                    cursor: None,
                },
            )
            .await
    }

    fn told(synced: &Synced) -> Vec<(ChatId, usize, bool)> {
        let told = synced.chats.iter().map(|chat| (chat.chat.id, chat.messages.len(), chat.limited));
        told.collect()
    }

    #[tokio::test]
    async fn chats_that_have_not_changed_since_a_position_need_not_be_named() {
        let scene = Scene::new().await;
        let first = since_then(&scene, &None, &[]).await;
        assert!(first.chats.len() == 2 && !first.unknown_position);
        assert_eq!(told(&since_then(&scene, &first.position, &[]).await), []);

        let known = revision(&scene, scene.group).await;
        for _ in 0..2 {
            scene.says(Owner, "hello").await;
        }
        let new = scene.makes_group(Owner, [Member]).await;
        // One chat is named and the client has nothing of the other; or the client discards what it has of both.
        let changed = since_then(&scene, &first.position, &[(scene.group, known)]).await;
        assert_eq!(told(&changed), [(scene.group, 2, false), (new, 1, false)]);
        let changed = since_then(&scene, &first.position, &[]).await;
        assert_eq!(told(&changed), [(scene.group, 3, true), (new, 1, false)]);
        assert_eq!(told(&since_then(&scene, &changed.position, &[]).await), []);
        // A named chat is compared, whatever the position says.
        let behind = since_then(&scene, &changed.position, &[(scene.group, known)]).await;
        assert_eq!(told(&behind), [(scene.group, 2, false)]);

        scene.must(Owner, RemoveMember { chat_id: new, user_id: scene.id(Member) }).await;
        assert_eq!(since_then(&scene, &changed.position, &[]).await.removed, [new]);
        assert_eq!(scene.ask(Member, SyncChats::default()).await.removed, []);
    }

    #[tokio::test]
    async fn a_position_of_another_store_is_passed_over() {
        let scene = Scene::new().await;
        let position = since_then(&scene, &None, &[]).await.position;
        let other = since_then(&Scene::new().await, &None, &[]).await.position;
        assert!(position.is_some() && scene.ask(Member, since([])).await.position.is_none());
        let nonsense: Option<Position> = serde_json::from_value("nonsense".into()).unwrap();
        for (position, is_known) in [(position, true), (other, false), (nonsense, false)] {
            let synced = since_then(&scene, &position, &[]).await;
            assert_eq!(
                (synced.unknown_position, synced.chats.len()),
                if is_known { (false, 0) } else { (true, 2) }
            );
            // A position is of no use either to a client that names a revision later than the current one.
            let synced = since_then(&scene, &position, &[(scene.group, Revision::new(1_000_000))]).await;
            assert!(synced.unknown_position);
        }
    }

    #[tokio::test]
    async fn the_position_of_an_answer_in_pages_is_that_of_its_beginning() {
        let scene = with_little_room().await;
        let mut chats = Vec::new();
        for _ in 0..6 {
            chats.push(weighing(&scene, 1000).await);
        }
        let sync = SyncChats { limit: Some(4), position: Since::Nowhere, ..since([]) };
        let first = scene.ask(Member, sync.clone()).await;
        assert!(first.position.is_none());
        // Before the cursor: left to the next sync.
        let passed = first.chats[1].chat.id;
        scene.says_in(passed, Member, "meanwhile").await;
        let next = SyncChats { cursor: first.next_cursor, ..sync };
        let last = scene.ask(Member, next).await;
        let told = since_then(&scene, &last.position, &[]).await.chats;
        assert_eq!(told.iter().map(|chat| chat.chat.id).collect::<Vec<_>>(), [passed]);
    }

    #[tokio::test]
    async fn what_was_read_of_a_chat_that_is_gone_takes_no_room_from_the_next() {
        let scene = with_little_room().await;
        let mut chats = Vec::new();
        for _ in 0..2 {
            let chat = scene.makes_group(Owner, [Member]).await;
            scene.says_in(chat, Owner, &"x".repeat(6000)).await;
            chats.push(chat);
        }
        chats.sort_unstable();
        let sync = SyncChats { chats: known(&scene, &chats).await, limit: Some(4), ..since([]) };
        let (messenger, owner) = (scene.messenger.clone(), scene.actor(Owner));
        let remove = RemoveMember { chat_id: chats[0], user_id: scene.id(Member) };
        scene.store.meanwhile("chat_views", async move {
            messenger.execute(&owner, remove).await.unwrap();
        });
        assert_eq!(told(&scene.ask(Member, sync).await), [(chats[1], 1, false)]);
    }

    #[tokio::test]
    async fn a_chat_is_not_shown_later_than_the_messages_that_come_with_it() {
        let scene = Scene::new().await;
        let known = revision(&scene, scene.group).await;
        let first = scene.says(Owner, "hello").await;
        let (messenger, owner) = (scene.messenger.clone(), scene.actor(Owner));
        let send =
            SendMessage { chat_id: scene.group, body: "and more".into(), client_id: None, reply_to: None };
        let sync = since([(scene.group, known), (scene.direct, Revision::ZERO)]);
        // After the changes were read, and before the chat is read.
        scene.store.meanwhile("chat_views", async move {
            messenger.execute(&owner, send).await.unwrap();
        });
        let chats = scene.ask(Member, sync).await.chats;
        assert_eq!(chats[0].chat.revision, first.revision);
        assert_eq!(chats[0].messages, [first]);
    }

    #[tokio::test]
    async fn a_chat_that_one_is_removed_from_meanwhile_is_left_out() {
        let scene = Scene::new().await;
        let (messenger, owner) = (scene.messenger.clone(), scene.actor(Owner));
        let remove = RemoveMember { chat_id: scene.group, user_id: scene.id(Member) };
        scene.store.meanwhile("history", async move {
            messenger.execute(&owner, remove).await.unwrap();
        });
        let answer = scene.ask(Member, since([])).await;
        let chats: Vec<_> = answer.chats.iter().map(|synced| synced.chat.id).collect();
        assert_eq!(chats, [scene.direct]);
        // The client learns of it with its next sync.
        let answer = scene.ask(Member, since([(scene.group, Revision::new(1))])).await;
        assert_eq!(answer.removed, [scene.group]);
    }

    #[tokio::test]
    async fn a_store_that_fails_is_no_removal() {
        for method in ["memberships", "changes", "chat_views", "history"] {
            let scene = Scene::new().await;
            scene.store.fail(method, StoreErrorKind::Unavailable, 1);
            // One chat is named and the other is not.
            let answer = scene.query(Member, since([(scene.group, Revision::new(1))])).await;
            assert_eq!(code(&answer), "unavailable", "{method}");
        }
    }

    #[tokio::test]
    async fn an_answer_is_bounded_in_bytes_and_the_next_one_goes_on() {
        let scene = with_little_room().await;
        let mut chats = Vec::new();
        for weight in [4000, 6000, 4000, 6001, 20_000, 300, 9700] {
            chats.push(weighing(&scene, weight).await);
        }
        // The same number of bytes in two messages, which need not be included as a single message must.
        let double = weighing(&scene, 6000).await;
        scene.says_in(double, Member, &"x".repeat(6000)).await;
        chats.push(double);
        // The changes, and the newest pages of chats that are new to the client: including the message that announces
        // the group, which weighs some 330 bytes.
        for (named, pages) in [(true, &[2, 1, 1, 1, 2, 1][..]), (false, &[1, 1, 1, 1, 1, 1, 1, 1])] {
            let known = known(&scene, if named { &chats } else { &[] }).await;
            let sync = SyncChats { chats: known, limit: Some(4), ..SyncChats::default() };
            let answers = all_pages(&scene, sync, false).await;
            let told: Vec<usize> = answers.iter().map(|answer| answer.chats.len()).collect();
            assert_eq!(told, pages, "{named}");
            let synced: Vec<ChatSync> = answers.into_iter().flat_map(|answer| answer.chats).collect();
            assert_eq!(synced.iter().map(|synced| synced.chat.id).collect::<Vec<_>>(), chats);
            // A single message is included whatever it weighs; of a chat that has more than fits into an answer, the
            // newest ones.
            let limited: Vec<bool> = synced.iter().map(|synced| synced.limited).collect();
            assert_eq!(limited, [false, false, false, false, !named, false, !named, true], "{named}");
            assert!(synced.iter().all(|synced| synced.messages.last().unwrap().body.is_some()));
        }
    }

    #[tokio::test]
    async fn an_answer_is_bounded_in_chats() {
        let scene = with_little_room().await;
        let mut chats = Vec::new();
        for _ in 0..10 {
            chats.push(scene.makes_group(Member, []).await);
        }
        let sync = SyncChats { chats: known(&scene, &[]).await, limit: Some(1), ..SyncChats::default() };
        for adds in [true, false] {
            let answers = all_pages(&scene, sync.clone(), adds).await;
            let told: Vec<usize> = answers.iter().map(|answer| answer.chats.len()).collect();
            assert_eq!(told, [4, 4, 2]);
        }
    }

    #[tokio::test]
    async fn who_knows_nothing_of_cursors_is_given_the_rest_when_it_asks_again() {
        let scene = with_little_room().await;
        let mut chats = Vec::new();
        for _ in 0..10 {
            chats.push(weighing(&scene, 3000).await);
        }
        let mut sync = SyncChats { chats: known(&scene, &[]).await, limit: Some(4), ..SyncChats::default() };
        let mut told = Vec::new();
        loop {
            let answer = scene.ask(Member, sync.clone()).await;
            if answer.chats.is_empty() {
                break;
            }
            sync.chats.extend(answer.chats.iter().map(|synced| (synced.chat.id, synced.chat.revision)));
            told.extend(answer.chats.into_iter().map(|synced| synced.chat.id));
        }
        assert_eq!(told, chats);
    }

    #[tokio::test]
    async fn each_answer_names_the_chats_to_be_removed_up_to_its_end() {
        let scene = with_little_room().await;
        let before = scene.makes_group(Owner, []).await;
        let mut chats = Vec::new();
        for _ in 0..4 {
            chats.push(scene.makes_group(Member, []).await);
        }
        let between = scene.makes_group(Owner, []).await;
        chats.push(scene.makes_group(Member, []).await);
        let after = scene.makes_group(Owner, []).await;
        let mut known = known(&scene, &[]).await;
        known.extend([before, between, after].map(|chat| (chat, Revision::new(1))));
        let answers = all_pages(&scene, SyncChats { chats: known, ..SyncChats::default() }, false).await;
        let removed: Vec<_> = answers.iter().map(|answer| &answer.removed[..]).collect();
        assert_eq!(removed, [&[before][..], &[between, after]]);
        assert_eq!(answers.iter().map(|answer| answer.chats.len()).sum::<usize>(), chats.len());
    }

    #[tokio::test]
    async fn what_there_is_no_room_for_is_not_read() {
        let scene = with_little_room().await;
        let mut chats = Vec::new();
        for _ in 0..20 {
            chats.push(weighing(&scene, 6000).await);
        }
        let sync = SyncChats {
            chats: known(&scene, &chats).await,
            limit: Some(4),
            position: Since::Unsaid,
            cursor: None,
        };
        let read = |method| scene.store.calls(method);
        let before = [read("changes"), read("chat_views"), read("history")];
        let answer = scene.ask(Member, sync).await;
        assert_eq!(answer.chats.len(), 1);
        let after = [read("changes"), read("chat_views"), read("history")];
        // One step finds that there is no room for the second chat; the next step finds the same again.
        assert_eq!([after[0] - before[0], after[1] - before[1], after[2] - before[2]], [2, 2, 0]);
    }

    #[test]
    fn a_step_takes_fifty_chats_and_a_thousand_changes_and_at_least_one_chat() {
        let chat = ChatId::from_bytes([7; 16]);
        let wanted = |changes| Wanted { chat, since: None, is_new: true, changes };
        for (changes, taken) in [
            (vec![0; 50], 50),
            (vec![0; 51], 50),
            (vec![500, 500], 2),
            (vec![500, 500, 0], 3),
            (vec![500, 500, 1], 2),
            (vec![600, 401], 1),
            (vec![1001, 1], 1),
            (vec![1001], 1),
        ] {
            let wanted: Vec<_> = changes.iter().copied().map(wanted).collect();
            assert_eq!(step(&wanted), taken, "{changes:?}");
        }
    }

    #[test]
    fn as_many_changes_are_read_of_a_chat_as_were_missed_and_at_most_the_limit() {
        let head = ChatHead { chat: ChatId::from_bytes([7; 16]), revision: Revision::new(10), peer: None };
        for (known, usable, changes) in [
            (Some(4), Some(4), 6),
            (Some(9), Some(9), 1),
            (Some(0), Some(0), 7),
            (Some(3), Some(3), 7),
            (Some(11), None, 0),
            (None, None, 0),
        ] {
            let wanted = Wanted::of(head, known.map(Revision::new), 7);
            assert_eq!((wanted.since.map(Revision::get), wanted.changes), (usable, changes), "{known:?}");
            assert_eq!(wanted.is_new, known.is_none(), "{known:?}");
        }
    }
}
