use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use crate::{
    convert,
    domain::{Chat, ChatId, Message, Revision, UserId},
    error::Result,
    messenger::{Cx, Query},
    ports::{Anchor, Changes, ChatHead, MessageRecord, StoreErrorKind},
    queries::page_size,
};

/// What has changed since the client was last up to date: for clients without a socket. What a socket client does
/// with a resume.
///
/// Chats that have not changed are left out. A chat that the client did not name comes with its newest page.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sync {
    /// What the client has: of each chat the last revision.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = std::collections::HashMap<String, u64>))]
    pub chats: BTreeMap<ChatId, Revision>,
    /// Messages of one chat, at most.
    pub limit: Option<u32>,
}

/// What has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Synced {
    /// Chats with changes.
    pub chats: Vec<ChatSync>,
    /// Chats named that are no longer the person's.
    pub removed: Vec<ChatId>,
}

/// What has changed in a chat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ChatSync {
    /// The chat.
    pub chat: Chat,
    /// The messages that changed, by revision; if `limited`, the newest page of the history, by place.
    pub messages: Vec<Message>,
    /// Whether too much has changed to be sent: forget what you have of this chat. Of a chat that the client did not
    /// name, whether there is more history than this page.
    pub limited: bool,
}

/// Messages in one answer, a long one counting as several; chats beyond that come without, as limited.
const MESSAGES_IN_ALL: usize = 5000;
/// Bytes of text for which a message counts once more.
const LONG: usize = 1000;
/// Chats and changes read in one step.
const CHATS_AT_ONCE: usize = 50;
const CHANGES_AT_ONCE: usize = 1000;

impl Query for Sync {
    type Output = Synced;
    const NAME: &'static str = "Sync";

    async fn run(self, cx: &Cx) -> Result<Synced> {
        let user = cx.actor().user()?;
        let limit = page_size(self.limit, cx.limits())?;
        let mut named = self.chats;
        let mut wanted: Vec<Wanted> = Vec::new();
        for head in cx.store().memberships(user).await?.chats {
            let since = named.remove(&head.chat);
            if since != Some(head.revision) {
                wanted.push(Wanted::of(head, since, limit));
            }
        }
        let mut chats = Vec::new();
        let mut left = MESSAGES_IN_ALL;
        let mut rest = &wanted[..];
        while !rest.is_empty() {
            let (some, others) = rest.split_at(step(rest));
            read(cx, user, some, limit, &mut left, &mut chats).await?;
            rest = others;
        }
        Ok(Synced { chats, removed: named.into_keys().collect() })
    }
}

