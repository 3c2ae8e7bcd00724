use std::{slice::from_ref, sync::Arc, time::Duration};

use crate::{
    domain::{ChatId, JobId, UserId},
    ports::{
        Anchor, AskContents, Budget, ChatRecord, ClaimJobs, Content, ContentField, ContentPlace, Fingerprint,
        FinishedJob, JobChange, JobOutcome, JobRecord, LoginKey, MessageRecord, NewGroup, NewJob, NewMessage,
        NewSession, ReplaceContent, RowId, SessionRecord, StoreErrorKind, StoredAddress, StoredContent,
        StoredName, Unique, UpdateUser, UserRecord,
    },
    testkit::{
        World, error_kind, race,
        world::{name, sealed_text},
    },
};

/// What a sealed value begins with, in a column of bytes and in one of text.
const MARKS: [u8; 2] = [0xFF, 1];

fn mark(field: ContentField) -> u8 {
    MARKS[usize::from(field.is_text())]
}

/// Asks for everything of the field that is not sealed.
const fn ask(field: ContentField, unlike: u8) -> AskContents {
    AskContents { field, unlike, after: [0; 16], limit: 100, rows: 1000 }
}

/// All contents of the field that don't begin with this byte.
async fn found(world: &World, field: ContentField, unlike: u8) -> Vec<StoredContent> {
    let page = world.store.contents(&ask(field, unlike)).await.unwrap();
    assert_eq!(page.next, None);
    assert!(page.contents.is_sorted_by_key(|stored| stored.place.row()));
    page.contents
}

async fn plain(world: &World, field: ContentField) -> Vec<StoredContent> {
    found(world, field, mark(field)).await
}

async fn replace(world: &World, field: ContentField, replacement: ReplaceContent) -> usize {
    world.store.replace_contents(field, from_ref(&replacement)).await.unwrap()
}

/// As a wrapper would seal it.
fn sealed(field: ContentField, content: &Content) -> Content {
    let head: &[u8] = if field.is_text() { b"\x01c2VhbGVk" } else { b"\xFF\x00\x01" };
    Content([head, &content.0].concat())
}

/// What takes the place of a content, with other bytes beside it.
fn sealing(field: ContentField, stored: &StoredContent) -> ReplaceContent {
    let beside = |derived: &Vec<u8>| derived.iter().map(|byte| byte ^ 0x20).collect();
    ReplaceContent {
        row: stored.place.row(),
        expected: stored.content.clone(),
        content: sealed(field, &stored.content),
        derived: stored.derived.as_ref().map(beside),
    }
}

fn job(world: &World) -> NewJob {
    NewJob { payload: Content::from("{\"to\":\"ada@example.org\"}"), ..world.job("test") }
}

/// A job that has failed for this reason.
async fn failed(world: &World, reason: &str) -> JobId {
    let job = job(world);
    world.store.enqueue_jobs(from_ref(&job)).await.unwrap();
    let now = world.tick();
    let claim =
        ClaimJobs { kinds: vec![(job.kind.clone(), 9)], now, until: now.after(Duration::from_secs(9)) };
    let claimed = world.store.claim_jobs(&claim).await.unwrap().remove(0);
    let outcome = JobOutcome::Dead { reason: reason.to_owned() };
    let finished = FinishedJob { claim: claimed.claim, outcome };
    world.store.finish_jobs(&[finished], now).await.unwrap();
    job.id
}

fn content(place: ContentPlace, content: Content, derived: Option<Vec<u8>>) -> StoredContent {
    StoredContent { place, content, derived }
}

fn body(message: &MessageRecord) -> StoredContent {
    let place = ContentPlace::Body {
        message: message.id,
        chat: message.chat,
        sender: message.sender,
        kind: message.kind,
    };
    let derived = message.fingerprint.map(|print| print.0.to_vec());
    content(place, message.body.clone().unwrap(), derived)
}

fn by_row(mut contents: Vec<StoredContent>) -> Vec<StoredContent> {
    contents.sort_by_key(|stored| stored.place.row());
    contents
}

