use crate::{
    domain::{Revision, Role, SystemEvent},
    ports::{
        Content, DeleteMessage, EditMessage, EraseUser, LoginKey, MessageRecord, MoveMarker, NewGroup,
        RosterChange, StoreErrorKind, StoredAddress, Unique, UpdateUser,
    },
    testkit::{
        World,
        cases::{
            telling::job,
            users::{expected, update},
        },
        check_chat, cut_short,
        world::name,
    },
};

pub async fn dropped_future_leaves_nothing_half_done(world: &World) {
    create_user(world).await;
    change_account(world).await;
    create_session(world).await;
    create_group(world).await;
    change_roster(world).await;
    append(world).await;
    edit_and_delete(world).await;
    erase_messages(world).await;
    move_markers(world).await;
    erase_user(world).await;
    // Whatever the dropped futures held has been released.
    let [ada, bob] = world.people(["ada-after", "bob-after"]).await;
    let chat = world.direct(ada, bob).await;
    world.send(chat, ada, "hello").await;
    assert_eq!(check_chat(&*world.store, chat, bob).await.len(), 1);
}

/// Attempts with 0, 1, 2 … polls until the intent completes, which the attempt returns.
async fn with_more_polls(mut attempt: impl AsyncFnMut(usize) -> bool) {
    for polls in 0..100 {
        if attempt(polls).await {
            return;
        }
    }
}

async fn create_user(world: &World) {
    with_more_polls(async |polls| {
        let (user, session) = world.account(&format!("create-{polls}"));
        let ended = cut_short(world.store.create_user(user.clone(), session.clone()), polls).await;
        // A dropped intent may still complete a little later, so only the consequences of what was observed are
        // certain.
        let account = world.store.user(user.id).await;
        let token = world.store.session_by_token(&session.token_hash).await;
        assert!(account.is_err() || token.is_ok(), "an account comes with its session");
        assert!(
            token.is_err() || world.store.user(user.id).await.is_ok(),
            "a session comes with its account"
        );
        match world.store.create_user(user.clone(), session.clone()).await {
            Ok(()) => assert!(ended.is_none()),
            Err(error) => assert_eq!(error.kind(), StoreErrorKind::AlreadyExists(Unique::Username)),
        }
        assert_eq!(world.record(user.id).await, expected(world, &user));
        assert!(world.store.session_by_token(&session.token_hash).await.is_ok());
        ended.is_some()
    })
    .await;
}

async fn change_account(world: &World) {
    let ada = world.user("change").await;
    with_more_polls(async |polls| {
        let before = world.record(ada).await;
        let key = format!("address-{polls}").into_bytes();
        let email = StoredAddress { content: Content(key.clone()), key };
        let change = UpdateUser { email: Some(email.clone()), notify_email: Some(false), ..update(&before) };
        let ended = cut_short(world.store.update_user(change.clone()), polls).await;
        let found = world.store.user_by_login(LoginKey::Email(&email.key)).await;
        if let Ok(found) = found {
            assert_eq!(
                (found.version, found.email, found.notify_email),
                (before.version + 1, Some(world.stored_address(&email)), false)
            );
        }
        match world.store.update_user(change).await {
            Ok(_) => assert!(ended.is_none()),
            Err(error) => assert_eq!(error.kind(), StoreErrorKind::Conflict, "it was done"),
        }
        let record = world.record(ada).await;
        assert_eq!(record.version, before.version + 1, "once");

        let doomed = world.session(ada);
        world.log_in(doomed.clone(), 100).await.unwrap();
        let hash = format!("$password-{polls}");
        let password = world.store.change_password(ada, record.version, &hash, None);
        let ended_too = cut_short(password, polls).await;
        let changed = world.record(ada).await.password_hash == Some(hash.clone());
        let left = world.store.sessions(ada).await.unwrap();
        assert!(!changed || left.is_empty(), "sessions end with the old password");
        assert!(!left.is_empty() || world.record(ada).await.password_hash == Some(hash));
        ended.is_some() && ended_too.is_some()
    })
    .await;
}

async fn create_session(world: &World) {
    let ada = world.user("session").await;
    with_more_polls(async |polls| {
        let session = world.session(ada);
        let ended = cut_short(world.store.create_session(session, 1, 1), polls).await;
        assert_eq!(world.store.sessions(ada).await.unwrap().len(), 1, "one comes as the other goes");
        ended.is_some()
    })
    .await;
}

