use std::{slice, sync::Arc};

use crate::{
    domain::{Timestamp, UserId},
    ports::{KeyId, Rewrap, StoredKey, WrappedKey},
    testkit::{World, race},
};

/// More than one statement of any engine takes as parameters, one by one.
const MANY: usize = 1000;

/// A key of the greatest length, different for each seed.
fn key(world: &World, id: KeyId, seed: u8) -> StoredKey {
    StoredKey { id, wrapped: Some(wrapped(seed)), created_at: world.tick(), destroyed_at: None }
}

/// Bytes of all values, with zeros at the end.
fn wrapped(seed: u8) -> WrappedKey {
    let mut bytes: Vec<_> = (0..=u8::MAX).map(|n| n.wrapping_add(seed)).collect();
    bytes[254..].fill(0);
    WrappedKey(bytes)
}

fn nth(user: UserId, number: u32) -> KeyId {
    KeyId { owner: Some(user), number }
}

async fn created(world: &World, id: KeyId, seed: u8) -> StoredKey {
    let key = key(world, id, seed);
    let [stored] = create(world, slice::from_ref(&key)).await.try_into().unwrap();
    assert_eq!(stored, key);
    key
}

async fn create(world: &World, keys: &[StoredKey]) -> Vec<StoredKey> {
    world.store.create_keys(keys).await.unwrap()
}

/// A key that belongs to no single person; none of those that a wrapper has made for itself.
const fn common(number: u32) -> KeyId {
    KeyId::of_all(BEFORE.number + number)
}

/// No key of the cases is before it.
const BEFORE: KeyId = KeyId::of_all(1000);

/// All keys, in their order.
async fn all(world: &World) -> Vec<StoredKey> {
    world.store.list_keys(Some(BEFORE), 10 * MANY).await.unwrap()
}

async fn destroy(world: &World, user: UserId) -> Timestamp {
    let at = world.tick();
    world.store.destroy_keys(user, at).await.unwrap();
    at
}

fn destroyed(key: &StoredKey, at: Timestamp) -> StoredKey {
    StoredKey { wrapped: None, destroyed_at: Some(at), ..key.clone() }
}

fn sorted(mut keys: Vec<StoredKey>) -> Vec<StoredKey> {
    keys.sort_by_key(|key| key.id);
    keys
}

pub async fn create_keys_answers_with_the_first_that_was_stored(world: &World) {
    let (ada, bob) = (world.id(), world.id());
    let first = [
        key(world, nth(bob, 2), 1),
        key(world, common(1), 2),
        key(world, nth(bob, 2), 3),
        key(world, KeyId::of_user(ada), 4),
        key(world, nth(bob, i32::MAX as u32), 5),
    ];
    let [bobs, common, again, adas, last] = create(world, &first).await.try_into().unwrap();
    assert_eq!([&bobs, &common, &adas, &last], [&first[0], &first[1], &first[3], &first[4]]);
    assert_eq!(again, first[0]);
    let second =
        [key(world, KeyId::of_user(ada), 6), key(world, KeyId::of_user(bob), 7), key(world, nth(bob, 2), 8)];
    let stored = create(world, &second).await;
    assert_eq!(stored, [adas.clone(), second[1].clone(), bobs.clone()]);
    assert_eq!(all(world).await, sorted(vec![bobs, common, adas, last, second[1].clone()]));
    assert_eq!(create(world, &[]).await, []);

    let empty = StoredKey { wrapped: Some(WrappedKey(vec![])), ..key(world, KeyId::of_user(world.id()), 0) };
    assert_eq!(create(world, slice::from_ref(&empty)).await, [empty]);
    let many: Vec<_> = (0..MANY).map(|n| key(world, KeyId::of_user(world.id()), n as u8)).collect();
    assert_eq!(create(world, &many).await, many);
    assert_eq!(create(world, &many).await, many);
}

pub async fn create_keys_does_not_bring_back_what_was_destroyed(world: &World) {
    let user = world.id();
    let first = created(world, KeyId::of_user(user), 1).await;
    let at = destroy(world, user).await;
    let others = created(world, KeyId::of_user(world.id()), 2).await;
    let again = [key(world, first.id, 3), others.clone()];
    assert_eq!(create(world, &again).await, [destroyed(&first, at), others.clone()]);
    assert_eq!(all(world).await, sorted(vec![destroyed(&first, at), others]));
}

pub async fn create_keys_lets_one_of_many_racers_win(world: &World) {
    for _ in 0..5 {
        let ids: Vec<_> = (0..4).map(|_| KeyId::of_user(world.id())).collect();
        let racers = (0..8).map(|racer| {
            let mut keys: Vec<_> = ids.iter().map(|id| key(world, *id, racer)).collect();
            // Each in an order of its own.
            keys.rotate_left(usize::from(racer) % 4);
            let store = Arc::clone(&world.store);
            async move { store.create_keys(&keys).await.unwrap() }
        });
        let answers = race(racers).await;
        let stored = sorted(world.store.keys(&ids).await.unwrap());
        assert_eq!(stored.len(), ids.len());
        for answer in answers {
            assert_eq!(sorted(answer), stored);
        }
    }
}

