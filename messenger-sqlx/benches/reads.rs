//! What short reads take: one after the other, and many at once.
//!
//! `cargo bench -p messenger-sqlx --all-features --bench reads`. Compare two versions in turns: another run finds
//! another machine.

#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::{sync::Arc, time::Duration};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures::future::join_all;
use messenger_core::{
    ChatId, TokenHash, UserId,
    ports::{Anchor, Budget, Store},
    testkit::World,
};
use messenger_sqlx::{PostgresStore, SqliteStore};
use messenger_testing::PrivateServer;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// As many as ask at the same time.
const CALLERS: usize = 64;

#[derive(Clone)]
struct Scene {
    store: Arc<dyn Store>,
    chat: ChatId,
    user: UserId,
    token: TokenHash,
}

impl Scene {
    async fn fill(store: Arc<dyn Store>) -> Self {
        let world = World::new(Arc::clone(&store));
        let [user, other] = world.people(["ada", "bob"]).await;
        let chat = world.direct(user, other).await;
        for _ in 0..200 {
            world
                .send(chat, user, "A message of some length, as people write them to each other every day.")
                .await;
        }
        let session = world.session(user);
        let token = session.token_hash;
        world.log_in(session, 100).await.unwrap();
        Self { store, chat, user, token }
    }

    async fn look_up(self) {
        self.store.session_by_token(&self.token).await.unwrap();
    }

    async fn page(self) {
        let page =
            self.store.history(self.chat, self.user, Anchor::Newest, Budget::of_messages(50)).await.unwrap();
        assert_eq!(page.messages.len(), 50);
    }
}

fn sqlite(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let directory = TempDir::new().unwrap();
    let store = runtime.block_on(SqliteStore::open(directory.path().join("store.db"))).unwrap();
    measure(criterion, &runtime, "sqlite", Arc::new(store));
}

fn postgres(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let server = PrivateServer::start(&["fsync=off"]);
    let store = runtime.block_on(PostgresStore::connect(server.url())).unwrap();
    measure(criterion, &runtime, "postgres", Arc::new(store));
}

fn measure(criterion: &mut Criterion, runtime: &Runtime, engine: &str, store: Arc<dyn Store>) {
    let scene = runtime.block_on(Scene::fill(store));
    let mut group = criterion.benchmark_group(engine);
    // Each in a task, as requests are.
    let run = |task| runtime.block_on(async { tokio::spawn(task).await.unwrap() });
    group.bench_function("session, one", |bencher| bencher.iter(|| run(boxed(scene.clone().look_up()))));
    group.bench_function("page, one", |bencher| bencher.iter(|| run(boxed(scene.clone().page()))));
    group.throughput(Throughput::Elements(CALLERS as u64));
    group.bench_function("session, 64 at once", |bencher| {
        bencher.iter(|| run(boxed(crowd(|| scene.clone().look_up()))));
    });
    group.bench_function("page, 64 at once", |bencher| {
        bencher.iter(|| run(boxed(crowd(|| scene.clone().page()))));
    });
    group.finish();
    runtime.block_on(scene.store.close());
}

fn boxed(task: impl Future<Output = ()> + Send + 'static) -> futures::future::BoxFuture<'static, ()> {
    Box::pin(task)
}

fn crowd<F: Future<Output = ()> + Send + 'static>(
    ask: impl Fn() -> F,
) -> impl Future<Output = ()> + Send + 'static {
    let asked: Vec<F> = (0..CALLERS).map(|_| ask()).collect();
    async { join_all(asked.into_iter().map(tokio::spawn)).await.into_iter().for_each(Result::unwrap) }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(4));
    targets = sqlite, postgres
}
criterion_main!(benches);
