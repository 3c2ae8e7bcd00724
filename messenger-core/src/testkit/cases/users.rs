use std::{collections::BTreeSet, sync::Arc, time::Duration};

use crate::{
    domain::{DisplayName, Language, QuietHours, Timestamp, UserId, Username},
    ports::{
        Content, EraseUser, FoundUser, LoginKey, MailOutcome, MailState, NamePlace, NewUser, Notified,
        Preferences, StoreErrorKind, StoreResult, StoredAddress, StoredName, Told, Unique, UpdateUser,
        UserRecord,
    },
    testkit::{
        World, error_kind, race,
        world::{erased_names, sealed_text},
    },
};

pub async fn create_user_stores_account_and_session(world: &World) {
    let (user, session) = world.account("ada");
    world.store.create_user(user.clone(), session.clone()).await.unwrap();
    assert_eq!(world.record(user.id).await, expected(world, &user));
    let stored = world.store.session_by_token(&session.token_hash).await.unwrap();
    assert_eq!((stored.id, stored.user_id), (session.id, user.id));
}

pub async fn create_user_refuses_a_taken_username(world: &World) {
    let (user, session) = world.account("ada");
    world.store.create_user(user.clone(), session).await.unwrap();
    let (mut other, session) = world.account("other");
    other.username = user.username.clone();
    let answer = world.store.create_user(other.clone(), session.clone()).await;
    assert_eq!(error_kind(answer), StoreErrorKind::AlreadyExists(Unique::Username));

    assert_eq!(error_kind(world.store.user(other.id).await), StoreErrorKind::NotFound);
    let answer = world.store.session_by_token(&session.token_hash).await;
    assert_eq!(error_kind(answer), StoreErrorKind::NotFound);
    assert_eq!(world.record(user.id).await, expected(world, &user));
    other.username = Username::trusted("other");
    world.store.create_user(other, session).await.expect("nothing of the refused account stands in its way");
}

pub async fn create_user_refuses_a_taken_address(world: &World) {
    let (user, session) = world.account("ada");
    world.store.create_user(user.clone(), session).await.unwrap();
    let (mut other, session) = world.account("other");
    // Another spelling of the same address has the same key.
    other.email = StoredAddress { content: Content::from("ADA@example.org"), key: user.email.key.clone() };
    let answer = world.store.create_user(other.clone(), session.clone()).await;
    assert_eq!(error_kind(answer), StoreErrorKind::AlreadyExists(Unique::Email));
    assert_eq!(error_kind(world.store.user(other.id).await), StoreErrorKind::NotFound);
    let answer = world.store.session_by_token(&session.token_hash).await;
    assert_eq!(error_kind(answer), StoreErrorKind::NotFound);

    other.username = user.username.clone();
    let answer = world.store.create_user(other, session).await;
    assert_eq!(
        error_kind(answer),
        StoreErrorKind::AlreadyExists(Unique::Username),
        "the name is named first"
    );
}

pub async fn create_user_lets_one_of_many_racers_win(world: &World) {
    let accounts: Vec<_> = (0..16).map(|_| world.account("ada")).collect();
    let answers = race(accounts.iter().cloned().map(|(user, session)| {
        let store = Arc::clone(&world.store);
        async move { store.create_user(user, session).await }
    }))
    .await;
    let mut winners = vec![];
    for ((user, session), answer) in accounts.iter().zip(answers) {
        match answer {
            Ok(()) => winners.push((user, session)),
            Err(error) => {
                assert_eq!(error.kind(), StoreErrorKind::AlreadyExists(Unique::Username));
                assert_eq!(error_kind(world.store.user(user.id).await), StoreErrorKind::NotFound);
                let session = world.store.session_by_token(&session.token_hash).await;
                assert_eq!(error_kind(session), StoreErrorKind::NotFound);
            }
        }
    }
    let [(winner, session)] = winners[..] else { panic!("{} racers won", winners.len()) };
    assert_eq!(world.record(winner.id).await, expected(world, winner));
    assert_eq!(world.store.session_by_token(&session.token_hash).await.unwrap().id, session.id);
}

pub async fn create_user_refuses_a_known_id(world: &World) {
    let (user, session) = world.account("ada");
    world.store.create_user(user.clone(), session).await.unwrap();
    let (mut other, mut session) = world.account("other");
    (other.id, session.user_id) = (user.id, user.id);
    let answer = world.store.create_user(other, session).await;
    assert_eq!(error_kind(answer), StoreErrorKind::AlreadyExists(Unique::Id));
    assert_eq!(world.record(user.id).await, expected(world, &user));
}

