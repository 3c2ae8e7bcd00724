mod get_chat;
mod list_chats;
mod list_members;

pub use get_chat::GetChat;
pub use list_chats::ListChats;
pub use list_members::ListMembers;
