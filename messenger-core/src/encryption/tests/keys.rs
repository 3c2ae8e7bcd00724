use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use async_trait::async_trait;

use crate::{
    context::Context,
    domain::UserId,
    encryption::{
        DataKey, EncryptionError, InvalidKeyRing, KeyRing, KeyService, KeyServiceError, SealSettings,
        SealedStore, count_keys, rotate_keys,
    },
    memory::MemoryStore,
    ports::{KeyId, KeyStore as _, Store as _, StoreErrorKind, WrappedKey},
};

fn ring() -> KeyRing {
    KeyRing::new(&[7; 32])
}

#[test]
fn a_ring_is_lines_of_which_the_first_wraps() {
    let key = |byte: u8| {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode([byte; 32])
    };
    let (one, two) = (key(1), key(2));
    let ring = KeyRing::parse(&format!("# keys\n\n  3:{one}\r\n1 : {two}\n")).unwrap();
    assert_eq!((ring.current(), ring.versions().collect::<Vec<_>>()), (3, vec![1, 3]));
    for (text, error) in [
        (String::new(), InvalidKeyRing::Empty),
        ("# nothing\n".to_owned(), InvalidKeyRing::Empty),
        (format!("1:{one}\n1:{two}"), InvalidKeyRing::Twice(1)),
        (format!("1:{one}\n{two}"), InvalidKeyRing::Line(2)),
        (format!("0:{one}"), InvalidKeyRing::Line(1)),
        (format!("2147483648:{one}"), InvalidKeyRing::Line(1)),
        (format!("1:{}", &one[..one.len() - 1]), InvalidKeyRing::Line(1)),
        (format!("1:{}", key(1).replace("AQ", "")), InvalidKeyRing::Line(1)),
    ] {
        assert_eq!(KeyRing::parse(&text).unwrap_err(), error, "{text}");
    }
    let line = KeyRing::generate_line(5, &Context::system());
    assert_eq!(KeyRing::parse(&line).unwrap().current(), 5);
    assert_ne!(*line, *KeyRing::generate_line(5, &Context::system()));
    assert!(!format!("{:?}", KeyRing::parse(&line)).contains(&line[2..10]));
}

#[tokio::test]
async fn a_wrapped_key_opens_under_its_id_and_version_alone() {
    let context = Context::fixed();
    let (id, key) = (KeyId::of_user(context.id()), DataKey::from_bytes(&[9; 32]));
    let ring = ring().with_current(2, &[8; 32]).unwrap();
    let wrapped = ring.wrap(id, &key).await.unwrap();
    assert_eq!((wrapped.0.len(), ring.version(&wrapped)), (77, Some(2)));
    assert_eq!(ring.unwrap(id, &wrapped).await.unwrap().expose(), key.expose());
    for other in [KeyId::of_user(context.id()), KeyId::of_all(1), KeyId { number: 2, ..id }] {
        let answer = ring.unwrap(other, &wrapped).await;
        assert!(matches!(answer, Err(KeyServiceError::Damaged)), "{other:?}");
    }
    for at in 0..wrapped.0.len() {
        let mut changed = wrapped.clone();
        changed.0[at] ^= 1;
        assert!(ring.unwrap(id, &changed).await.is_err(), "byte {at}");
    }
    for cut in 0..wrapped.0.len() {
        assert!(ring.unwrap(id, &WrappedKey(wrapped.0[..cut].to_vec())).await.is_err(), "{cut} bytes");
    }
    let answer = self::ring().unwrap(id, &wrapped).await;
    assert!(matches!(answer, Err(KeyServiceError::UnknownVersion { version: 2 })));
}

#[tokio::test]
async fn with_another_key_or_without_its_own_the_store_does_not_open() {
    let memory = Arc::new(MemoryStore::new());
    let open = |ring: KeyRing| SealedStore::open(memory.clone(), Arc::new(ring), SealSettings::default());
    open(ring()).await.unwrap();
    open(ring()).await.unwrap();
    let other = open(KeyRing::new(&[8; 32])).await.unwrap_err();
    assert!(matches!(other, EncryptionError::Keys(KeyServiceError::Damaged)), "{other:?}");
    let later = KeyRing::parse("2:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=").unwrap();
    let none = open(later).await.unwrap_err();
    assert!(
        matches!(none, EncryptionError::Keys(KeyServiceError::UnknownVersion { version: 1 })),
        "{none:?}"
    );
    memory.close().await;
    assert!(matches!(open(ring()).await.unwrap_err(), EncryptionError::Store(_)));
}

