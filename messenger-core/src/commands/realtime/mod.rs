mod set_typing;

pub use set_typing::SetTyping;
