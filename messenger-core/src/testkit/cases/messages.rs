use std::sync::Arc;

use crate::{
    domain::{ChatId, Revision, Seq, UserId},
    ports::{
        Anchor, Appended, Budget, Changes, Content, DeleteMessage, EditMessage, MessageRecord, NewMessage,
        StoreErrorKind, StoreResult,
    },
    testkit::{Pace, World, check_chat, error_kind, expected_text, race, while_racing},
};

pub async fn append_gives_out_seqs_and_revisions_without_gaps(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let (direct, group) = (world.direct(ada, bob).await, world.group([ada, bob]).await);
    let mut sealed = world.named(direct, ada, "sealed", &"~".repeat(64));
    sealed.body = Content((0..40_000).map(|n| (n % 256) as u8).collect());
    let first = world.append(&sealed).await;
    assert_eq!(new(first), world.stored_text(&sealed, 1, 1), "any bytes come back as they were");

    let mut reply = world.text(group, bob, "🦀 'quoted' \"%_\"");
    reply.reply_to = Some(world.send(group, ada, "question").await.id);
    let batch = [
        world.text(direct, bob, "two"),
        reply,
        world.text(direct, ada, "three"),
        world.text(group, ada, "four"),
        world.text(direct, ada, "four"),
    ];
    let places = [2, 3, 3, 4, 4];
    let expected: Vec<_> = batch.iter().zip(places).map(|(m, n)| expected_text(m, n, n)).collect();
    let answers = world.store.append_messages(&batch).await.unwrap();
    assert_eq!(answers.into_iter().map(new).collect::<Vec<_>>(), expected);
    for message in &expected {
        assert_eq!(world.store.message(message.chat, message.id).await.unwrap(), *message);
    }
    assert_eq!(check_chat(&*world.store, direct, ada).await.len(), 4);
    assert_eq!(check_chat(&*world.store, group, bob).await.len(), 4);

    let large: Vec<_> =
        (0..1000).map(|n| world.text([direct, group][n % 2], [ada, bob][n % 2], "x")).collect();
    let answers = world.store.append_messages(&large).await.unwrap();
    for (n, (message, answer)) in large.iter().zip(answers).enumerate() {
        let place = 5 + n as u64 / 2;
        assert_eq!(new(answer), world.stored_text(message, place, place));
    }
    assert_eq!(check_chat(&*world.store, direct, bob).await.len(), 504);
    assert_eq!(world.view(group, bob).await.chat.texts, 503);
}

pub async fn append_by_a_stranger_is_not_member(world: &World) {
    let [ada, bob, cleo] = world.people(["ada", "bob", "cleo"]).await;
    let (group, other) = (world.group([ada, bob]).await, world.group([cleo]).await);
    let known = world.named(group, bob, "known", "b1");
    world.append(&known).await.unwrap();
    world.remove(group, ada, &[bob]).await;
    let batch = [
        world.named(group, cleo, "of another chat", "c1"),
        world.text(group, ada, "first"),
        world.text(group, bob, "one who left"),
        world.named(group, bob, "known", "b1"),
        world.text(group, world.id(), "nobody"),
        world.text(world.id(), ada, "nowhere"),
        // A refused message does not claim its client id, and takes no seq.
        world.named(other, cleo, "elsewhere", "c1"),
        world.text(other, cleo, "right after it"),
        world.text(group, ada, "second"),
    ];
    let answers = world.store.append_messages(&batch).await.unwrap();
    assert_eq!(answers.len(), batch.len());
    let places = [None, Some(4), None, None, None, None, Some(2), Some(3), Some(5)];
    for ((message, answer), place) in batch.iter().zip(answers).zip(places) {
        match place {
            Some(place) => assert_eq!(new(answer), world.stored_text(message, place, place)),
            None => assert_eq!(error_kind(answer), StoreErrorKind::NotMember),
        }
    }
    assert_eq!(check_chat(&*world.store, group, ada).await.len(), 5);
    assert_eq!(check_chat(&*world.store, other, cleo).await.len(), 3);
}