pub async fn keys_skips_unknown_ids(world: &World) {
    let (ada, bob): (UserId, UserId) = (world.id(), world.id());
    let first = created(world, KeyId::of_user(ada), 1).await;
    let second = created(world, nth(ada, 2), 2).await;
    let commons = created(world, common(2), 3).await;
    let bobs = created(world, KeyId::of_user(bob), 4).await;
    let at = destroy(world, bob).await;
    let unknown = [nth(ada, 3), nth(bob, 2), common(1), KeyId::of_user(world.id())];
    let mut asked = vec![bobs.id, second.id, commons.id, second.id, first.id];
    asked.extend(unknown);
    let found = world.store.keys(&asked).await.unwrap();
    assert_eq!(sorted(found), sorted(vec![first, second.clone(), commons, destroyed(&bobs, at)]));
    assert_eq!(world.store.keys(&unknown).await.unwrap(), []);
    assert_eq!(world.store.keys(&[]).await.unwrap(), []);
    let many = (1..=MANY as u32).map(|number| nth(ada, number));
    let many: Vec<_> = many.filter(|id| id.number != 1).collect();
    assert_eq!(world.store.keys(&many).await.unwrap(), [second]);
}

pub async fn list_keys_pages_by_id(world: &World) {
    assert_eq!(all(world).await, []);
    // The first byte counts most, and the last one least, whatever the value.
    let mut owners = [[0x20; 16]; 6];
    (owners[0][0], owners[1][0], owners[2][0]) = (0x80, 0xff, 0x01);
    (owners[3][15], owners[4][6]) = (0x21, 0x1f);
    let mut ids: Vec<_> = owners.map(|owner| KeyId::of_user(UserId::from_bytes(owner))).into();
    let middle = UserId::from_bytes(owners[5]);
    ids.extend([nth(middle, 10), nth(middle, 2), nth(middle, 300), common(1), common(70_000)]);
    let mut keys = vec![];
    for (seed, id) in ids.into_iter().enumerate() {
        keys.push(created(world, id, seed as u8).await);
    }
    let at = destroy(world, middle).await;
    let change = |key: StoredKey| if key.id.owner == Some(middle) { destroyed(&key, at) } else { key };
    let keys = sorted(keys.into_iter().map(change).collect());
    assert_eq!(all(world).await, keys);
    for size in 1..=keys.len() + 1 {
        let (mut found, mut after) = (vec![], Some(BEFORE));
        loop {
            let page = world.store.list_keys(after, size).await.unwrap();
            assert!(page.len() <= size);
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            found.extend(page);
        }
        assert_eq!(found, keys, "in pages of {size}");
    }
    // After a place that no key has.
    let after = nth(middle, 9);
    let later: Vec<_> = keys.iter().filter(|key| key.id > after).cloned().collect();
    assert_eq!(world.store.list_keys(Some(after), MANY).await.unwrap(), later);
    assert_eq!(world.store.list_keys(None, 0).await.unwrap(), []);
    assert!(world.store.list_keys(None, 1).await.unwrap()[0].id <= keys[0].id);
}

pub async fn rewrap_keys_replaces_what_was_expected(world: &World) {
    rewrap_some(world).await;
    rewrap_many(world).await;
    race_to_rewrap(world).await;
}

fn rewrap(id: KeyId, expected: WrappedKey, wrapped: WrappedKey) -> Rewrap {
    Rewrap { id, expected, wrapped }
}

async fn rewrap_some(world: &World) {
    let (ada, bob) = (world.id(), world.id());
    let mut first = created(world, KeyId::of_user(ada), 1).await;
    let mut second = created(world, nth(ada, 2), 2).await;
    let other = created(world, nth(ada, 3), 3).await;
    let shorter = created(world, nth(ada, 4), 4).await;
    let bobs = created(world, KeyId::of_user(bob), 5).await;
    let at = destroy(world, bob).await;
    // What is the same but for zeros at the end is something else.
    let cut = WrappedKey(wrapped(4).0[..255].to_vec());
    let rewraps = [
        rewrap(second.id, wrapped(2), wrapped(22)),
        rewrap(first.id, wrapped(1), WrappedKey(vec![0, 0])),
        rewrap(other.id, wrapped(4), wrapped(33)),
        rewrap(shorter.id, cut, wrapped(44)),
        rewrap(bobs.id, wrapped(5), wrapped(55)),
        rewrap(nth(ada, 5), wrapped(5), wrapped(55)),
        // A second time, from what the first one has made of it.
        rewrap(second.id, wrapped(22), wrapped(23)),
        rewrap(second.id, wrapped(22), wrapped(24)),
    ];
    assert_eq!(world.store.rewrap_keys(&rewraps).await.unwrap(), 3);
    (first.wrapped, second.wrapped) = (Some(WrappedKey(vec![0, 0])), Some(wrapped(23)));
    assert_eq!(all(world).await, sorted(vec![first, second, other, shorter, destroyed(&bobs, at)]));
    assert_eq!(world.store.rewrap_keys(&rewraps).await.unwrap(), 0);
    assert_eq!(world.store.rewrap_keys(&[]).await.unwrap(), 0);
}

