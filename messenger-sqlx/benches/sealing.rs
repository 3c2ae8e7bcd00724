//! What sealing costs that comes later: existing messages, and data keys that are wrapped anew, while people send.
//!
//! `cargo bench -p messenger-sqlx --all-features --bench sealing -- --help`

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use messenger_core::{
    ChatId, ClientId,
    context::Context,
    encryption::{DataKey, KeyRing, KeyService as _, SealSettings, SealedStore, Sealing, rotate_keys},
    ports::{Content, Fingerprint, KeyId, NewMessage, Store, StoredKey},
};
use messenger_sqlx::{PostgresStore, SqliteStore};
use messenger_testing::{
    PrivateServer,
    bench::{BODY, Options, Result, Service},
};
use tempfile::TempDir;

const HELP: &str = "\
Seconds to seal messages that were stored before anything was sealed, and to wrap the data keys of people anew; and the sends
a second of 8 senders before and meanwhile. What seals and wraps is in the same process as those who send, and takes no rest
between its steps. Then the vacuum.

Usage: cargo bench -p messenger-sqlx --all-features --bench sealing -- [OPTION]... [PART]...

  sqlite         a file in the target directory
  postgres       a private server with PostgreSQL's own settings (fsync = on), in the folder for temporary files: set TMPDIR
                 to a folder on a disk where that is none

  --messages N   messages of before, of 64 people in 10 groups (default: 1,000,000)
  --people N     people with a data key (default: 100,000)
  --quick        sends before are measured for 1 s instead of 10
  --help         this";

fn main() -> Result {
    let numbers = ["--messages", "--people"];
    let Some(options) = Options::read(HELP, &["sqlite", "postgres"], &numbers)? else { return Ok(()) };
    tokio::runtime::Runtime::new()?.block_on(async {
        if options.wants("sqlite") {
            // Where the build is, which is on a disk; the system's folder for temporary files may be in memory.
            let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR"))?;
            let store = Arc::new(SqliteStore::open(folder.path().join("sealing.db")).await?);
            println!("\nSQLite");
            let scene = measure(store.clone(), &options).await?;
            timed("VACUUM and an empty log", store.vacuum()).await?;
            scene.service.close().await;
        }
        if options.wants("postgres") {
            let server = PrivateServer::start(&[]);
            let store = Arc::new(PostgresStore::connect(server.url()).await?);
            println!("\nPostgreSQL");
            let scene = measure(store.clone(), &options).await?;
            timed("VACUUM", store.vacuum()).await?;
            timed("VACUUM FULL", store.vacuum_full()).await?;
            scene.service.close().await;
        }
        Ok(())
    })
}

const PEOPLE: usize = 64;
const GROUPS: usize = 10;
const SENDERS: usize = 8;
const BATCH: usize = 500;

async fn measure(plain: Arc<dyn Store>, options: &Options) -> Result<Scene> {
    let scene = Scene::open(plain, options).await?;
    let messages = options.number("--messages").unwrap_or(1_000_000);
    let people = options.number("--people").unwrap_or(100_000);
    timed("filling with messages", scene.fill(messages)).await?;
    timed("filling with keys", scene.fill_keys(people)).await?;
    scene.send_before().await?;
    let (store, what) = (Arc::clone(&scene.sealed), format!("sealing {messages} messages"));
    scene.send_during(&what, seal(store)).await?;
    scene.send_before().await?;
    let (plain, what) = (Arc::clone(&scene.plain), format!("rotation with {people} people"));
    scene.send_during(&what, rotate(plain)).await?;
    Ok(scene)
}

async fn seal(store: Arc<SealedStore>) -> Result<u64> {
    let mut sealing = Sealing::of(store);
    while sealing.step().await? {}
    assert_eq!(sealing.so_far().left, 0);
    Ok(sealing.so_far().sealed)
}

async fn rotate(store: Arc<dyn Store>) -> Result<u64> {
    Ok(rotate_keys(&*store, &ring().with_current(2, &[8; 32])?, |_| {}).await?.wrapped)
}

fn ring() -> KeyRing {
    KeyRing::new(&[7; 32])
}

