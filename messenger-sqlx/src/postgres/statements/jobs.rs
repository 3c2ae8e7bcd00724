use messenger_sql::jobs::{self, Dialect, JOB, Lists, SCHEDULE};
use sqlx::SqlStr;

use crate::postgres::sql::{Schema, statement};

/// The statements about jobs and schedules.
#[derive(Debug)]
pub(in crate::postgres) struct Sql {
    pub(in crate::postgres) insert: SqlStr,
    pub(in crate::postgres) enqueue: SqlStr,
    pub(in crate::postgres) claim: SqlStr,
    pub(in crate::postgres) renew: SqlStr,
    pub(in crate::postgres) finish: SqlStr,
    pub(in crate::postgres) by_id: SqlStr,
    pub(in crate::postgres) lock: SqlStr,
    pub(in crate::postgres) lists: Lists<SqlStr>,
    pub(in crate::postgres) count: SqlStr,
    pub(in crate::postgres) retry: SqlStr,
    pub(in crate::postgres) cancel: SqlStr,
    pub(in crate::postgres) cancel_after: SqlStr,
    pub(in crate::postgres) remove: SqlStr,
    pub(in crate::postgres) pause: SqlStr,
    pub(in crate::postgres) resume: SqlStr,
    pub(in crate::postgres) prune: SqlStr,
    pub(in crate::postgres) schedules: SqlStr,
    pub(in crate::postgres) add_schedule: SqlStr,
    pub(in crate::postgres) move_schedule: SqlStr,
    pub(in crate::postgres) note_last: SqlStr,
    pub(in crate::postgres) remove_schedule: SqlStr,
}

impl Sql {
    pub(in crate::postgres) fn new(schema: &Schema) -> Self {
        let jobs = format!("{schema}.messenger_jobs");
        let (pauses, schedules) =
            (format!("{schema}.messenger_job_pauses"), format!("{schema}.messenger_schedules"));
        let dialect = Dialect {
            jobs: jobs.clone(),
            pauses: pauses.clone(),
            parameters: ["$1", "$2", "$3"],
            top: "",
            limit: "LIMIT $2",
        };
        Self {
            insert: statement(format!(
                "INSERT INTO {jobs} (id, run_at, created_at, attempt, max_attempts, claims, priority, state, kind,
                    payload)
                SELECT a.id, a.run_at, a.created_at, 0, a.max_attempts, 0, a.priority, 0, a.kind, a.payload
                FROM unnest($1::uuid[], $2::text[], $3::smallint[], $4::bigint[], $5::bigint[], $6::bigint[],
                    $7::bytea[]) AS a (id, kind, priority, run_at, max_attempts, created_at, payload)
                ON CONFLICT (id) DO NOTHING RETURNING id"
            )),
            enqueue: statement(format!(
                "SELECT * FROM {schema}.messenger_enqueue_jobs($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"
            )),
            claim: statement(format!("SELECT * FROM {schema}.messenger_claim_jobs($1, $2, $3, $4, $5)")),
            renew: statement(format!(
                "UPDATE {jobs} AS j SET leased_until = greatest(j.leased_until, $3)
                FROM unnest($1::uuid[], $2::bigint[]) AS a (id, claims)
                WHERE j.id = a.id AND j.claims = a.claims AND j.state = 2 RETURNING j.id, j.claims"
            )),
            finish: statement(format!("SELECT * FROM {schema}.messenger_finish_jobs($1, $2, $3, $4, $5, $6)")),
            by_id: statement(format!("SELECT {JOB} FROM {jobs} AS j WHERE j.id = $1")),
            lock: statement(format!("SELECT {JOB} FROM {jobs} AS j WHERE j.id = $1 FOR UPDATE")),
            lists: Lists::new(&dialect, statement),
            count: statement(jobs::count(&dialect, "count(*)")),
            retry: statement(format!(
                "UPDATE {jobs} SET state = 0, run_at = $2, attempt = CASE WHEN state >= 3 THEN 0 ELSE attempt END,
                    ended_at = NULL
                WHERE id = $1"
            )),
            cancel: statement(format!(
                "UPDATE {jobs} SET state = 5, leased_until = NULL, ended_at = $2 WHERE id = $1"
            )),
            cancel_after: statement(format!(
                "UPDATE {jobs} SET state = 5, ended_at = $2 WHERE state = 1 AND after_id = ANY ($1) RETURNING id"
            )),
            remove: statement(format!("DELETE FROM {jobs} WHERE id = $1")),
            pause: statement(format!("INSERT INTO {pauses} (kind) VALUES ($1) ON CONFLICT DO NOTHING")),
            resume: statement(format!("DELETE FROM {pauses} WHERE kind = $1")),
            // What others have locked is left to the next run.
            prune: statement(format!(
                "DELETE FROM {jobs} WHERE id = ANY (ARRAY (
                    SELECT id FROM {jobs} WHERE state IN (3, 5) AND ended_at < $1
                    ORDER BY ended_at LIMIT $2 FOR UPDATE SKIP LOCKED
                ))"
            )),
            schedules: statement(format!("SELECT {SCHEDULE} FROM {schedules} AS s ORDER BY s.name")),
            add_schedule: statement(format!(
                "INSERT INTO {schedules} (name, rule_text, next_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"
            )),
            move_schedule: statement(format!(
                "UPDATE {schedules} SET rule_text = $2, next_at = $3 WHERE name = $1 AND next_at = $4"
            )),
            note_last: statement(format!("UPDATE {schedules} SET last_job = $2 WHERE name = $1")),
            remove_schedule: statement(format!("DELETE FROM {schedules} WHERE name = $1")),
        }
    }
}
