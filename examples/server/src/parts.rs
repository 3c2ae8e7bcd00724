/// The crates that this server is made of, as they are called in the log.
pub(crate) const PARTS: [&str; 10] = [
    "messenger_axum",
    "messenger_core",
    "messenger_mail",
    "messenger_mssql",
    "messenger_redis",
    "messenger_server",
    "messenger_signalr",
    "messenger_socket",
    "messenger_sql",
    "messenger_sqlx",
];

/// Whether this is the name of one of them, or of a place in it; `messenger` stands for all.
pub(crate) fn is_part(target: &str) -> bool {
    let name = target.split([':', '[']).next().unwrap_or_default();
    name == "messenger" || PARTS.contains(&name)
}
