mod check_end_mail;
pub(crate) mod export_me;
mod find_users;
mod get_me;
mod get_user;

pub use check_end_mail::CheckEndMail;
pub use export_me::{ExportFile, ExportMe, ExportPart};
pub use find_users::FindUsers;
pub use get_me::GetMe;
pub use get_user::GetUser;