pub async fn user_of_unknown_id_is_not_found(world: &World) {
    world.user("ada").await;
    assert_eq!(error_kind(world.store.user(world.id()).await), StoreErrorKind::NotFound);
}

pub async fn user_reads_back_what_was_stored(world: &World) {
    // Sealed content is arbitrary bytes; keys may be as long as the port allows.
    let (mut user, session) = world.account("it-s_a.name");
    user.display_name = shown("🦀 O'Neill \"%_\" \u{10ffff} e\u{301}");
    user.email.content = Content((0..=255).collect());
    user.email.key = (0..320).map(|n| (n % 256) as u8).collect();
    user.password_hash = format!("$argon2id${}", "x".repeat(240));
    user.created_at = Timestamp::from_micros(1);
    world.store.create_user(user.clone(), session).await.unwrap();
    assert_eq!(world.record(user.id).await, expected(world, &user));

    let (mut longest, session) = world.account("a");
    longest.username = Username::trusted("z".repeat(32));
    longest.display_name = shown(&"🦀".repeat(64));
    longest.email.key = vec![0];
    longest.created_at = "9999-12-31T23:59:59.999999Z".parse().unwrap();
    world.store.create_user(longest.clone(), session).await.unwrap();
    assert_eq!(world.record(longest.id).await, expected(world, &longest));
    assert_eq!(world.record(user.id).await, expected(world, &user));

    let (mut sealed, session) = world.account("sealed");
    sealed.display_name = StoredName { content: sealed_text(800), key: String::new() };
    world.store.create_user(sealed.clone(), session).await.unwrap();
    assert_eq!(world.record(sealed.id).await, expected(world, &sealed));
}

pub async fn users_skips_unknown_ids(world: &World) {
    let [ada, bob, cleo] = world.people(["ada", "bob", "cleo"]).await;
    world.erase(cleo).await;
    // More than some engines accept as parameters of one statement.
    let mut asked: Vec<UserId> = (0..3000).map(|_| world.id()).collect();
    asked.extend([ada, cleo, ada]);
    let mut found = world.store.users(&asked).await.unwrap();
    found.sort_by_key(|user| user.id);
    let expected = [world.record(ada).await, world.record(cleo).await];
    assert_eq!(found, expected, "each once, the erased too, and not {bob}");
    assert_eq!(world.store.users(&[]).await.unwrap(), []);
}

pub async fn user_by_login_finds_by_username_and_by_address(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    assert_eq!(by_name(world, "ada").await.unwrap(), world.record(ada).await);
    assert_eq!(by_address(world, b"bob@example.org").await.unwrap(), world.record(bob).await);
    assert_eq!(error_kind(by_name(world, "ad").await), StoreErrorKind::NotFound);
    assert_eq!(error_kind(by_name(world, "ada@example.org").await), StoreErrorKind::NotFound);
    assert_eq!(error_kind(by_address(world, b"ada").await), StoreErrorKind::NotFound);
    assert_eq!(error_kind(by_address(world, b"BOB@example.org").await), StoreErrorKind::NotFound);

    let moved = StoredAddress { content: Content::from("new@example.org"), key: b"new@example.org".to_vec() };
    let moved = UpdateUser { email: Some(moved), ..update(&world.record(ada).await) };
    world.store.update_user(moved).await.unwrap();
    assert_eq!(by_address(world, b"new@example.org").await.unwrap().id, ada);
    assert_eq!(error_kind(by_address(world, b"ada@example.org").await), StoreErrorKind::NotFound);
}

pub async fn user_by_login_does_not_find_the_erased(world: &World) {
    let ada = world.user("ada").await;
    world.erase(ada).await;
    assert_eq!(error_kind(by_name(world, "ada").await), StoreErrorKind::NotFound);
    assert_eq!(error_kind(by_address(world, b"ada@example.org").await), StoreErrorKind::NotFound);
    let (username, _) = erased_names(ada);
    assert_eq!(error_kind(by_name(world, username.as_str()).await), StoreErrorKind::NotFound);
}

pub async fn find_users_matches_prefixes_of_both_names(world: &World) {
    let shown =
        [("zoe", "Anna Berg"), ("annika", "Nika"), ("bert", "Ännchen"), ("cid", "Joanna"), ("anna", "ANNA")];
    for (username, display_name) in shown {
        create_shown(world, username, display_name).await;
    }
    let erased = create_shown(world, "annelie", "Annelie").await;
    world.erase(erased).await;
    assert_eq!(find(world, "ann", None, 10).await, ["anna", "zoe", "annika"]);
    assert_eq!(find(world, "anna b", None, 10).await, ["zoe"], "of the whole name, not of its words");
    assert_eq!(find(world, "änn", None, 10).await, ["bert"]);
    assert_eq!(find(world, "annelie", None, 10).await, [""; 0], "erased accounts are not found");
    assert_eq!(find(world, "erased", None, 10).await, [""; 0], "nor by what is left of their names");
    let all = ["anna", "zoe", "annika", "bert", "cid", "cid", "annika", "zoe", "bert"];
    assert_eq!(find(world, "", None, 10).await, all, "by each name once");
    let found = world.store.find_users("zo", None, 10).await.unwrap();
    assert_eq!(found, [FoundUser { name: "zoe".into(), user: world.record(found[0].user.id).await }]);
}

