//! What mails look like.

use messenger_core::{
    DisplayName, EmailAddress, Language,
    ports::{Notice, Notification, NotifyError, Refused},
};
use messenger_mail::{Composer, ComposerError, Mail};

use crate::scenes::{self, chat, direct, group, notification, unread};

fn composer() -> Composer {
    Composer::builder("Chat <chat@example.org>").build().unwrap()
}

fn compose(notification: &Notification) -> Mail {
    composer().compose(notification).unwrap()
}

fn raw(mail: &Mail) -> String {
    String::from_utf8(mail.as_bytes().to_vec()).unwrap()
}

/// The lines before the first empty one, with those that go on joined.
fn headers(mail: &Mail) -> Vec<String> {
    let raw = raw(mail);
    let (headers, _) = raw.split_once("\r\n\r\n").unwrap();
    headers.replace("\r\n ", " ").split("\r\n").map(str::to_owned).collect()
}

fn header(mail: &Mail, name: &str) -> Option<String> {
    let prefix = format!("{name}: ");
    let mut found = headers(mail).into_iter().filter_map(|line| Some(line.strip_prefix(&prefix)?.to_owned()));
    let first = found.next();
    assert_eq!(found.next(), None, "{name} twice");
    first
}

/// One unread message of `name` with this text.
fn from(name: &str, text: &str) -> Notification {
    notification("en", unread(vec![chat(3, direct(name), &[(name, text)])], 0))
}

#[test]
fn each_mail_in_each_language() {
    for language in ["en", "ru"] {
        for (name, notification) in scenes::all(language) {
            let mail = compose(&notification);
            let shown = format!("{}\n\n{}", mail.subject(), mail.text());
            insta::assert_snapshot!(format!("{name}.{language}.txt"), shown);
        }
    }
}

#[test]
fn html_of_a_mail() {
    let (_, notification) = scenes::all("ru").swap_remove(1);
    insta::assert_snapshot!("several-chats.ru.html", compose(&notification).html());
}

#[test]
fn headers_of_each_mail() {
    for (name, notification) in scenes::all("en") {
        insta::assert_snapshot!(format!("{name}.headers"), headers(&compose(&notification)).join("\n"));
    }
}

#[test]
fn a_mail_is_the_same_bytes_each_time() {
    for (_, notification) in scenes::all("ru") {
        assert_eq!(compose(&notification).as_bytes(), compose(&notification).as_bytes());
    }
}

#[test]
fn numbers_have_the_right_forms() {
    for (language, forms) in [
        ("en", [(1, "1 unread message\n"), (2, "2 unread messages\n"), (21, "21 unread messages\n")]),
        (
            "ru",
            [
                (1, "1 непрочитанное сообщение\n"),
                (3, "3 непрочитанных сообщения\n"),
                (11, "11 непрочитанных сообщений\n"),
            ],
        ),
        (
            "ru-ru",
            [
                (21, "21 непрочитанное сообщение\n"),
                (102, "102 непрочитанных сообщения\n"),
                (112, "112 непрочитанных сообщений\n"),
            ],
        ),
    ] {
        for (number, form) in forms {
            let mut chat = chat(3, direct("Bob"), &[("Bob", "x")]);
            chat.unread = number;
            let mail = compose(&notification(language, unread(vec![chat], 0)));
            assert!(mail.text().starts_with(form), "{language} {number}: {}", mail.text());
        }
    }
}

#[test]
fn a_language_without_words_is_english() {
    for (language, word) in
        [("ru-latn-ru", "непрочитанное"), ("de", "Unread"), ("en-gb", "Unread"), ("r", "Unread")]
    {
        let mail = compose(&notification(language, unread(vec![chat(3, direct("B"), &[("B", "x")])], 0)));
        assert!(mail.subject().contains(word), "{language}: {}", mail.subject());
    }
}

