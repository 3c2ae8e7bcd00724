//! The table of routes, as the wire contract has it.

use std::sync::LazyLock;

use http::Method;

use super::{
    Operation, command,
    form::{CreatedOrFound, Json, NoContent},
    passwords, query,
};
use crate::seam::*;

/// Every operation that has a route.
pub(crate) fn operations() -> &'static [Operation] {
    static TABLE: LazyLock<Vec<Operation>> = LazyLock::new(table);
    &TABLE
}

fn table() -> Vec<Operation> {
    const GET: Method = Method::GET;
    const POST: Method = Method::POST;

    vec![
        command::<LogIn>(POST, "/auth/login", Json).open().run_by(passwords::log_in::<Json>),
        command::<LogOut>(POST, "/auth/logout", NoContent)
            .run_by(passwords::asked_again::<LogOut, NoContent>),
        query::<FindUsers>(GET, "/users", Json),
        query::<GetUser>(GET, "/users/{userId}", Json),
        command::<SendMessage>(POST, "/chats/{chatId}/messages", CreatedOrFound),
    ]
}