pub async fn find_users_finds_by_username_alone_where_the_key_is_empty(world: &World) {
    let (mut user, session) = world.account("ada");
    user.display_name = StoredName { content: sealed_text(300), key: String::new() };
    world.store.create_user(user.clone(), session).await.unwrap();
    let beginning = &user.display_name.content.to_text().unwrap()[..1];
    for prefix in [beginning, &beginning.to_lowercase(), "+", " "] {
        assert_eq!(find(world, prefix, None, 10).await, [""; 0], "{prefix:?}");
    }
    for prefix in ["", "a", "ada"] {
        assert_eq!(find(world, prefix, None, 10).await, ["ada"], "{prefix:?}");
        assert_eq!(all_pages(world, prefix, 1).await, ["ada"], "{prefix:?}");
        assert_eq!(find(world, prefix, Some(&place("", "")), 10).await, ["ada"], "{prefix:?}");
    }

    // A name that can be found is replaced by one that can't.
    let plain = UpdateUser { display_name: Some(shown("Countess")), ..update(&world.record(user.id).await) };
    let plain = world.store.update_user(plain).await.unwrap();
    assert_eq!(find(world, "c", None, 10).await, ["ada"]);
    let sealed = UpdateUser { display_name: Some(user.display_name.clone()), ..update(&plain) };
    let sealed = world.store.update_user(sealed).await.unwrap();
    assert_eq!(sealed.display_name, user.display_name.content);
    assert_eq!(find(world, "c", None, 10).await, [""; 0]);
    assert_eq!(find(world, "", None, 10).await, ["ada"]);
}

pub async fn find_users_pages_by_name(world: &World) {
    // Ordered bytewise, however the engine's collation treats punctuation.
    let names = ["a-b", "a.b", "a0b", "a_b", "aab", "ab", "ab-"];
    for username in ["ab", "a_b", "a.b", "ab-", "aab", "a-b", "a0b"] {
        create_shown(world, username, "x").await;
    }
    create_shown(world, "other", "y").await;
    for size in [1, 2, 3, 7, 8] {
        assert_eq!(all_pages(world, "a", size).await, names, "pages of {size}");
        assert_eq!(all_pages(world, "x", size).await, names, "pages of {size}, of the same name");
    }
    assert_eq!(find(world, "a", None, 0).await, [""; 0]);
    let after = place("a1", "a1");
    assert_eq!(find(world, "a", Some(&after), 2).await, ["a_b", "aab"], "after a name that is not there");
    let after = place("x", "a1");
    assert_eq!(find(world, "x", Some(&after), 9).await, names[3..], "by username, of the same name");
    for (before, beyond) in [(place("", ""), place("b", "")), (place("A", "z"), place("é", "a"))] {
        assert_eq!(find(world, "a", Some(&before), 9).await, names, "from before the first");
        assert_eq!(find(world, "a", Some(&beyond), 9).await, [""; 0], "from after the last");
    }

    // Both names of all of them, and one name in between.
    for n in 0..7 {
        create_shown(world, &format!("mo{n}"), &format!("Mo {}", n % 3)).await;
    }
    create_shown(world, "mo", "Mo1").await;
    let whole: Vec<String> = [0, 3, 6, 1, 4, 2, 5].map(|n| format!("mo{n}")).to_vec();
    let mut whole = [vec!["mo".to_owned()], whole].concat();
    whole.extend(["mo0", "mo", "mo1", "mo2", "mo3", "mo4", "mo5", "mo6"].map(str::to_owned));
    for size in [1, 2, 3, 5, 20] {
        assert_eq!(all_pages(world, "mo", size).await, whole, "pages of {size}");
    }
}