#[test]
fn html_in_names_and_texts_is_text() {
    let evil = r#"<img src=x onerror="alert(1)"> & 'x' {{ subject }} {% raw %}"#;
    let mut it = from(evil, evil);
    it.to.display_name = DisplayName::trusted(evil);
    let group = notification("en", unread(vec![chat(3, group(evil), &[(evil, evil)])], 0));
    for notification in [it, group] {
        let mail = compose(&notification);
        assert!(!mail.html().contains("<img"), "{}", mail.html());
        assert!(mail.html().contains("&lt;img"));
        assert!(mail.html().contains("{{ subject }} {% raw %}") && mail.text().contains(evil));
    }
    for (_, notification) in scenes::all("en") {
        let mut notification = notification;
        notification.to.display_name = DisplayName::trusted(evil);
        assert!(!compose(&notification).html().contains("<img"));
    }
}

#[test]
fn no_name_makes_a_header() {
    let evil = "Bob\r\nBcc: eve@example.org\r\n\r\n<html>";
    let mut it = from(evil, evil);
    it.to.display_name = DisplayName::trusted(evil);
    let group = notification("en", unread(vec![chat(3, group(evil), &[(evil, evil)])], 0));
    for mut notification in [it, group] {
        notification.to.display_name = DisplayName::trusted(evil);
        let mail = compose(&notification);
        let names: Vec<_> =
            headers(&mail).iter().map(|line| line.split(':').next().unwrap().to_owned()).collect();
        let expected = [
            "From",
            "To",
            "Date",
            "Message-ID",
            "Subject",
            "Auto-Submitted",
            "X-Auto-Response-Suppress",
            "In-Reply-To",
            "References",
            "List-Id",
            "List-Unsubscribe",
            "List-Unsubscribe-Post",
            "MIME-Version",
            "Content-Type",
        ];
        assert_eq!(names, expected);
        assert!(mail.subject().contains("Bob Bcc: eve@example.org"), "{}", mail.subject());
    }
}

#[test]
fn an_address_with_a_header_in_it_is_refused() {
    for address in [
        "ada@example.org\r\nBcc: eve@example.org",
        "ada@example.org>\r\nX: y",
        "a b@example.org",
        "",
        "ada",
        "@x",
    ] {
        let mut notification = from("Bob", "x");
        notification.to.email = EmailAddress::trusted(address);
        let error = composer().compose(&notification).unwrap_err();
        assert!(matches!(error, ComposerError::Recipient), "{address:?}: {error:?}");
        let NotifyError::Refused(refusal) = error.into() else { panic!("{address:?}") };
        assert_eq!((refusal.what, refusal.code), (Refused::Address, None));
    }
}

#[test]
fn what_is_long_is_cut_between_letters() {
    let family = "👨‍👩‍👧‍👦";
    let mail = compose(&from(&family.repeat(200), &family.repeat(2000)));
    assert_eq!(mail.subject(), format!("Unread from {}…", family.repeat(59)));
    let whole = format!("{}…", family.repeat(499));
    assert!(mail.text().contains(&whole) && mail.html().contains(&whole));
    assert!(!mail.text().contains(&family.repeat(500)));
    let lines = compose(&from("Bob", &"line\n".repeat(500)));
    assert_eq!(lines.text().matches("line").count(), 10);
}

#[test]
fn many_chats_are_counted() {
    let lines: Vec<_> = (0..50).map(|_| ("Bob", "hello there")).collect();
    let chats: Vec<_> = (0..50).map(|number| chat(number, group("Team"), &lines)).collect();
    let mail = compose(&notification("en", unread(chats, 7)));
    assert_eq!(mail.subject(), "Unread in 57 chats");
    assert_eq!(mail.text().matches("Team: 50 unread messages").count(), 20);
    assert_eq!(mail.text().matches("hello there").count(), 200);
    assert!(mail.text().contains("40 earlier messages") && mail.text().contains("and 37 more chats"));
}

#[test]
fn a_name_that_runs_the_other_way_keeps_to_itself() {
    let mail = compose(&from("\u{202e}שרה\u{2069}", "שלום"));
    assert_eq!(mail.subject(), "Unread from \u{2068}שרה\u{2069}");
    assert!(mail.text().contains("\n\u{2068}שרה\u{2069}\n"));
    assert!(!raw(&mail).contains('\u{202e}') && !mail.html().contains('\u{202e}'));
    assert!(mail.html().contains("<bdi>שרה</bdi>") && mail.html().contains("dir=\"auto\""));
}

