use std::time::Duration;

use messenger_core::ports::{ChatName, Notice, Notification, UnreadChat, UnreadDigest, UnreadLine};
use serde::Serialize;

use crate::{
    error::ComposerError,
    text::{masked, one_line, several_lines},
};

/// Graphemes of a name or a title.
const NAME: usize = 80;
/// Graphemes and lines of a message.
const TEXT: (usize, usize) = (500, 10);
/// Chats of a mail, and messages of a chat: what is more is only counted.
const CHATS: usize = 20;
const LINES: usize = 10;
const AUTHORS: usize = 5;

/// What the templates are given: texts are cleaned and cut, and not yet escaped.
#[derive(Debug, Serialize)]
pub(crate) struct View<'a> {
    pub(crate) kind: &'static str,
    pub(crate) lang: &'a str,
    /// `ltr` or `rtl`.
    pub(crate) dir: &'static str,
    pub(crate) product: &'a str,
    /// The person's own name.
    pub(crate) name: String,
    /// Of the mail, which is empty while the subject itself is made.
    pub(crate) subject: String,
    #[serde(flatten)]
    notice: NoticeView<'a>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum NoticeView<'a> {
    Unread(UnreadView<'a>),
    Link { link: &'a str, valid: Valid },
    Changed { new_address: String, link: Option<&'a str> },
}

#[derive(Debug, Serialize)]
struct UnreadView<'a> {
    unread: u64,
    /// Of all chats that have something unread.
    chat_count: u64,
    chats: Vec<ChatView<'a>>,
    /// Chats that are not in `chats`.
    further_chats: u64,
    unsubscribe: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct ChatView<'a> {
    id: String,
    name: String,
    is_group: bool,
    unread: u64,
    /// Unread messages before those in `lines`.
    earlier: u64,
    has_texts: bool,
    lines: Vec<LineView>,
    /// Of the newest messages, each once.
    authors: Vec<String>,
    link: Option<&'a str>,
    unsubscribe: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct LineView {
    author: String,
    text: Option<String>,
    /// RFC 3339, in UTC.
    at: String,
}

/// For how long a link works, in the largest unit that says it exactly.
#[derive(Debug, Serialize, PartialEq, Eq)]
struct Valid {
    unit: &'static str,
    n: u64,
}

impl<'a> View<'a> {
    pub(crate) fn new(
        notification: &'a Notification,
        (lang, is_rtl): (&'a str, bool),
        product: &'a str,
        texts: bool,
    ) -> Result<Self, ComposerError> {
        let notice = match &notification.notice {
            Notice::Unread(digest) => NoticeView::Unread(UnreadView::new(digest, texts)),
            Notice::ConfirmAddress(it) => {
                NoticeView::Link { link: it.link.as_str(), valid: Valid::of(it.valid_for) }
            }
            Notice::ResetPassword(it) => {
                NoticeView::Link { link: it.link.as_str(), valid: Valid::of(it.valid_for) }
            }
            Notice::AddressChanged(it) => NoticeView::Changed {
                new_address: masked(it.new_email.as_str()),
                link: it.link.as_ref().map(|link| link.as_str()),
            },
            other => return Err(ComposerError::Kind { kind: other.kind() }),
        };
        Ok(Self {
            kind: notification.notice.kind(),
            lang,
            dir: if is_rtl { "rtl" } else { "ltr" },
            product,
            name: one_line(notification.to.display_name.as_str(), NAME),
            subject: String::new(),
            notice,
        })
    }
}

impl<'a> UnreadView<'a> {
    fn new(digest: &'a UnreadDigest, texts: bool) -> Self {
        let all = digest.chats.len() as u64 + u64::from(digest.further_chats);
        let chats: Vec<_> = digest.chats.iter().take(CHATS).map(|chat| ChatView::new(chat, texts)).collect();
        Self {
            unread: digest.unread,
            chat_count: all,
            further_chats: all - chats.len() as u64,
            chats,
            unsubscribe: digest.unsubscribe.as_ref().map(|link| link.as_str()),
        }
    }
}

impl<'a> ChatView<'a> {
    fn new(chat: &'a UnreadChat, texts: bool) -> Self {
        let (name, is_group) = match &chat.name {
            ChatName::Direct(name) => (name.as_str(), false),
            ChatName::Group(title) => (title.as_str(), true),
        };
        let newest = &chat.lines[chat.lines.len().saturating_sub(LINES)..];
        let lines: Vec<_> = newest.iter().map(|line| LineView::new(line, texts)).collect();
        let shown = lines.iter().filter(|line| line.text.is_some()).count();
        Self {
            id: chat.chat.to_string(),
            name: one_line(name, NAME),
            is_group,
            unread: chat.unread,
            earlier: chat.unread.saturating_sub(shown as u64),
            has_texts: shown > 0,
            authors: authors(&lines),
            lines,
            link: chat.link.as_ref().map(|link| link.as_str()),
            unsubscribe: chat.unsubscribe.as_ref().map(|link| link.as_str()),
        }
    }
}

impl LineView {
    fn new(line: &UnreadLine, texts: bool) -> Self {
        let text = line.body.as_ref().filter(|_| texts);
        Self {
            author: one_line(line.author_name.as_str(), NAME),
            text: text.map(|body| several_lines(body.as_str(), TEXT.0, TEXT.1)),
            at: line.at.to_string(),
        }
    }
}

/// The one who wrote last comes first.
fn authors(lines: &[LineView]) -> Vec<String> {
    let mut authors: Vec<String> = Vec::new();
    for line in lines.iter().rev() {
        if authors.len() < AUTHORS && !authors.contains(&line.author) {
            authors.push(line.author.clone());
        }
    }
    authors
}

impl Valid {
    const fn of(duration: Duration) -> Self {
        let minutes = duration.as_secs() / 60;
        match minutes {
            0 => Self { unit: "minutes", n: 1 },
            _ if minutes.is_multiple_of(24 * 60) => Self { unit: "days", n: minutes / (24 * 60) },
            _ if minutes.is_multiple_of(60) => Self { unit: "hours", n: minutes / 60 },
            _ => Self { unit: "minutes", n: minutes },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_valid_for_whole_units() {
        for (seconds, unit, n) in [
            (0, "minutes", 1),
            (59, "minutes", 1),
            (1800, "minutes", 30),
            (3600, "hours", 1),
            (5400, "minutes", 90),
            (86_400, "days", 1),
            (90_000, "hours", 25),
        ] {
            assert_eq!(Valid::of(Duration::from_secs(seconds)), Valid { unit, n }, "{seconds}");
        }
    }
}
