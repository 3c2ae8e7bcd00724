//! Habits of the engine that nobody must notice: how it orders and compares ids and texts, what it takes for equal, what
//! it has room for.

use std::{collections::BTreeSet, slice};

use messenger_core::{
    ChatId, ClientId, DisplayName, Id, MessageId, Revision, Seq, Timestamp, UserId, Username,
    ports::{
        Anchor, Appended, Budget, Content, DirectChat, EditMessage, EraseUser, Fingerprint, LoginKey,
        MessageRecord, NamePlace, NewGroup, NewMessage, NewSession, RosterChange, StoreErrorKind,
        StoredAddress, StoredName, UpdateUser,
    },
    testkit::{World, check_chat, error_kind},
};

use crate::support::world;

/// An id by whose first byte bytes are ordered, and by whose last six `uniqueidentifier` would be: the other way round.
fn contrary<K>(place: u8) -> Id<K> {
    let mut bytes = [0x80; 16];
    bytes[0] = place;
    bytes[10..].fill(0xFF - place);
    Id::from_bytes(bytes)
}

#[tokio::test]
async fn ids_are_ordered_by_their_bytes() {
    let (world, _database) = world().await;
    let at = world.tick();
    let mut people = vec![];
    for place in 1..=8 {
        let (mut user, mut session) = world.account(&format!("person{place}"));
        user.id = contrary(place);
        session.user_id = user.id;
        people.push(user.id);
        world.store.create_user(user, session).await.unwrap();
    }
    let ada = people[0];

    // Of the same moment, so that the id alone decides.
    let mut chats = vec![];
    for place in [5, 1, 7, 3, 2, 6, 4] {
        let users = [ada, people[usize::from(place)]];
        let direct = DirectChat { id: contrary(place), users, created_at: at };
        assert_eq!(world.store.open_direct(direct).await.unwrap().chat, contrary(place));
        let turned = DirectChat { id: contrary(99), users: [users[1], users[0]], created_at: at };
        let again = world.store.open_direct(turned).await.unwrap();
        assert_eq!((again.chat, again.created), (contrary(place), false), "a pair has one chat");
        let view = world.view(contrary(place), ada).await;
        assert_eq!(view.peer.unwrap().id, users[1]);
        chats.push(contrary::<_>(place));
    }
    chats.sort_unstable_by(|a, b| b.cmp(a));
    let (mut listed, mut after) = (vec![], None);
    loop {
        let page = world.store.list_chats(ada, after, 3, usize::MAX).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.activity());
        listed.extend(page.iter().map(|view| view.chat.id));
    }
    assert_eq!(listed, chats, "pages of chats");

    for place in [3, 1, 4, 2, 5] {
        let session = NewSession { id: contrary(place), created_at: at, ..world.session(ada) };
        world.log_in(session, 100).await.unwrap();
    }
    let sessions = world.store.sessions(ada).await.unwrap();
    let of_that_moment: Vec<_> = sessions.iter().filter(|session| session.created_at == at).collect();
    let wanted: Vec<_> = [5, 4, 3, 2, 1].map(contrary).to_vec();
    assert_eq!(of_that_moment.iter().map(|session| session.id).collect::<Vec<_>>(), wanted);
    // The one with the greatest id stays of those that were used at the same time.
    let newest = NewSession { id: contrary(9), created_at: at, ..world.session(people[1]) };
    for place in [9, 8] {
        let session = NewSession {
            id: contrary(place),
            token_hash: world.session(people[1]).token_hash,
            ..newest.clone()
        };
        world.log_in(session, 100).await.unwrap();
    }
    let last = NewSession { created_at: world.tick(), ..world.session(people[1]) };
    let last_id = last.id;
    world.log_in(last, 2).await.unwrap();
    let left: BTreeSet<_> =
        world.store.sessions(people[1]).await.unwrap().into_iter().map(|session| session.id).collect();
    assert_eq!(left.len(), 2);
    assert!(left.contains(&last_id));

    let members = [people[6], people[2], people[4], people[1]];
    let group = world.store.create_group(world.new_group(ada, &members)).await.unwrap().chat;
    let added = [people[7], people[3], people[5]];
    world.add(group, ada, &added).await;
    let roster: Vec<_> =
        world.store.roster(group).await.unwrap().members.into_iter().map(|member| member.user_id).collect();
    assert_eq!(roster, [&[ada][..], &members, &added].concat(), "in the order of joining");

    // By turns, so that neither order is that of the places.
    let mut sent = vec![];
    for place in [6, 2, 8, 4, 1, 7] {
        let new = NewMessage { id: contrary(place), ..world.text(group, ada, "hello") };
        world.append(&new).await.unwrap().unwrap_new();
        sent.push(new.id);
    }
    let page =
        world.store.history(group, ada, Anchor::Newest, Budget::of_messages(6)).await.unwrap().messages;
    assert_eq!(page.iter().map(|message| message.id).collect::<Vec<_>>(), sent);
    for id in sent {
        assert_eq!(world.store.message(group, id).await.unwrap().id, id);
    }
    check_chat(&*world.store, group, ada).await;
}

