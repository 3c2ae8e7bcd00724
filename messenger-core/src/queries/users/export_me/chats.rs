//! The chats of the person, and their marks in them.

use std::collections::HashMap;

use serde::Serialize;

use super::{
    lines::{Lines, readable},
    place::Place,
};
use crate::{
    convert,
    cx::Cx,
    domain::{ChatId, ChatKind, NotifyLevel, Role, Seq, Timestamp, User, UserId},
    error::Result,
    ports::ChatView,
};

/// How many chats are read for one part.
const CHATS: usize = 50;

/// At most [`CHATS`] of the chats that the person ever was in and that `wanted` asks for, in the order of their ids; and whether there
/// are more.
pub(super) async fn some(
    cx: &Cx,
    user: UserId,
    wanted: impl Fn(ChatId) -> bool,
) -> Result<(Vec<ChatId>, bool)> {
    let mut chats = cx.store().chats_ever_joined(user).await?;
    chats.retain(|chat| wanted(*chat));
    chats.sort_unstable();
    let more = chats.len() > CHATS;
    chats.truncate(CHATS);
    Ok((chats, more))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ChatLine<'a> {
    id: ChatId,
    member: bool,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    known: Option<KnownChat<'a>>,
}

/// What the person sees of a chat that they are in.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct KnownChat<'a> {
    kind: ChatKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
    created_at: Timestamp,
    role: Role,
    joined_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<User>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    corrupt: Vec<&'static str>,
}

pub(super) async fn chats(
    cx: &Cx,
    user: UserId,
    after: Option<ChatId>,
    lines: &mut Lines,
) -> Result<Option<Place>> {
    let (chats, more) = some(cx, user, |chat| Some(chat) > after).await?;
    let views = views(cx, user, &chats).await?;
    for id in &chats {
        let known = views.get(id).map(known);
        lines.push(&ChatLine { id: *id, member: known.is_some(), known })?;
    }
    Ok(Some(if more { Place::Chats(chats.last().copied()) } else { Place::Marks(None) }))
}

fn known(view: &ChatView) -> KnownChat<'_> {
    let mut corrupt = Vec::new();
    KnownChat {
        kind: view.chat.kind,
        title: readable(view.chat.title.as_ref(), "title", &mut corrupt),
        created_at: view.chat.created_at,
        role: view.me.role,
        joined_at: view.me.joined_at,
        peer: view.peer.clone().map(convert::user),
        corrupt,
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MarkLine {
    chat_id: ChatId,
    read_seq: Seq,
    delivered_seq: Seq,
    #[serde(skip_serializing_if = "Option::is_none")]
    muted_until: Option<Timestamp>,
    notifications: NotifyLevel,
}

pub(super) async fn marks(
    cx: &Cx,
    user: UserId,
    after: Option<ChatId>,
    lines: &mut Lines,
) -> Result<Option<Place>> {
    let (chats, more) = some(cx, user, |chat| Some(chat) > after).await?;
    let views = views(cx, user, &chats).await?;
    for me in chats.iter().filter_map(|chat| views.get(chat)) {
        lines.push(&MarkLine {
            chat_id: me.chat.id,
            read_seq: me.me.read_seq,
            delivered_seq: me.me.delivered_seq,
            muted_until: me.me.muted_until,
            notifications: me.me.notify_level,
        })?;
    }
    Ok(Some(if more { Place::Marks(chats.last().copied()) } else { Place::Messages(None) }))
}

/// Those that the person is in; of their last messages, which may be of others, nothing is needed.
async fn views(cx: &Cx, user: UserId, chats: &[ChatId]) -> Result<HashMap<ChatId, ChatView>> {
    let views = cx.store().chat_views(user, chats, 0).await?;
    Ok(views.into_iter().map(|view| (view.chat.id, view)).collect())
}
