mod check_end_mail;
mod find_users;
mod get_me;
mod get_user;

pub use check_end_mail::CheckEndMail;
pub use find_users::FindUsers;
pub use get_me::GetMe;
pub use get_user::GetUser;
