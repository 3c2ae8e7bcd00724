use std::sync::LazyLock;

use async_trait::async_trait;
use messenger_core::ports::{
    Enqueued, MoveSchedule, ScheduleName, ScheduleRecord, ScheduleStore, StoreResult,
};
use messenger_sql::jobs::SCHEDULE;
use sqlx::SqliteConnection;

use super::{
    enqueue::enqueue_jobs_in,
    sql::{self, Bind as _},
    store::SqliteStore,
};

pub(super) static ALL: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {SCHEDULE} FROM messenger_schedules AS s ORDER BY s.name"));

#[async_trait]
impl ScheduleStore for SqliteStore {
    async fn move_schedule(&self, moved: &MoveSchedule) -> StoreResult<bool> {
        let moved = moved.clone();
        self.writer.transaction(|conn| Box::pin(async move { move_one(conn, &moved).await })).await
    }

    async fn schedules(&self) -> StoreResult<Vec<ScheduleRecord>> {
        self.all(sqlx::query(ALL.as_str()), |columns| columns.schedule()).await
    }

    async fn remove_schedule(&self, name: &ScheduleName) -> StoreResult<bool> {
        let remove =
            sqlx::query("DELETE FROM messenger_schedules WHERE name = $1").bind(name.as_str().to_owned());
        let removed = self.writer.transaction(|conn| Box::pin(async move { sql::run(conn, remove).await }));
        Ok(removed.await? > 0)
    }
}

async fn move_one(conn: &mut SqliteConnection, moved: &MoveSchedule) -> StoreResult<bool> {
    let set = match moved.expected {
        None => sqlx::query(
            "INSERT OR IGNORE INTO messenger_schedules (name, rule_text, next_at) VALUES ($1, $2, $3)",
        ),
        Some(_) => sqlx::query(
            "UPDATE messenger_schedules SET rule_text = $2, next_at = $3 WHERE name = $1 AND next_at = $4",
        ),
    };
    let set = set.bind(moved.name.as_str()).bind(moved.rule.as_str()).time(moved.next_at);
    let set = match moved.expected {
        None => set,
        Some(expected) => set.time(expected),
    };
    if sql::run(conn, set).await? == 0 {
        return Ok(false);
    }
    let Some(job) = &moved.job else { return Ok(true) };
    if enqueue_jobs_in(conn, std::slice::from_ref(job)).await? == [Enqueued::New] {
        let last = "UPDATE messenger_schedules SET last_job = $2 WHERE name = $1";
        sql::run(conn, sqlx::query(last).bind(moved.name.as_str()).id(job.id)).await?;
    }
    Ok(true)
}