trait AppendedExt {
    fn unwrap_new(self) -> MessageRecord;
}

impl AppendedExt for Appended {
    fn unwrap_new(self) -> MessageRecord {
        match self {
            Self::New(message) => message,
            Self::Existing { record: message, .. } => panic!("{message:?} was there before"),
        }
    }
}

async fn shown(world: &World, username: &str, display_name: &str) -> UserId {
    let (user, session) = world.account(username);
    let (id, display_name) = (user.id, StoredName::from(&DisplayName::trusted(display_name)));
    let user = messenger_core::ports::NewUser { display_name, ..user };
    world.store.create_user(user, session).await.unwrap();
    id
}

async fn found(world: &World, prefix: &str, after: Option<[&str; 2]>) -> Vec<String> {
    let place =
        |[name, username]: [&str; 2]| NamePlace { name: name.into(), username: Username::trusted(username) };
    let found = world.store.find_users(prefix, after.map(place).as_ref(), 50).await.unwrap();
    found.into_iter().map(|found| found.user.username.as_str().to_owned()).collect()
}

fn client_id(name: &str) -> Option<(ClientId, Fingerprint)> {
    Some((ClientId::trusted(name), Fingerprint([7; 16])))
}

#[tokio::test]
async fn blanks_at_the_end_make_a_difference() {
    let (world, _database) = world().await;
    let ada = shown(&world, "al", "Al").await;
    let bob = shown(&world, "alma", "Al Green").await;
    shown(&world, "cleo", "Al ").await;
    // `al` (of `al`, also as a display name), `al ` (of `cleo`), `al green` (of `alma`), `alma`.
    assert_eq!(found(&world, "al", None).await, ["al", "cleo", "alma", "alma"]);
    assert_eq!(found(&world, "al ", None).await, ["cleo", "alma"]);
    assert_eq!(found(&world, "al  ", None).await, Vec::<String>::new());
    assert_eq!(found(&world, "al", Some(["al", "al"])).await, ["cleo", "alma", "alma"]);
    assert_eq!(found(&world, "al", Some(["al ", "cleo"])).await, ["alma", "alma"]);
    assert_eq!(found(&world, "al", Some(["al green", "alma"])).await, ["alma"]);
    assert_eq!(world.record(bob).await.display_name.to_text().unwrap(), "Al Green");

    for (login, there) in [("al", true), ("al ", false), (" al", false), ("alma", true), ("alma  ", false)] {
        let name = Username::trusted(login);
        let user = world.store.user_by_login(LoginKey::Username(&name)).await;
        assert_eq!(user.is_ok(), there, "{login:?}");
    }
    for (key, there) in [("al@example.org", true), ("al@example.org ", false), ("al@example.org\0", false)] {
        let user = world.store.user_by_login(LoginKey::Email(key.as_bytes())).await;
        assert_eq!(user.is_ok(), there, "{key:?}");
    }
    let (mut user, session) = world.account("dan");
    user.email = StoredAddress { content: Content::from("x"), key: b"al@example.org ".to_vec() };
    world.store.create_user(user, session).await.unwrap();

    let chat = world.direct(ada, bob).await;
    for name in ["x", "x ", "x  ", " x"] {
        let new = NewMessage { client_id: client_id(name), ..world.text(chat, ada, name) };
        let message = world.append(&new).await.unwrap().unwrap_new();
        assert_eq!(message.client_id.unwrap().as_str(), name);
        let again = world.append(&NewMessage { id: world.id(), ..new }).await.unwrap();
        assert!(
            matches!(again, Appended::Existing { record: stored, .. } if stored.id == message.id),
            "{name:?}"
        );
    }
    let batch =
        ["y", "y ", "y"].map(|name| NewMessage { client_id: client_id(name), ..world.text(chat, ada, name) });
    let answers = world.store.append_messages(&batch).await.unwrap();
    let new = answers.iter().filter(|answer| matches!(answer, Ok(Appended::New(_)))).count();
    assert_eq!((answers.len(), new), (3, 2));
    for name in ["x", "x "] {
        let title = Content::from(format!("{name} "));
        let group =
            NewGroup { client_id: client_id(name), title: title.clone(), ..world.new_group(ada, &[bob]) };
        let opened = world.store.create_group(group).await.unwrap();
        assert!(opened.created, "{name:?}");
        assert_eq!(world.view(opened.chat, ada).await.chat.title, Some(title), "blanks are kept");
    }
    let session = NewSession { device: Some(Content::from("phone ")), ..world.session(ada) };
    world.log_in(session.clone(), 100).await.unwrap();
    let stored = world.store.session_by_token(&session.token_hash).await.unwrap();
    assert_eq!(stored.device, session.device);
}

