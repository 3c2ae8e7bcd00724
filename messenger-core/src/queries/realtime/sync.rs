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
        let usable = since.filter(|since| *since < head.revision);
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
