//! What only some measurements need: long texts, and people in very many chats.

use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use messenger_core::{
    ChatId, Messenger,
    commands::{CreateGroupChat, SendMessage},
};

use crate::{
    Plan, Result,
    people::{Person, people},
};

/// Commands under way at once.
const AT_ONCE: usize = 64;
/// A text that is as long as one may be, four bytes for each character.
const LONGEST: usize = 8000;
/// Messages of the long history, and characters of each.
const HISTORY: (usize, usize) = (2000, 1000);
/// Messages of the longest page.
const PAGE: usize = 200;
const READERS: usize = 50;
/// Chats of the one whose chats all end in a long text.
pub(crate) const LISTED: usize = 3000;
/// Chats of those who connect with many.
pub(crate) const MANY: [usize; 3] = [10, 1000, 10_000];
/// Chats that each of those is in whose connections are used.
pub(crate) const USED: usize = 500;

/// Nothing of it is there unless it was asked for.
#[derive(Default)]
pub(crate) struct Stock {
    pub(crate) archive: Option<Archive>,
    pub(crate) pages: Option<Arc<Pages>>,
    pub(crate) listed: Option<Many>,
    pub(crate) many: Vec<Many>,
    pub(crate) used: Option<Used>,
}

/// A long history, and who may read it.
pub(crate) struct Archive {
    pub(crate) reader: Person,
    pub(crate) chat: ChatId,
}

/// A chat with a page of the longest texts, and who may read it.
pub(crate) struct Pages {
    pub(crate) readers: Vec<Person>,
    pub(crate) chat: ChatId,
}

/// Somebody, and the chats that they are in, with their revisions.
pub(crate) type Many = (Person, Vec<(ChatId, u64)>);

/// People who are all in the same chats, the first of which has a page of the longest texts.
pub(crate) struct Used {
    pub(crate) people: Vec<Person>,
    pub(crate) chats: Vec<(ChatId, u64)>,
}

impl Stock {
    pub(crate) async fn make(messenger: &Messenger, plan: &Plan) -> Result<Self> {
        let mut stock = Self::default();
        if plan.wants(&["slow"]) {
            let reader = one(messenger, "reader").await?;
            let (chat, _) = chat(messenger, &reader, &[]).await?;
            send(messenger, &reader, (0..HISTORY.0).map(|_| (chat, ".".repeat(HISTORY.1)))).await?;
            stock.archive = Some(Archive { reader, chat });
        }
        if plan.wants(&["unread", "bodies"]) {
            let readers = people(messenger, "stalled", READERS).await?;
            let (chat, _) = chat(messenger, &readers[0], &readers).await?;
            send_page(messenger, &readers[0], chat).await?;
            stock.pages = Some(Arc::new(Pages { readers, chat }));
        }
        if plan.wants(&["sync"]) {
            let (person, chats) = in_many(messenger, "listed", LISTED).await?;
            let text = longest();
            send(messenger, &person, chats.iter().map(|(chat, _)| (*chat, text.clone()))).await?;
            stock.listed = Some((person, chats));
        }
        if plan.wants(&["many"]) {
            for count in MANY {
                stock.many.push(in_many(messenger, &format!("many{count}x"), count).await?);
            }
        }
        if plan.wants(&["used"]) {
            let people = people(messenger, "used", if plan.quick { 100 } else { 500 }).await?;
            let mut chats = chats(messenger, &people[0], &people, USED).await?;
            send_page(messenger, &people[0], chats[0].0).await?;
            chats[0].1 += PAGE as u64;
            stock.used = Some(Used { people, chats });
        }
        Ok(stock)
    }
}

async fn one(messenger: &Messenger, name: &str) -> Result<Person> {
    Ok(people(messenger, name, 1).await?.remove(0))
}

async fn in_many(messenger: &Messenger, name: &str, count: usize) -> Result<Many> {
    let person = one(messenger, name).await?;
    let chats = chats(messenger, &person, &[], count).await?;
    Ok((person, chats))
}

async fn chats(
    messenger: &Messenger,
    owner: &Person,
    members: &[Person],
    count: usize,
) -> Result<Vec<(ChatId, u64)>> {
    // Each waits for its own commit.
    stream::iter(0..count).map(|_| chat(messenger, owner, members)).buffered(AT_ONCE).try_collect().await
}

/// With its revision.
async fn chat(messenger: &Messenger, owner: &Person, members: &[Person]) -> Result<(ChatId, u64)> {
    let member_ids = members.iter().map(|person| person.id).collect();
    let create = CreateGroupChat { title: "Tea".into(), member_ids, client_id: None };
    let chat = messenger.execute(&owner.actor, create).await?.value;
    Ok((chat.id, chat.revision.get()))
}

fn longest() -> String {
    "🍵".repeat(LONGEST)
}

async fn send_page(messenger: &Messenger, sender: &Person, chat: ChatId) -> Result {
    let text = longest();
    send(messenger, sender, (0..PAGE).map(|_| (chat, text.clone()))).await
}

async fn send(
    messenger: &Messenger,
    sender: &Person,
    texts: impl Iterator<Item = (ChatId, String)>,
) -> Result {
    stream::iter(texts)
        .map(|(chat_id, body)| async move {
            let send = SendMessage { chat_id, body, client_id: None, reply_to: None };
            messenger.execute(&sender.actor, send).await.map(drop)
        })
        .buffered(AT_ONCE)
        .try_collect::<Vec<()>>()
        .await?;
    Ok(())
}
