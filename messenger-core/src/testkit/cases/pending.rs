use std::time::Duration;

use crate::{
    domain::{ChatId, NotifyLevel, Seq, Timestamp, UserId},
    ports::{
        AskUnread, MailState, MessageRecord, MoveMarker, PendingChat, PendingMember, SeenPlace, UnreadRange,
    },
    testkit::World,
};

const SECOND: Duration = Duration::from_secs(1);

async fn members(world: &World, chat: ChatId, due: Timestamp) -> Vec<PendingMember> {
    let asked = AskUnread { chat, due, now: world.tick() };
    world.store.unread_members(&asked, None, 100).await.unwrap()
}

async fn people(world: &World, chat: ChatId) -> Vec<UserId> {
    members(world, chat, world.tick()).await.into_iter().map(|member| member.user).collect()
}

pub(super) async fn chats(world: &World, user: UserId) -> Vec<PendingChat> {
    let now = world.tick();
    world.store.unread_chats(user, now, now, 100).await.unwrap()
}

pub(super) async fn read(world: &World, chat: ChatId, user: UserId, seq: Seq) {
    let step = MoveMarker { chat, user, seq, read: true };
    world.store.move_markers(&[step]).await.unwrap().remove(0).unwrap();
}

fn sorted<const N: usize>(mut people: [UserId; N]) -> Vec<UserId> {
    people.sort_unstable();
    people.to_vec()
}

pub async fn unread_members_have_an_old_text_of_somebody_else_after_their_mark(world: &World) {
    let [ada, bob, cleo] = world.people(["ada", "bob", "cleo"]).await;
    let group = world.group([ada, bob, cleo]).await;
    let first = world.send(group, ada, "first").await;
    let second = world.send(group, ada, "second").await;
    let answer = world.send(group, cleo, "answer").await;
    let seen = world.tick();
    world.store.set_last_seen(&[(bob, seen)]).await.unwrap();

    let pending = |user, since| PendingMember {
        user,
        since,
        last_seen_at: (user == bob).then_some(seen),
        notify_email: true,
        mail: MailState::default(),
        told_at: None,
        told_times: 0,
    };
    assert_eq!(members(world, group, first.created_at.before(SECOND)).await, []);
    let of_bob = pending(bob, first.created_at);
    assert_eq!(members(world, group, second.created_at).await, [of_bob], "cleo has read it by answering");
    let mut all = [of_bob, pending(ada, answer.created_at)];
    all.sort_by_key(|member| member.user);
    assert_eq!(members(world, group, answer.created_at).await, all);
    assert_eq!(members(world, world.id(), answer.created_at).await, []);
}

pub async fn unread_members_are_not_those_who_have_read_it(world: &World) {
    let [ada, bob, cleo] = world.people(["ada", "bob", "cleo"]).await;
    let group = world.group([ada, bob, cleo]).await;
    let first = world.send(group, ada, "first").await;
    let second = world.send(group, ada, "second").await;
    read(world, group, bob, first.seq).await;
    let since = members(world, group, second.created_at).await;
    let of = |user| since.iter().find(|member| member.user == user).map(|member| member.since);
    assert_eq!((of(bob), of(cleo)), (Some(second.created_at), Some(first.created_at)));
    let due = first.created_at;
    let early: Vec<_> = members(world, group, due).await.into_iter().map(|member| member.user).collect();
    assert_eq!(early, [cleo], "what is after the mark is too new");
    read(world, group, bob, second.seq).await;
    assert_eq!(people(world, group).await, [cleo]);
}

pub async fn unread_members_have_what_is_old_enough_after_what_is_not(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let chat = world.direct(ada, bob).await;
    // Clocks of nodes differ.
    let early = world.text(chat, ada, "sent before, stored later");
    let late = world.send(chat, ada, "hello").await;
    world.append(&early).await.unwrap();
    let since = |members: Vec<PendingMember>| members.iter().map(|member| member.since).collect::<Vec<_>>();
    assert_eq!(since(members(world, chat, early.created_at).await), [early.created_at]);
    assert_eq!(
        since(members(world, chat, late.created_at).await),
        [late.created_at],
        "the first that is stored"
    );
}

pub async fn unread_members_are_not_those_who_left_or_were_erased(world: &World) {
    let [ada, bob, cleo, dan] = world.people(["ada", "bob", "cleo", "dan"]).await;
    let group = world.group([ada, bob, cleo, dan]).await;
    world.send(group, ada, "hello").await;
    world.remove(group, ada, &[bob]).await;
    world.erase(cleo).await;
    assert_eq!(people(world, group).await, [dan]);
}

