mod add_members;
mod create_group_chat;
mod leave_chat;
mod open_direct_chat;
mod remove_member;
mod roster;
mod set_mute;
mod set_role;
mod update_chat;

pub use add_members::{AddMembers, AddedMembers};
pub use create_group_chat::CreateGroupChat;
pub use leave_chat::LeaveChat;
pub(crate) use leave_chat::leave;
pub use open_direct_chat::OpenDirectChat;
pub use remove_member::RemoveMember;
pub use set_mute::SetMute;
pub use set_role::SetRole;
pub use update_chat::UpdateChat;
