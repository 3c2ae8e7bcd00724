//! Notifications of each kind, by which templates are tried before they are needed.

use std::time::Duration;

use messenger_core::{
    ChatId, DisplayName, EmailAddress, Language, Link, MessageBody, Seq, Timestamp, Title, UserId,
    ports::{
        AddressChanged, AddressConfirmation, ChatName, ClaimId, Notice, Notification, PasswordReset,
        Recipient, UnreadChat, UnreadDigest, UnreadLine,
    },
};

pub(crate) fn all() -> Vec<Notification> {
    let valid_for = Duration::from_secs(30 * 60);
    // All addresses of samples can be parsed; without one there is a sample less.
    let link = || Link::parse("https://chat.example.org/abc").ok();
    let mut notices = vec![
        Notice::Unread(digest(
            vec![chat(ChatName::Direct(DisplayName::trusted("Bob")), 1, link())],
            0,
            link(),
        )),
        Notice::Unread(digest(
            vec![
                chat(ChatName::Group(Title::trusted("Engine")), 5, link()),
                chat(ChatName::Direct(DisplayName::trusted("Bob")), 2, None),
            ],
            3,
            None,
        )),
        Notice::AddressChanged(AddressChanged {
            new_email: EmailAddress::trusted("ada@example.net"),
            link: link(),
        }),
        Notice::AddressChanged(AddressChanged {
            new_email: EmailAddress::trusted("ada@example.net"),
            link: None,
        }),
    ];
    notices.extend(link().map(|link| Notice::ConfirmAddress(AddressConfirmation { link, valid_for })));
    notices.extend(link().map(|link| Notice::ResetPassword(PasswordReset { link, valid_for })));
    notices.into_iter().map(notification).collect()
}

fn notification(notice: Notice) -> Notification {
    Notification {
        claim: ClaimId::from_bytes([1; 16]),
        at: Timestamp::from_micros(0),
        to: Recipient {
            user: UserId::from_bytes([2; 16]),
            email: EmailAddress::trusted("ada@example.org"),
            display_name: DisplayName::trusted("Ada"),
            language: Language::trusted("en"),
        },
        notice,
    }
}

fn digest(chats: Vec<UnreadChat>, further_chats: u32, unsubscribe: Option<Link>) -> UnreadDigest {
    let unread = chats.iter().map(|chat| chat.unread).sum::<u64>() + u64::from(further_chats);
    UnreadDigest { unread, chats, further_chats, unsubscribe }
}

fn chat(name: ChatName, unread: u64, link: Option<Link>) -> UnreadChat {
    let line = UnreadLine {
        seq: Seq::new(1),
        at: Timestamp::from_micros(0),
        author: UserId::from_bytes([4; 16]),
        author_name: DisplayName::trusted("Bob"),
        body: Some(MessageBody::trusted("Hello")),
    };
    UnreadChat {
        chat: ChatId::from_bytes([3; 16]),
        name,
        unread,
        lines: vec![line],
        unsubscribe: link.clone(),
        link,
    }
}
