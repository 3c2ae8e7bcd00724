use std::fmt;

use serde::Serialize;

use super::ChatId;

/// An address on the web, for one person's eyes: it may hold a secret, so `Debug` does not show it.
///
/// ```
/// use messenger_core::Link;
///
/// let link = Link::parse("https://chat.example.org/reset?token=secret").unwrap();
/// assert_eq!(format!("{link:?}"), "Link(…)");
/// assert!(Link::parse("javascript:alert(1)").is_err());
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Link(Box<str>);

/// Where the API of a deployment is for people outside, such as `https://chat.example.org`: what links in mails begin with.
///
/// ```
/// use messenger_core::PublicUrl;
///
/// let url = PublicUrl::parse("https://chat.example.org/api/").unwrap();
/// assert_eq!(url.link("unsubscribe", "abc").as_str(), "https://chat.example.org/api/unsubscribe?token=abc");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl(Box<str>);

/// Where a chat is opened: an address with `{chat}` in the place of the chat's id.
///
/// ```
/// use messenger_core::{Chat, ChatLink, context::Context};
///
/// let pattern = ChatLink::parse("https://chat.example.org/#/chats/{chat}").unwrap();
/// let chat = Context::fixed().id::<Chat>();
/// assert_eq!(pattern.to(chat).as_str(), format!("https://chat.example.org/#/chats/{chat}"));
/// assert!(ChatLink::parse("https://chat.example.org/").is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatLink(Box<str>);

/// An address that can't be used in a link. It says what is wrong, and not what the address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidLink {
    /// It is not one of the web, with a host and without spaces.
    #[error("an address such as https://chat.example.org is expected")]
    Address,
    /// A base has a query or a fragment.
    #[error("an address without `?` and `#` is expected")]
    Query,
    /// A pattern does not have `{{chat}}` after the host, exactly once.
    #[error(
        "an address with `{{chat}}` once after the host is expected, such as https://chat.example.org/{{chat}}"
    )]
    Placeholder,
}

const CHAT: &str = "{chat}";

impl Link {
    /// Checks an address: `http://` or `https://` with a host, of visible ASCII without quotes and angle brackets.
    ///
    /// # Errors
    /// [`InvalidLink::Address`].
    pub fn parse(text: &str) -> Result<Self, InvalidLink> {
        after_host(text)?;
        Ok(Self(text.into()))
    }

    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl PublicUrl {
    /// Checks an address that others are made of. A slash at its end makes no difference.
    ///
    /// # Errors
    /// [`InvalidLink`] says what is wrong.
    pub fn parse(text: &str) -> Result<Self, InvalidLink> {
        after_host(text)?;
        if text.contains(['?', '#']) {
            return Err(InvalidLink::Query);
        }
        Ok(Self(text.trim_end_matches('/').into()))
    }

    /// The address of a page below with a token, which is of letters that need no escaping, such as base64url.
    pub fn link(&self, page: &str, token: &str) -> Link {
        Link(format!("{}/{page}?token={token}", self.0).into())
    }

    /// The address, without a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ChatLink {
    /// Checks a pattern.
    ///
    /// # Errors
    /// [`InvalidLink`] says what is wrong.
    pub fn parse(text: &str) -> Result<Self, InvalidLink> {
        let rest = after_host(text)?;
        if text.matches(CHAT).count() != 1 || !rest.contains(CHAT) {
            return Err(InvalidLink::Placeholder);
        }
        Ok(Self(text.into()))
    }

    /// The address of this chat.
    pub fn to(&self, chat: ChatId) -> Link {
        Link(self.0.replace(CHAT, &chat.to_string()).into())
    }
}

/// What comes after the host of an address that may stand in a header, in HTML and in text as it is.
fn after_host(text: &str) -> Result<&str, InvalidLink> {
    let plain = text.bytes().all(|b| b.is_ascii_graphic() && !b"\"'<>\\^`".contains(&b));
    let rest = ["https://", "http://"].iter().find_map(|scheme| text.strip_prefix(scheme));
    let (true, Some(rest)) = (plain, rest) else { return Err(InvalidLink::Address) };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    let has_host = authority.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[');
    // Nobody needs a login in a link, and some are deceived by one.
    if has_host && !authority.contains('@') { Ok(rest) } else { Err(InvalidLink::Address) }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Link(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_an_address_of_the_web() {
        for good in ["https://a", "http://127.0.0.1:8080/x?y=1#z", "https://[::1]:1/", "https://a/{chat}"] {
            assert_eq!(Link::parse(good).unwrap().as_str(), good);
        }
        let bad = [
            "",
            "a",
            "https://",
            "https:///x",
            "https://?",
            "javascript:alert(1)",
            "HTTPS://a",
            "ftp://a",
            "https://a b",
            "https://a\r\nX: y",
            "https://a\"b",
            "https://a<b",
            "https://ä",
            "https://u:p@a/",
            "https://:1/",
        ];
        for bad in bad {
            assert_eq!(Link::parse(bad).unwrap_err(), InvalidLink::Address, "{bad:?}");
        }
    }

    #[test]
    fn pages_are_below_the_public_address() {
        for (base, page) in [("https://a", "https://a/p?token=t"), ("https://a/b//", "https://a/b/p?token=t")]
        {
            assert_eq!(PublicUrl::parse(base).unwrap().link("p", "t").as_str(), page);
        }
        for bad in ["https://a?b", "https://a/#"] {
            assert_eq!(PublicUrl::parse(bad).unwrap_err(), InvalidLink::Query);
        }
    }

    #[test]
    fn a_pattern_has_the_chat_once_and_after_the_host() {
        let chat = ChatId::from_bytes([7; 16]);
        let link = ChatLink::parse("https://a/?chat={chat}&x").unwrap().to(chat);
        assert_eq!(link.as_str(), format!("https://a/?chat={chat}&x"));
        for bad in ["https://a/", "https://a/{chat}/{chat}", "https://a{chat}.b/", "https://a/{CHAT}"] {
            assert_eq!(ChatLink::parse(bad).unwrap_err(), InvalidLink::Placeholder, "{bad}");
        }
        assert_eq!(ChatLink::parse("a/{chat}").unwrap_err(), InvalidLink::Address);
    }
}
