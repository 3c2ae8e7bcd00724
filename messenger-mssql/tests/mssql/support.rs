//! Stores in databases of their own, on the server that tests are to use.

use std::{
    env,
    hash::{BuildHasher as _, RandomState},
    sync::Arc,
    time::Duration,
};

use messenger_core::{ports::Store, testkit::World};
use messenger_mssql::{MssqlBuilder, MssqlStore};
use messenger_testing::MssqlDatabase;

/// More than anything takes on a busy machine: what is not about time must not fail for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A store in a database with nothing in it.
pub(crate) async fn fresh() -> (Arc<MssqlStore>, MssqlDatabase) {
    open(MssqlDatabase::create().await).await
}

/// The same, in a database that keeps versions of rows for those who read.
pub(crate) async fn versioned() -> (Arc<MssqlStore>, MssqlDatabase) {
    open(MssqlDatabase::create_versioned().await).await
}

async fn open(database: MssqlDatabase) -> (Arc<MssqlStore>, MssqlDatabase) {
    let store = patient(&database.url()).open().await.unwrap();
    (Arc::new(store), database)
}

/// Settings of a store that gives nothing up only because many tests run at a time.
pub(crate) fn patient(url: &str) -> MssqlBuilder {
    MssqlStore::builder(url)
        .max_connections(8)
        .connect_timeout(PATIENCE)
        .acquire_timeout(PATIENCE)
        .timeout(PATIENCE)
        .lock_timeout(PATIENCE)
}

/// Whether commits are numbered, as they are by SQL Server. Another engine may refuse what that needs.
pub(crate) async fn numbers_commits(database: &MssqlDatabase) -> bool {
    let mut client = database.connect().await.unwrap();
    let probe = "DECLARE @probe TABLE (n rowversion NOT NULL); SELECT MIN_ACTIVE_ROWVERSION();";
    match client.simple_query(probe).await {
        Ok(items) => items.into_results().await.is_ok(),
        Err(_) => false,
    }
}

/// A world on a store with nothing in it.
pub(crate) async fn world() -> (World, MssqlDatabase) {
    let (store, database) = fresh().await;
    (World::new(store as Arc<dyn Store>), database)
}

/// Numbers by chance, the same ones for the same seed (SplitMix64: Steele, Lea and Flood, "Fast Splittable Pseudorandom
/// Number Generators").
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    /// Tells the seed if the test fails. `MESSENGER_TEST_SEED` sets it.
    pub(crate) fn cast() -> Self {
        let given = env::var("MESSENGER_TEST_SEED").ok().map(|seed| seed.parse().unwrap());
        let seed = given.unwrap_or_else(|| RandomState::new().hash_one(0));
        println!("MESSENGER_TEST_SEED={seed}");
        Self(seed)
    }

    /// Others, for a task of its own.
    pub(crate) fn split(&mut self) -> Self {
        Self(self.next())
    }

    /// From 0 to less than `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}
