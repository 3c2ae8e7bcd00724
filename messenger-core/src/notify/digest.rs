//! What somebody has not read, as it is when they are told of it.

use std::collections::HashMap;

use super::{
    deciding::{self, Person, Reason, Verdict},
    desk::{Composed, Desk},
    outbox::UnreadIn,
};
use crate::{
    domain::{
        ChatId, ChatKind, DisplayName, Link, MessageBody, NotifyLevel, Timestamp, Title, Unsubscribe,
        UnsubscribeScope, UserId,
    },
    jobs::JobError,
    ports::{
        ChatName, ChatView, MessageRecord, Notice, StoreErrorKind, StoreResult, UnreadChat, UnreadDigest,
        UnreadLine, UnreadRange, UserRecord,
    },
};

/// How many chats are told of with what was written in them; of the others it is told how many they are.
const NAMED: usize = 20;

/// Decides once more, because time has passed: since a crash, or since a mail server was away.
pub(super) async fn compose(
    desk: &Desk,
    account: &UserRecord,
    chats: &[UnreadIn],
    made_at: Timestamp,
) -> Result<Composed, JobError> {
    let (settings, now) = (&desk.notifications.settings, desk.context.now());
    let never = Person::of_account(account, None).never();
    if let Some(reason) = never {
        return Ok(Composed::Nothing(reason.name()));
    }
    let unread = desk.still_unread(account.id, chats).await?;
    if unread.is_empty() {
        return Ok(Composed::Nothing(Reason::Read.name()));
    }
    let person = Person::of_account(account, desk.is_online(account.id).await?);
    match person.away(desk.absence(), now).or_else(|| deciding::hours(settings, account, now)) {
        Some(Verdict::Wait(_, reason @ Reason::Online)) => {
            return Ok(Composed::NotYet(desk.patience(now.since(made_at)), reason.name()));
        }
        Some(Verdict::Wait(at, reason)) => return Ok(Composed::NotYet(at.since(now), reason.name())),
        Some(Verdict::Nothing(reason)) => return Ok(Composed::Nothing(reason.name())),
        Some(Verdict::Tell) | None => {}
    }
    let digest = desk.digest(account, unread).await?;
    Ok(digest
        .map_or(Composed::Nothing(Reason::Read.name()), |digest| Composed::Ready(Notice::Unread(digest))))
}

/// A chat in which something is unread.
struct Unread {
    view: ChatView,
    range: UnreadRange,
    count: u64,
}

impl Desk {
    /// Those of the chats in which the person still is, wants to be told of, and has not read everything.
    async fn still_unread(&self, user: UserId, chats: &[UnreadIn]) -> StoreResult<Vec<Unread>> {
        let ids: Vec<ChatId> = chats.iter().map(|chat| chat.chat).collect();
        let views = self.store.chat_views(user, &ids, 0).await?;
        let mut views: HashMap<ChatId, ChatView> =
            views.into_iter().map(|view| (view.chat.id, view)).collect();
        let now = self.context.now();
        let still_unread = |unread: &UnreadIn| {
            let view = views.remove(&unread.chat)?;
            let is_wanted = view.me.notify_level != NotifyLevel::None
                && view.me.muted_until.is_none_or(|until| until <= now);
            let after = unread.after.max(view.me.read_seq);
            if !is_wanted || after >= unread.up_to {
                return None;
            }
            // Some may have been read meanwhile.
            let count = unread.unread.min(unread.up_to.get() - after.get());
            let range = UnreadRange { chat: unread.chat, after, up_to: unread.up_to };
            Some(Unread { view, range, count })
        };
        Ok(chats.iter().filter_map(still_unread).collect())
    }