pub async fn append_answers_a_repeated_client_id_with_the_stored_message(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let (direct, group) = (world.direct(ada, bob).await, world.group([ada, bob]).await);
    let first = world.named(direct, ada, "hello", "a1");
    let stored = new(world.append(&first).await);
    let again = world.named(direct, ada, "hello", "a1");
    let elsewhere = world.named(group, ada, "other", "a1");
    assert_eq!(existing(world.append(&again).await), stored);
    assert_eq!(of_another_request(world.append(&elsewhere).await), stored);

    let fresh = world.named(group, ada, "fresh", "a2");
    let batch = [again.clone(), fresh.clone(), world.named(direct, ada, "fresh", "a2"), elsewhere.clone()];
    let answers = world.store.append_messages(&batch).await.unwrap();
    let [one, two, three, four] = <[_; 4]>::try_from(answers).unwrap();
    let second = world.stored_text(&fresh, 2, 2);
    assert_eq!((existing(one), new(two)), (stored.clone(), second.clone()));
    assert_eq!((existing(three), of_another_request(four)), (second, stored.clone()));

    let edited = world.edit(&stored, "changed").await;
    assert_eq!(existing(world.append(&again).await), edited);
    let deleted = world.delete(&edited).await;
    assert_eq!(existing(world.append(&again).await), deleted);
    assert_eq!(deleted.client_id, first.client_id.map(|(id, _)| id));
    assert_eq!(check_chat(&*world.store, direct, ada).await, [deleted]);
    assert_eq!(check_chat(&*world.store, group, ada).await.len(), 2);

    let answers = race((0..8).map(|n| {
        let (store, message) =
            (Arc::clone(&world.store), world.named([direct, group][n % 2], ada, "race", "a3"));
        async move { store.append_messages(&[message]).await.unwrap().remove(0).unwrap() }
    }))
    .await;
    let stored = answers.iter().filter(|answer| matches!(answer, Appended::New(_)));
    assert_eq!(stored.count(), 1, "of racers with the same client id one is stored");
    let ids: Vec<_> = answers.into_iter().map(|answer| answer.into_record().id).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "and all hear of that one");
}

pub async fn append_keeps_client_ids_of_different_senders_apart(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let chat = world.direct(ada, bob).await;
    let batch = [
        world.named(chat, ada, "one", "same"),
        world.named(chat, bob, "two", "same"),
        world.named(chat, ada, "three", "Same"),
        world.named(chat, ada, "four", "same-"),
    ];
    let answers = world.store.append_messages(&batch).await.unwrap();
    for (n, (message, answer)) in (1..).zip(batch.iter().zip(answers)) {
        assert_eq!(new(answer), world.stored_text(message, n, n));
    }
}

pub async fn append_moves_the_senders_marks(world: &World) {
    let [ada, bob, cleo] = world.people(["ada", "bob", "cleo"]).await;
    let group = world.group([ada, bob, cleo]).await;
    let texts = [(ada, "one"), (bob, "two"), (ada, "three"), (bob, "four"), (bob, "five")];
    let batch: Vec<_> = texts.map(|(sender, text)| world.named(group, sender, text, text)).into();
    world.store.append_messages(&batch).await.unwrap();
    assert_eq!(marks(world, group, ada).await, (4, 4, 3));
    assert_eq!(marks(world, group, bob).await, (6, 6, 5));
    assert_eq!(marks(world, group, cleo).await, (0, 0, 0));
    assert_eq!(world.unread(group, ada).await, 2);
    assert_eq!(world.unread(group, cleo).await, 5);

    let again = world.named(group, ada, "three", "three");
    existing(world.append(&again).await);
    assert_eq!(marks(world, group, ada).await, (4, 4, 3), "a repetition moves nothing");
    world.send(group, cleo, "six").await;
    assert_eq!(marks(world, group, cleo).await, (7, 7, 6));
    check_chat(&*world.store, group, cleo).await;
}

