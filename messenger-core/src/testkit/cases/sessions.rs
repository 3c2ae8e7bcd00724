use std::{collections::BTreeSet, time::Duration};

use crate::{
    domain::{SessionId, Timestamp, TokenHash},
    ports::{Content, NewSession, SessionRecord, StoreErrorKind},
    testkit::{World, error_kind, world::sealed_text},
};

pub async fn create_session_can_be_found_by_its_token(world: &World) {
    let ada = world.user("ada").await;
    let mut named = world.session(ada);
    named.device = Some(Content::from("🦀".repeat(128)));
    let nameless = NewSession { device: None, ..world.session(ada) };
    let sealed = NewSession { device: Some(sealed_text(800)), ..world.session(ada) };
    let odd = NewSession { device: Some(Content::from(" \u{1}\n\u{10ffff} ")), ..world.session(ada) };
    for session in [named, nameless, sealed, odd] {
        let ended = world.log_in(session.clone(), 100).await.unwrap();
        assert_eq!(ended, []);
        let found = world.store.session_by_token(&session.token_hash).await.unwrap();
        assert_eq!(found, expected(&session));
    }
}

pub async fn create_session_of_unknown_or_erased_user_is_not_found(world: &World) {
    let ada = world.user("ada").await;
    world.erase(ada).await;
    for user in [ada, world.id()] {
        let session = world.session(user);
        let answer = world.log_in(session.clone(), 100).await;
        assert_eq!(error_kind(answer), StoreErrorKind::NotFound);
        let answer = world.store.session_by_token(&session.token_hash).await;
        assert_eq!(error_kind(answer), StoreErrorKind::NotFound);
    }
}

pub async fn create_session_ends_the_longest_unused_beyond_the_limit(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let first = world.store.sessions(ada).await.unwrap()[0].id;
    let sessions: Vec<_> = (0..4).map(|_| world.session(ada)).collect();
    for session in &sessions[..3] {
        assert_eq!(world.log_in(session.clone(), 4).await.unwrap(), []);
    }
    // The oldest session is the most recently used.
    let now = world.tick();
    world.store.touch_session(first, now, now).await.unwrap();
    let ended = world.log_in(sessions[3].clone(), 3).await.unwrap();
    assert_eq!(ended.into_iter().collect::<BTreeSet<_>>(), BTreeSet::from([sessions[0].id, sessions[1].id]));
    assert_eq!(ids(world, ada).await, [sessions[3].id, sessions[2].id, first]);
    let answer = world.store.session_by_token(&sessions[0].token_hash).await;
    assert_eq!(error_kind(answer), StoreErrorKind::NotFound);
    assert_eq!(ids(world, bob).await.len(), 1, "sessions of others don't count");
}

pub async fn session_by_unknown_token_is_not_found(world: &World) {
    let (user, session) = world.account("ada");
    world.store.create_user(user, session.clone()).await.unwrap();
    let mut near = session.token_hash;
    near.0[31] ^= 1;
    for token in [near, TokenHash([0; 32])] {
        assert_eq!(error_kind(world.store.session_by_token(&token).await), StoreErrorKind::NotFound);
    }
    let expired = NewSession { expires_at: Timestamp::from_micros(1), ..world.session(session.user_id) };
    world.log_in(expired.clone(), 100).await.unwrap();
    let found = world.store.session_by_token(&expired.token_hash).await.unwrap();
    assert_eq!(found, expected(&expired), "an expired one is found; it is for the caller to refuse it");
}

pub async fn sessions_lists_only_ones_own(world: &World) {
    let (user, first) = world.account("ada");
    let ada = user.id;
    world.store.create_user(user, first.clone()).await.unwrap();
    let bob = world.user("bob").await;
    let second = world.session(ada);
    world.log_in(second.clone(), 100).await.unwrap();
    let listed = world.store.sessions(ada).await.unwrap();
    assert_eq!(listed, [expected(&second), expected(&first)], "newest first");
    assert_eq!(ids(world, bob).await.len(), 1);
    assert_eq!(world.store.sessions(world.id()).await.unwrap(), []);
}