pub async fn find_users_takes_the_prefix_literally(world: &World) {
    let shown = [
        ("plain", "Plain"),
        ("a_b", "%wild"),
        ("axb", "_wild"),
        ("c3", "*wild"),
        ("c4", "[pw]ild"),
        ("c5", "\\wild"),
        ("c6", "?wild"),
        ("c7", "'; drop"),
        ("c8", "École"),
        ("c9", "e\u{301}cole"),
        ("d1", "wild card"),
        ("d2", "wildcard"),
    ];
    for (username, display_name) in shown {
        create_shown(world, username, display_name).await;
    }
    let cases: [(&str, &[&str]); 14] = [
        ("%", &["a_b"]),
        ("_", &["axb"]),
        ("*", &["c3"]),
        ("[", &["c4"]),
        ("[p", &["c4"]),
        ("\\", &["c5"]),
        ("?", &["c6"]),
        ("'", &["c7"]),
        ("a_", &["a_b"]),
        ("a%", &[]),
        ("éc", &["c8"]),
        ("e", &["c9"]),
        ("wild ", &["d1"]),
        ("plain%", &[]),
    ];
    for (prefix, expected) in cases {
        assert_eq!(find(world, prefix, None, 20).await, expected, "{prefix:?}");
    }
}

pub async fn update_user_changes_only_what_is_given(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let mut record = world.record(ada).await;
    let untouched = world.record(bob).await;

    let change = UpdateUser { display_name: Some(shown("Ada L.")), ..update(&record) };
    record.display_name = Content::from("Ada L.");
    record.version = 2;
    assert_eq!(world.store.update_user(change).await.unwrap(), record);

    let change = UpdateUser { notify_email: Some(false), ..update(&record) };
    (record.notify_email, record.version) = (false, 3);
    assert_eq!(world.store.update_user(change).await.unwrap(), record);

    let email = StoredAddress { content: Content(vec![0xff, 0]), key: vec![0, 0xff] };
    let change = UpdateUser { email: Some(email.clone()), ..update(&record) };
    (record.email, record.version) = (Some(world.stored_address(&email)), 4);
    assert_eq!(world.store.update_user(change).await.unwrap(), record);

    let respelled = StoredAddress { content: Content::from("sealed anew"), ..email };
    let change = UpdateUser { email: Some(respelled.clone()), notify_email: Some(true), ..update(&record) };
    (record.email, record.notify_email, record.version) = (Some(world.stored_address(&respelled)), true, 5);
    assert_eq!(world.store.update_user(change).await.unwrap(), record, "one's own address is not taken");

    assert_eq!(world.record(ada).await, record);
    assert_eq!(world.record(bob).await, untouched);
    let found = find(world, "ada l", None, 10).await;
    assert_eq!(found, ["ada"], "the new name is found");
    assert_eq!(find(world, "dr. ada", None, 10).await, [""; 0], "the old name is not");
}

fn preferences() -> Preferences {
    Preferences {
        language: Some(Language::trusted("pt-br")),
        time_zone: Some("America/Sao_Paulo".parse().unwrap()),
        quiet_hours: Some(QuietHours::new(22 * 60, 0).unwrap()),
    }
}

pub async fn update_user_replaces_preferences(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let (mut record, untouched) = (world.record(ada).await, world.record(bob).await);
    assert_eq!(record.preferences, Preferences::default());
    let russian = Preferences { language: Some(Language::trusted("ru")), ..Preferences::default() };
    for preferences in [preferences(), russian, preferences(), Preferences::default()] {
        let change = UpdateUser { preferences: Some(preferences.clone()), ..update(&record) };
        (record.preferences, record.version) = (preferences, record.version + 1);
        assert_eq!(world.store.update_user(change).await.unwrap(), record);
        let other = UpdateUser { notify_email: Some(true), ..update(&record) };
        record.version += 1;
        assert_eq!(world.store.update_user(other).await.unwrap(), record, "others leave them alone");
        assert_eq!(world.record(ada).await, record);
    }
    assert_eq!(world.record(bob).await, untouched);
}

async fn refuse(world: &World, user: UserId, most: u32) -> Timestamp {
    let (key, at) = (world.record(user).await.email.unwrap().key, world.tick());
    world.store.note_mail(user, &key, MailOutcome::Refused { at, most }).await.unwrap();
    at
}

pub async fn update_user_with_an_address_forgets_refusals(world: &World) {
    let ada = world.user("ada").await;
    let address = world.record(ada).await.email.unwrap();
    let new = StoredAddress { content: Content::from("new"), key: b"new".to_vec() };
    for next in [new.clone(), new, address] {
        let at = refuse(world, ada, 1).await;
        let record = world.record(ada).await;
        assert_eq!(record.mail, MailState { refusals: 1, suppressed_at: Some(at), told: None });
        let name = UpdateUser { display_name: Some(shown("A.")), ..update(&record) };
        let record = world.store.update_user(name).await.unwrap();
        assert_eq!(record.mail.suppressed_at, Some(at));
        let change = UpdateUser { email: Some(next), ..update(&record) };
        assert_eq!(world.store.update_user(change).await.unwrap().mail, MailState::default());
    }
}

