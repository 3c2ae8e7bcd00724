use std::sync::Arc;

use messenger_sql::keys::KEY;

use crate::{
    schema::Schema,
    sql::{id, procedure},
};

/// The procedures and statements about wrapped keys.
#[derive(Debug)]
pub(crate) struct Sql {
    pub(crate) create: Arc<str>,
    pub(crate) by_ids: Arc<str>,
    pub(crate) page: Arc<str>,
    pub(crate) rewrap: Arc<str>,
    pub(crate) destroy: Arc<str>,
}

impl Sql {
    pub(crate) fn new(schema: &Schema) -> Self {
        let owner = id(1);
        Self {
            create: procedure(schema, "create_keys"),
            by_ids: format!(
                "SELECT {KEY} FROM {schema}.messenger_unpack_numbered(@P1) AS a
                JOIN {schema}.messenger_keys AS k ON k.owner = a.id AND k.number = a.number"
            )
            .into(),
            page: format!(
                "SELECT TOP (@P3) {KEY} FROM {schema}.messenger_keys AS k
                WHERE k.owner >= {owner} AND (k.owner > {owner} OR k.number > @P2)
                ORDER BY k.owner, k.number"
            )
            .into(),
            rewrap: procedure(schema, "rewrap_keys"),
            destroy: procedure(schema, "destroy_keys"),
        }
    }
}