#[tokio::test]
async fn keys_are_wrapped_anew_once_and_those_that_change_meanwhile_stay_as_they_are() {
    let (memory, context) = (Arc::new(MemoryStore::new()), Context::fixed());
    let store = SealedStore::open(memory.clone(), Arc::new(ring()), SealSettings::default()).await.unwrap();
    let users: Vec<UserId> = (0..1200).map(|_| context.id()).collect();
    store.sealer().keys.of(&users, true).await.unwrap();
    store.destroy_keys(users[3], context.now()).await.unwrap();

    let new = ring().with_current(2, &[8; 32]).unwrap();
    let mut seen = Vec::new();
    let rotated = rotate_keys(&*memory, &new, |so_far| seen.push(so_far.seen)).await.unwrap();
    assert_eq!((rotated.seen, rotated.wrapped), (1203, 1202));
    assert_eq!(seen, [500, 1000, 1203]);
    let counts = count_keys(&*memory, &new, |_| {}).await.unwrap();
    assert_eq!((counts.by_version.into_iter().collect::<Vec<_>>(), counts.destroyed), (vec![(2, 1202)], 1));
    assert_eq!(rotate_keys(&*memory, &new, |_| {}).await.unwrap().wrapped, 0);

    // The keys themselves are the same, without the former KEK too.
    let alone = KeyRing::parse("2:CAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg=").unwrap();
    let again = SealedStore::open(memory.clone(), Arc::new(alone), nothing_kept()).await.unwrap();
    for user in [users[0], users[1199]] {
        let keys = [&store, &again].map(|store| store.sealer());
        let before = keys[0].keys.for_writing(user).await.unwrap();
        assert_eq!(keys[1].keys.for_writing(user).await.unwrap().expose(), before.expose());
    }
    let destroyed = again.sealer().keys.for_writing(users[3]).await;
    assert_eq!(destroyed.unwrap_err().kind(), StoreErrorKind::NotFound);
}

/// No person's key is kept in memory.
fn nothing_kept() -> SealSettings {
    SealSettings { keys_cached: 0, ..SealSettings::default() }
}

/// A key service that can be away, and counts what it is asked.
struct Remote {
    ring: KeyRing,
    away: AtomicBool,
    asked: AtomicUsize,
}

impl Remote {
    fn answer(&self) -> Result<(), KeyServiceError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.away.load(Ordering::SeqCst) { Err(KeyServiceError::unavailable("no route")) } else { Ok(()) }
    }
}

#[async_trait]
impl KeyService for Remote {
    fn current(&self) -> u32 {
        self.ring.current()
    }

    fn version(&self, wrapped: &WrappedKey) -> Option<u32> {
        self.ring.version(wrapped)
    }

    async fn wrap(&self, id: KeyId, key: &DataKey) -> Result<WrappedKey, KeyServiceError> {
        self.answer()?;
        self.ring.wrap(id, key).await
    }

    async fn unwrap(&self, id: KeyId, wrapped: &WrappedKey) -> Result<DataKey, KeyServiceError> {
        self.answer()?;
        self.ring.unwrap(id, wrapped).await
    }
}

#[tokio::test(start_paused = true)]
async fn while_the_key_service_is_away_those_whose_keys_are_known_go_on() {
    let (memory, context) = (Arc::new(MemoryStore::new()), Context::fixed());
    let remote = Arc::new(Remote { ring: ring(), away: AtomicBool::new(false), asked: AtomicUsize::new(0) });
    let open = || SealedStore::open(memory.clone(), remote.clone(), SealSettings::default());
    let (store, other) = (open().await.unwrap(), open().await.unwrap());
    let (known, stranger, new): (UserId, UserId, UserId) = (context.id(), context.id(), context.id());
    store.sealer().keys.for_writing(known).await.unwrap();
    other.sealer().keys.for_writing(stranger).await.unwrap();

    remote.away.store(true, Ordering::SeqCst);
    let keys = store.sealer();
    keys.keys.for_writing(known).await.unwrap();
    for user in [stranger, new] {
        assert_eq!(keys.keys.for_writing(user).await.unwrap_err().kind(), StoreErrorKind::Unavailable);
    }
    // It is left alone for a second, so that nobody waits for it one after the other.
    let asked = remote.asked.load(Ordering::SeqCst);
    assert_eq!(keys.keys.for_writing(stranger).await.unwrap_err().kind(), StoreErrorKind::Unavailable);
    assert_eq!(remote.asked.load(Ordering::SeqCst), asked);

    remote.away.store(false, Ordering::SeqCst);
    tokio::time::advance(std::time::Duration::from_millis(1001)).await;
    for user in [stranger, new] {
        keys.keys.for_writing(user).await.unwrap();
    }
}