/// A chat that has changed.
struct Wanted {
    chat: ChatId,
    /// What the client has of it that can be added to.
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

/// How many of the chats are read in the next step, so that the memory it takes is bounded.
fn step(wanted: &[Wanted]) -> usize {
    let mut changes = 0;
    let fits = |wanted: &&Wanted| {
        changes += wanted.changes;
        changes <= CHANGES_AT_ONCE
    };
    wanted.iter().take(CHATS_AT_ONCE).take_while(fits).count().max(1)
}

fn weight(messages: &[MessageRecord]) -> usize {
    let text = |message: &MessageRecord| message.body.as_ref().map_or(0, |body| body.0.len());
    messages.iter().map(|message| 1 + text(message) / LONG).sum()
}

async fn read(
    cx: &Cx,
    user: UserId,
    wanted: &[Wanted],
    limit: usize,
    left: &mut usize,
    chats: &mut Vec<ChatSync>,
) -> Result<()> {
    let since: Vec<(ChatId, Revision)> =
        wanted.iter().filter_map(|wanted| Some((wanted.chat, wanted.since?))).collect();
    let changes =
        if *left == 0 || since.is_empty() { Vec::new() } else { cx.store().changes(&since, limit).await? };
    let mut changes: HashMap<ChatId, Changes> =
        changes.into_iter().map(|found| (found.chat.id, found)).collect();
    let ids: Vec<ChatId> = wanted.iter().map(|wanted| wanted.chat).collect();
    for view in cx.store().chat_views(user, &ids).await? {
        let mut chat = convert::chat(view)?;
        let (messages, limited) = match changes.remove(&chat.id) {
            Some(found) if !found.truncated && weight(&found.messages) <= *left => {
                // Not later than the messages, or the client would skip what came between.
                chat.revision = found.chat.revision;
                (found.messages, false)
            }
            _ if *left == 0 => (Vec::new(), true),
            _ => {
                let page = match cx.store().history(chat.id, user, Anchor::Newest, limit.min(*left)).await {
                    // Removed a moment ago: the client learns of it when it asks again.
                    Err(error) if error.kind() == StoreErrorKind::NotMember => continue,
                    page => page?,
                };
                let is_whole = page.messages.first().is_none_or(|first| first.seq.get() == 1);
                let is_new = wanted.iter().any(|wanted| wanted.chat == chat.id && wanted.is_new);
                (page.messages, !(is_new && is_whole))
            }
        };
        *left = left.saturating_sub(weight(&messages));
        chats.push(ChatSync { chat, messages: convert::messages(messages)?, limited });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        commands::{DeleteMessage, EditMessage, LeaveChat, RemoveMember, SendMessage},
        domain::Limits,
        testing::{Scene, Setup, Who::*, code},
    };

    /// Asks for at most 200 messages of each chat.
    fn since<const N: usize>(chats: [(ChatId, Revision); N]) -> Sync {
        Sync { chats: chats.into(), limit: Some(200) }
    }

    async fn revision(scene: &Scene, chat: ChatId) -> Revision {
        scene.chat(Member, chat).await.revision
    }

    /// What is new to the member who has all chats of the scene as they are, and these up to a revision.
    async fn synced(scene: &Scene, named: &[(ChatId, Revision)], limit: u32) -> Vec<ChatSync> {
        let mut chats = BTreeMap::new();
        for chat in [scene.group, scene.direct] {
            chats.insert(chat, revision(scene, chat).await);
        }
        chats.extend(named.iter().copied());
        scene.ask(Member, Sync { chats, limit: Some(limit) }).await.chats
    }

    /// A chat of the member with a text of this weight.
    async fn weighing(scene: &Scene, weight: usize) -> ChatId {
        let chat = scene.makes_group(Member, []).await;
        scene.says_in(chat, Member, &"x".repeat(((weight - 1) * LONG).max(1))).await;
        chat
    }

    fn without_limit_of_the_text() -> Setup {
        let limits = Limits { body: 1..=10_000_000, ..Limits::default() };
        Setup { limits, ..Setup::default() }
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
    async fn fifty_messages_of_a_chat_come_if_nothing_else_is_asked_for() {
        let scene = Scene::new().await;
        let known = revision(&scene, scene.group).await;
        for (more, limited) in [(50, false), (1, true)] {
            for _ in 0..more {
                scene.says(Owner, "hello").await;
            }
            let sync = Sync { limit: None, ..since([(scene.group, known)]) };
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
        // Three messages, the first of which says that the group was made.
        for (limit, places, limited) in [(4, 1..=3, false), (3, 1..=3, false), (2, 2..=3, true)] {
            let chats = synced(&scene, &[], limit).await;
            let seqs: Vec<_> = chats[0].messages.iter().map(|message| message.seq.get()).collect();
            assert_eq!((seqs, chats[0].limited), (places.collect(), limited), "{limit}");
            assert_eq!(chats[0].chat, scene.chat(Member, chat).await);
        }
        // And one without a message is whole.
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
            // Though the page is all there is, as it is of the chat that the client did not name.
            let seen: Vec<_> = chats.iter().map(|synced| (synced.chat.id, synced.limited)).collect();
            assert_eq!(seen, [(chat, limited), (new, false)], "{known}");
            assert!(chats.iter().all(|synced| synced.messages.len() == 1), "{known}");
        }
    }

    #[tokio::test]
    async fn chats_that_are_no_longer_ones_own_are_named() {
        let scene = Scene::new().await;
        let (left, removed) = (scene.makes_group(Member, []).await, scene.makes_group(Owner, [Member]).await);
        let unknown = scene.messenger.context().id();
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
            assert_eq!(answer, Synced { chats: Vec::new(), removed: Vec::new() }, "{who:?}");
        }
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
        // After the changes were read, and before the chat is.
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
        // The client learns of it when it asks again.
        let answer = scene.ask(Member, since([(scene.group, Revision::new(1))])).await;
        assert_eq!(answer.removed, [scene.group]);
    }

    #[tokio::test]
    async fn a_store_that_fails_is_no_removal() {
        for method in ["memberships", "changes", "chat_views", "history"] {
            let scene = Scene::new().await;
            scene.store.fail(method, StoreErrorKind::Unavailable, 1);
            // One is named and the other is not.
            let answer = scene.query(Member, since([(scene.group, Revision::new(1))])).await;
            assert_eq!(code(&answer), "unavailable", "{method}");
        }
    }

    #[tokio::test]
    async fn an_answer_has_room_for_5000_messages_of_which_a_long_one_counts_as_several() {
        let scene = Scene::with(without_limit_of_the_text()).await;
        let mut named = Vec::new();
        for weight in [1000, 1000, 1000, 1000, 1000, 1] {
            named.push((weighing(&scene, weight).await, Revision::new(1)));
        }
        // Nor is there room for one that was not named.
        let unnamed = scene.makes_group(Member, []).await;
        let chats = synced(&scene, &named, 200).await;
        let expected = [(1, false), (1, false), (1, false), (1, false), (1, false), (0, true), (0, true)];
        assert_eq!(shape(&chats), expected);
        let seen: Vec<_> = chats.iter().map(|synced| synced.chat.id).collect();
        assert_eq!(seen, [ids(&named), vec![unnamed]].concat());
    }

    #[tokio::test]
    async fn what_does_not_fit_any_more_comes_as_a_page_of_what_there_is_room_for() {
        let scene = Scene::with(without_limit_of_the_text()).await;
        let mut named = Vec::new();
        for weight in [1000, 1000, 1000, 1000, 996] {
            named.push((weighing(&scene, weight).await, Revision::new(1)));
        }
        // There is room for four more, and five have changed.
        let chat = weighing(&scene, 1).await;
        for _ in 0..4 {
            scene.says_in(chat, Member, "hello").await;
        }
        named.push((chat, Revision::new(1)));
        named.push((weighing(&scene, 1).await, Revision::new(1)));
        let chats = synced(&scene, &named, 200).await;
        let expected = [(1, false), (1, false), (1, false), (1, false), (1, false), (4, true), (0, true)];
        assert_eq!(shape(&chats), expected);
        assert_eq!(chats[5].messages.last().unwrap().seq.get(), 6, "the newest");
    }

    #[tokio::test]
    async fn what_there_is_no_room_for_is_not_read() {
        let scene = Scene::with(without_limit_of_the_text()).await;
        // Fifty are read in the first step, and the rest in a second one.
        let mut named = vec![(weighing(&scene, MESSAGES_IN_ALL).await, Revision::new(1))];
        for _ in 0..50 {
            named.push((weighing(&scene, 1).await, Revision::new(1)));
        }
        let (changes, views) = (scene.store.calls("changes"), scene.store.calls("chat_views") + 2);
        let chats = synced(&scene, &named, 200).await;
        assert_eq!(ids(&named), chats.iter().map(|synced| synced.chat.id).collect::<Vec<_>>());
        assert_eq!(scene.store.calls("changes") - changes, 1);
        assert_eq!(scene.store.calls("chat_views") - views, 2);
        // Nor is it asked what has changed in chats of which the client has nothing.
        synced(&scene, &[], 200).await;
        assert_eq!(scene.store.calls("changes") - changes, 1);
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

    fn shape(chats: &[ChatSync]) -> Vec<(usize, bool)> {
        chats.iter().map(|synced| (synced.messages.len(), synced.limited)).collect()
    }

    fn ids(named: &[(ChatId, Revision)]) -> Vec<ChatId> {
        named.iter().map(|(chat, _)| *chat).collect()
    }
}