#[test]
fn without_texts_there_are_names_and_numbers() {
    let (_, notification) = scenes::all("en").swap_remove(1);
    let quiet = Composer::builder("chat@example.org").message_text(false).build().unwrap();
    for mail in [quiet.compose(&notification).unwrap(), compose(&scenes::all("en").swap_remove(2).1)] {
        for part in [mail.text(), mail.html()] {
            assert!(!part.contains("Bernoulli") && !part.contains("magnets"), "{part}");
            assert!(part.contains("Mary Somerville") && part.contains("21 unread messages"), "{part}");
        }
    }
}

#[test]
fn one_chat_has_a_thread_and_several_have_another() {
    let of = |notice: Notice| header(&compose(&notification("en", notice)), "References").unwrap();
    let one = |number| chat(number, direct("Bob"), &[("Bob", "x")]);
    let alone = of(unread(vec![one(3)], 0));
    assert_eq!(alone, of(unread(vec![one(3)], 0)));
    assert_ne!(alone, of(unread(vec![one(4)], 0)));
    let several = of(unread(vec![one(3), one(4)], 0));
    assert_eq!(several, of(unread(vec![one(4)], 2)), "and others that are not named");
    assert_ne!(alone, several);
}

#[test]
fn only_mail_that_can_be_ended_says_how() {
    let mail = compose(&from("Bob", "x"));
    let link = header(&mail, "List-Unsubscribe").unwrap();
    assert!(link.starts_with("<https://chat.example.org/unsubscribe?token=") && link.ends_with('>'));
    assert_eq!(header(&mail, "List-Unsubscribe-Post").unwrap(), "List-Unsubscribe=One-Click");
    let mut without = from("Bob", "x");
    let Notice::Unread(digest) = &mut without.notice else { panic!() };
    digest.unsubscribe = Some(messenger_core::Link::parse("http://127.0.0.1/unsubscribe/x").unwrap());
    let mail = compose(&without);
    assert!(header(&mail, "List-Unsubscribe").is_some());
    assert_eq!(header(&mail, "List-Unsubscribe-Post"), None, "one click is for https alone");
    let (_, reset) = scenes::all("en").pop().unwrap();
    for name in ["List-Unsubscribe", "List-Unsubscribe-Post", "List-Id", "References", "In-Reply-To"] {
        assert_eq!(header(&compose(&reset), name), None, "{name}");
    }
}

#[test]
fn no_line_is_longer_than_mail_allows() {
    for language in ["en", "ru"] {
        for (name, notification) in scenes::all(language) {
            let raw = raw(&compose(&notification));
            assert!(raw.is_ascii(), "{name}");
            let longest = raw.split("\r\n").map(str::len).max().unwrap();
            assert!(longest <= 998, "{name} {language}: {longest}");
            assert!(!raw.replace("\r\n", "").contains(['\r', '\n']), "{name}");
        }
    }
}