    async fn digest(&self, account: &UserRecord, unread: Vec<Unread>) -> StoreResult<Option<UnreadDigest>> {
        let mut further = unread.into_iter().peekable();
        let mut chats = Vec::new();
        while chats.len() < NAMED && further.peek().is_some() {
            let some = further.by_ref().take(NAMED - chats.len()).collect();
            chats.extend(self.with_lines(account.id, some).await?);
        }
        if chats.is_empty() {
            return Ok(None);
        }
        let further: Vec<u64> = further.map(|chat| chat.count).collect();
        let named: u64 = chats.iter().map(|chat| chat.unread).sum();
        Ok(Some(UnreadDigest {
            unread: named + further.iter().sum::<u64>(),
            chats,
            further_chats: u32::try_from(further.len()).unwrap_or(u32::MAX),
            unsubscribe: Some(self.unsubscribe(account.id, UnsubscribeScope::Everything)),
        }))
    }

    /// Those of the chats in which not all that was unread has been deleted, with what was written.
    async fn with_lines(&self, user: UserId, unread: Vec<Unread>) -> StoreResult<Vec<UnreadChat>> {
        let ranges: Vec<UnreadRange> = unread.iter().map(|chat| chat.range).collect();
        let lines = self.store.unread_lines(user, &ranges, self.notifications.settings.lines).await?;
        let authors = self.names_of_authors(&lines).await?;
        let mut lines_of: HashMap<ChatId, Vec<MessageRecord>> = HashMap::new();
        for line in lines {
            lines_of.entry(line.chat).or_default().push(line);
        }
        let with_lines = unread.into_iter().filter_map(|chat| {
            let lines = lines_of.remove(&chat.range.chat)?;
            Some(self.chat(user, chat, lines, &authors))
        });
        with_lines.collect()
    }

    async fn names_of_authors(&self, lines: &[MessageRecord]) -> StoreResult<HashMap<UserId, DisplayName>> {
        let mut ids: Vec<UserId> = lines.iter().map(|line| line.sender).collect();
        ids.sort_unstable();
        ids.dedup();
        let accounts = self.store.users(&ids).await?;
        accounts.into_iter().map(|account| Ok((account.id, display_name(&account)?))).collect()
    }

    fn chat(
        &self,
        user: UserId,
        Unread { view, range, count }: Unread,
        lines: Vec<MessageRecord>,
        authors: &HashMap<UserId, DisplayName>,
    ) -> StoreResult<UnreadChat> {
        let settings = &self.notifications.settings;
        let line = |record: MessageRecord| {
            let body = record.body.filter(|_| settings.texts);
            Ok(UnreadLine {
                seq: record.seq,
                at: record.created_at,
                author: record.sender,
                author_name: authors.get(&record.sender).cloned().ok_or(StoreErrorKind::NotFound)?,
                body: body.map(|body| body.into_text().map(MessageBody::trusted)).transpose()?,
            })
        };
        let lines: Vec<UnreadLine> = lines.into_iter().map(line).collect::<StoreResult<_>>()?;
        Ok(UnreadChat {
            chat: range.chat,
            name: name(&view)?,
            unread: count.max(lines.len() as u64),
            lines,
            link: settings.chat_link.as_ref().map(|link| link.to(range.chat)),
            unsubscribe: Some(self.unsubscribe(user, UnsubscribeScope::Chat(range.chat))),
        })
    }

    fn unsubscribe(&self, user: UserId, scope: UnsubscribeScope) -> Link {
        let settings = &self.notifications.settings;
        settings.public_url.link("unsubscribe", &Unsubscribe { user, scope }.sign(&settings.keys))
    }
}

fn name(view: &ChatView) -> StoreResult<ChatName> {
    match (view.chat.kind, &view.peer, &view.chat.title) {
        (ChatKind::Direct, Some(peer), _) => Ok(ChatName::Direct(display_name(peer)?)),
        (_, _, Some(title)) => Ok(ChatName::Group(Title::trusted(title.to_text()?))),
        _ => Err(StoreErrorKind::Corrupt.into()),
    }
}

fn display_name(account: &UserRecord) -> StoreResult<DisplayName> {
    Ok(DisplayName::trusted(account.display_name.to_text()?))
}