async fn create_group(world: &World) {
    let people = world.people(["group-a", "group-b", "group-c"]).await;
    with_more_polls(async |polls| {
        let client_id = Some(name(&format!("g{polls}"), "group"));
        let group = NewGroup { client_id, ..world.new_group(people[0], &people[1..]) };
        let ended = cut_short(world.store.create_group(group.clone()), polls).await;
        let again = world.store.create_group(group.clone()).await.unwrap();
        assert_eq!(again.chat, group.id, "whichever of the two has made it");
        assert!(!(again.created && ended.is_some()));

        let other = world.user(&format!("direct-{polls}")).await;
        let direct = world.new_direct(other, people[0]);
        let ended_too = cut_short(world.store.open_direct(direct), polls).await;
        assert_eq!(world.store.open_direct(direct).await.unwrap().chat, direct.id);
        for (chat, user) in [(group.id, people[2]), (direct.id, other)] {
            check_chat(&*world.store, chat, user).await;
        }
        for user in people.into_iter().chain([other]) {
            let memberships = world.store.memberships(user, None).await.unwrap();
            assert_eq!(memberships.count, memberships.chats.len() as u64, "counted once for each chat");
        }
        ended.is_some() && ended_too.is_some()
    })
    .await;
}

async fn change_roster(world: &World) {
    let [ada, bob] = world.people(["roster-a", "roster-b"]).await;
    let group = world.group([ada, bob]).await;
    with_more_polls(async |polls| {
        let before = world.store.roster(group).await.unwrap().chat;
        let newcomer = world.user(&format!("roster-{polls}")).await;
        let mut change = RosterChange { add: vec![newcomer], ..world.change_by(group, ada).await };
        change.roles = vec![(bob, if polls.is_multiple_of(2) { Role::Admin } else { Role::Member })];
        change.messages.push(world.system(ada, SystemEvent::MembersAdded));
        let ended = cut_short(world.store.change_roster(change.clone()), polls).await;
        check_chat(&*world.store, group, newcomer).await;
        match world.store.change_roster(change.clone()).await {
            Ok(_) => assert!(ended.is_none()),
            Err(error) => assert_eq!(error.kind(), StoreErrorKind::Conflict, "it was done"),
        }
        check_chat(&*world.store, group, newcomer).await;
        let after = world.store.roster(group).await.unwrap().chat;
        let step = (after.roster_version - before.roster_version, after.member_count - before.member_count);
        assert_eq!((step, after.last_seq.get() - before.last_seq.get()), ((1, 1), 2), "once, and as a whole");
        assert_eq!(world.record(newcomer).await.memberships, 1);
        ended.is_some()
    })
    .await;
}

async fn append(world: &World) {
    let [ada, bob] = world.people(["append-a", "append-b"]).await;
    let (direct, group) = (world.direct(ada, bob).await, world.group([ada, bob]).await);
    let mut sent = 0;
    with_more_polls(async |polls| {
        let places = [(direct, ada), (group, bob), (direct, bob), (group, ada)];
        let batch = places
            .map(|(chat, sender)| world.named(chat, sender, "text", &format!("{sent}-{}", chat == group)));
        sent += 1;
        let ended = cut_short(world.store.append_messages(&batch), polls).await;
        let found = async |n: usize| world.store.message(batch[n].chat, batch[n].id).await.is_ok();
        let any = found(0).await || found(1).await || found(2).await || found(3).await;
        let all = found(0).await && found(1).await && found(2).await && found(3).await;
        assert!(all || !any, "a batch is stored as a whole");
        let answers = world.store.append_messages(&batch).await.unwrap();
        for (message, answer) in batch.iter().zip(answers) {
            let stored = answer.unwrap().into_record();
            assert_eq!(stored.id, message.id, "whichever of the two has stored it");
        }
        assert_eq!(check_chat(&*world.store, direct, ada).await.len(), 2 * sent);
        assert_eq!(check_chat(&*world.store, group, bob).await.len(), 2 * sent + 1);
        ended.is_some()
    })
    .await;
}

