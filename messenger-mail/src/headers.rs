use lettre::message::header::{HeaderName, HeaderValue};
use messenger_core::{
    Link,
    ports::{Notice, Notification, UnreadDigest},
};

/// What a mail has besides who, when and what.
pub(crate) fn of(notification: &Notification, domain: &str, list_id: &str) -> Vec<HeaderValue> {
    let mut headers = vec![
        // RFC 3834: an answer of a machine goes to nobody.
        header(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned()),
        header(HeaderName::new_from_ascii_str("X-Auto-Response-Suppress"), "All".to_owned()),
    ];
    if let Notice::Unread(digest) = &notification.notice {
        let thread = thread(notification, digest, domain);
        headers.push(header(HeaderName::new_from_ascii_str("In-Reply-To"), thread.clone()));
        headers.push(header(HeaderName::new_from_ascii_str("References"), thread));
        headers.push(header(HeaderName::new_from_ascii_str("List-Id"), format!("<{list_id}>")));
        headers.extend(digest.unsubscribe.as_ref().map(unsubscribe).into_iter().flatten());
    }
    headers
}

/// Mails about one chat are in one thread, and those about several in another: the parent of them all, which nobody has.
fn thread(notification: &Notification, digest: &UnreadDigest, domain: &str) -> String {
    let user = notification.to.user;
    match &*digest.chats {
        [only] if digest.further_chats == 0 => format!("<{}.{user}@{domain}>", only.chat),
        _ => format!("<unread.{user}@{domain}>"),
    }
}

/// RFC 2369 and RFC 8058. The latter is for `https` alone.
fn unsubscribe(link: &Link) -> Vec<HeaderValue> {
    let mut headers = vec![header(
        HeaderName::new_from_ascii_str("List-Unsubscribe"),
        format!("<{}>", link.as_str().replace(',', "%2C")),
    )];
    if link.as_str().starts_with("https://") {
        let one_click = "List-Unsubscribe=One-Click".to_owned();
        headers.push(header(HeaderName::new_from_ascii_str("List-Unsubscribe-Post"), one_click));
    }
    headers
}

/// Whether it may stand in a header: a name as that of a host.
pub(crate) fn is_list_id(name: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    (1..=255).contains(&name.len()) && name.bytes().all(is_plain)
}

/// A header that goes as it is. All of them are made of ids, checked links and checked names: visible ASCII without line breaks.
fn header(name: HeaderName, value: String) -> HeaderValue {
    HeaderValue::dangerous_new_pre_encoded(name, value.clone(), value)
}
