mod get_presence;
mod sync;

pub use get_presence::GetPresence;
pub use sync::{ChatSync, SyncChats, Synced};