pub async fn append_of_many_racers_leaves_no_gap_and_no_double(world: &World) {
    const RACERS: usize = 8;
    const ROUNDS: usize = 12;
    let people = world.people(["u00", "u01", "u02", "u03", "u04", "u05", "u06", "u07"]).await;
    let (one, two) = (world.group(people).await, world.group(people).await);
    let sent: Vec<Vec<_>> = people.map(|sender| batches(world, sender, [one, two], ROUNDS)).into();
    let answers = race(sent.clone().into_iter().map(|batches| {
        let store = Arc::clone(&world.store);
        async move {
            let mut answers = vec![];
            for batch in batches {
                answers.extend(store.append_messages(&batch).await.unwrap());
            }
            answers.into_iter().map(new).collect::<Vec<_>>()
        }
    }))
    .await;

    for chat in [one, two] {
        let history = check_chat(&*world.store, chat, people[0]).await;
        assert_eq!(history.len(), 1 + RACERS * ROUNDS, "nothing is lost and nothing doubled");
        for (sender, answers) in people.iter().zip(&answers) {
            let theirs: Vec<_> = history[1..].iter().filter(|m| m.sender == *sender).collect();
            let answered: Vec<_> = answers.iter().filter(|m| m.chat == chat).collect();
            assert_eq!(theirs, answered, "in the order of sending, as it was answered");
            assert_eq!(marks(world, chat, *sender).await.0, theirs.last().unwrap().seq.get());
            check_chat(&*world.store, chat, *sender).await;
        }
    }
}

/// Batches with one message for each chat; every other message is sent twice, as by a client that did not wait for the
/// answer.
fn batches(world: &World, sender: UserId, chats: [ChatId; 2], rounds: usize) -> Vec<Vec<NewMessage>> {
    let batch = |n: usize| {
        let order = if n.is_multiple_of(2) { [0, 1] } else { [1, 0] };
        order.map(|c| world.named(chats[c], sender, "text", &format!("{n}-{c}"))).into()
    };
    (0..rounds).map(batch).collect()
}

pub async fn append_of_an_empty_batch_is_nothing(world: &World) {
    assert_eq!(world.store.append_messages(&[]).await.unwrap().len(), 0);
}

pub async fn message_of_another_chat_is_not_found(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let (direct, group) = (world.direct(ada, bob).await, world.group([ada, bob]).await);
    let message = world.send(direct, ada, "hello").await;
    assert_eq!(world.store.message(direct, message.id).await.unwrap(), message);
    for (chat, id) in [(group, message.id), (direct, world.id()), (world.id(), message.id)] {
        assert_eq!(error_kind(world.store.message(chat, id).await), StoreErrorKind::NotFound);
    }
}

pub async fn history_pages_in_both_directions(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let (chat, other) = (world.group([ada, bob]).await, world.direct(ada, bob).await);
    world.send(other, bob, "elsewhere").await;
    let batch: Vec<_> = (0..19).map(|_| world.text(chat, ada, "x")).collect();
    world.store.append_messages(&batch).await.unwrap();
    let all = check_chat(&*world.store, chat, ada).await;
    assert_eq!(all.len(), 20);

    let seqs = (0..=22).map(Seq::new).chain([Seq::MAX]);
    let around = seqs.flat_map(|seq| [Anchor::Before(seq), Anchor::After(seq), Anchor::Around(seq)]);
    for anchor in around.chain([Anchor::Newest]) {
        for limit in [0, 1, 2, 5, 20, 50] {
            let page = world.store.history(chat, bob, anchor, Budget::of_messages(limit)).await.unwrap();
            assert_eq!(page.last_seq, Seq::new(20));
            let expected = match anchor.range(Seq::new(20), limit) {
                Some((low, high)) => &all[low.get() as usize - 1..high.get() as usize],
                None => &[],
            };
            assert_eq!(page.messages, expected, "{anchor:?}, {limit}");
        }
    }
    let empty = world.direct(ada, world.user("cleo").await).await;
    let page = world.store.history(empty, ada, Anchor::Newest, Budget::of_messages(10)).await.unwrap();
    assert_eq!((page.last_seq, page.messages.len()), (Seq::ZERO, 0));
}