pub async fn contents_have_each_field_with_its_place(world: &World) {
    let world = &world.beneath();
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let group = NewGroup { client_id: Some(name("g", "Friends")), ..world.new_group(ada, &[bob]) };
    world.store.create_group(group.clone()).await.unwrap();
    let other = world.group([bob, ada]).await;
    let text = world.named(group.id, bob, "ärger 🎉", "c");
    world.append(&text).await.unwrap().into_record();
    let unnamed = world.send(other, ada, "hello").await;
    let job = failed(world, "no such host: ünknown").await;

    let record = world.record(ada).await;
    let address = record.email.unwrap();
    let addresses = plain(world, ContentField::Address).await;
    assert_eq!(addresses.len(), 2);
    let place = ContentPlace::Address { user: ada };
    assert!(addresses.contains(&content(place, address.content, Some(address.key))));
    let names = plain(world, ContentField::DisplayName).await;
    assert_eq!(names.len(), 2);
    assert!(names.contains(&content(ContentPlace::DisplayName { user: ada }, record.display_name, None)));
    let session = world.store.sessions(bob).await.unwrap().remove(0);
    let devices = plain(world, ContentField::Device).await;
    assert_eq!(devices.len(), 2);
    let place = ContentPlace::Device { session: session.id, user: bob };
    assert!(devices.contains(&content(place, session.device.unwrap(), None)));
    let print = name("g", "Friends").1.0.to_vec();
    let titles = [(group.id, Some(print)), (other, None)]
        .map(|(chat, print)| content(ContentPlace::Title { chat }, Content::from("Friends"), print));
    assert_eq!(plain(world, ContentField::Title).await, by_row(titles.into()));
    let mut bodies = vec![body(&world.store.message(group.id, text.id).await.unwrap()), body(&unnamed)];
    for chat in [group.id, other] {
        bodies.push(body(&history(world, chat, ada).await[0]));
    }
    assert_eq!(plain(world, ContentField::Body).await, by_row(bodies));
    let stored = world.store.job(job).await.unwrap();
    let payload = content(ContentPlace::Payload { job }, stored.payload, None);
    assert_eq!(plain(world, ContentField::Payload).await, [payload]);
    let reason = content(ContentPlace::Reason { job }, Content::from(stored.reason.unwrap()), None);
    assert_eq!(plain(world, ContentField::Reason).await, [reason]);
}

async fn history(world: &World, chat: ChatId, user: UserId) -> Vec<MessageRecord> {
    let all = Budget::of_messages(100);
    world.store.history(chat, user, Anchor::Newest, all).await.unwrap().messages
}

pub async fn contents_skip_what_begins_with_that_byte(world: &World) {
    let world = &world.beneath();
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let chat = world.direct(ada, bob).await;
    let mut sent = vec![];
    for bytes in [&b"\xFF\x01sealed"[..], b"\xFF", b"", b"\xC3\xA4", b"\xFE\xFF", b"\x01"] {
        let message = NewMessage { body: Content(bytes.to_vec()), ..world.text(chat, ada, "") };
        sent.push(world.append(&message).await.unwrap().into_record());
    }
    let bodies = |some: &[MessageRecord]| by_row(some.iter().map(body).collect());
    assert_eq!(plain(world, ContentField::Body).await, bodies(&sent[2..]));
    assert_eq!(found(world, ContentField::Body, 1).await, bodies(&sent[..5]));

    let titles = ["\u{1}c2VhbGVk", "\u{2}", "Éclair", " \u{1}"];
    let mut expected = vec![];
    for title in titles {
        let group = NewGroup { title: Content::from(title), ..world.new_group(ada, &[]) };
        let chat = world.store.create_group(group).await.unwrap().chat;
        expected.push(content(ContentPlace::Title { chat }, Content::from(title), None));
    }
    assert_eq!(plain(world, ContentField::Title).await, by_row(expected[1..].to_vec()));
    expected.remove(1);
    assert_eq!(found(world, ContentField::Title, 2).await, by_row(expected));
}

pub async fn contents_skip_what_was_removed(world: &World) {
    let world = &world.beneath();
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let chat = world.direct(ada, bob).await;
    let deleted = world.send(chat, ada, "deleted").await;
    world.delete(&deleted).await;
    let kept = world.send(chat, bob, "kept").await;
    let without = NewSession { device: None, ..world.session(bob) };
    world.log_in(without, 10).await.unwrap();
    world.erase(ada).await;
    let rows = async |field| -> Vec<RowId> {
        plain(world, field).await.iter().map(|stored| stored.place.row()).collect()
    };
    let session = world.store.sessions(bob).await.unwrap().into_iter().find(|one| one.device.is_some());
    assert_eq!(rows(ContentField::Address).await, [*bob.as_bytes()]);
    assert_eq!(rows(ContentField::DisplayName).await, [*bob.as_bytes()]);
    assert_eq!(rows(ContentField::Device).await, [*session.unwrap().id.as_bytes()]);
    assert_eq!(rows(ContentField::Title).await, [[0; 16]; 0]);
    assert_eq!(rows(ContentField::Body).await, [*kept.id.as_bytes()]);
    assert_eq!(rows(ContentField::Payload).await, [[0; 16]; 0]);
    // A job that has not failed has no reason.
    world.store.enqueue_jobs(&[job(world)]).await.unwrap();
    assert_eq!(rows(ContentField::Reason).await, [[0; 16]; 0]);
}