async fn rewrap_many(world: &World) {
    let many: Vec<_> = (0..MANY).map(|n| key(world, KeyId::of_user(world.id()), n as u8)).collect();
    create(world, &many).await;
    let to_next = |key: &StoredKey| rewrap(key.id, key.wrapped.clone().unwrap(), wrapped(7));
    let rewraps: Vec<_> = many.iter().map(to_next).collect();
    assert_eq!(world.store.rewrap_keys(&rewraps).await.unwrap(), MANY);
    let ids: Vec<_> = many.iter().map(|key| key.id).collect();
    let found = world.store.keys(&ids).await.unwrap();
    assert_eq!(found.len(), MANY);
    assert!(found.iter().all(|key| key.wrapped == Some(wrapped(7))));
}

/// One of those who wrap a key anew does it, and whatever they do, who destroys it has the last word.
async fn race_to_rewrap(world: &World) {
    for _ in 0..5 {
        let users: Vec<UserId> = (0..3).map(|_| world.id()).collect();
        for user in &users {
            created(world, KeyId::of_user(*user), 1).await;
        }
        let racers = (0..8).map(|racer| {
            let mut rewraps: Vec<_> = users
                .iter()
                .map(|user| rewrap(KeyId::of_user(*user), wrapped(1), wrapped(10 + racer)))
                .collect();
            rewraps.rotate_left(usize::from(racer) % 3);
            let (store, last, at) = (Arc::clone(&world.store), users[2], world.tick());
            async move {
                if racer == 4 {
                    store.destroy_keys(last, at).await.unwrap();
                    return 0;
                }
                store.rewrap_keys(&rewraps).await.unwrap()
            }
        });
        let done: usize = race(racers).await.into_iter().sum();
        let ids: Vec<_> = users.iter().map(|user| KeyId::of_user(*user)).collect();
        let found = sorted(world.store.keys(&ids).await.unwrap());
        let is_live =
            |user: UserId| found.iter().any(|key| key.id.owner == Some(user) && key.wrapped.is_some());
        assert_eq!((is_live(users[0]), is_live(users[1]), is_live(users[2])), (true, true, false));
        assert!((2..=3).contains(&done), "{done}");
    }
}

pub async fn destroy_keys_leaves_ids_alone(world: &World) {
    let (ada, bob) = (world.id(), world.id());
    let mine = [
        created(world, KeyId::of_user(ada), 1).await,
        created(world, nth(ada, 2), 2).await,
        created(world, nth(ada, 900), 3).await,
    ];
    let others = [created(world, KeyId::of_user(bob), 4).await, created(world, common(1), 5).await];
    let at = destroy(world, ada).await;
    let mut wanted = mine.map(|key| destroyed(&key, at)).to_vec();
    wanted.extend(others);
    assert_eq!(all(world).await, sorted(wanted.clone()));
    destroy(world, ada).await;
    assert_eq!(all(world).await, sorted(wanted.clone()), "the time of the first stays");
    // What was made meanwhile goes with the next.
    let late = created(world, nth(ada, 3), 6).await;
    let at = destroy(world, ada).await;
    wanted.push(destroyed(&late, at));
    assert_eq!(all(world).await, sorted(wanted));
}

pub async fn destroy_keys_comes_before_a_key_that_is_created_later(world: &World) {
    let user = world.id();
    let at = destroy(world, user).await;
    let id = KeyId::of_user(user);
    let none = StoredKey { id, wrapped: None, created_at: at, destroyed_at: Some(at) };
    let none = slice::from_ref(&none);
    assert_eq!(all(world).await, none);
    assert_eq!(create(world, &[key(world, id, 1)]).await, none);
    assert_eq!(all(world).await, none);
    for _ in 0..10 {
        race_to_create(world).await;
    }
}

/// Whoever comes first, nothing of what was created together with the first key is left.
async fn race_to_create(world: &World) {
    let user = world.id();
    let racers = (0..6).map(|racer| {
        let keys =
            [key(world, KeyId::of_user(user), racer), key(world, nth(user, u32::from(racer) + 2), racer)];
        let (store, at) = (Arc::clone(&world.store), world.tick());
        async move {
            if racer == 3 {
                store.destroy_keys(user, at).await.unwrap();
                return None;
            }
            store.create_keys(&keys).await.unwrap().into_iter().next()
        }
    });
    let answers = race(racers).await;
    let [first] = world.store.keys(&[KeyId::of_user(user)]).await.unwrap().try_into().unwrap();
    assert_eq!(first.wrapped, None);
    for answer in answers.into_iter().flatten() {
        assert!(answer.wrapped.is_none() || answer.created_at == first.created_at);
    }
}