#[test]
fn a_host_replaces_templates_and_words_one_by_one() {
    let composer = Composer::builder("chat@example.org")
        .product("Engine room")
        .template("unread.subject.txt", "{{ product }}: {{ unread }}")
        .template("ru/unread.subject.txt", "{{ product }} — {{ t('unread.messages', n=unread) }}")
        .words("en", r#"{ "unread.open": "Go there" }"#)
        .build()
        .unwrap();
    let one = |language| {
        let chats = vec![chat(3, direct("Bob"), &[("Bob", "x")])];
        composer.compose(&notification(language, unread(chats, 0))).unwrap()
    };
    assert_eq!(one("en").subject(), "Engine room: 1");
    assert_eq!(one("ru").subject(), "Engine room — 1 непрочитанное сообщение");
    assert!(one("en").text().contains("Go there: https://") && one("en").html().contains("Go there"));
    assert!(one("ru").text().contains("Открыть чат"));
}

#[test]
fn a_host_adds_a_language_with_all_its_words() {
    let german = include_str!("../../src/words/en.json").replace("unread messages", "ungelesene Nachrichten");
    let composer = Composer::builder("chat@example.org").words("de", german).build().unwrap();
    let chats = vec![chat(3, direct("Bob"), &[("Bob", "x"), ("Bob", "y")])];
    let mail = composer.compose(&notification("de-at", unread(chats, 0))).unwrap();
    assert!(mail.text().starts_with("2 ungelesene Nachrichten"));
    assert!(mail.html().contains("<html lang=\"de\" dir=\"ltr\">"));
    let hebrew = include_str!("../../src/words/en.json");
    let composer = Composer::builder("chat@example.org").words("he", hebrew).build().unwrap();
    let mail =
        composer.compose(&notification("he", unread(vec![chat(3, direct("Bob"), &[("Bob", "x")])], 0)));
    let mail = mail.unwrap();
    assert!(mail.html().contains("dir=\"rtl\"") && mail.subject().contains("\u{2068}Bob\u{2069}"));
}

#[test]
fn templates_of_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("unread.subject.txt", "All: {{ unread }}");
    write("ru/unread.subject.txt", "Russian: {{ unread }}");
    write("en/words.json", r#"{ "unread.open": "Go there" }"#);
    write(".git", "hidden");
    let build = || Composer::builder("chat@example.org").folder(folder.path()).build();
    let composer = build().unwrap();
    let subject = |language| {
        let chats = vec![chat(3, direct("Bob"), &[("Bob", "x")])];
        composer.compose(&notification(language, unread(chats, 0))).unwrap().subject().to_owned()
    };
    assert_eq!((subject("en"), subject("ru")), ("All: 1".to_owned(), "Russian: 1".to_owned()));
    write("unraed.html", "");
    assert!(matches!(build().unwrap_err(), ComposerError::UnknownTemplate { .. }));
    let missing = Composer::builder("chat@example.org").folder(folder.path().join("no")).build();
    assert!(matches!(missing.unwrap_err(), ComposerError::Folder { .. }));
}

#[test]
fn what_a_host_gets_wrong_is_said_at_start() {
    let wrong = |change: fn(messenger_mail::ComposerBuilder) -> messenger_mail::ComposerBuilder| {
        let error = change(Composer::builder("chat@example.org")).build().unwrap_err();
        let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        format!("{error}: {cause}")
    };
    for (said, parts) in [
        (wrong(|it| it.template("unread.htm", "")), ["unread.htm", "reset-password.txt"]),
        (wrong(|it| it.template("unread.html", "{% if %}")), ["unread.html", "syntax error"]),
        (wrong(|it| it.template("unread.html", "{{ nobody }}")), ["unread.html", "undefined"]),
        (wrong(|it| it.template("ru/unread.txt", "{{ t('no.such') }}")), ["(ru)", "can't be said"]),
        (
            wrong(|it| it.template("unread.html", "{{ 'javascript:x' | href }}")),
            ["href", "address of the web"],
        ),
        (wrong(|it| it.template("de/unread.txt", "x")), ["`de`", "no words"]),
        (wrong(|it| it.words("de", "{}")), ["`de`", "no phrase"]),
        (wrong(|it| it.words("en", "[]")), ["`en`", "invalid type"]),
        (wrong(|it| it.list_id("a b")), ["name of the list", ""]),
        (wrong(|it| it.reply_to("nobody")), ["sender", ""]),
    ] {
        assert!(parts.iter().all(|part| said.contains(part)), "{said}");
    }
    for sender in ["", "Chat", "chat@", "Chat <chat@example.org>\r\nBcc: eve@example.org"] {
        assert!(matches!(Composer::builder(sender).build().unwrap_err(), ComposerError::Sender), "{sender}");
    }
}

#[test]
fn the_sender_and_the_list_can_be_named() {
    let composer = Composer::builder("Чат <chat@bücher.example>")
        .list_id("chat.example.org")
        .reply_to("Help <help@example.org>")
        .build()
        .unwrap();
    let mut notification = from("Bob", "x");
    notification.to.language = Language::trusted("ru");
    let mail = composer.compose(&notification).unwrap();
    assert_eq!(mail.message_id(), "<01010101-0101-0101-0101-010101010101@xn--bcher-kva.example>");
    assert_eq!(header(&mail, "List-Id").unwrap(), "<chat.example.org>");
    assert_eq!(header(&mail, "Reply-To").unwrap(), "Help <help@example.org>");
    assert!(header(&mail, "From").unwrap().ends_with("<chat@xn--bcher-kva.example>"));
    assert!(mail.as_bytes().is_ascii());
}
