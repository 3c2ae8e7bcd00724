//! The table of routes, as the wire contract specifies them.

use std::sync::LazyLock;

use http::Method;
use messenger_core::{commands::*, queries::*};

use super::{
    Operation, command, download,
    form::{Accepted, Created, CreatedOrFound, Json, NoContent, Paged},
    mailed, passwords, query,
};

/// Every operation that has a route.
pub(crate) fn operations() -> &'static [Operation] {
    static TABLE: LazyLock<Vec<Operation>> = LazyLock::new(table);
    &TABLE
}

fn table() -> Vec<Operation> {
    const GET: Method = Method::GET;
    const POST: Method = Method::POST;
    const PUT: Method = Method::PUT;
    const PATCH: Method = Method::PATCH;
    const DELETE: Method = Method::DELETE;

    vec![
        command::<RegisterUser>(POST, "/auth/register", Created)
            .open()
            .on_passwords(passwords::register::<Created>),
        command::<LogIn>(POST, "/auth/login", Json).open().on_passwords(passwords::log_in::<Json>),
        command::<LogOut>(POST, "/auth/logout", NoContent),
        query::<ListSessions>(GET, "/auth/sessions", Paged),
        command::<RevokeSession>(DELETE, "/auth/sessions/{sessionId}", NoContent),
        command::<ChangePassword>(PUT, "/auth/password", NoContent)
            .on_passwords(passwords::asked_again::<ChangePassword, NoContent>),
        command::<RequestPasswordReset>(POST, "/auth/password/reset", Accepted)
            .everywhere()
            .counted(mailed::to_address::<Accepted>),
        command::<ResetPassword>(PUT, "/auth/password/reset", NoContent)
            .everywhere()
            .on_passwords(mailed::reset::<NoContent>),
        command::<ConfirmEmail>(POST, "/auth/email/confirm", NoContent)
            .everywhere()
            .counted(mailed::of_person::<ConfirmEmail, NoContent>),
        query::<GetMe>(GET, "/users/me", Json),
        command::<UpdateProfile>(PATCH, "/users/me", Json),
        command::<EraseMe>(DELETE, "/users/me", NoContent)
            .on_passwords(passwords::asked_again::<EraseMe, NoContent>),
        download::export(),
        command::<RequestEmailConfirmation>(POST, "/users/me/email/confirmation", Accepted)
            .counted(mailed::of_person::<RequestEmailConfirmation, Accepted>),
        query::<FindUsers>(GET, "/users", Paged),
        query::<GetUser>(GET, "/users/{userId}", Json),
        command::<OpenDirectChat>(POST, "/chats/direct", CreatedOrFound),
        command::<CreateGroupChat>(POST, "/chats/group", CreatedOrFound),
        query::<ListChats>(GET, "/chats", Paged),
        query::<GetChat>(GET, "/chats/{chatId}", Json),
        command::<UpdateChat>(PATCH, "/chats/{chatId}", Json),
        query::<ListMembers>(GET, "/chats/{chatId}/members", Paged),
        command::<AddMembers>(POST, "/chats/{chatId}/members", Json),
        command::<RemoveMember>(DELETE, "/chats/{chatId}/members/{userId}", NoContent),
        command::<LeaveChat>(POST, "/chats/{chatId}/leave", NoContent),
        command::<SetRole>(PUT, "/chats/{chatId}/members/{userId}/role", Json),
        command::<SendMessage>(POST, "/chats/{chatId}/messages", CreatedOrFound).overlapping(),
        query::<GetHistory>(GET, "/chats/{chatId}/messages", Json),
        query::<GetMessage>(GET, "/chats/{chatId}/messages/{messageId}", Json),
        command::<EditMessage>(PATCH, "/chats/{chatId}/messages/{messageId}", Json),
        command::<DeleteMessage>(DELETE, "/chats/{chatId}/messages/{messageId}", Json),
        command::<MarkRead>(PUT, "/chats/{chatId}/read", Json),
        command::<MarkDelivered>(PUT, "/chats/{chatId}/delivered", Json),
        command::<SetMute>(PUT, "/chats/{chatId}/mute", Json),
        command::<SetNotifications>(PUT, "/chats/{chatId}/notifications", Json),
        command::<SetRetention>(PUT, "/chats/{chatId}/retention", Json),
        command::<SetTyping>(POST, "/chats/{chatId}/typing", NoContent),
        query::<GetPresence>(POST, "/presence/query", Paged),
        query::<SyncChats>(POST, "/sync", Json),
    ]
}
