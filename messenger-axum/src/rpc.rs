//! The doors of the sockets: operations by name.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, atomic::AtomicBool},
};

use futures::future::BoxFuture;
use messenger_core::{Actor, Result};
use serde_json::value::RawValue;

use crate::{
    door::Door,
    fields::Fields,
    operation::{Access, Answer, Call, Operation, operations},
};

/// A command or query that can be called by name.
#[derive(Clone, Copy)]
pub(crate) struct Procedure(&'static Operation);

/// Names are short; whatever is longer is none, and need not be turned into lower case first.
const LONGEST_NAME: usize = 32;

/// The procedure of this name, in any case. `RegisterUser` and `LogIn` are none: a socket has a session.
pub(crate) fn procedure(name: &str) -> Option<Procedure> {
    static BY_NAME: LazyLock<HashMap<String, Procedure>> = LazyLock::new(|| {
        operations()
            .iter()
            .filter(|operation| operation.access == Access::Session)
            .map(|operation| (operation.name.to_ascii_lowercase(), Procedure(operation)))
            .collect()
    });
    if name.len() > LONGEST_NAME {
        return None;
    }
    BY_NAME.get(&name.to_ascii_lowercase()).copied()
}

impl Procedure {
    /// Starts it. The parameters, an object or none, are read before this returns; the work begins with the first
    /// poll of the future, which borrows nothing. `placed` is set as soon as the next call of the connection may begin.
    pub(crate) fn call(
        self,
        door: &Door,
        actor: Actor,
        params: Option<&RawValue>,
        placed: Arc<AtomicBool>,
    ) -> BoxFuture<'static, Result<Answer>> {
        let json = params.map_or("", RawValue::get);
        let fields = Fields::of_json(&[], json.as_bytes());
        self.0.run(door, &Call { actor, fields, placed: Some(placed) })
    }
}