pub async fn contents_page_by_row(world: &World) {
    let world = &world.beneath();
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let chat = world.direct(ada, bob).await;
    let mut wanted = vec![];
    for n in 0..40 {
        let mut message = world.text(chat, ada, "text");
        if n % 4 != 1 && n < 30 {
            wanted.push(*message.id.as_bytes());
        } else {
            message.body = Content(b"\xFFsealed".to_vec());
        }
        world.append(&message).await.unwrap();
    }
    let mut asked = AskContents { limit: 3, rows: 7, ..ask(ContentField::Body, 0xFF) };
    let (mut rows, mut pages) = (vec![], 0);
    loop {
        let page = world.store.contents(&asked).await.unwrap();
        assert!(page.contents.len() <= 3);
        for stored in &page.contents {
            assert_eq!(replace(world, asked.field, sealing(asked.field, stored)).await, 1);
        }
        rows.extend(page.contents.iter().map(|stored| stored.place.row()));
        pages += 1;
        match page.next {
            Some(next) => {
                assert!(next > asked.after);
                asked.after = next;
            }
            None => break,
        }
    }
    wanted.sort_unstable();
    assert_eq!(rows, wanted);
    // Nothing is left, and that is found out with as many looks as it takes.
    let (mut looks, mut asked) = (1, AskContents { after: [0; 16], ..asked });
    while let Some(next) = world.store.contents(&asked).await.unwrap().next {
        looks += 1;
        asked.after = next;
    }
    assert!((6..=7).contains(&looks) && pages > looks, "{looks} looks, {pages} pages");
}

pub async fn replace_contents_changes_nothing_else(world: &World) {
    let world = &world.beneath();
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let group = NewGroup { client_id: Some(name("g", "Friends")), ..world.new_group(ada, &[bob]) };
    let chat = world.store.create_group(group.clone()).await.unwrap().chat;
    let message = world.append(&world.named(chat, bob, "hello", "c")).await.unwrap().into_record();
    let message = world.edit(&message, "hello again").await;
    let job = failed(world, "no such host").await;
    let before = (
        world.record(ada).await,
        world.view(chat, ada).await,
        world.store.job(job).await.unwrap(),
        world.store.sessions(ada).await.unwrap(),
    );
    let all = Budget::of_messages(100);
    let since = [(chat, message.revision)];
    for field in ContentField::ALL {
        for stored in plain(world, field).await {
            assert_eq!(replace(world, field, sealing(field, &stored)).await, 1, "{stored:?}");
        }
        assert_eq!(plain(world, field).await, [], "{field:?}");
        let changes = world.store.changes(&since, all).await.unwrap();
        assert!(changes.iter().all(|changes| changes.messages.is_empty()), "{field:?}: {changes:?}");
    }
    let (user, view) = (world.record(ada).await, world.view(chat, ada).await);
    let name = sealed(ContentField::DisplayName, &before.0.display_name);
    let email = user.email.clone();
    assert_eq!(
        email.as_ref().unwrap().content,
        sealed(ContentField::Address, &before.0.email.clone().unwrap().content)
    );
    assert_eq!(user, UserRecord { display_name: name, email, ..before.0 });
    let last = view.last_message.clone().unwrap();
    assert_eq!(last.body, Some(sealed(ContentField::Body, &Content::from("hello again"))));
    assert_eq!(last.fingerprint.unwrap().0, name_print("hello").map(|byte| byte ^ 0x20));
    assert_eq!(
        MessageRecord { body: message.body.clone(), fingerprint: message.fingerprint, ..last },
        message
    );
    let title = Some(sealed(ContentField::Title, &group.title));
    assert_eq!(view.chat, ChatRecord { title, ..before.1.chat });
    let payload = sealed(ContentField::Payload, &before.2.payload);
    let reason = sealed(ContentField::Reason, &Content::from("no such host")).into_text().ok();
    assert_eq!(world.store.job(job).await.unwrap(), JobRecord { payload, reason, ..before.2 });
    for (session, before) in std::iter::zip(world.store.sessions(ada).await.unwrap(), before.3) {
        let device = before.device.as_ref().map(|device| sealed(ContentField::Device, device));
        assert_eq!(session, SessionRecord { device, ..before });
    }
    // The fingerprint of the group's request is another one, too, and its name is in use.
    let print = Fingerprint(name_print("Friends").map(|byte| byte ^ 0x20));
    let again = NewGroup { client_id: group.client_id.clone().map(|(id, _)| (id, print)), ..group };
    let opened = world.store.create_group(again).await.unwrap();
    assert_eq!((opened.chat, opened.created, opened.same_request), (chat, false, true));
    // People are found by the username alone from then on.
    assert_eq!(world.store.find_users("dr", None, 9).await.unwrap(), []);
    assert_eq!(world.store.find_users("ad", None, 9).await.unwrap().len(), 1);
}

