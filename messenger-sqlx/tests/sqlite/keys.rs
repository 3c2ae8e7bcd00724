//! That a wrapped key which was destroyed or replaced is not left in the bytes of the file or of its log.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    time::Duration,
};

use messenger_core::{
    UserId,
    context::Context,
    ports::{KeyId, KeyStore as _, Rewrap, Store as _, StoredKey, WrappedKey},
};
use messenger_sqlx::SqliteStore;
use sqlx::{Connection as _, sqlite::SqliteConnectOptions};
use tempfile::{TempDir, tempdir};
use tokio::time::{Instant, timeout};

/// So many that they take pages of several levels.
const KEYS: usize = 3000;
/// How much of a key is searched for: more than is the same by chance.
const PART: usize = 16;

struct Scene {
    context: Context,
    store: SqliteStore,
    directory: TempDir,
}

impl Scene {
    async fn new() -> Self {
        let directory = tempdir().unwrap();
        let store = SqliteStore::open(path(&directory)).await.unwrap();
        Self { context: Context::system(), store, directory }
    }

    /// Keys of persons in no order, one stored after the other.
    async fn fill(&self, count: usize) -> Vec<StoredKey> {
        let mut all = vec![];
        for _ in 0..count / 50 {
            let keys: Vec<_> = (0..50).map(|_| self.key(self.context.random())).collect();
            self.store.create_keys(&keys).await.unwrap();
            all.extend(keys);
        }
        all
    }

    fn key(&self, owner: [u8; 16]) -> StoredKey {
        let id = KeyId::of_user(UserId::from_bytes(owner));
        StoredKey { id, wrapped: Some(self.wrapped()), created_at: self.context.now(), destroyed_at: None }
    }

    fn wrapped(&self) -> WrappedKey {
        let halves: [[u8; 32]; 2] = [self.context.random(), self.context.random()];
        WrappedKey(halves.concat())
    }

    async fn destroy(&self, key: &StoredKey) {
        self.store.destroy_keys(key.id.owner.unwrap(), self.context.now()).await.unwrap();
    }

    /// How many of these are in the bytes of any of the files, as a whole or in part.
    fn found<'k>(&self, keys: impl IntoIterator<Item = &'k WrappedKey>) -> usize {
        found(self.directory.path(), keys)
    }
}

fn path(directory: &TempDir) -> PathBuf {
    directory.path().join("chat.db")
}

fn found<'k>(directory: &Path, keys: impl IntoIterator<Item = &'k WrappedKey>) -> usize {
    let keys = keys.into_iter().enumerate();
    let parts = keys.flat_map(|(n, key)| key.0.chunks_exact(PART).map(move |part| (part, n)));
    let parts: HashMap<_, _> = parts.collect();
    let files = std::fs::read_dir(directory).unwrap();
    let files: Vec<_> = files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
    let places = files.iter().flat_map(|bytes| bytes.windows(PART));
    places.filter_map(|place| parts.get(place)).collect::<HashSet<_>>().len()
}

fn wrapped<'k>(keys: impl IntoIterator<Item = &'k StoredKey>) -> Vec<&'k WrappedKey> {
    keys.into_iter().filter_map(|key| key.wrapped.as_ref()).collect()
}

#[tokio::test]
async fn a_destroyed_key_is_gone_from_the_file_and_its_log() {
    let scene = Scene::new().await;
    let keys = scene.fill(KEYS).await;
    assert_eq!(scene.found(wrapped(&keys)), KEYS, "they are found as long as they are there");
    let (first, rest) = keys.split_first().unwrap();
    scene.destroy(first).await;
    assert_eq!(scene.found(wrapped([first])), 0);
    let (destroyed, live): (Vec<_>, Vec<_>) = rest.iter().enumerate().partition(|(n, _)| n % 100 == 0);
    let [destroyed, live] = [destroyed, live].map(|keys| keys.into_iter().map(|(_, key)| key));
    for key in destroyed.clone() {
        scene.destroy(key).await;
    }
    assert_eq!(scene.found(wrapped(destroyed.clone())), 0);
    scene.store.close().await;
    assert_eq!(scene.found(wrapped(destroyed)), 0);
    assert_eq!(scene.found(wrapped(live.clone())), live.len());
}