pub async fn history_beyond_the_budget_is_cut(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let chat = world.direct(ada, bob).await;
    let all = of_all_weights(world, chat, ada).await;
    let total: usize = all.iter().map(|message| world.stored_weight(message)).sum();
    let seqs = (0..=all.len() as u64 + 2).map(Seq::new).chain([Seq::MAX]);
    let around = seqs.flat_map(|seq| [Anchor::Before(seq), Anchor::After(seq), Anchor::Around(seq)]);
    for anchor in around.chain([Anchor::Newest]) {
        for messages in [0, 3, 50] {
            for bytes in [0, 255, 256, 1000, 3000, total / 2, total - 1, total, usize::MAX] {
                let budget = Budget { messages, bytes };
                let page = world.store.history(chat, bob, anchor, budget).await.unwrap();
                assert_eq!(page.last_seq.get(), all.len() as u64);
                assert_eq!(page.messages, nearest(world, &all, anchor, budget), "{anchor:?}, {budget:?}");
            }
        }
    }
}

/// Messages of every kind and of very different weights, in the order of their seqs.
async fn of_all_weights(world: &World, chat: ChatId, sender: UserId) -> Vec<MessageRecord> {
    for length in [1, 3000, 10, 2, 700, 40_000, 1, 1, 2500, 300, 9000, 1] {
        let mut text = world.text(chat, sender, "");
        // Characters of two bytes, and then bytes that are not valid UTF-8.
        text.body = match length {
            300 => Content::from(&*"ä".repeat(150)),
            _ => Content((0..length).map(|n| (n % 256) as u8).collect()),
        };
        world.append(&text).await.unwrap();
    }
    let all = check_chat(&*world.store, chat, sender).await;
    world.delete(&all[1]).await;
    world.edit(&all[3], &"longer than before ".repeat(100)).await;
    check_chat(&*world.store, chat, sender).await
}

/// Selects those of all the messages that are on a page.
fn nearest(world: &World, all: &[MessageRecord], anchor: Anchor, budget: Budget) -> Vec<MessageRecord> {
    let last = Seq::new(all.len() as u64);
    let Some((low, high)) = anchor.range(last, budget.messages) else { return vec![] };
    let mut page: Vec<_> = all.iter().filter(|m| (low..=high).contains(&m.seq)).cloned().collect();
    let place = i128::from(anchor.place().get());
    page.sort_by_key(|message| {
        let seq = i128::from(message.seq.get());
        ((seq - place).abs(), -seq)
    });
    let mut weight = 0;
    let mut taken = vec![];
    for message in page {
        weight += world.stored_weight(&message);
        if weight > budget.bytes && !taken.is_empty() {
            break;
        }
        taken.push(message);
    }
    taken.sort_by_key(|message| message.seq);
    taken
}

pub async fn history_of_a_stranger_is_not_member(world: &World) {
    let [ada, bob, cleo] = world.people(["ada", "bob", "cleo"]).await;
    let group = world.group([ada, bob]).await;
    world.remove(group, ada, &[bob]).await;
    for (chat, user) in [(group, cleo), (group, bob), (world.id(), ada)] {
        let answer = world.store.history(chat, user, Anchor::Newest, Budget::of_messages(10)).await;
        assert_eq!(error_kind(answer), StoreErrorKind::NotMember);
    }
    assert_eq!(
        world
            .store
            .history(group, ada, Anchor::Newest, Budget::of_messages(10))
            .await
            .unwrap()
            .messages
            .len(),
        2
    );
}