pub async fn note_mail_counts_refusals_until_one_is_accepted(world: &World) {
    let ada = world.user("ada").await;
    let before = world.record(ada).await;
    let key = before.email.clone().unwrap().key;
    for refusals in 1..=3 {
        refuse(world, ada, 5).await;
        let mail = MailState { refusals, ..MailState::default() };
        let expected = UserRecord { mail, ..before.clone() };
        assert_eq!(world.record(ada).await, expected, "and the version stays");
    }
    world.store.note_mail(ada, &key, MailOutcome::Accepted).await.unwrap();
    assert_eq!(world.record(ada).await, before);
}

pub async fn note_mail_suppresses_an_address_after_so_many_refusals(world: &World) {
    let ada = world.user("ada").await;
    refuse(world, ada, 2).await;
    assert_eq!(world.record(ada).await.mail.suppressed_at, None);
    let at = refuse(world, ada, 2).await;
    refuse(world, ada, 2).await;
    let mail = world.record(ada).await.mail;
    assert_eq!(mail, MailState { refusals: 3, suppressed_at: Some(at), told: None }, "since the second");
}

pub async fn note_mail_of_another_address_is_nothing(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    refuse(world, ada, 5).await;
    let records = (world.record(ada).await, world.record(bob).await);
    let (key, at) = (records.1.email.clone().unwrap().key, world.tick());
    for outcome in [MailOutcome::Accepted, MailOutcome::Refused { at, most: 1 }] {
        world.store.note_mail(ada, &key, outcome).await.unwrap();
        world.store.note_mail(world.id(), &key, outcome).await.unwrap();
    }
    assert_eq!((world.record(ada).await, world.record(bob).await), records);
    world.erase(ada).await;
    let erased = world.record(ada).await;
    world
        .store
        .note_mail(ada, &records.0.email.unwrap().key, MailOutcome::Refused { at, most: 1 })
        .await
        .unwrap();
    assert_eq!(world.record(ada).await, erased);
}

async fn confirm(world: &World, user: UserId) -> Timestamp {
    let (key, at) = (world.record(user).await.email.unwrap().key, world.tick());
    assert!(world.store.confirm_email(user, &key, at).await.unwrap());
    at
}

pub async fn confirm_email_keeps_the_first_time(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let before = (world.record(ada).await, world.record(bob).await);
    let at = confirm(world, ada).await;
    confirm(world, ada).await;
    let expected = UserRecord { email_confirmed_at: Some(at), ..before.0 };
    assert_eq!(world.record(ada).await, expected, "and the version stays");
    assert_eq!(by_address(world, b"ada@example.org").await.unwrap(), expected);
    assert_eq!(world.store.users(&[ada]).await.unwrap(), [expected]);
    assert_eq!(world.record(bob).await, before.1);
}

pub async fn confirm_email_of_another_address_is_nothing(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let records = (world.record(ada).await, world.record(bob).await);
    let (of_ada, of_bob, at) =
        (records.0.email.clone().unwrap().key, records.1.email.clone().unwrap().key, world.tick());
    // Some engines pad with zeros what they compare.
    let longer = [of_ada.clone(), vec![0]].concat();
    for (user, key) in [(ada, &of_bob), (ada, &longer), (ada, &vec![]), (world.id(), &of_bob)] {
        assert!(!world.store.confirm_email(user, key, at).await.unwrap(), "{key:?}");
    }
    assert_eq!((world.record(ada).await, world.record(bob).await), records);
    world.erase(ada).await;
    let erased = world.record(ada).await;
    assert!(!world.store.confirm_email(ada, &of_ada, at).await.unwrap());
    assert_eq!(world.record(ada).await, erased);
}

pub async fn update_user_with_another_address_is_not_confirmed(world: &World) {
    let ada = world.user("ada").await;
    let at = confirm(world, ada).await;
    let record = world.record(ada).await;
    let address = StoredAddress { key: b"ada@example.org".to_vec(), ..record.email.clone().unwrap() };
    let respelled = StoredAddress { content: Content::from("ADA@example.org"), ..address.clone() };
    let same = UpdateUser { email: Some(respelled.clone()), notify_email: Some(true), ..update(&record) };
    let record = world.store.update_user(same).await.unwrap();
    assert_eq!(
        (record.email.clone(), record.email_confirmed_at),
        (Some(world.stored_address(&respelled)), Some(at))
    );
    let name = UpdateUser { display_name: Some(shown("A.")), ..update(&record) };
    let mut record = world.store.update_user(name).await.unwrap();
    assert_eq!(record.email_confirmed_at, Some(at));
    // Some engines pad with zeros what they compare.
    let longer = StoredAddress { key: [address.key.clone(), vec![0]].concat(), ..address.clone() };
    for next in [longer, address] {
        let change = UpdateUser { email: Some(next.clone()), ..update(&record) };
        record = world.store.update_user(change).await.unwrap();
        assert_eq!(
            (record.email.clone(), record.email_confirmed_at),
            (Some(world.stored_address(&next)), None)
        );
        assert_eq!(world.record(ada).await, record);
    }
    let again = confirm(world, ada).await;
    assert_eq!(world.record(ada).await.email_confirmed_at, Some(again));
}