#[tokio::test]
async fn what_a_key_was_wrapped_as_before_is_gone_with_the_next_checkpoint() {
    let scene = Scene::new().await;
    let keys = scene.fill(KEYS).await;
    for some in keys[1..].chunks(500) {
        let rewrap = |key: &StoredKey| Rewrap {
            id: key.id,
            expected: key.wrapped.clone().unwrap(),
            wrapped: scene.wrapped(),
        };
        let rewraps: Vec<_> = some.iter().map(rewrap).collect();
        assert_eq!(scene.store.rewrap_keys(&rewraps).await.unwrap(), some.len());
    }
    scene.destroy(&keys[0]).await;
    assert_eq!(scene.found(wrapped(&keys)), 0);
    let last = Rewrap { id: keys[1].id, expected: scene.wrapped(), wrapped: scene.wrapped() };
    assert_eq!(scene.store.rewrap_keys(&[last]).await.unwrap(), 0);
    scene.store.close().await;
    assert_eq!(scene.found(wrapped(&keys)), 0);
}

#[tokio::test]
async fn what_a_key_was_wrapped_as_before_is_gone_soon_though_nobody_asks_for_it() {
    let scene = Scene::new().await;
    let key = scene.fill(50).await.remove(0);
    let old = key.wrapped.clone().unwrap();
    let rewrap = Rewrap { id: key.id, expected: old.clone(), wrapped: scene.wrapped() };
    assert_eq!(scene.store.rewrap_keys(&[rewrap]).await.unwrap(), 1);
    pinged_until_gone(&scene, &old).await;
}

#[tokio::test]
async fn a_reader_who_is_in_the_way_of_the_checkpoint_keeps_nobody_waiting() {
    let scene = Scene::new().await;
    let key = scene.fill(50).await.remove(0);
    let old = key.wrapped.clone().unwrap();
    let options = SqliteConnectOptions::new().filename(path(&scene.directory));
    let mut reader = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    let read = "BEGIN; SELECT count(*) FROM messenger_keys";
    sqlx::raw_sql(read).execute(&mut reader).await.unwrap();
    timeout(Duration::from_secs(3), scene.destroy(&key)).await.unwrap();
    assert_eq!(scene.found([&old]), 1, "the reader could not read it otherwise");
    for _ in 0..20 {
        timeout(Duration::from_secs(3), scene.store.ping()).await.unwrap().unwrap();
    }
    sqlx::raw_sql("COMMIT").execute(&mut reader).await.unwrap();
    pinged_until_gone(&scene, &old).await;
}

#[tokio::test]
async fn what_a_process_left_in_the_log_is_gone_once_the_next_one_writes() {
    let scene = Scene::new().await;
    let key = scene.fill(50).await.remove(0);
    let old = key.wrapped.clone().unwrap();
    let rewrap = Rewrap { id: key.id, expected: old.clone(), wrapped: scene.wrapped() };
    assert_eq!(scene.store.rewrap_keys(&[rewrap]).await.unwrap(), 1);
    // As a process that died would have left it.
    let other = tempdir().unwrap();
    for file in ["chat.db", "chat.db-wal"] {
        std::fs::copy(scene.directory.path().join(file), other.path().join(file)).unwrap();
    }
    assert_eq!(found(other.path(), [&old]), 1);
    let store = SqliteStore::open(path(&other)).await.unwrap();
    let scene = Scene { context: Context::system(), store, directory: other };
    pinged_until_gone(&scene, &old).await;
}

async fn pinged_until_gone(scene: &Scene, old: &WrappedKey) {
    let until = Instant::now() + Duration::from_secs(30);
    while scene.found([old]) > 0 {
        assert!(Instant::now() < until, "it is still there");
        scene.store.ping().await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