pub async fn edit_message_keeps_place_and_gives_a_new_revision(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let chat = world.direct(ada, bob).await;
    let first = world.named(chat, ada, "one", "a1");
    let (first, second) = (new(world.append(&first).await), world.send(chat, bob, "two").await);
    let before = world.view(chat, bob).await;
    let edit = edit_of(world, &first, "uno");
    let edited = world.store.edit_message(edit.clone()).await.unwrap();
    let expected = MessageRecord {
        revision: Revision::new(3),
        body: Some(edit.body),
        edited_at: Some(edit.edited_at),
        ..first
    };
    assert_eq!(edited, expected);
    assert_eq!(check_chat(&*world.store, chat, bob).await, [edited.clone(), second.clone()]);
    let after = world.view(chat, bob).await;
    assert_eq!((after.chat.last_seq, after.chat.texts), (before.chat.last_seq, before.chat.texts));
    assert_eq!(after.me, before.me, "marks stay");

    let again = world.edit(&edited, "eins").await;
    let place = (again.seq, again.created_revision, again.revision);
    assert_eq!(place, (Seq::new(1), Revision::new(1), Revision::new(4)));
    assert_eq!(again.fingerprint, first.fingerprint);
    assert_eq!(check_chat(&*world.store, chat, ada).await, [again, second]);
}

pub async fn edit_message_of_another_chat_is_not_found(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let (direct, group) = (world.direct(ada, bob).await, world.group([ada, bob]).await);
    let message = world.send(direct, ada, "hello").await;
    let edit = edit_of(world, &message, "changed");
    for (chat, id) in [(group, message.id), (direct, world.id()), (world.id(), message.id)] {
        let answer = world.store.edit_message(EditMessage { chat, message: id, ..edit.clone() }).await;
        assert_eq!(error_kind(answer), StoreErrorKind::NotFound);
    }
    assert_eq!(check_chat(&*world.store, direct, bob).await, [message]);
    assert_eq!(world.view(group, ada).await.chat.revision, Revision::new(1));
}

pub async fn edit_message_conflicts_with_an_older_revision(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let chat = world.direct(ada, bob).await;
    let first = world.send(chat, ada, "one").await;
    world.send(chat, bob, "two").await;
    let second = world.edit(&first, "uno").await;
    let answer = world.store.edit_message(edit_of(world, &first, "late")).await;
    assert_eq!(error_kind(answer), StoreErrorKind::Conflict);
    assert_eq!(check_chat(&*world.store, chat, ada).await[0], second);

    let answers = race((0..8).map(|n| {
        let (store, edit) = (Arc::clone(&world.store), edit_of(world, &second, &format!("racer {n}")));
        async move { store.edit_message(edit).await }
    }))
    .await;
    let won = one_winner(answers);
    assert_eq!(check_chat(&*world.store, chat, ada).await[0], won);
    let gone = world.delete(&won).await;
    let answer = world.store.edit_message(edit_of(world, &won, "late")).await;
    assert_eq!(error_kind(answer), StoreErrorKind::Conflict, "a deleted text does not come back");
    assert_eq!(check_chat(&*world.store, chat, ada).await[0], gone);
}

pub async fn delete_message_leaves_a_tombstone(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let chat = world.direct(ada, bob).await;
    let question = world.send(chat, bob, "question").await;
    let mut answer = world.named(chat, ada, "answer", "a1");
    answer.reply_to = Some(question.id);
    let answer = world.edit(&new(world.append(&answer).await), "better answer").await;
    let last = world.send(chat, ada, "last").await;
    let delete = delete_of(world, &answer);
    let deleted = world.store.delete_message(delete).await.unwrap();
    let tombstone = MessageRecord {
        revision: Revision::new(5),
        body: None,
        fingerprint: None,
        deleted_at: Some(delete.deleted_at),
        ..answer
    };
    assert_eq!(deleted, tombstone);
    assert_eq!(check_chat(&*world.store, chat, bob).await, [question, tombstone, last]);
    assert_eq!(world.unread(chat, bob).await, 2, "a tombstone is still counted");
}

