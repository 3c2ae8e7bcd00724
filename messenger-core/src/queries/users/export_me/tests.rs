use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use super::*;
use crate::{
    Actor,
    commands::*,
    domain::{
        ChangeNotifications, DailyHours, EmailAddress, Limits, MessageId, NotifyLevel, PageLimits, Password,
        Seq, Timestamp,
    },
    notify::{AboutAccount, Telling, UnreadIn, What},
    ports::{
        Content, JobStore as _, MailOutcome, MessageRecord, NewMessage, Notified, StoredAddress, StoredName,
        Told, UnreadRange, UpdateUser,
    },
    testing::{Scene, Setup, State, Who, Who::*, code, link_keys},
};

type Files = BTreeMap<ExportFile, Vec<Value>>;

/// All parts of the person, one after the other, from the cursor on.
async fn parts_from(scene: &Scene, who: Who, mut cursor: Option<Cursor>) -> Vec<ExportPart> {
    let mut parts = Vec::new();
    loop {
        let part = scene.ask(who, ExportMe { cursor }).await;
        cursor = part.next_cursor.clone();
        parts.push(part);
        assert!(parts.len() < 1000, "it comes to no end");
        if cursor.is_none() {
            return parts;
        }
    }
}

fn lines_of(parts: &[ExportPart]) -> Files {
    let mut files = Files::new();
    for part in parts {
        let lines: Vec<Value> = part.lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len() as u64, part.count);
        assert!(part.lines.is_empty() || part.lines.ends_with('\n'));
        files.entry(part.file).or_default().extend(lines);
    }
    files
}

async fn exported(scene: &Scene, who: Who) -> Files {
    lines_of(&parts_from(scene, who, None).await)
}

fn value(of: &impl serde::Serialize) -> Value {
    serde_json::to_value(of).unwrap()
}

#[tokio::test]
async fn the_account_is_in_it_with_all_its_settings() {
    let scene = Scene::new().await;
    let update = UpdateProfile {
        display_name: Some("Planted Name".into()),
        email: None,
        language: Some("pt-BR".into()),
        time_zone: Some("Europe/Berlin".into()),
        notifications: Some(ChangeNotifications {
            email: Some(false),
            quiet_hours: Some(
                serde_json::from_value::<DailyHours>(json!({"from": "22:00", "to": "07:00"})).unwrap(),
            ),
        }),
    };
    let me = scene.must(Member, update).await;
    let now = scene.messenger.service().context.now();
    let store = &scene.messenger.service().store;
    store.set_last_seen(&[(me.user.id, now)]).await.unwrap();
    store.confirm_email(me.user.id, b"member@example.org", now).await.unwrap();
    let profile = &exported(&scene, Member).await[&ExportFile::Profile];
    let expected = json!({
        "id": me.user.id,
        "username": "member",
        "displayName": "Planted Name",
        "email": "member@example.org",
        "emailConfirmedAt": now,
        "language": "pt-br",
        "timeZone": "Europe/Berlin",
        "notifications": {"email": false, "quietHours": {"from": "22:00", "to": "07:00"}},
        "createdAt": me.user.created_at,
        "lastSeenAt": now,
    });
    assert_eq!(profile[..], [expected]);
}