pub async fn unread_members_are_not_those_who_want_no_news(world: &World) {
    let [ada, bob, cleo, dan] = world.people(["ada", "bob", "cleo", "dan"]).await;
    let group = world.group([ada, bob, cleo, dan]).await;
    let text = world.send(group, ada, "hello").await;
    let until = world.tick();
    world.store.set_mute(group, bob, Some(until)).await.unwrap();
    world.store.set_notify_level(group, cleo, NotifyLevel::None).await.unwrap();
    world.store.set_notify_level(group, dan, NotifyLevel::Mentions).await.unwrap();
    let at = async |now| {
        let asked = AskUnread { chat: group, due: text.created_at, now };
        let members = world.store.unread_members(&asked, None, 10).await.unwrap();
        members.into_iter().map(|member| member.user).collect::<Vec<_>>()
    };
    assert_eq!(at(until.before(Duration::from_micros(1))).await, [dan]);
    assert_eq!(at(until).await, sorted([bob, dan]));
}

pub async fn unread_members_have_nothing_of_deleted_and_system_messages(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let group = world.group([ada, bob]).await;
    world.add(group, ada, &[world.user("cleo").await]).await;
    let text = world.send(group, ada, "hello").await;
    let text = world.edit(&text, "hallo").await;
    assert_eq!(people(world, group).await.len(), 2);
    world.delete(&text).await;
    assert_eq!(people(world, group).await, []);
    let kept = world.send(group, ada, "again").await;
    assert!(members(world, group, world.tick()).await.iter().all(|member| member.since == kept.created_at));
}

pub async fn unread_members_have_nothing_from_before_they_joined(world: &World) {
    let [ada, bob, cleo] = world.people(["ada", "bob", "cleo"]).await;
    let group = world.group([ada, bob]).await;
    world.send(group, ada, "before").await;
    world.add(group, ada, &[cleo]).await;
    assert_eq!(people(world, group).await, [bob]);
    world.remove(group, ada, &[bob]).await;
    world.send(group, ada, "meanwhile").await;
    world.add(group, ada, &[bob]).await;
    assert_eq!(people(world, group).await, [cleo]);
}

pub async fn unread_members_page_by_id(world: &World) {
    let people = world.people(["ada", "bob", "cleo", "dan", "eve"]).await;
    let group = world.group(people).await;
    let text = world.send(group, people[0], "hello").await;
    let asked = AskUnread { chat: group, due: text.created_at, now: world.tick() };
    let (mut paged, mut after) = (vec![], None);
    loop {
        let page = world.store.unread_members(&asked, after, 3).await.unwrap();
        assert!(page.len() <= 3);
        paged.extend(page.iter().map(|member| member.user));
        if page.len() < 3 {
            break;
        }
        after = page.last().map(|member| member.user);
    }
    assert_eq!(paged, sorted([people[1], people[2], people[3], people[4]]));
}

pub async fn unread_chats_have_the_newest_first(world: &World) {
    let [ada, bob, cleo] = world.people(["ada", "bob", "cleo"]).await;
    let (direct, group) = (world.direct(ada, bob).await, world.group([ada, bob, cleo]).await);
    world.group([bob, ada]).await;
    let first = world.send(direct, ada, "one").await;
    let second = world.send(group, cleo, "two").await;
    let third = world.send(direct, ada, "three").await;
    let now = world.tick();
    let ids = async |until, limit| {
        let chats = world.store.unread_chats(bob, until, now, limit).await.unwrap();
        chats.into_iter().map(|chat| chat.chat).collect::<Vec<_>>()
    };
    assert_eq!(ids(third.created_at, 10).await, [direct, group]);
    assert_eq!(ids(third.created_at, 1).await, [direct]);
    assert_eq!(ids(second.created_at, 10).await, [group, direct], "as far as was asked");
    assert_eq!(ids(first.created_at, 10).await, [direct]);
    assert_eq!(ids(first.created_at.before(SECOND), 10).await, []);
}

pub async fn unread_chats_count_what_is_pending(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let group = world.group([ada, bob]).await;
    let read_one = world.send(group, ada, "read").await;
    read(world, group, bob, read_one.seq).await;
    let deleted = world.send(group, ada, "deleted").await;
    world.delete(&deleted).await;
    world.add(group, ada, &[world.user("cleo").await]).await;
    let first = world.send(group, ada, "first").await;
    world.add(group, ada, &[world.user("dan").await]).await;
    let last = world.send(group, ada, "last").await;
    let deleted = world.send(group, ada, "deleted").await;
    world.delete(&deleted).await;
    world.add(group, ada, &[world.user("eve").await]).await;
    let until = world.tick();
    world.send(group, ada, "too new").await;
    let chats = world.store.unread_chats(bob, until, world.tick(), 10).await.unwrap();
    let pending = PendingChat {
        chat: group,
        after: read_one.seq,
        up_to: last.seq,
        since: first.created_at,
        last_at: last.created_at,
        unread: 2,
        told_at: None,
        told_times: 0,
    };
    assert_eq!(chats, [pending]);
    assert_eq!(self::chats(world, ada).await, [], "one's own messages are not");
    let many: Vec<_> = (0..PendingChat::COUNTED + 5).map(|_| world.text(group, ada, "many")).collect();
    for part in many.chunks(500) {
        world.store.append_messages(part).await.unwrap();
    }
    let counted = self::chats(world, bob).await[0];
    assert_eq!((counted.unread, counted.after), (PendingChat::COUNTED, read_one.seq));
    assert_eq!(counted.last_at, many.last().unwrap().created_at, "to the end");
}