pub async fn update_user_conflicts_with_an_older_version(world: &World) {
    let ada = world.user("ada").await;
    let first = world.record(ada).await;
    let change = UpdateUser { notify_email: Some(false), ..update(&first) };
    let second = world.store.update_user(change).await.unwrap();
    let change = UpdateUser { display_name: Some(shown("Late")), ..update(&first) };
    assert_eq!(error_kind(world.store.update_user(change).await), StoreErrorKind::Conflict);
    assert_eq!(world.record(ada).await, second);

    let answers = race((0..8).map(|n| {
        let store = Arc::clone(&world.store);
        let name = shown(&format!("Racer {n}"));
        let change = UpdateUser { display_name: Some(name), ..update(&second) };
        async move { store.update_user(change).await }
    }))
    .await;
    let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!(won.len(), 1, "of those who decided on the same version one wins");
    assert!(lost.into_iter().all(|answer| error_kind(answer) == StoreErrorKind::Conflict));
    let won = won.into_iter().next().unwrap().unwrap();
    assert_eq!(won.version, second.version + 1);
    assert_eq!(world.record(ada).await, won);
}

pub async fn update_user_refuses_a_taken_address(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let (before, other) = (world.record(ada).await, world.record(bob).await);
    let change =
        UpdateUser { email: other.email.clone(), display_name: Some(shown("Bob?")), ..update(&before) };
    let answer = world.store.update_user(change).await;
    assert_eq!(error_kind(answer), StoreErrorKind::AlreadyExists(Unique::Email));
    assert_eq!(world.record(ada).await, before, "nothing of it is changed");
    assert_eq!(by_address(world, b"bob@example.org").await.unwrap(), other);
}

pub async fn update_user_of_unknown_or_erased_user_is_not_found(world: &World) {
    let ada = world.user("ada").await;
    world.erase(ada).await;
    let erased = world.record(ada).await;
    let change = UpdateUser { notify_email: Some(true), ..update(&erased) };
    assert_eq!(error_kind(world.store.update_user(change).await), StoreErrorKind::NotFound);
    assert_eq!(world.record(ada).await, erased);
    let change = UpdateUser { id: world.id(), notify_email: Some(true), ..update(&erased) };
    assert_eq!(error_kind(world.store.update_user(change).await), StoreErrorKind::NotFound);
}

pub async fn change_password_ends_all_other_sessions(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let (kept, ended) = (world.session(ada), world.session(ada));
    for session in [&kept, &ended] {
        world.log_in(session.clone(), 100).await.unwrap();
    }
    let before = world.record(ada).await;
    let first = world.store.sessions(ada).await.unwrap().pop().unwrap().id;
    let answer = world.store.change_password(ada, before.version, "$new", Some(kept.id)).await.unwrap();
    assert_eq!(answer.into_iter().collect::<BTreeSet<_>>(), BTreeSet::from([first, ended.id]));
    let left = world.store.sessions(ada).await.unwrap();
    assert_eq!(left.iter().map(|session| session.id).collect::<Vec<_>>(), [kept.id]);
    let password_hash = Some("$new".to_owned());
    let after = UserRecord { password_hash, version: before.version + 1, ..before };
    assert_eq!(world.record(ada).await, after);
    assert_eq!(world.store.sessions(bob).await.unwrap().len(), 1);

    let answer = world.store.change_password(ada, after.version, "$newer", None).await.unwrap();
    assert_eq!(answer, [kept.id]);
    assert_eq!(world.store.sessions(ada).await.unwrap(), []);
    let token = world.store.session_by_token(&kept.token_hash).await;
    assert_eq!(error_kind(token), StoreErrorKind::NotFound);
}

pub async fn change_password_of_unknown_or_erased_user_is_not_found(world: &World) {
    let ada = world.user("ada").await;
    world.erase(ada).await;
    let erased = world.record(ada).await;
    for user in [ada, world.id()] {
        let answer = world.store.change_password(user, erased.version, "$new", None).await;
        assert_eq!(error_kind(answer), StoreErrorKind::NotFound);
    }
    assert_eq!(world.record(ada).await, erased);
}

