use std::{fmt, time::Duration};

use async_trait::async_trait;
use serde::Serialize;

use crate::domain::{
    ChatId, DisplayName, EmailAddress, Id, Language, Link, MessageBody, Seq, Timestamp, Title, UserId,
};

/// Tells a person something outside of the chat: by mail, or by what else a host has.
///
/// It is called by a job, which tries again after [`NotifyError::Unavailable`], with pauses that grow, on this node or another.
///
/// ```
/// use async_trait::async_trait;
/// use messenger_core::ports::{Notice, Notification, Notifier, NotifyError};
///
/// struct Push;
///
/// #[async_trait]
/// impl Notifier for Push {
///     async fn notify(&self, notification: &Notification) -> Result<(), NotifyError> {
///         if let Notice::Unread(digest) = &notification.notice {
///             println!("{}: {} unread", notification.to.user, digest.unread);
///         }
///         Ok(())
///     }
/// }
/// ```
#[async_trait]
pub trait Notifier: Send + Sync + 'static {
    /// Delivers it, or gives it to somebody who has taken over to deliver it.
    ///
    /// It may be called again with the same [`claim`](Notification::claim), after an error or after a crash that has lost the answer:
    /// what is delivered then is the same thing, and can be known to be by its claim. It ends within three minutes, whatever the other side
    /// does, and may be dropped at any time.
    ///
    /// # Errors
    /// [`NotifyError`] says whether another try can help.
    async fn notify(&self, notification: &Notification) -> Result<(), NotifyError>;
}

/// What one person is to be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Notification {
    /// Identifies it over all tries, and everywhere: the Message-ID of a mail is made of it.
    pub claim: ClaimId,
    /// When it was decided on; the same for each try.
    pub at: Timestamp,
    /// Whom.
    pub to: Recipient,
    /// What.
    pub notice: Notice,
}

/// The kind of a [`ClaimId`]; has no values.
#[derive(Debug)]
pub enum Claim {}

/// The id of the claim by which a notification was decided on.
pub type ClaimId = Id<Claim>;

/// Whom a notification is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Recipient {
    /// The account.
    pub user: UserId,
    /// Where mail goes: the account's address, or the former one for [`Notice::AddressChanged`] and the new one for
    /// [`Notice::ConfirmAddress`].
    pub email: EmailAddress,
    /// The person's own name.
    pub display_name: DisplayName,
    /// The language that the person reads.
    pub language: Language,
}

/// What a person is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
#[non_exhaustive]
pub enum Notice {
    /// What has been unread for a while, over several chats.
    Unread(UnreadDigest),
    /// The address is to be confirmed, after registering or changing it.
    ConfirmAddress(AddressConfirmation),
    /// Told to the former address after the account got another.
    AddressChanged(AddressChanged),
    /// A forgotten password can be set anew.
    ResetPassword(PasswordReset),
}

impl Notice {
    /// The stable name of the kind, for logs and metrics.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Unread(_) => "unread",
            Self::ConfirmAddress(_) => "confirmAddress",
            Self::AddressChanged(_) => "addressChanged",
            Self::ResetPassword(_) => "resetPassword",
        }
    }
}

/// What one person has not read, by chat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UnreadDigest {
    /// How many messages in all, in the chats that are named and in the others.
    pub unread: u64,
    /// The chats, the one with the newest message first. At least one.
    pub chats: Vec<UnreadChat>,
    /// How many more chats have unread messages.
    pub further_chats: u32,
    /// Where mail of this kind is ended: a page that asks, and ends it at once for a `POST` as RFC 8058 has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unsubscribe: Option<Link>,
}

/// A chat in which something is unread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UnreadChat {
    /// The chat.
    pub chat: ChatId,
    /// What it is called.
    pub name: ChatName,
    /// How many messages are unread in it, those included of which there is no line. At least one.
    pub unread: u64,
    /// The newest of them, in the order in which they were sent.
    pub lines: Vec<UnreadLine>,
    /// Where the chat is opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<Link>,
    /// Where mail about this chat alone is ended, as [`UnreadDigest::unsubscribe`] is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unsubscribe: Option<Link>,
}

/// What a chat is called, to the person who is told of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", content = "name", rename_all = "camelCase")]
pub enum ChatName {
    /// The name of the other person.
    Direct(DisplayName),
    /// The title of the group.
    Group(Title),
}

/// One unread message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UnreadLine {
    /// Its place in the chat.
    pub seq: Seq,
    /// When it was sent.
    pub at: Timestamp,
    /// Who sent it.
    pub author: UserId,
    /// The author's name.
    pub author_name: DisplayName,
    /// Its text; absent where the deployment keeps texts out of notifications.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<MessageBody>,
}

/// How an address is confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AddressConfirmation {
    /// Where, with a secret in it.
    pub link: Link,
    /// For how long after [`Notification::at`]; in JSON seconds.
    #[serde(serialize_with = "seconds")]
    pub valid_for: Duration,
}

/// What the former address is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AddressChanged {
    /// The new address, which is not to be shown in full to who reads the former one.
    pub new_email: EmailAddress,
    /// Where somebody who did not do this finds help.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<Link>,
}

