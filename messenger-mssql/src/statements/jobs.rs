use std::sync::Arc;

use messenger_sql::jobs::{self, Dialect, JOB, Lists, SCHEDULE};

use crate::{
    schema::Schema,
    sql::{id, procedure},
};

/// The procedures and statements about jobs and schedules.
#[derive(Debug)]
pub(crate) struct Sql {
    pub(crate) insert: Arc<str>,
    pub(crate) enqueue: Arc<str>,
    pub(crate) claim: Arc<str>,
    pub(crate) renew: Arc<str>,
    pub(crate) finish: Arc<str>,
    pub(crate) by_id: Arc<str>,
    pub(crate) lists: Lists<Arc<str>>,
    pub(crate) count: Arc<str>,
    pub(crate) change: Arc<str>,
    pub(crate) pause: Arc<str>,
    pub(crate) resume: Arc<str>,
    pub(crate) prune: Arc<str>,
    pub(crate) schedules: Arc<str>,
    pub(crate) move_schedule: Arc<str>,
    pub(crate) remove_schedule: Arc<str>,
}

impl Sql {
    pub(crate) fn new(schema: &Schema) -> Self {
        const FIRST_NAME: &str = "CAST(@P1 AS varbinary(64))";
        let (jobs, pauses) = (format!("{schema}.messenger_jobs"), format!("{schema}.messenger_job_pauses"));
        let dialect = |first| Dialect {
            jobs: jobs.clone(),
            pauses: pauses.clone(),
            parameters: [first, "@P2", "CAST(@P3 AS varbinary(64))"],
            top: "TOP (@P2)",
            limit: "",
        };
        Self {
            insert: procedure(schema, "insert_jobs"),
            enqueue: procedure(schema, "enqueue_jobs"),
            claim: procedure(schema, "claim_jobs"),
            renew: procedure(schema, "renew_jobs"),
            finish: procedure(schema, "finish_jobs"),
            by_id: format!("SELECT {JOB} FROM {jobs} AS j WHERE j.id = {}", id(1)).into(),
            lists: Lists::new(&dialect("CAST(@P1 AS binary(16))"), Arc::from),
            count: jobs::count(&dialect("@P1"), "COUNT_BIG(*)").into(),
            change: procedure(schema, "change_job"),
            pause: format!(
                "INSERT INTO {pauses} (kind) SELECT {FIRST_NAME}
                WHERE NOT EXISTS (SELECT 1 FROM {pauses} WHERE kind = {FIRST_NAME})"
            )
            .into(),
            resume: format!("DELETE FROM {pauses} WHERE kind = {FIRST_NAME}").into(),
            // What others have locked is left to the next run.
            prune: format!(
                "DELETE TOP (@P2) FROM {jobs} WITH (ROWLOCK, READPAST, READCOMMITTEDLOCK) OUTPUT deleted.id
                WHERE state IN (3, 5) AND ended_at < @P1"
            )
            .into(),
            schedules: format!("SELECT {SCHEDULE} FROM {schema}.messenger_schedules AS s ORDER BY s.name")
                .into(),
            move_schedule: procedure(schema, "move_schedule"),
            remove_schedule: format!(
                "DELETE FROM {schema}.messenger_schedules OUTPUT deleted.next_at WHERE name = {FIRST_NAME}"
            )
            .into(),
        }
    }
}
