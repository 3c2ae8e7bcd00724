mod change_password;
mod confirm_email;
mod log_in;
mod log_out;
mod register_user;
mod request_email_confirmation;
mod request_password_reset;
mod reset_password;
mod revoke_session;

pub use change_password::ChangePassword;
pub use confirm_email::ConfirmEmail;
pub use log_in::LogIn;
pub use log_out::LogOut;
pub use register_user::RegisterUser;
pub(crate) use register_user::stored_address;
pub use request_email_confirmation::RequestEmailConfirmation;
pub use request_password_reset::RequestPasswordReset;
pub use reset_password::ResetPassword;
pub use revoke_session::RevokeSession;

use crate::{
    announcements,
    cx::Cx,
    domain::{Device, SessionId, Token, UserId},
    ports::{Content, NewSession},
};

/// Makes a session with its token, which is known only here.
fn new_session(cx: &Cx, user: UserId, device: Option<Device>) -> (NewSession, Token) {
    let token = Token::from_random(&cx.context().random());
    let created_at = cx.context().now();
    let session = NewSession {
        id: cx.context().id(),
        user_id: user,
        token_hash: token.hash(),
        device: device.map(|device| Content::from(device.as_str())),
        created_at,
        expires_at: created_at.after(cx.settings().session_lifetime),
    };
    (session, token)
}

/// Closes the live connections of sessions that have ended.
pub(crate) fn publish_ended(cx: &mut Cx, user: UserId, sessions: Vec<SessionId>) {
    if !sessions.is_empty() {
        cx.publish(None, announcements::sessions_ended(user, sessions));
    }
}