pub async fn delete_message_of_another_chat_is_not_found(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let (direct, group) = (world.direct(ada, bob).await, world.group([ada, bob]).await);
    let message = world.send(direct, ada, "hello").await;
    let delete = delete_of(world, &message);
    for (chat, id) in [(group, message.id), (direct, world.id()), (world.id(), message.id)] {
        let answer = world.store.delete_message(DeleteMessage { chat, message: id, ..delete }).await;
        assert_eq!(error_kind(answer), StoreErrorKind::NotFound);
    }
    assert_eq!(check_chat(&*world.store, direct, bob).await, [message]);
}

pub async fn delete_message_conflicts_with_an_older_revision(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let chat = world.direct(ada, bob).await;
    let first = world.send(chat, ada, "one").await;
    let second = world.edit(&first, "uno").await;
    let answer = world.store.delete_message(delete_of(world, &first)).await;
    assert_eq!(error_kind(answer), StoreErrorKind::Conflict);
    assert_eq!(check_chat(&*world.store, chat, ada).await, std::slice::from_ref(&second));

    let answers = race((0..8).map(|_| {
        let (store, delete) = (Arc::clone(&world.store), delete_of(world, &second));
        async move { store.delete_message(delete).await }
    }))
    .await;
    assert_eq!(check_chat(&*world.store, chat, ada).await, [one_winner(answers)]);
}

pub async fn erase_messages_goes_on_until_none_is_left(world: &World) {
    let [ada, bob, cleo] = world.people(["ada", "bob", "cleo"]).await;
    let (chat, other) = (world.group([ada, bob, cleo]).await, world.direct(ada, bob).await);
    let elsewhere = world.send(other, ada, "elsewhere").await;
    let mut theirs = vec![];
    for n in 0..7 {
        theirs.push(new(world.append(&world.named(chat, ada, "mine", &format!("a{n}"))).await));
        world.send(chat, bob, "yours").await;
    }
    theirs[2] = world.edit(&theirs[2], "changed").await;
    world.delete(&theirs.remove(4)).await;
    world.remove(chat, bob, &[ada]).await;

    let before = check_chat(&*world.store, chat, cleo).await;
    let mut revision = world.view(chat, cleo).await.chat.revision;
    let at = world.tick();
    for expected in [3, 3, 0] {
        let erased = world.store.erase_messages(chat, ada, at, 3).await.unwrap();
        assert_eq!(erased.len(), expected);
        for (was, is) in theirs.drain(..expected).zip(erased) {
            revision = revision.next();
            let tombstone =
                MessageRecord { revision, body: None, fingerprint: None, deleted_at: Some(at), ..was };
            assert_eq!(is, tombstone, "the oldest first, each with a revision of its own");
        }
    }
    let after = check_chat(&*world.store, chat, cleo).await;
    for (was, is) in before.iter().zip(&after) {
        let erased = was.sender == ada && was.kind == crate::MessageKind::Text;
        assert_eq!(is.body.is_none(), erased, "system messages and those of others stay");
        assert!(erased || was == is);
    }
    assert_eq!(check_chat(&*world.store, other, ada).await, [elsewhere]);
}

pub async fn changes_carry_new_edited_and_deleted_messages(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let (chat, other) = (world.direct(ada, bob).await, world.group([ada, bob]).await);
    let one = world.send(chat, ada, "one").await;
    let two = world.send(chat, bob, "two").await;
    let three = world.send(chat, bob, "three").await;
    let two = world.edit(&two, "zwei").await;
    let one = world.delete(&one).await;
    let four = world.send(chat, ada, "four").await;
    let head = world.store.roster(chat).await.unwrap().chat;
    let expected = [three, two, one, four];
    for (since, skipped) in [(0, 0), (1, 0), (2, 0), (3, 1), (4, 2), (5, 3), (6, 4), (7, 4)] {
        let changes =
            world.store.changes(&[(chat, Revision::new(since))], Budget::of_messages(100)).await.unwrap();
        let messages = expected[skipped..].to_vec();
        assert_eq!(changes, [Changes { chat: head.clone(), messages, truncated: false }], "since {since}");
    }

    let title = world.store.change_roster(world.change_by(other, ada).await).await.unwrap();
    let both = [(other, Revision::new(1)), (chat, Revision::new(5))];
    let mut changes = world.store.changes(&both, Budget::of_messages(100)).await.unwrap();
    changes.sort_by_key(|changes| changes.chat.id);
    let [direct, group] = &changes[..] else { panic!("two chats, each once") };
    assert_eq!((&direct.chat, &direct.messages[..]), (&head, &expected[3..]));
    assert_eq!((&group.chat, &group.messages), (&title.chat, &title.messages));
}

