use messenger_sql::keys::KEY;
use sqlx::SqlStr;

use crate::postgres::sql::{Schema, statement};

/// The statements about wrapped keys.
#[derive(Debug)]
pub(in crate::postgres) struct Sql {
    pub(in crate::postgres) create: SqlStr,
    pub(in crate::postgres) by_ids: SqlStr,
    pub(in crate::postgres) page: SqlStr,
    pub(in crate::postgres) rewrap: SqlStr,
    pub(in crate::postgres) mark: SqlStr,
    pub(in crate::postgres) destroy: SqlStr,
}

impl Sql {
    pub(in crate::postgres) fn new(schema: &Schema) -> Self {
        let keys = format!("{schema}.messenger_keys");
        Self {
            // Answers with the new ones, and with those that were there when it began.
            create: statement(format!(
                "WITH asked AS MATERIALIZED (
                    SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bytea[], $4::bigint[], $5::bigint[])
                        AS a (owner, number, wrapped, created_at, destroyed_at)
                ), k AS (
                    INSERT INTO {keys} (owner, number, wrapped, created_at, destroyed_at)
                    SELECT a.owner, a.number, a.wrapped, a.created_at, a.destroyed_at FROM asked AS a
                    ON CONFLICT DO NOTHING RETURNING owner, number, wrapped, created_at, destroyed_at
                )
                SELECT {KEY} FROM k
                UNION ALL
                SELECT {KEY} FROM asked AS a JOIN {keys} AS k ON k.owner = a.owner AND k.number = a.number"
            )),
            by_ids: statement(format!(
                "SELECT {KEY} FROM unnest($1::uuid[], $2::bigint[]) AS a (owner, number)
                JOIN {keys} AS k ON k.owner = a.owner AND k.number = a.number"
            )),
            page: statement(format!(
                "SELECT {KEY} FROM {keys} AS k WHERE (k.owner, k.number) > ($1, $2::bigint)
                ORDER BY k.owner, k.number LIMIT $3"
            )),
            rewrap: statement(format!(
                "UPDATE {keys} AS k SET wrapped = a.wrapped
                FROM unnest($1::uuid[], $2::bigint[], $3::bytea[], $4::bytea[]) AS a (owner, number, expected, wrapped)
                WHERE k.owner = a.owner AND k.number = a.number AND k.wrapped = a.expected"
            )),
            mark: statement(format!(
                "INSERT INTO {keys} (owner, number, created_at, destroyed_at) VALUES ($1, 1, $2, $2)
                ON CONFLICT DO NOTHING"
            )),
            destroy: statement(format!(
                "UPDATE {keys} SET wrapped = NULL, destroyed_at = $2 WHERE owner = $1 AND wrapped IS NOT NULL"
            )),
        }
    }
}