#[tokio::test]
async fn case_and_accents_make_a_difference() {
    let (world, _database) = world().await;
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let chat = world.direct(ada, bob).await;
    for name in ["Ada", "ada", "ADA", "adA", "ad\u{e1}", "ada\u{301}"] {
        let new = NewMessage { client_id: client_id(name), ..world.text(chat, ada, name) };
        world.append(&new).await.unwrap().unwrap_new();
        let group = NewGroup { client_id: client_id(name), ..world.new_group(ada, &[bob]) };
        assert!(world.store.create_group(group).await.unwrap().created, "{name:?}");
    }
    for (username, display_name) in [
        ("u1", "ÄPFEL"),
        ("u2", "Apfel"),
        ("u3", "A\u{308}pfel"),
        ("u4", "STRASSE"),
        ("u5", "Straße"),
        ("u6", "İstanbul"),
        ("u7", "ΣΊΣΥΦΟΣ"),
    ] {
        shown(&world, username, display_name).await;
    }
    for (name, expected) in [
        ("Äpf", "u1"),
        ("APF", "u2"),
        ("A\u{308}P", "u3"),
        ("Strass", "u4"),
        ("STRAß", "u5"),
        ("İS", "u6"),
        ("σίσυφος", "u7"),
    ] {
        let prefix = DisplayName::trusted(name).folded();
        assert_eq!(found(&world, &prefix, None).await, [expected], "{prefix:?}");
    }
    assert_eq!(found(&world, "Apf", None).await, Vec::<String>::new(), "a prefix is folded by who asks");
}

/// Of one, two, three and four bytes; composed of several; at the ends of what there is, and next to what there is not.
const SIGNS: [&str; 14] = [
    "a",
    "\u{7F}",
    "ß",
    "e\u{301}",
    "\u{D7FF}",
    "\u{E000}",
    "\u{FDD0}",
    "\u{FFFD}",
    "\u{FFFE}",
    "\u{FFFF}",
    "\u{10000}",
    "😀",
    "👩\u{200D}👩\u{200D}👧",
    "\u{10FFFF}",
];

