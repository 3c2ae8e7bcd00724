mod change_password;
mod log_in;
mod log_out;
mod register_user;
mod revoke_session;

use std::sync::Arc;

pub use change_password::ChangePassword;
pub use log_in::LogIn;
pub use log_out::LogOut;
pub use register_user::RegisterUser;
pub(crate) use register_user::stored_address;
pub use revoke_session::RevokeSession;

use crate::{
    domain::{Device, SessionId, Token, UserId},
    messenger::Cx,
    ports::{BusMessage, Hint, NewSession, Topic},
};

/// A new session with its token, which is known only here.
fn new_session(cx: &Cx, user: UserId, device: Option<Device>) -> (NewSession, Token) {
    let token = Token::from_random(&cx.context().random());
    let created_at = cx.context().now();
    let session = NewSession {
        id: cx.context().id(),
        user_id: user,
        token_hash: token.hash(),
        device,
        created_at,
        expires_at: created_at.after(cx.messenger().settings().session_lifetime),
    };
    (session, token)
}

/// Closes the live connections of sessions that have ended.
pub(crate) fn tell_ended(cx: &mut Cx, user: UserId, sessions: Vec<SessionId>) {
    if !sessions.is_empty() {
        let hint = Arc::new(Hint::SessionsEnded { user, sessions });
        cx.tell(None, BusMessage { topics: vec![Topic::User(user)], hint });
    }
}