pub async fn unread_chats_are_those_one_wants_to_hear_of(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let [muted, none, left, kept] =
        [world.group([ada, bob]).await, world.group([ada, bob]).await, world.group([ada, bob]).await, {
            world.direct(ada, bob).await
        }];
    for chat in [muted, none, left, kept] {
        world.send(chat, ada, "hello").await;
    }
    let until = world.tick().after(Duration::from_secs(3600));
    world.store.set_mute(muted, bob, Some(until)).await.unwrap();
    world.store.set_notify_level(none, bob, NotifyLevel::None).await.unwrap();
    world.remove(left, ada, &[bob]).await;
    let ids = async |now| {
        let chats = world.store.unread_chats(bob, now, now, 10).await.unwrap();
        chats.into_iter().map(|chat| chat.chat).collect::<Vec<_>>()
    };
    assert_eq!(ids(until.before(SECOND)).await, [kept]);
    assert_eq!(ids(until).await, [kept, muted]);
}

pub async fn unread_lines_are_the_newest_as_they_are_now(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let (direct, group) = (world.direct(ada, bob).await, world.group([ada, bob]).await);
    let mut texts: Vec<MessageRecord> = vec![];
    for body in ["zero", "one", "two", "three", "four", "five"] {
        texts.push(world.send(direct, ada, body).await);
    }
    texts[2] = world.edit(&texts[2], "two, edited").await;
    world.delete(&texts[3]).await;
    let other = world.send(group, ada, "other").await;
    let ranges = [
        UnreadRange { chat: direct, after: texts[0].seq, up_to: texts[4].seq },
        UnreadRange { chat: group, after: Seq::ZERO, up_to: other.seq },
    ];
    let lines = async |user, lines| world.store.unread_lines(user, &ranges, lines).await.unwrap();
    let [one, two, four] = [&texts[1], &texts[2], &texts[4]].map(Clone::clone);
    assert_eq!(lines(bob, 2).await, [two.clone(), four.clone(), other.clone()]);
    assert_eq!(lines(bob, 10).await, [one, two, four, other]);
    assert_eq!(lines(ada, 10).await, [], "of others");
    assert_eq!(world.store.unread_lines(bob, &[], 10).await.unwrap(), []);
}

pub async fn unread_lines_of_a_stranger_are_none(world: &World) {
    let [ada, bob, cleo] = world.people(["ada", "bob", "cleo"]).await;
    let group = world.group([ada, bob]).await;
    world.send(group, ada, "hello").await;
    world.remove(group, ada, &[bob]).await;
    let range = UnreadRange { chat: group, after: Seq::ZERO, up_to: Seq::new(10) };
    for user in [bob, cleo] {
        assert_eq!(world.store.unread_lines(user, &[range], 10).await.unwrap(), []);
    }
}

pub async fn people_last_seen_come_in_the_order_in_which_they_went(world: &World) {
    let [ada, bob, cleo, dan] = world.people(["ada", "bob", "cleo", "dan"]).await;
    let (early, late) = (world.tick(), world.tick());
    world.store.set_last_seen(&[(ada, late), (bob, early), (cleo, early)]).await.unwrap();
    let begin = SeenPlace { at: early.before(SECOND), user: dan };
    let list = async |after, until, limit| {
        let places = world.store.people_last_seen(after, until, limit).await.unwrap();
        places.into_iter().map(|place| (place.at, place.user)).collect::<Vec<_>>()
    };
    let [first, second] = sorted([bob, cleo])[..] else { unreachable!() };
    let (first, second, third) = ((early, first), (early, second), (late, ada));
    assert_eq!(list(begin, late, 10).await, [first, second, third]);
    assert_eq!(list(begin, late.before(Duration::from_micros(1)), 10).await, [first, second]);
    assert_eq!(list(begin, late, 1).await, [first]);
    let place = |(at, user)| SeenPlace { at, user };
    assert_eq!(list(place(first), late, 10).await, [second, third], "also after one of the same time");
    assert_eq!(list(place(third), late, 10).await, []);
    let later = world.tick();
    world.store.set_last_seen(&[(bob, later)]).await.unwrap();
    assert_eq!(list(place(third), later, 10).await, [(later, bob)]);
    world.erase(bob).await;
    assert_eq!(list(place(third), later, 10).await, []);
}