async fn timed<T, E: Into<Box<dyn std::error::Error + Send + Sync>>>(
    what: &str,
    work: impl Future<Output = std::result::Result<T, E>>,
) -> Result {
    let begun = Instant::now();
    work.await.map_err(Into::into)?;
    println!("  {what:<34} {:>9.1} s", begun.elapsed().as_secs_f64());
    Ok(())
}

/// A service that seals, over a store that others wrote to before.
struct Scene {
    plain: Arc<dyn Store>,
    sealed: Arc<SealedStore>,
    service: Service,
    groups: Vec<ChatId>,
    context: Context,
    length: Duration,
}

impl Scene {
    async fn open(plain: Arc<dyn Store>, options: &Options) -> Result<Self> {
        let sealed = SealedStore::open(Arc::clone(&plain), Arc::new(ring()), SealSettings::default()).await?;
        let sealed = Arc::new(sealed);
        let service = Service::open(sealed.clone(), PEOPLE).await?;
        let everybody: Vec<usize> = (0..PEOPLE).collect();
        let mut groups = vec![];
        for _ in 0..GROUPS {
            groups.push(service.make_group(&everybody).await?);
        }
        let length = options.length(Duration::from_secs(1), Duration::from_secs(10));
        Ok(Self { plain, sealed, service, groups, context: Context::system(), length })
    }

    /// Messages as a server stores them that does not seal.
    async fn fill(&self, messages: usize) -> Result {
        for from in (0..messages).step_by(BATCH) {
            let batch = from..messages.min(from + BATCH);
            let batch: Result<Vec<_>> = batch.map(|number| self.message(number)).collect();
            for appended in self.plain.append_messages(&batch?).await? {
                appended?;
            }
        }
        Ok(())
    }

    fn message(&self, number: usize) -> Result<NewMessage> {
        let id = self.context.id();
        let mut print = [0; 16];
        print.copy_from_slice(id.as_bytes());
        Ok(NewMessage {
            id,
            chat: self.groups[number % GROUPS],
            sender: self.service.people()[number / GROUPS % PEOPLE].user()?,
            body: Content::from(BODY),
            client_id: Some((ClientId::trusted(id.to_string()), Fingerprint(print))),
            reply_to: None,
            created_at: self.context.now(),
        })
    }

    async fn fill_keys(&self, people: usize) -> Result {
        let ring = ring();
        for from in (0..people).step_by(BATCH) {
            let mut keys = vec![];
            for _ in from..people.min(from + BATCH) {
                let id = KeyId::of_user(self.context.id());
                let key = DataKey::from_bytes(&self.context.random());
                let wrapped = Some(ring.wrap(id, &key).await?);
                keys.push(StoredKey { id, wrapped, created_at: self.context.now(), destroyed_at: None });
            }
            self.plain.create_keys(&keys).await?;
        }
        Ok(())
    }

    async fn send_for(&self, length: Duration) -> Result<usize> {
        let senders = (0..SENDERS).map(|number| (number, self.groups.clone())).collect();
        self.service.send_until(Instant::now() + length, senders).await
    }

    async fn send_before(&self) -> Result {
        let sent = self.send_for(self.length).await?;
        println!("  {:<34} {:>9.0} sends/s", "before", sent as f64 / self.length.as_secs_f64());
        Ok(())
    }

    async fn send_during(
        &self,
        what: &str,
        work: impl Future<Output = Result<u64>> + Send + 'static,
    ) -> Result {
        let begun = Instant::now();
        let work = tokio::spawn(async move { work.await.map(|done| (done, Instant::now())) });
        let mut sent = 0;
        while !work.is_finished() {
            sent += self.send_for(Duration::from_millis(200)).await?;
        }
        let rate = sent as f64 / begun.elapsed().as_secs_f64();
        let (done, ended) = work.await??;
        let took = ended.duration_since(begun).as_secs_f64();
        println!("  {what:<34} {took:>9.1} s, {:.0} a second", done as f64 / took);
        println!("  {:<34} {rate:>9.0} sends/s", "meanwhile");
        Ok(())
    }
}
