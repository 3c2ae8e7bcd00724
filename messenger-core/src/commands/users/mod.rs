mod erase_me;
mod update_profile;

pub use erase_me::EraseMe;
pub use update_profile::UpdateProfile;