#[tokio::test]
async fn sessions_are_in_it_without_their_tokens() {
    let scene = Scene::new().await;
    let log_in = LogIn {
        login: "member".into(),
        password: Password::new("correct horse"),
        device: Some("planted device".into()),
    };
    scene.clock.advance(Duration::from_secs(1));
    let logged_in = scene.messenger.execute(&Actor::anonymous(), log_in).await.unwrap();
    let parts = parts_from(&scene, Member, None).await;
    let sessions = &lines_of(&parts)[&ExportFile::Sessions];
    assert_eq!(sessions.len(), 2);
    assert_eq!(sessions[0]["device"], "planted device");
    assert_eq!(sessions[0]["expiresAt"], value(&logged_in.expires_at));
    assert_eq!(sessions[1]["id"], value(&scene.session(Member)));
    for field in ["createdAt", "lastUsedAt", "expiresAt"] {
        assert!(sessions.iter().all(|session| session[field].is_string()), "{field}");
    }
    let all: String = parts.iter().map(|part| part.lines.as_str()).collect();
    for secret in [logged_in.token.expose(), "argon2", "token", "password"] {
        assert!(!all.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn chats_and_marks_are_in_it_and_of_those_one_has_left_the_id() {
    let scene = Scene::new().await;
    let left = scene.makes_group(Owner, [Member]).await;
    scene.must(Member, LeaveChat { chat_id: left }).await;
    let until = scene.messenger.service().context.now().after(Duration::from_secs(3600));
    scene.must(Member, SetMute { chat_id: scene.group, until: Some(until) }).await;
    let level = SetNotifications { chat_id: scene.group, level: NotifyLevel::Mentions };
    scene.must(Member, level).await;
    for _ in 0..3 {
        scene.says_in(scene.direct, Owner, "hello").await;
    }
    scene.must(Member, MarkRead { chat_id: scene.direct, seq: Seq::new(2) }).await;
    scene.must(Member, MarkDelivered { chat_id: scene.direct, seq: Seq::new(3) }).await;

    let files = exported(&scene, Member).await;
    let chats = &files[&ExportFile::Chats];
    let of = |chat| chats.iter().find(|line| line["id"] == value(&chat)).unwrap();
    assert_eq!(chats.len(), 3);
    assert_eq!(*of(left), json!({"id": left, "member": false}));
    let group = of(scene.group);
    assert_eq!(
        (&group["member"], &group["kind"], &group["title"], &group["role"]),
        (&json!(true), &json!("group"), &json!("Tea"), &json!("member"))
    );
    assert!(group["joinedAt"].is_string() && group["createdAt"].is_string());
    assert_eq!(of(scene.direct)["peer"]["username"], "owner");

    let marks = &files[&ExportFile::Marks];
    let of = |chat| marks.iter().find(|line| line["chatId"] == value(&chat)).unwrap();
    assert_eq!(marks.len(), 2);
    assert_eq!(
        *of(scene.direct),
        json!({
            "chatId": scene.direct, "readSeq": 2, "deliveredSeq": 3, "notifications": "all",
        })
    );
    assert_eq!(
        (&of(scene.group)["mutedUntil"], &of(scene.group)["notifications"]),
        (&value(&until), &json!("mentions"))
    );
}

#[tokio::test]
async fn what_one_wrote_is_in_it_in_all_its_states_and_nothing_of_others() {
    let scene = Scene::new().await;
    let others = scene.says(Owner, "secret of the owner").await;
    let sent = scene.says(Member, "planted text").await;
    let edited = scene.text(Member, State::Edited).await;
    let deleted = scene.text(Member, State::Deleted).await;
    let direct = scene.says_in(scene.direct, Member, "planted in the direct chat").await;
    scene.says_in(scene.direct, Owner, "secret of the owner").await;

    let parts = parts_from(&scene, Member, None).await;
    let messages = &lines_of(&parts)[&ExportFile::Messages];
    for message in [sent, edited, deleted, direct] {
        assert!(messages.contains(&value(&message)), "{message:?}");
    }
    let texts = messages.iter().filter(|line| line["kind"] == "text");
    assert!(
        texts.clone().count() == 4 && texts.clone().all(|line| line["senderId"] == value(&scene.id(Member)))
    );
    let all: String = parts.iter().map(|part| part.lines.as_str()).collect();
    for others in ["secret of the owner", "owner@example.org", &others.id.to_string(), "admin@"] {
        assert!(!all.contains(others), "{others}");
    }
}

#[tokio::test]
async fn what_chats_have_recorded_of_one_is_in_it_and_of_others_who_did_it() {
    let scene = Scene::new().await;
    let messages = &exported(&scene, Left).await[&ExportFile::Messages];
    let events: Vec<_> = messages.iter().map(|line| line["system"]["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["membersAdded", "memberLeft"], "the group was left, and is in it all the same");
    assert_eq!(messages[0]["senderId"], value(&scene.id(Owner)));
    // Of the first members only the one who asks.
    let created = &exported(&scene, Member).await[&ExportFile::Messages][0]["system"];
    assert_eq!((&created["event"], &created["userIds"]), (&json!("created"), &json!([scene.id(Member)])));
}

#[tokio::test]
async fn what_one_wrote_in_a_chat_that_one_has_left_is_in_it() {
    let scene = Scene::new().await;
    let said = scene.says(OtherMember, "planted before leaving").await;
    scene.must(OtherMember, LeaveChat { chat_id: scene.group }).await;
    scene.says(Owner, "said later").await;
    let messages = &exported(&scene, OtherMember).await[&ExportFile::Messages];
    assert!(messages.contains(&value(&said)), "{messages:?}");
}

/// A scene whose parts hold few messages, and the member's texts in two chats among many of the owner.
async fn with_many() -> Scene {
    let page = PageLimits { bytes: 4 << 10, ..PageLimits::default() };
    let limits = Limits { page, ..Limits::default() };
    let scene = Scene::with(Setup { limits, ..Setup::default() }).await;
    for n in 0..60 {
        let (who, chat) = (if n % 3 == 0 { Member } else { Owner }, [scene.group, scene.direct][n % 2]);
        scene.says_in(chat, who, &format!("{n} {}", "x".repeat(500))).await;
    }
    for _ in 0..60 {
        scene.makes_group(Member, []).await;
    }
    scene
}

#[tokio::test]
async fn a_part_is_bounded_in_bytes_and_in_chats_and_each_line_comes_once() {
    let scene = with_many().await;
    let parts = parts_from(&scene, Member, None).await;
    assert!(parts.len() > 20, "{}", parts.len());
    for part in &parts {
        // In JSON there is more around each.
        assert!(part.count <= 50 || part.file == ExportFile::Messages, "{part:?}");
        assert!(part.lines.len() <= 16 << 10, "{part:?} has {} bytes", part.lines.len());
    }
    assert!(parts.is_sorted_by_key(|part| part.file));
    let files = lines_of(&parts);
    for (file, count) in [
        (ExportFile::Profile, 1),
        (ExportFile::Sessions, 1),
        (ExportFile::Chats, 62),
        (ExportFile::Marks, 62),
        // What 61 groups have recorded, and 20 texts.
        (ExportFile::Messages, 81),
        (ExportFile::Mails, 1),
    ] {
        let mut lines: Vec<String> = files[&file].iter().map(Value::to_string).collect();
        lines.sort();
        lines.dedup();
        assert_eq!((lines.len(), files[&file].len()), (count, count), "{file:?}");
    }
}

#[tokio::test]
async fn who_goes_on_after_any_part_has_the_same_lines() {
    let scene = with_many().await;
    let parts = parts_from(&scene, Member, None).await;
    for (at, part) in parts.iter().enumerate().filter(|(_, part)| part.next_cursor.is_some()) {
        let rest = parts_from(&scene, Member, part.next_cursor.clone()).await;
        assert!(rest == parts[at + 1..], "after part {at}");
    }
}

#[tokio::test]
async fn what_is_sent_meanwhile_neither_hides_nor_repeats_what_was_there() {
    let scene = with_many().await;
    let before = exported(&scene, Member).await;
    let (mut cursor, mut parts) = (None, Vec::new());
    loop {
        let part = scene.ask(Member, ExportMe { cursor }).await;
        for (who, chat) in [(Owner, scene.group), (Member, scene.direct), (Member, scene.group)] {
            // No more than what is read meanwhile, or it would come to no end.
            if parts.len() < 100 {
                scene.says_in(chat, who, "meanwhile").await;
            }
        }
        cursor = part.next_cursor.clone();
        parts.push(part);
        if cursor.is_none() {
            break;
        }
    }
    let meanwhile = lines_of(&parts);
    let ids = |files: &Files| -> Vec<String> {
        files[&ExportFile::Messages].iter().map(|line| line["id"].to_string()).collect()
    };
    let (before, mut meanwhile) = (ids(&before), ids(&meanwhile));
    assert!(before.iter().all(|id| meanwhile.contains(id)));
    let lines = meanwhile.len();
    meanwhile.sort();
    meanwhile.dedup();
    assert_eq!(meanwhile.len(), lines);
    assert!(lines > before.len());
}

#[tokio::test]
async fn what_changes_meanwhile_is_in_it_in_its_latest_state() {
    let scene = with_many().await;
    let first = scene.says_in(scene.direct, Member, "first").await;
    let (mut cursor, mut parts) = (None, Vec::new());
    loop {
        let part = scene.ask(Member, ExportMe { cursor }).await;
        if part.lines.contains(&first.id.to_string()) && parts.len() < 200 {
            let (chat_id, message_id) = (scene.direct, first.id);
            scene.must(Member, EditMessage { chat_id, message_id, body: format!("{}", parts.len()) }).await;
        }
        cursor = part.next_cursor.clone();
        parts.push(part);
        if cursor.is_none() {
            break;
        }
        if parts.len() > 200 {
            panic!("it comes to no end");
        }
    }
    let files = lines_of(&parts);
    let of_first = files[&ExportFile::Messages].iter().filter(|line| line["id"] == value(&first.id));
    assert!(of_first.count() >= 1);
}

#[tokio::test]
async fn nothing_more_is_read_of_one_who_is_erased() {
    let scene = with_many().await;
    let part = scene.ask(Member, ExportMe { cursor: None }).await;
    scene.must(Member, EraseMe { password: Password::new("correct horse") }).await;
    let cursor = part.next_cursor;
    assert_eq!(code(&scene.query(Member, ExportMe { cursor: cursor.clone() }).await), "unauthenticated");
    let accounts = scene.messenger.accounts();
    for cursor in [cursor.as_ref(), None] {
        assert_eq!(code(&accounts.export(scene.id(Member), cursor).await), "notFound");
    }
    assert_eq!(code(&accounts.export(scene.id(Nobody), None).await), "notFound");
    assert_eq!(code(&scene.query(Nobody, ExportMe { cursor: None }).await), "notFound");
}

#[tokio::test]
async fn what_can_not_be_read_is_said_to_be_so_and_the_rest_follows() {
    let scene = Scene::new().await;
    let store = &scene.messenger.service().store;
    let broken = NewMessage {
        id: scene.messenger.service().context.id(),
        chat: scene.direct,
        sender: scene.id(Member),
        body: Content(vec![0xff, 1, 2]),
        client_id: None,
        reply_to: None,
        created_at: scene.messenger.service().context.now(),
    };
    let id: MessageId = broken.id;
    store.append_messages(&[broken]).await.unwrap().pop().unwrap().unwrap();
    let account = store.user(scene.id(Member)).await.unwrap();
    let update = UpdateUser {
        display_name: Some(StoredName { content: Content(vec![0xff]), key: String::new() }),
        email: Some(StoredAddress { content: Content(vec![0xff]), key: b"?".to_vec() }),
        ..UpdateUser::of(account.id, account.version)
    };
    store.update_user(update).await.unwrap();
    let after = scene.says_in(scene.direct, Member, "after it").await;

    let files = exported(&scene, Member).await;
    assert_eq!(files[&ExportFile::Profile][0]["corrupt"], json!(["displayName", "email"]));
    let messages = &files[&ExportFile::Messages];
    let broken = messages.iter().find(|line| line["id"] == value(&id)).unwrap();
    assert_eq!((&broken["corrupt"], broken.get("body")), (&json!(true), None));
    assert!(messages.contains(&value(&after)));
    assert_eq!(files[&ExportFile::Mails][0]["kind"], "address");
}

/// What the member was mailed, and others were.
async fn with_mails() -> Scene {
    let scene = Scene::new().await;
    let context = &scene.messenger.service().context;
    let address = |text: &str| EmailAddress::trusted(text);
    let unread = |who: Who, up_to: u64| Telling {
        user: scene.id(who),
        what: What::Unread {
            chats: vec![UnreadIn { chat: scene.direct, after: Seq::ZERO, up_to: Seq::new(up_to), unread: 1 }],
        },
    };
    let mut jobs = Vec::new();
    // More than are read for one part.
    for n in 0..120 {
        jobs.push(unread(if n % 40 == 0 { Member } else { Owner }, n + 1).into_job(context).unwrap());
    }
    for about in [
        AboutAccount::ConfirmAddress { email: address("Member@example.org") },
        AboutAccount::ResetPassword { email: address("member@example.org") },
        AboutAccount::AddressChanged { user: scene.id(Member), former: address("planted@example.org") },
        AboutAccount::ConfirmAddress { email: address("owner@example.org") },
        AboutAccount::ResetPassword { email: address("owner@example.org") },
        AboutAccount::AddressChanged { user: scene.id(Owner), former: address("former@example.org") },
    ] {
        jobs.push(about.into_job(context, &link_keys()).unwrap());
    }
    scene.store.enqueue_jobs(&jobs).await.unwrap();
    scene
}

#[tokio::test]
async fn mails_are_in_it_and_none_of_others() {
    let scene = with_mails().await;
    scene.says_in(scene.direct, Owner, "unread").await;
    let store = &scene.messenger.service().store;
    let at: Timestamp = scene.messenger.service().context.now();
    let notified = Notified {
        user: scene.id(Member),
        expected: None,
        told: Told { at, since: at, times: 1 },
        ranges: vec![UnreadRange { chat: scene.direct, after: Seq::ZERO, up_to: Seq::new(1) }],
        jobs: Vec::new(),
    };
    assert!(store.record_notified(&notified).await.unwrap());
    store
        .note_mail(scene.id(Member), b"member@example.org", MailOutcome::Refused { at, most: 1 })
        .await
        .unwrap();
    scene.says_in(scene.direct, Owner, "unread again").await;

    let parts = parts_from(&scene, Member, None).await;
    let mails = &lines_of(&parts)[&ExportFile::Mails];
    assert_eq!(
        mails[0],
        json!({
            "kind": "address", "refusals": 1, "suppressedAt": at, "toldAt": at, "toldTimes": 1, "toldSince": at,
        })
    );
    assert_eq!(mails[1], json!({"kind": "chat", "chatId": scene.direct, "toldAt": at, "toldTimes": 1}));
    let unread: Vec<_> = mails.iter().filter(|line| line["kind"] == "unread").collect();
    let ends: Vec<_> = unread.iter().map(|line| line["chats"][0]["upTo"].as_u64().unwrap()).collect();
    assert_eq!(ends, [81, 41, 1]);
    assert_eq!(
        (&unread[0]["state"], &unread[0]["chats"][0]["chatId"]),
        (&json!("waiting"), &value(&scene.direct))
    );
    let about: Vec<_> = mails
        .iter()
        .filter(|line| line["kind"] == "account")
        .map(|line| (line["about"].as_str().unwrap(), line["email"].as_str().unwrap()))
        .collect();
    assert_eq!(
        about,
        [
            ("addressChanged", "planted@example.org"),
            ("resetPassword", "member@example.org"),
            ("confirmAddress", "Member@example.org"),
        ]
    );
    assert_eq!(mails.len(), 2 + 3 + 3);
}

#[tokio::test]
async fn the_texts_of_others_make_a_part_as_heavy_as_ones_own() {
    let scene = with_many().await;
    let at_once = (4 << 10) / (500 + MessageRecord::BASE_WEIGHT);
    let parts = parts_from(&scene, Owner, None).await;
    let of_messages = parts.iter().filter(|part| part.file == ExportFile::Messages);
    assert!(of_messages.clone().all(|part| part.count as usize <= at_once + 8), "{parts:?}");
}

#[test]
fn debug_shows_no_line() {
    let part = ExportPart { file: ExportFile::Profile, lines: "secret".into(), count: 1, next_cursor: None };
    assert!(!format!("{part:?}").contains("secret"));
}

#[tokio::test]
async fn each_of_many_chats_is_read_once() {
    let scene = Scene::new().await;
    for _ in 0..60 {
        scene.makes_group(Stranger, []).await;
    }
    let files = exported(&scene, Stranger).await;
    for file in [ExportFile::Chats, ExportFile::Marks, ExportFile::Messages] {
        let mut lines: Vec<String> = files[&file].iter().map(Value::to_string).collect();
        lines.sort();
        lines.dedup();
        assert_eq!((lines.len(), files[&file].len()), (60, 60), "{file:?}");
    }
}