/// How a password is set anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PasswordReset {
    /// Where, with a secret in it.
    pub link: Link,
    /// For how long after [`Notification::at`]; in JSON seconds.
    #[serde(serialize_with = "seconds")]
    pub valid_for: Duration,
}

fn seconds<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(duration.as_secs())
}

/// Why a notification was not delivered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotifyError {
    /// It was refused, and will be again.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It could not be delivered now; another try may succeed. It may have been delivered although the answer was lost.
    #[error("the notification could not be delivered now")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A refusal for good. `Display` and `Debug` don't show the text, which may say whose address it is.
///
/// ```
/// use messenger_core::ports::{Refusal, Refused};
///
/// let refusal = Refusal { what: Refused::Address, code: Some(550), text: "5.1.1 no such user".to_owned() };
/// assert_eq!(refusal.to_string(), "the address was refused (550)");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What was refused.
    pub what: Refused,
    /// The code of the other side: a reply of SMTP (500 to 599) or a status of HTTP (300 to 499); none if it was not sent there.
    pub code: Option<u16>,
    /// What the other side said, shortened, without the address.
    pub text: String,
}

/// What a refusal is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refused {
    /// The person's address: there is no such mailbox, or it takes nothing. An address that was refused several times should be left alone.
    Address,
    /// What was sent, which may be the fault of its text, its size or its template.
    Content,
    /// Whoever sends, because of its log-in, its own address or its settings: everybody's notifications are refused, and nobody's address
    /// is to blame.
    Sender,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.what {
            Refused::Address => "the address was refused",
            Refused::Content => "the notification was refused",
            Refused::Sender => "the sender was refused",
        })?;
        self.code.map_or(Ok(()), |code| write!(f, " ({code})"))
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refusal").field("what", &self.what).field("code", &self.code).finish_non_exhaustive()
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn link() -> Link {
        Link::parse("https://chat.example.org/secret").unwrap()
    }

    fn notification(notice: Notice) -> Notification {
        Notification {
            claim: ClaimId::from_bytes([1; 16]),
            at: Timestamp::from_micros(0),
            to: Recipient {
                user: UserId::from_bytes([2; 16]),
                email: EmailAddress::trusted("ada@secret"),
                display_name: DisplayName::trusted("secret Ada"),
                language: Language::trusted("en"),
            },
            notice,
        }
    }

    fn notices() -> [Notice; 4] {
        let chat = |name, body| UnreadChat {
            chat: ChatId::from_bytes([3; 16]),
            name,
            unread: 2,
            lines: vec![UnreadLine {
                seq: Seq::new(7),
                at: Timestamp::from_micros(0),
                author: UserId::from_bytes([4; 16]),
                author_name: DisplayName::trusted("secret Bob"),
                body,
            }],
            link: Some(link()),
            unsubscribe: None,
        };
        let direct = chat(ChatName::Direct(DisplayName::trusted("secret Bob")), None);
        let group =
            chat(ChatName::Group(Title::trusted("secret team")), Some(MessageBody::trusted("secret text")));
        let unsubscribe = Some(link());
        let valid_for = Duration::from_secs(1800);
        [
            Notice::Unread(UnreadDigest {
                unread: 4,
                chats: vec![direct, group],
                further_chats: 0,
                unsubscribe,
            }),
            Notice::ConfirmAddress(AddressConfirmation { link: link(), valid_for }),
            Notice::AddressChanged(AddressChanged {
                new_email: EmailAddress::trusted("bob@secret"),
                link: None,
            }),
            Notice::ResetPassword(PasswordReset { link: link(), valid_for }),
        ]
    }

    #[test]
    fn debug_shows_no_text_no_name_no_address_and_no_link() {
        for notice in notices() {
            let shown = format!("{:?}", notification(notice));
            assert!(!shown.contains("secret"), "{shown}");
        }
        let refusal = Refusal { what: Refused::Content, code: None, text: "secret".to_owned() };
        let error = NotifyError::from(refusal);
        assert!(!format!("{error:?} {error}").contains("secret"));
        assert_eq!(error.to_string(), "the notification was refused");
    }

    #[test]
    fn in_json_each_notice_says_its_kind() {
        for notice in notices() {
            let kind = notice.kind();
            let json = serde_json::to_value(notification(notice)).unwrap();
            assert_eq!(json["notice"]["kind"], kind);
        }
    }

    #[test]
    fn in_json_what_is_absent_is_left_out() {
        let [unread, .., reset] = notices().map(|notice| serde_json::to_value(notice).unwrap());
        assert_eq!(unread["chats"][0]["name"], json!({ "kind": "direct", "name": "secret Bob" }));
        assert_eq!(unread["chats"][0]["lines"][0].get("body"), None);
        assert_eq!(unread["chats"][1]["lines"][0]["body"], "secret text");
        assert_eq!(unread["chats"][0].get("unsubscribe"), None);
        assert_eq!(reset, json!({ "kind": "resetPassword", "link": link().as_str(), "validFor": 1800 }));
    }
}
