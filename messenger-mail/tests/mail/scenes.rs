//! Notifications to make mails of.

use std::time::Duration;

use messenger_core::{
    ChatId, ChatLink, DisplayName, EmailAddress, Language, Link, LinkKeys, MessageBody, PublicUrl, Seq,
    Timestamp, Title, Unsubscribe, UnsubscribeScope, UserId,
    ports::{
        AddressChanged, AddressConfirmation, ChatName, ClaimId, Notice, Notification, PasswordReset,
        Recipient, UnreadChat, UnreadDigest, UnreadLine,
    },
};

pub(crate) const USER: UserId = UserId::from_bytes([2; 16]);

pub(crate) fn notification(language: &str, notice: Notice) -> Notification {
    Notification {
        claim: ClaimId::from_bytes([1; 16]),
        at: Timestamp::from_micros(1_780_000_000_000_000),
        to: Recipient {
            user: USER,
            email: EmailAddress::trusted("ada@example.org"),
            display_name: DisplayName::trusted(if language == "ru" {
                "Ада Лавлейс"
            } else {
                "Ada Lovelace"
            }),
            language: Language::trusted(language),
        },
        notice,
    }
}

/// A chat with these lines (who and what), of which there are as many as are unread.
pub(crate) fn chat(number: u8, name: ChatName, lines: &[(&str, &str)]) -> UnreadChat {
    let line = |(author, body): &(&str, &str)| UnreadLine {
        seq: Seq::new(1),
        at: Timestamp::from_micros(1_780_000_000_000_000),
        author: UserId::from_bytes([4; 16]),
        author_name: DisplayName::trusted(*author),
        body: Some(MessageBody::trusted(*body)),
    };
    let id = ChatId::from_bytes([number; 16]);
    UnreadChat {
        chat: id,
        name,
        unread: lines.len() as u64,
        lines: lines.iter().map(line).collect(),
        link: ChatLink::parse("https://chat.example.org/#/chats/{chat}").ok().map(|pattern| pattern.to(id)),
        unsubscribe: Some(unsubscribe(UnsubscribeScope::Chat(id))),
    }
}

pub(crate) fn direct(name: &str) -> ChatName {
    ChatName::Direct(DisplayName::trusted(name))
}

pub(crate) fn group(title: &str) -> ChatName {
    ChatName::Group(Title::trusted(title))
}

pub(crate) fn unread(chats: Vec<UnreadChat>, further_chats: u32) -> Notice {
    let unread = chats.iter().map(|chat| chat.unread).sum::<u64>() + u64::from(further_chats);
    let unsubscribe = Some(unsubscribe(UnsubscribeScope::Everything));
    Notice::Unread(UnreadDigest { unread, chats, further_chats, unsubscribe })
}

fn unsubscribe(scope: UnsubscribeScope) -> Link {
    let token = Unsubscribe { user: USER, scope }.sign(&LinkKeys::new(&[7; 32]).unwrap());
    PublicUrl::parse("https://chat.example.org").unwrap().link("unsubscribe", &token)
}

fn without_texts(mut notice: Notice) -> Notice {
    if let Notice::Unread(digest) = &mut notice {
        for line in digest.chats.iter_mut().flat_map(|chat| &mut chat.lines) {
            line.body = None;
        }
    }
    notice
}

fn one_chat(russian: bool) -> Notice {
    let (name, text) = if russian {
        ("Чарльз Бэббидж", "Вы уже видели чертежи?")
    } else {
        ("Charles Babbage", "Have you seen the drawings?")
    };
    unread(vec![chat(3, direct(name), &[(name, text)])], 0)
}

fn several_chats(russian: bool) -> Notice {
    let mut engine = if russian {
        chat(
            5,
            group("Аналитическая машина"),
            &[
                ("Чарльз Бэббидж", "Колёса готовы.\nОсталось придумать, что на них считать: числа Бернулли?"),
                ("Мэри Сомервилль", "Я начну с таблицы. 📐"),
                ("שרה", "שלום לכולם, אני מצטרפת"),
            ],
        )
    } else {
        chat(
            5,
            group("Analytical Engine"),
            &[
                (
                    "Charles Babbage",
                    "The wheels are ready.\nWhat is left is to think of something to reckon on them: Bernoulli numbers?",
                ),
                ("Mary Somerville", "I'll begin with the table. 📐"),
                ("שרה", "שלום לכולם, אני מצטרפת"),
            ],
        )
    };
    engine.unread = 21;
    let quiet = chat(6, direct("ليلى"), &[("ليلى", "مرحبا! كيف حالك؟")]);
    let long = chat(
        7,
        direct(if russian { "Майкл Фарадей" } else { "Michael Faraday" }),
        &[
            (
                "-",
                "https://example.org/a-very-long-address-without-any-place-to-break-it-which-has-to-fit-onto-a-phone/0123456789",
            ),
            (
                "-",
                if russian {
                    "Это про магниты. <b>Очень</b> важно & срочно"
                } else {
                    "It is about magnets. <b>Very</b> important & urgent"
                },
            ),
        ],
    );
    unread(vec![engine, quiet, long], 2)
}

/// Each kind of mail, with a name.
pub(crate) fn all(language: &str) -> Vec<(&'static str, Notification)> {
    let russian = language == "ru";
    let link = |path: &str| Link::parse(&format!("https://chat.example.org/{path}")).unwrap();
    let notices = [
        ("one-chat", one_chat(russian)),
        ("several-chats", several_chats(russian)),
        ("without-texts", without_texts(several_chats(russian))),
        (
            "confirm-address",
            Notice::ConfirmAddress(AddressConfirmation {
                link: link("confirm/3q2-7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
                valid_for: Duration::from_secs(86_400),
            }),
        ),
        (
            "address-changed",
            Notice::AddressChanged(AddressChanged {
                new_email: EmailAddress::trusted("countess@example.net"),
                link: Some(link("help")),
            }),
        ),
        (
            "reset-password",
            Notice::ResetPassword(PasswordReset {
                link: link("reset/3q2-7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
                valid_for: Duration::from_secs(1800),
            }),
        ),
    ];
    notices.map(|(name, notice)| (name, notification(language, notice))).into()
}