fn name_print(body: &str) -> [u8; 16] {
    name("c", body).1.0
}

pub async fn replace_contents_leaves_what_was_changed_meanwhile(world: &World) {
    let world = &world.beneath();
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let chat = world.group([ada, bob]).await;
    let (edited, deleted) = (world.send(chat, ada, "one").await, world.send(chat, ada, "two").await);
    let of = |message: &MessageRecord| sealing(ContentField::Body, &body(message));
    let (of_edited, of_deleted) = (of(&edited), of(&deleted));
    let edited = world.edit(&edited, "other").await;
    world.delete(&deleted).await;
    let stale = [of_edited, of_deleted];
    assert_eq!(world.store.replace_contents(ContentField::Body, &stale).await.unwrap(), 0);
    assert_eq!(world.store.message(chat, edited.id).await.unwrap(), edited);
    assert_eq!(world.store.message(chat, deleted.id).await.unwrap().body, None);
    // One that is as it was is replaced beside those that are not, and once.
    let fresh = of(&edited);
    let [one, two] = stale;
    let some = [ReplaceContent { row: *deleted.id.as_bytes(), ..one }, fresh.clone(), two];
    assert_eq!(world.store.replace_contents(ContentField::Body, &some[1..]).await.unwrap(), 1);
    assert_eq!(replace(world, ContentField::Body, fresh).await, 0);
    // A beginning, and other letters, are another content.
    for other in ["Friend", "friends", "Friends ", "Friends\u{0301}"] {
        let replacement = ReplaceContent {
            row: *chat.as_bytes(),
            expected: Content::from(other),
            content: sealed_text(20),
            derived: None,
        };
        assert_eq!(replace(world, ContentField::Title, replacement).await, 0, "{other}");
    }

    for field in [ContentField::Address, ContentField::DisplayName] {
        let [of_ada, of_bob] = plain(world, field).await.try_into().unwrap();
        let stale = [sealing(field, &of_ada), sealing(field, &of_bob)];
        let (version, record) = (world.record(ada).await.version, world.record(bob).await);
        if field == ContentField::Address {
            let email = StoredAddress { content: Content::from("new"), key: b"new".to_vec() };
            let update = UpdateUser { email: Some(email), ..UpdateUser::of(ada, version) };
            world.store.update_user(update).await.unwrap();
            assert_eq!(replace(world, field, stale[0].clone()).await, 0);
            assert_eq!(world.record(ada).await.email.unwrap().key, b"new");
        } else {
            let display_name = StoredName { content: Content::from("Bob"), key: "bob".to_owned() };
            let update =
                UpdateUser { display_name: Some(display_name), ..UpdateUser::of(bob, record.version) };
            world.store.update_user(update).await.unwrap();
            world.erase(ada).await;
            assert_eq!(world.store.replace_contents(field, &stale).await.unwrap(), 0);
            assert_eq!(world.record(ada).await.display_name, Content::from("Erased"));
            assert_eq!(world.record(bob).await.display_name, Content::from("Bob"));
        }
    }
    let dropped = failed(world, "no such host").await;
    let stale = plain(world, ContentField::Payload).await;
    world.store.change_job(dropped, JobChange::Drop, world.tick()).await.unwrap();
    assert_eq!(replace(world, ContentField::Payload, sealing(ContentField::Payload, &stale[0])).await, 0);
    assert_eq!(world.store.replace_contents(ContentField::Body, &[]).await.unwrap(), 0);
}

