mod get_history;
mod get_message;

pub use get_history::{GetHistory, History};
pub use get_message::GetMessage;
