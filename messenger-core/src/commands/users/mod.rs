mod end_mail;
mod erase_me;
mod erasing;
mod update_profile;

pub use end_mail::EndMail;
pub(crate) use end_mail::verified as verified_end_of_mail;
pub use erase_me::EraseMe;
pub use erasing::Erasure;
pub(crate) use erasing::{KIND as ERASE_USER, Listener, RETRIES, Remains, erase, finish as finish_erasure};
pub use update_profile::UpdateProfile;