pub async fn replace_contents_moves_the_key_of_an_address(world: &World) {
    let world = &world.beneath();
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let at = world.tick();
    assert!(world.store.confirm_email(ada, b"ada@example.org", at).await.unwrap());
    let field = ContentField::Address;
    let mut replacements = vec![];
    for (stored, key) in plain(world, field).await.iter().zip([b"key of one", b"key of two"]) {
        replacements.push(ReplaceContent { derived: Some(key.to_vec()), ..sealing(field, stored) });
    }
    assert_eq!(world.store.replace_contents(field, &replacements).await.unwrap(), 2);
    let (ada_now, bob_now) = (world.record(ada).await, world.record(bob).await);
    assert_eq!((ada_now.email_confirmed_at, bob_now.email_confirmed_at), (Some(at), None));
    for user in [&ada_now, &bob_now] {
        let key = &user.email.as_ref().unwrap().key;
        assert!(key.starts_with(b"key of "));
        let by_key = world.store.user_by_login(LoginKey::Email(key)).await.unwrap();
        assert_eq!((&by_key, by_key.version), (user, 1));
    }
    let former = world.store.user_by_login(LoginKey::Email(b"ada@example.org")).await;
    assert_eq!(error_kind(former), StoreErrorKind::NotFound);
    assert!(!world.store.confirm_email(bob, b"bob@example.org", at).await.unwrap());
    let key = ada_now.email.unwrap().key;
    assert!(world.store.confirm_email(ada, &key, world.tick()).await.unwrap());
    assert_eq!(world.record(ada).await.email_confirmed_at, Some(at));
}

pub async fn replace_contents_of_a_taken_address_is_refused(world: &World) {
    let world = &world.beneath();
    let people: [UserId; 3] = world.people(["ada", "bob", "cleo"]).await;
    let field = ContentField::Address;
    let taken = world.record(people[2]).await.email.unwrap().key;
    let mut replacements: Vec<_> =
        plain(world, field).await.iter().take(2).map(|stored| sealing(field, stored)).collect();
    replacements[1].derived = Some(taken);
    let answer = world.store.replace_contents(field, &replacements).await;
    assert_eq!(error_kind(answer), StoreErrorKind::AlreadyExists(Unique::Email));
    assert_eq!(plain(world, field).await.len(), 3);
    assert_eq!(replace(world, field, replacements.remove(0)).await, 1);
}

pub async fn replace_contents_overwrites_nothing_while_others_write(world: &World) {
    const MESSAGES: usize = 30;
    let world = &world.beneath();
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let chat = world.direct(ada, bob).await;
    let mut sent = vec![];
    for n in 0..MESSAGES {
        sent.push(world.send(chat, ada, &format!("text {n}")).await);
    }
    let sent = Arc::new(sent);
    let racers = (0..4).map(|racer| {
        let (world, sent) = (world.clone(), Arc::clone(&sent));
        async move {
            if racer < 2 {
                for _ in 0..4 {
                    let field = ContentField::Body;
                    let found = plain(&world, field).await;
                    let all: Vec<_> = found.iter().map(|stored| sealing(field, stored)).collect();
                    world.store.replace_contents(field, &all).await.unwrap();
                }
                return;
            }
            for (n, message) in sent.iter().enumerate() {
                match (racer, n % 3) {
                    (2, 0) => drop(world.edit(message, &format!("edited {n}")).await),
                    (3, 1) => drop(world.delete(message).await),
                    _ => {}
                }
            }
        }
    });
    race(racers).await;
    for (n, message) in sent.iter().enumerate() {
        let stored = world.store.message(chat, message.id).await.unwrap();
        let said = match n % 3 {
            0 => Some(format!("edited {n}")),
            1 => None,
            _ => Some(format!("text {n}")),
        };
        let plain = said.as_deref().map(Content::from);
        let sealed = plain.as_ref().map(|plain| sealed(ContentField::Body, plain));
        assert!(stored.body == plain || stored.body == sealed, "{n}: {:?}", stored.body.map(|body| body.0));
        assert_eq!(stored.revision == message.revision, n % 3 == 2, "{n}");
    }
}