pub async fn change_password_conflicts_with_an_older_version(world: &World) {
    let ada = world.user("ada").await;
    let first = world.record(ada).await;
    world.store.change_password(ada, first.version, "$second", None).await.unwrap();
    let session = world.session(ada);
    world.log_in(session.clone(), 100).await.unwrap();
    let second = world.record(ada).await;
    let answer = world.store.change_password(ada, first.version, "$late", None).await;
    assert_eq!(error_kind(answer), StoreErrorKind::Conflict);
    assert_eq!(world.record(ada).await, second);
    assert_eq!(world.store.sessions(ada).await.unwrap()[0].id, session.id, "no session ends");
}

pub async fn upgrade_password_changes_the_hash_alone(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let (before, of_bob) = (world.record(ada).await, world.record(bob).await);
    let sessions = world.store.sessions(ada).await.unwrap();
    let former = before.password_hash.clone().unwrap();
    assert!(world.store.upgrade_password(ada, &former, "$dearer").await.unwrap());
    let expected = UserRecord { password_hash: Some("$dearer".into()), ..before };
    assert_eq!(world.record(ada).await, expected, "and the version stays");
    assert_eq!(world.record(bob).await, of_bob);
    assert_eq!(world.store.sessions(ada).await.unwrap(), sessions);
    // Who read the account before changes what they meant to.
    world.store.change_password(ada, expected.version, "$new", None).await.unwrap();
    assert!(!world.store.upgrade_password(ada, &former, "$late").await.unwrap());
    assert!(!world.store.upgrade_password(ada, "$dearer", "$late").await.unwrap());
    assert_eq!(world.record(ada).await.password_hash.unwrap(), "$new");
}

pub async fn upgrade_password_of_another_hash_is_nothing(world: &World) {
    let ada = world.user("ada").await;
    let version = world.record(ada).await.version;
    world.store.change_password(ada, version, "$hash", None).await.unwrap();
    let before = world.record(ada).await;
    for (user, former) in [(ada, "$other"), (ada, "$Hash"), (ada, "$has"), (ada, ""), (world.id(), "$hash")] {
        assert!(!world.store.upgrade_password(user, former, "$dearer").await.unwrap(), "{former:?}");
    }
    assert_eq!(world.record(ada).await, before);
    world.erase(ada).await;
    let erased = world.record(ada).await;
    assert!(!world.store.upgrade_password(ada, "$hash", "$dearer").await.unwrap());
    assert_eq!(world.record(ada).await, erased);
}

pub async fn erase_user_leaves_only_the_id(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    world.direct(ada, bob).await;
    world.store.set_last_seen(&[(ada, world.tick())]).await.unwrap();
    let change = UpdateUser { preferences: Some(preferences()), ..update(&world.record(ada).await) };
    world.store.update_user(change).await.unwrap();
    let refused = refuse(world, ada, 1).await;
    let told = Told { at: refused, since: refused, times: 1 };
    let notified = Notified { user: ada, expected: None, told, ranges: vec![], jobs: vec![] };
    assert!(world.store.record_notified(&notified).await.unwrap());
    confirm(world, ada).await;
    let (before, at) = (world.record(ada).await, world.tick());
    assert_eq!(before.mail, MailState { refusals: 1, suppressed_at: Some(refused), told: Some(told) });
    let session = world.store.sessions(ada).await.unwrap()[0].id;
    let erasure = world.erasure(ada, before.version, at);
    assert_eq!(world.store.erase_user(&erasure).await.unwrap(), [session]);
    let EraseUser { username, display_name, .. } = erasure;

    let left = UserRecord {
        id: ada,
        username,
        display_name,
        email: None,
        email_confirmed_at: None,
        password_hash: None,
        notify_email: false,
        preferences: Preferences::default(),
        mail: MailState::default(),
        created_at: before.created_at,
        last_seen_at: None,
        erased_at: Some(at),
        version: before.version + 1,
        memberships: before.memberships,
    };
    assert_eq!(world.record(ada).await, left);
    assert_eq!(world.store.sessions(ada).await.unwrap(), []);
    let (again, session) = world.account("ada");
    world.store.create_user(again.clone(), session).await.expect("name and address are free");
    assert_eq!(by_name(world, "ada").await.unwrap().id, again.id);
    assert_eq!(world.record(ada).await, left);
}

pub async fn erase_user_of_unknown_or_erased_user_is_not_found(world: &World) {
    let ada = world.user("ada").await;
    world.erase(ada).await;
    let erased = world.record(ada).await;
    for user in [ada, world.id()] {
        let answer = world.store.erase_user(&world.erasure(user, erased.version, world.tick())).await;
        assert_eq!(error_kind(answer), StoreErrorKind::NotFound);
    }
    assert_eq!(world.record(ada).await, erased);
}