#[tokio::test]
async fn every_sign_is_kept_and_found() {
    let (world, _database) = world().await;
    let [ada, bob] = world.people(["ada", "bob"]).await;
    for (place, sign) in SIGNS.iter().enumerate() {
        let name = format!("{sign}{sign} x");
        let user = shown(&world, &format!("u{place:02}"), &name).await;
        assert_eq!(world.record(user).await.display_name.to_text().unwrap(), name);
    }
    for (place, sign) in SIGNS.iter().enumerate() {
        let folded = DisplayName::trusted(*sign).folded();
        let username = format!("u{place:02}");
        // One begins with `a` as Ada does, and comes before her by the display name.
        let expected = if *sign == "a" { vec![username, "ada".to_owned()] } else { vec![username] };
        assert_eq!(found(&world, &folded, None).await, expected, "{sign:?}");
        assert_eq!(found(&world, &format!("{folded}{folded}"), None).await, expected[..1]);
        assert_eq!(found(&world, &format!("{folded}{folded}{folded}"), None).await, Vec::<String>::new());
    }
    let all = found(&world, "", None).await;
    assert_eq!(all.len(), 2 * (SIGNS.len() + 2), "with the empty prefix, everybody by each of their names");

    let chat = world.direct(ada, bob).await;
    for sign in SIGNS {
        let group = NewGroup { title: Content::from(sign), ..world.new_group(ada, &[bob]) };
        let group = world.store.create_group(group).await.unwrap().chat;
        assert_eq!(world.view(group, bob).await.chat.title.unwrap().to_text().unwrap(), sign);
        let renamed = Content::from(format!("{sign}!"));
        let change = RosterChange { title: Some(renamed.clone()), ..world.change_by(group, ada).await };
        assert_eq!(world.store.change_roster(change).await.unwrap().chat.title, Some(renamed));
        let sent = world.send(chat, ada, sign).await;
        assert_eq!(world.store.message(chat, sent.id).await.unwrap().body, Some(Content::from(sign)));
    }
    let batch = SIGNS.map(|sign| world.text(chat, ada, sign));
    for (new, answer) in batch.iter().zip(world.store.append_messages(&batch).await.unwrap()) {
        answer.unwrap().unwrap_new();
        assert_eq!(world.store.message(chat, new.id).await.unwrap().body.as_ref(), Some(&new.body));
    }
}

#[tokio::test]
async fn times_are_exact_to_the_microsecond() {
    let (world, _database) = world().await;
    let moments =
        [0, 1, 999_999, 951_782_400_000_001, 1_795_317_521_123_456, 4_102_444_799_999_999, i64::MAX]
            .map(Timestamp::from_micros);
    let ada = world.user("ada").await;
    for (place, at) in moments.into_iter().enumerate() {
        let (user, session) = world.account(&format!("u{place}"));
        let id = user.id;
        let user = messenger_core::ports::NewUser { created_at: at, ..user };
        let session = NewSession { created_at: at, expires_at: at, ..session };
        world.store.create_user(user, session.clone()).await.unwrap();
        assert_eq!(world.record(id).await.created_at, at);
        let stored = world.store.session_by_token(&session.token_hash).await.unwrap();
        assert_eq!([stored.created_at, stored.last_used_at, stored.expires_at], [at; 3]);
        world.store.set_last_seen(&[(id, at)]).await.unwrap();
        assert_eq!(world.record(id).await.last_seen_at, Some(at));

        let direct = DirectChat { created_at: at, ..world.new_direct(ada, id) };
        let chat = world.store.open_direct(direct).await.unwrap().chat;
        assert_eq!(world.view(chat, ada).await.activity().at, at.as_micros());
        world.store.set_mute(chat, ada, Some(at)).await.unwrap();
        let view = world.view(chat, ada).await;
        assert_eq!((view.me.joined_at, view.me.muted_until, view.chat.created_at), (at, Some(at), at));
        let new = NewMessage { created_at: at, ..world.text(chat, ada, "hello") };
        let sent = world.append(&new).await.unwrap().unwrap_new();
        let batch = [(); 2].map(|()| NewMessage { created_at: at, ..world.text(chat, id, "hello") });
        world.store.append_messages(&batch).await.unwrap();
        let edit = EditMessage {
            chat,
            message: sent.id,
            sender: sent.sender,
            expected: sent.revision,
            body: Content::from("hallo"),
            edited_at: at,
        };
        assert_eq!(world.store.edit_message(edit).await.unwrap().edited_at, Some(at));
        let history =
            world.store.history(chat, ada, Anchor::Newest, Budget::of_messages(10)).await.unwrap().messages;
        assert!(history.iter().all(|message| message.created_at == at), "{history:?}");
        let (username, display_name) = (Username::trusted(format!("gone{place}")), Content::from("x"));
        let erasure = EraseUser { username, display_name, ..world.erasure(id, 1, at) };
        world.store.erase_user(&erasure).await.unwrap();
        assert_eq!(world.record(id).await.erased_at, Some(at));
    }
}