pub async fn changes_are_of_one_moment(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let chat = world.direct(ada, bob).await;
    let first = world.send(chat, ada, "edited again and again").await;
    let texts: Vec<_> = (0..60).map(|_| world.text(chat, bob, "x")).collect();
    let edits: Vec<_> = (0..60).map(|n| edit_of(world, &first, &format!("edit {n}"))).collect();
    let (store, other) = (Arc::clone(&world.store), Arc::clone(&world.store));
    let pace = Pace::default();
    let (sends, changes) = (pace.clone(), pace.clone());
    let sender = async move {
        for text in texts {
            sends.step().await;
            new(store.append_messages(&[text]).await.unwrap().remove(0));
        }
    };
    let editor = async move {
        let mut expected = first.revision;
        for edit in edits {
            changes.step().await;
            expected = other.edit_message(EditMessage { expected, ..edit }).await.unwrap().revision;
        }
    };
    let writers: [futures::future::BoxFuture<'static, ()>; 2] = [Box::pin(sender), Box::pin(editor)];
    while_racing(pace, writers, async || {
        let changes = world
            .store
            .changes(&[(chat, Revision::ZERO)], Budget::of_messages(1000))
            .await
            .unwrap()
            .remove(0);
        let last = changes.messages.last().map_or(Revision::ZERO, |message| message.revision);
        assert_eq!(last, changes.chat.revision, "the last change is that of the head");
        assert_eq!(changes.messages.len() as u64, changes.chat.last_seq.get(), "no message is missing");
        let history = world.store.history(chat, ada, Anchor::Newest, Budget::of_messages(5)).await.unwrap();
        let last = history.messages.last().map(|message| message.seq);
        assert_eq!(last, Some(history.last_seq));
    })
    .await;
    assert_eq!(check_chat(&*world.store, chat, ada).await.len(), 61);
}

pub async fn changes_beyond_the_limit_are_truncated(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let (chat, short) = (world.direct(ada, bob).await, world.group([ada, bob]).await);
    let batch: Vec<_> = (0..5).map(|_| world.text(chat, ada, "x")).collect();
    world.store.append_messages(&batch).await.unwrap();
    let all = check_chat(&*world.store, chat, ada).await;
    for limit in 0..=6 {
        let since = [(chat, Revision::ZERO), (short, Revision::ZERO)];
        let mut changes = world.store.changes(&since, Budget::of_messages(limit)).await.unwrap();
        changes.sort_by_key(|changes| changes.chat.id);
        assert_eq!(changes[0].messages, all[..limit.min(5)]);
        assert_eq!(changes[0].truncated, limit < 5);
        assert_eq!(changes[0].chat.revision, Revision::new(5), "the head is the newest all the same");
        assert_eq!((changes[1].messages.len(), changes[1].truncated), (limit.min(1), limit < 1));
    }
}

pub async fn changes_beyond_the_budget_are_truncated(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let (first, second, short) =
        (world.direct(ada, bob).await, world.group([ada, bob]).await, world.group([bob]).await);
    let mut known = vec![];
    for chat in [first, second] {
        known.push((chat, of_all_weights(world, chat, ada).await));
    }
    known.push((short, check_chat(&*world.store, short, bob).await));
    for (_, messages) in &mut known {
        messages.sort_by_key(|message| message.revision);
    }
    known.sort_by_key(|(chat, _)| *chat);
    let total: usize =
        known.iter().flat_map(|(_, messages)| messages).map(|message| world.stored_weight(message)).sum();
    // In the order of the ids, whatever the order of the request.
    let since: Vec<_> = known.iter().rev().map(|(chat, _)| (*chat, Revision::new(1))).collect();
    for messages in [0, 1, 5, 100] {
        for bytes in [0, 500, 3000, 12_000, 50_000, 70_000, total - 1, total] {
            let budget = Budget { messages, bytes };
            let mut found = world.store.changes(&since, budget).await.unwrap();
            found.sort_by_key(|changes| changes.chat.id);
            let (mut weight, mut is_full) = (0, false);
            for (changes, (chat, all)) in found.iter().zip(&known) {
                let mut expected = vec![];
                for message in all.iter().filter(|message| message.revision > Revision::new(1)).take(messages)
                {
                    let fits = weight == 0 || weight + world.stored_weight(message) <= bytes;
                    is_full |= !fits;
                    if !is_full {
                        weight += world.stored_weight(message);
                        expected.push(message.clone());
                    }
                }
                let last = expected.last().map_or(Revision::new(1), |message| message.revision);
                assert_eq!(changes.chat.id, *chat);
                assert_eq!(changes.messages, expected, "{budget:?}");
                assert_eq!(changes.truncated, last < changes.chat.revision, "{budget:?}");
            }
            assert_eq!(found.len(), 3, "each chat is there, though there is no room for what has changed");
        }
    }
}

pub async fn changes_skip_unknown_chats(world: &World) {
    let chat = world.group([world.user("ada").await]).await;
    let mut since: Vec<_> = (0..3000).map(|_| (world.id(), Revision::ZERO)).collect();
    since.push((chat, Revision::ZERO));
    let changes = world.store.changes(&since, Budget::of_messages(10)).await.unwrap();
    assert_eq!(changes.len(), 1);
    assert_eq!((changes[0].chat.id, changes[0].messages.len()), (chat, 1));
    assert_eq!(world.store.changes(&[], Budget::of_messages(10)).await.unwrap(), []);
}

fn new(answer: StoreResult<Appended>) -> MessageRecord {
    match answer {
        Ok(Appended::New(message)) => message,
        other => panic!("the message is new, not {other:?}"),
    }
}

fn existing(answer: StoreResult<Appended>) -> MessageRecord {
    match answer {
        Ok(Appended::Existing { record, same_request: true }) => record,
        other => panic!("the same was asked for before, not {other:?}"),
    }
}

fn of_another_request(answer: StoreResult<Appended>) -> MessageRecord {
    match answer {
        Ok(Appended::Existing { record, same_request: false }) => record,
        other => panic!("something else was asked for before, not {other:?}"),
    }
}

/// Of several writers that decided on the same revision, exactly one succeeds.
fn one_winner(answers: Vec<StoreResult<MessageRecord>>) -> MessageRecord {
    let (mut won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!(won.len(), 1);
    assert!(lost.into_iter().all(|answer| error_kind(answer) == StoreErrorKind::Conflict));
    won.remove(0).unwrap()
}

/// The read mark, the delivered mark, and the number of texts up to the read mark.
async fn marks(world: &World, chat: ChatId, user: UserId) -> (u64, u64, u64) {
    let me = world.view(chat, user).await.me;
    (me.read_seq.get(), me.delivered_seq.get(), me.read_texts)
}

fn edit_of(world: &World, message: &MessageRecord, body: &str) -> EditMessage {
    EditMessage {
        chat: message.chat,
        message: message.id,
        sender: message.sender,
        expected: message.revision,
        body: Content::from(body),
        edited_at: world.tick(),
    }
}

fn delete_of(world: &World, message: &MessageRecord) -> DeleteMessage {
    let (chat, expected) = (message.chat, message.revision);
    DeleteMessage { chat, message: message.id, expected, deleted_at: world.tick() }
}