pub async fn erase_user_conflicts_with_an_older_version(world: &World) {
    let ada = world.user("ada").await;
    let first = world.record(ada).await;
    let change = UpdateUser { notify_email: Some(false), ..update(&first) };
    let second = world.store.update_user(change).await.unwrap();
    let answer = world.store.erase_user(&world.erasure(ada, first.version, world.tick())).await;
    assert_eq!(error_kind(answer), StoreErrorKind::Conflict);
    assert_eq!(world.record(ada).await, second);
    assert_eq!(world.store.sessions(ada).await.unwrap().len(), 1, "no session ends");
}

pub async fn set_last_seen_only_moves_forward(world: &World) {
    let [ada, bob, cleo] = world.people(["ada", "bob", "cleo"]).await;
    let (early, late) = (world.tick(), world.tick());
    let before = world.record(ada).await;
    world.store.set_last_seen(&[(ada, late), (bob, early)]).await.unwrap();
    let seen = UserRecord { last_seen_at: Some(late), ..before };
    assert_eq!(world.record(ada).await, seen, "and the version stays");
    world.store.set_last_seen(&[(ada, early), (bob, late)]).await.unwrap();
    assert_eq!(world.record(ada).await, seen);
    assert_eq!(world.record(bob).await.last_seen_at, Some(late));
    let latest = late.after(Duration::from_micros(2));
    let middle = late.after(Duration::from_micros(1));
    world.store.set_last_seen(&[(ada, latest), (ada, middle)]).await.unwrap();
    assert_eq!(world.record(ada).await.last_seen_at, Some(latest), "also within one call");
    world.store.set_last_seen(&[]).await.unwrap();
    assert_eq!(world.record(cleo).await.last_seen_at, None);
}

pub async fn set_last_seen_passes_over_the_unknown_and_the_erased(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    world.erase(ada).await;
    let (erased, at) = (world.record(ada).await, world.tick());
    let mut seen: Vec<_> = (0..3000).map(|_| (world.id(), at)).collect();
    seen.extend([(ada, at), (bob, at)]);
    world.store.set_last_seen(&seen).await.unwrap();
    assert_eq!(world.record(ada).await, erased);
    assert_eq!(world.record(bob).await.last_seen_at, Some(at));
}

/// The stored form of a new account.
pub(crate) fn expected(world: &World, user: &NewUser) -> UserRecord {
    UserRecord {
        id: user.id,
        username: user.username.clone(),
        display_name: user.display_name.content.clone(),
        email: Some(world.stored_address(&user.email)),
        email_confirmed_at: None,
        password_hash: Some(user.password_hash.clone()),
        notify_email: true,
        preferences: Preferences::default(),
        mail: MailState::default(),
        created_at: user.created_at,
        last_seen_at: None,
        erased_at: None,
        version: 1,
        memberships: 0,
    }
}

/// An update of this account that changes nothing yet.
pub(crate) fn update(user: &UserRecord) -> UpdateUser {
    UpdateUser::of(user.id, user.version)
}

fn shown(name: &str) -> StoredName {
    StoredName::from(&DisplayName::trusted(name))
}

async fn create_shown(world: &World, username: &str, display_name: &str) -> UserId {
    let (mut user, session) = world.account(username);
    let id = user.id;
    user.display_name = shown(display_name);
    world.store.create_user(user, session).await.unwrap();
    id
}

async fn find(world: &World, prefix: &str, after: Option<&NamePlace>, limit: usize) -> Vec<String> {
    let found = world.store.find_users(prefix, after, limit).await.unwrap();
    found.into_iter().map(|found| found.user.username.as_str().to_owned()).collect()
}

async fn all_pages(world: &World, prefix: &str, size: usize) -> Vec<String> {
    let (mut all, mut after) = (vec![], None);
    loop {
        let page = world.store.find_users(prefix, after.as_ref(), size).await.unwrap();
        assert!(page.len() <= size);
        after = page.last().map(FoundUser::place).or(after);
        all.extend(page.iter().map(|found| found.user.username.as_str().to_owned()));
        if page.len() < size {
            return all;
        }
    }
}

fn place(name: &str, username: &str) -> NamePlace {
    NamePlace { name: name.to_owned(), username: Username::trusted(username) }
}

async fn by_name(world: &World, username: &str) -> StoreResult<UserRecord> {
    world.store.user_by_login(LoginKey::Username(&Username::trusted(username))).await
}

async fn by_address(world: &World, key: &[u8]) -> StoreResult<UserRecord> {
    world.store.user_by_login(LoginKey::Email(key)).await
}