#[tokio::test]
async fn what_is_absent_is_never_taken_for_a_double() {
    let (world, _database) = world().await;
    let [ada, bob, cleo, dan] = world.people(["ada", "bob", "cleo", "dan"]).await;
    for user in [cleo, dan] {
        world.erase(user).await;
    }
    for user in [cleo, dan] {
        let record = world.record(user).await;
        assert_eq!((record.email, record.password_hash, record.last_seen_at), (None, None, None));
    }
    assert_eq!(error_kind(world.store.user_by_login(LoginKey::Email(b"")).await), StoreErrorKind::NotFound);

    let mut groups = BTreeSet::new();
    for _ in 0..3 {
        groups.insert(world.group([ada, bob]).await);
    }
    assert_eq!(groups.len(), 3, "groups without a client id");
    let chat = world.direct(ada, bob).await;
    let first = world.send(chat, ada, "hello").await;
    let second = world.send(chat, ada, "hello").await;
    let batch = [(); 3].map(|()| world.text(chat, ada, "hello"));
    let answers = world.store.append_messages(&batch).await.unwrap();
    assert!(answers.iter().all(|answer| matches!(answer, Ok(Appended::New(_)))), "{answers:?}");
    assert_eq!((first.seq.get(), second.seq.get()), (1, 2));
    assert_eq!(check_chat(&*world.store, chat, ada).await.len(), 5);
    // Neither is one that has lost its name with its text.
    let named = world.append(&world.named(chat, ada, "hello", "n")).await.unwrap().unwrap_new();
    world.delete(&named).await;
    world.send(chat, ada, "hello").await;
    check_chat(&*world.store, chat, bob).await;
}