async fn edit_and_delete(world: &World) {
    let [ada, bob] = world.people(["edit-a", "edit-b"]).await;
    let chat = world.direct(ada, bob).await;
    with_more_polls(async |polls| {
        let message = world.send(chat, ada, "text").await;
        let (body, at) = (Content::from("edited"), world.tick());
        let edit = EditMessage {
            chat,
            message: message.id,
            sender: ada,
            expected: message.revision,
            body: body.clone(),
            edited_at: at,
        };
        let ended = cut_short(world.store.edit_message(edit.clone()), polls).await;
        let history = check_chat(&*world.store, chat, bob).await;
        let revision = message.revision.next();
        let edited = MessageRecord { body: Some(body), edited_at: Some(at), revision, ..message.clone() };
        assert!([&message, &edited].contains(&history.last().unwrap()));
        if let Err(error) = world.store.edit_message(edit).await {
            assert_eq!(error.kind(), StoreErrorKind::Conflict, "it was done");
        }
        assert_eq!(check_chat(&*world.store, chat, bob).await.last(), Some(&edited));

        let delete = DeleteMessage { chat, message: message.id, expected: edited.revision, deleted_at: at };
        let ended_too = cut_short(world.store.delete_message(delete), polls).await;
        check_chat(&*world.store, chat, bob).await;
        if let Err(error) = world.store.delete_message(delete).await {
            assert_eq!(error.kind(), StoreErrorKind::Conflict, "it was done");
        }
        let history = check_chat(&*world.store, chat, bob).await;
        let deleted = MessageRecord { body: None, deleted_at: Some(at), revision: revision.next(), ..edited };
        assert_eq!(history.last(), Some(&deleted));
        ended.is_some() && ended_too.is_some()
    })
    .await;
}

async fn erase_messages(world: &World) {
    let [ada, bob] = world.people(["texts-a", "texts-b"]).await;
    let chat = world.direct(ada, bob).await;
    with_more_polls(async |polls| {
        let mut revision = Revision::ZERO;
        for sender in [ada, bob, ada, ada] {
            revision = world.send(chat, sender, "text").await.revision;
        }
        let at = world.tick();
        let ended = cut_short(world.store.erase_messages(chat, ada, at, 10), polls).await;
        let history = check_chat(&*world.store, chat, bob).await;
        let erased = history.iter().filter(|message| message.revision > revision).count();
        assert!([0, 3].contains(&erased), "all of the call or none: {erased}");
        for _ in 0..2 {
            world.store.erase_messages(chat, ada, at, 2).await.unwrap();
        }
        let history = check_chat(&*world.store, chat, bob).await;
        assert!(history.iter().all(|message| message.sender == bob || message.deleted_at.is_some()));
        assert_eq!(world.view(chat, bob).await.chat.revision.get(), revision.get() + 3, "each once");
        ended.is_some()
    })
    .await;
}

async fn move_markers(world: &World) {
    let [ada, bob, cleo] = world.people(["marks-a", "marks-b", "marks-c"]).await;
    let chats = [world.group([ada, bob, cleo]).await, world.direct(ada, bob).await];
    with_more_polls(async |polls| {
        let mut batch = vec![];
        for chat in chats {
            let seq = world.send(chat, ada, "text").await.seq;
            batch.push(MoveMarker { chat, user: bob, seq, read: true });
        }
        let group_step = MoveMarker { user: cleo, read: false, ..batch[0] };
        batch.push(group_step);
        let ended = cut_short(world.store.move_markers(&batch), polls).await;
        let moved = async |step: &MoveMarker| {
            let me = world.view(step.chat, step.user).await.me;
            if step.read { me.read_seq == step.seq } else { me.delivered_seq == step.seq }
        };
        let any = moved(&batch[0]).await || moved(&batch[1]).await || moved(&batch[2]).await;
        let all = moved(&batch[0]).await && moved(&batch[1]).await && moved(&batch[2]).await;
        assert!(all || !any, "a batch is moved as a whole");
        let answers = world.store.move_markers(&batch).await.unwrap();
        assert!(answers.iter().all(Result::is_ok));
        for step in &batch {
            assert!(moved(step).await);
            check_chat(&*world.store, step.chat, step.user).await;
        }
        ended.is_some()
    })
    .await;
}

async fn erase_user(world: &World) {
    with_more_polls(async |polls| {
        let user = world.user(&format!("erase-{polls}")).await;
        let (before, at) = (world.record(user).await, world.tick());
        let job = job(world);
        let erasure = EraseUser { jobs: vec![job.clone()], ..world.erasure(user, before.version, at) };
        let erase = || world.store.erase_user(&erasure);
        let ended = cut_short(erase(), polls).await;
        let erased = world.record(user).await.erased_at.is_some();
        let sessions = world.store.sessions(user).await.unwrap();
        assert!(!erased || sessions.is_empty(), "sessions end with the account");
        assert!(!sessions.is_empty() || world.record(user).await.erased_at.is_some());
        assert!(!erased || world.store.job(job.id).await.is_ok(), "its job comes with it");
        if let Err(error) = erase().await {
            assert_eq!(error.kind(), StoreErrorKind::NotFound, "it was done");
        }
        let record = world.record(user).await;
        assert_eq!((record.erased_at, record.email, record.version), (Some(at), None, before.version + 1));
        ended.is_some()
    })
    .await;
}
