use std::cmp::Reverse;

use http::{HeaderMap, header};
use messenger_core::UnsubscribeScope;

/// What the pages say, in one language.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Words {
    pub(super) language: &'static str,
    pub(super) would_end: Text,
    pub(super) button: &'static str,
    pub(super) ended: Text,
    pub(super) no_link: Text,
    all: Scope,
    chat: Scope,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) title: &'static str,
    /// Where what it is about follows.
    pub(super) line: &'static str,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Scope {
    /// What ends.
    pub(super) would_end: &'static str,
    /// What has ended.
    pub(super) ended: &'static str,
    /// How to have it again.
    pub(super) again: &'static str,
}

impl Words {
    pub(super) const fn of_scope(&self, scope: UnsubscribeScope) -> &Scope {
        match scope {
            UnsubscribeScope::Chat(_) => &self.chat,
            // A scope of a later release can't be in a token that this one takes.
            _ => &self.all,
        }
    }

    /// In the language that the browser prefers (RFC 9110, section 12.5.4), else in English.
    pub(super) fn of(headers: &HeaderMap) -> &'static Self {
        let accepted =
            headers.get_all(header::ACCEPT_LANGUAGE).iter().filter_map(|value| value.to_str().ok());
        let ranges = accepted.flat_map(|value| value.split(',')).filter_map(range);
        // The first of those that are preferred alike.
        let best = ranges.min_by_key(|(_, quality)| Reverse(*quality));
        best.map_or(&ENGLISH, |(words, _)| words)
    }
}

/// The words of a language range, and how much it is preferred, in thousandths.
fn range(text: &str) -> Option<(&'static Words, u16)> {
    let mut parts = text.split(';').map(str::trim);
    let language = parts.next()?.split('-').next()?.to_ascii_lowercase();
    let words = match language.as_str() {
        "en" => &ENGLISH,
        "ru" => &RUSSIAN,
        _ => return None,
    };
    let quality = match parts.find_map(|part| part.strip_prefix("q=")) {
        Some(number) => number.parse::<f32>().ok().filter(|number| (0.0..=1.0).contains(number))?,
        None => 1.0,
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is from 0 to 1000")]
    let quality = (quality * 1000.0) as u16;
    (quality > 0).then_some((words, quality))
}

pub(super) static ENGLISH: Words = Words {
    language: "en",
    would_end: Text { title: "No more mail?", line: "You will get no more mail about" },
    button: "Unsubscribe",
    ended: Text { title: "Done", line: "You get no more mail about" },
    no_link: Text {
        title: "This link does not work",
        line: "It may be cut off, or from long ago. Take that of a newer mail, or turn mail off in your profile.",
    },
    all: Scope {
        would_end: "messages that stay unread.",
        ended: "messages that stay unread.",
        again: "To get it again, turn mail about unread messages on in your profile.",
    },
    chat: Scope {
        would_end: "what stays unread in this chat. Mail about other chats goes on.",
        ended: "what stays unread in this chat. Mail about other chats goes on.",
        again: "To get it again, turn notifications on in the menu of the chat.",
    },
};

pub(super) static RUSSIAN: Words = Words {
    language: "ru",
    would_end: Text {
        title: "Больше не присылать писем?", line: "Мы перестанем присылать письма"
    },
    button: "Отписаться",
    ended: Text {
        title: "Готово", line: "Мы больше не будем присылать письма"
    },
    no_link: Text {
        title: "Ссылка не работает",
        line: "Возможно, она обрезана или устарела. Возьмите ссылку из более нового письма или отключите письма в профиле.",
    },
    all: Scope {
        would_end: "о непрочитанных сообщениях.",
        ended: "о непрочитанных сообщениях.",
        again: "Чтобы снова получать их, включите в профиле письма о непрочитанных сообщениях.",
    },
    chat: Scope {
        would_end: "о непрочитанном в этом чате. Письма о других чатах останутся.",
        ended: "о непрочитанном в этом чате. Письма о других чатах останутся.",
        again: "Чтобы снова получать их, включите уведомления в меню чата.",
    },
};

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_language_is_that_which_is_preferred_of_those_there_are() {
        for (accepted, language) in [
            ("", "en"),
            ("de, fr", "en"),
            ("ru", "ru"),
            ("ru-RU, en;q=0.9", "ru"),
            ("EN-us,ru;q=0.8", "en"),
            ("de, en;q=0.3, ru;q=0.4", "ru"),
            ("ru;q=0, en;q=0.1", "en"),
            ("ru, en", "ru"),
            ("en, ru", "en"),
            ("ru;q=x, en;q=0.1", "en"),
            ("ru;q=NaN, en;q=0.1", "en"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_LANGUAGE, HeaderValue::from_str(accepted).unwrap());
            assert_eq!(Words::of(&headers).language, language, "{accepted}");
        }
        assert_eq!(Words::of(&HeaderMap::new()), &ENGLISH);
    }
}