#[tokio::test]
async fn bytes_of_any_kind_and_number_are_kept() {
    let (world, _database) = world().await;
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let group = world.group([ada, bob]).await;
    let every: Vec<u8> = (0..=255).collect();
    let bodies: Vec<Vec<u8>> = vec![
        vec![],
        vec![0],
        vec![0; 10_000],
        b"ends with blanks  ".to_vec(),
        b"ends with\0\0".to_vec(),
        every.clone(),
        vec![0xFF; 8001],
        every.iter().copied().cycle().take(100_000).collect(),
        "ä😀".repeat(20_000).into_bytes(),
    ];
    let kept = async |message: MessageId, body: &[u8]| {
        let stored = world.store.message(group, message).await.unwrap().body.unwrap().0;
        assert!(stored == body, "{} bytes are {} others", body.len(), stored.len());
    };
    for body in &bodies {
        let content = Content(body.clone());
        let new = NewMessage { body: content.clone(), ..world.text(group, ada, "") };
        let sent = world.append(&new).await.unwrap().unwrap_new();
        kept(sent.id, body).await;
        let edited = world.edit(&world.send(group, bob, "hello").await, "hallo").await;
        let edit = EditMessage {
            chat: group,
            message: edited.id,
            sender: edited.sender,
            expected: edited.revision,
            body: content.clone(),
            edited_at: world.tick(),
        };
        world.store.edit_message(edit).await.unwrap();
        kept(edited.id, body).await;
        let mut change = world.change_by(group, ada).await;
        change.messages[0].note = content;
        let changed = world.store.change_roster(change).await.unwrap();
        kept(changed.messages[0].id, body).await;
    }
    let batch: Vec<_> = bodies
        .iter()
        .map(|body| NewMessage { body: Content(body.clone()), ..world.text(group, ada, "") })
        .collect();
    world.store.append_messages(&batch).await.unwrap();
    for new in &batch {
        kept(new.id, &new.body.0).await;
    }
    // Also where one of the batch was stored before, which is another way to the table.
    let again = NewMessage { client_id: client_id("twice"), ..world.text(group, bob, "first") };
    world.append(&again).await.unwrap().unwrap_new();
    let mut mixed: Vec<_> = batch.iter().map(|new| NewMessage { id: world.id(), ..new.clone() }).collect();
    mixed.push(again);
    let answers = world.store.append_messages(&mixed).await.unwrap();
    assert!(matches!(answers.last(), Some(Ok(Appended::Existing { .. }))), "{:?}", answers.last());
    for new in &mixed[..bodies.len()] {
        kept(new.id, &new.body.0).await;
    }

    let key: Vec<u8> = every.iter().copied().cycle().take(320).collect();
    let email = StoredAddress { content: Content(vec![0; 5_000]), key: key.clone() };
    let update =
        UpdateUser { email: Some(email.clone()), ..UpdateUser::of(ada, world.record(ada).await.version) };
    assert_eq!(world.store.update_user(update).await.unwrap().email, Some(email));
    assert_eq!(world.store.user_by_login(LoginKey::Email(&key)).await.unwrap().id, ada);
    check_chat(&*world.store, group, ada).await;
}

/// The engine keeps the plan that it made for the first page it was asked for.
#[tokio::test]
async fn pages_are_right_whatever_was_asked_for_first() {
    const MESSAGES: u64 = 5_000;
    let (world, _database) = world().await;
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let chat = world.direct(ada, bob).await;
    world.send(chat, ada, "1").await;
    check_pages(&world, chat, ada, 1, 1).await;
    let mut last = 1;
    while last < MESSAGES {
        let batch: Vec<_> = (last + 1..=MESSAGES.min(last + 500))
            .map(|number| world.text(chat, if number % 3 == 0 { bob } else { ada }, &number.to_string()))
            .collect();
        last += batch.len() as u64;
        world.store.append_messages(&batch).await.unwrap();
    }
    check_pages(&world, chat, ada, MESSAGES, 200).await;
    check_pages(&world, chat, bob, MESSAGES, 1).await;
}

async fn check_pages(world: &World, chat: ChatId, user: UserId, last: u64, limit: usize) {
    for seq in [0, 1, last / 2, last, last + 1].map(Seq::new) {
        for anchor in [Anchor::Newest, Anchor::Before(seq), Anchor::After(seq), Anchor::Around(seq)] {
            let page = world.store.history(chat, user, anchor, Budget::of_messages(limit)).await.unwrap();
            let wanted: Vec<_> = anchor
                .range(Seq::new(last), limit)
                .map(|(low, high)| (low.get()..=high.get()).collect())
                .unwrap_or_default();
            assert_eq!(page.last_seq.get(), last);
            assert_eq!(
                page.messages.iter().map(|message| message.seq.get()).collect::<Vec<_>>(),
                wanted,
                "{anchor:?}"
            );
            for message in &page.messages {
                assert_eq!(message.body, Some(Content::from(&*message.seq.get().to_string())));
            }
        }
        let since = Revision::new(seq.get());
        let changes = world
            .store
            .changes(slice::from_ref(&(chat, since)), Budget::of_messages(limit))
            .await
            .unwrap()
            .remove(0);
        let wanted: Vec<_> = (seq.get() + 1..=last.min(seq.get() + limit as u64)).collect();
        assert_eq!(changes.messages.iter().map(|message| message.revision.get()).collect::<Vec<_>>(), wanted);
        assert_eq!(changes.truncated, seq.get() + (limit as u64) < last);
    }
}