pub async fn touch_session_only_moves_forward(world: &World) {
    let ada = world.user("ada").await;
    let session = world.session(ada);
    world.log_in(session.clone(), 100).await.unwrap();
    let (used, expires) = (world.tick(), session.expires_at.after(Duration::from_secs(1)));
    let (earlier, later) = (used.before(Duration::from_micros(1)), expires.after(Duration::from_micros(1)));
    let touched = SessionRecord { last_used_at: used, expires_at: expires, ..expected(&session) };
    let found = async || world.store.session_by_token(&session.token_hash).await.unwrap();

    world.store.touch_session(session.id, used, expires).await.unwrap();
    assert_eq!(found().await, touched);
    world.store.touch_session(session.id, earlier, earlier).await.unwrap();
    assert_eq!(found().await, touched);
    world.store.touch_session(session.id, earlier, later).await.unwrap();
    assert_eq!(found().await, SessionRecord { expires_at: later, ..touched }, "each moves by itself");
    world.store.touch_session(world.id(), used, expires).await.expect("unknown ones are passed over");
}

pub async fn end_session_of_somebody_else_is_not_found(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let theirs = ids(world, ada).await[0];
    assert_eq!(error_kind(world.store.end_session(bob, theirs).await), StoreErrorKind::NotFound);
    assert_eq!(error_kind(world.store.end_session(bob, world.id()).await), StoreErrorKind::NotFound);
    assert_eq!(ids(world, ada).await, [theirs]);
}

pub async fn end_session_makes_its_token_unknown(world: &World) {
    let (user, first) = world.account("ada");
    let ada = user.id;
    world.store.create_user(user, first.clone()).await.unwrap();
    let second = world.session(ada);
    world.log_in(second.clone(), 100).await.unwrap();
    world.store.end_session(ada, first.id).await.unwrap();
    let answer = world.store.session_by_token(&first.token_hash).await;
    assert_eq!(error_kind(answer), StoreErrorKind::NotFound);
    assert_eq!(error_kind(world.store.end_session(ada, first.id).await), StoreErrorKind::NotFound);
    assert_eq!(ids(world, ada).await, [second.id]);
}

pub async fn remove_expired_sessions_keeps_the_live_ones(world: &World) {
    let ada = world.user("ada").await;
    let live = ids(world, ada).await[0];
    let now = world.tick();
    let mut expired = vec![];
    for n in 1..=5 {
        let expires_at = now.before(Duration::from_micros(n));
        expired.push(NewSession { expires_at, ..world.session(ada) });
    }
    let at_its_end = NewSession { expires_at: now, ..world.session(ada) };
    for session in expired.iter().chain([&at_its_end]) {
        world.log_in(session.clone(), 100).await.unwrap();
    }
    assert_eq!(world.store.remove_expired_sessions(now, 3).await.unwrap(), 3);
    assert_eq!(ids(world, ada).await.len(), 4);
    assert_eq!(world.store.remove_expired_sessions(now, 3).await.unwrap(), 2);
    assert_eq!(world.store.remove_expired_sessions(now, 3).await.unwrap(), 0);
    assert_eq!(ids(world, ada).await, [at_its_end.id, live]);
    let answer = world.store.session_by_token(&expired[0].token_hash).await;
    assert_eq!(error_kind(answer), StoreErrorKind::NotFound);
}

pub async fn existing_sessions_skips_the_ended(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let (theirs, others) = (ids(world, ada).await[0], ids(world, bob).await[0]);
    let ended = world.session(ada);
    world.log_in(ended.clone(), 100).await.unwrap();
    world.store.end_session(ada, ended.id).await.unwrap();
    let mut asked: Vec<SessionId> = (0..3000).map(|_| world.id()).collect();
    asked.extend([theirs, ended.id, others]);
    let existing = world.store.existing_sessions(&asked).await.unwrap();
    assert_eq!(existing.into_iter().collect::<BTreeSet<_>>(), BTreeSet::from([theirs, others]));
    assert_eq!(world.store.existing_sessions(&[]).await.unwrap(), []);
}

/// The stored form of a new session.
fn expected(session: &NewSession) -> SessionRecord {
    SessionRecord {
        id: session.id,
        user_id: session.user_id,
        device: session.device.clone(),
        created_at: session.created_at,
        last_used_at: session.created_at,
        expires_at: session.expires_at,
    }
}

async fn ids(world: &World, user: crate::UserId) -> Vec<SessionId> {
    world.store.sessions(user).await.unwrap().into_iter().map(|session| session.id).collect()
}
