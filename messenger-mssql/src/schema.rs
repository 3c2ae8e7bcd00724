use std::fmt;

/// The schema that contains the tables and procedures. `Display` is its quoted name, ready for use in a statement.
///
/// Every statement names it: the default schema depends on the user who logs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Schema(Box<str>);

impl Schema {
    /// The longest name, in bytes: the server allows more, but other engines that speak its protocol do not.
    const LONGEST: usize = 63;

    /// Names of the server's own schemas and roles.
    const RESERVED: [&str; 14] = [
        "dbo",
        "db_accessadmin",
        "db_backupoperator",
        "db_datareader",
        "db_datawriter",
        "db_ddladmin",
        "db_denydatareader",
        "db_denydatawriter",
        "db_owner",
        "db_securityadmin",
        "guest",
        "information_schema",
        "public",
        "sys",
    ];

    /// Accepts the letters a to z, digits and `_`; the name must not begin with a digit or be one of the server's.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let plain =
            name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        let reserved =
            name.starts_with(|first: char| first.is_ascii_digit()) || Self::RESERVED.contains(&name);
        ((1..=Self::LONGEST).contains(&name.len()) && plain && !reserved).then(|| Self(name.into()))
    }

    pub(crate) fn name(&self) -> &str {
        &self.0
    }

    /// Replaces `{schema}` in text of our own by the quoted name.
    pub(crate) fn fill(&self, text: &str) -> String {
        text.replace("{schema}", &self.to_string())
    }
}

impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}]", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_has_a_plain_name() {
        for name in ["messenger", "chat_2", "user", "_x", "db_chat", &"x".repeat(63)] {
            assert_eq!(Schema::parse(name).unwrap().to_string(), format!("[{name}]"));
        }
        for name in
            ["", "2chat", "a b", "a]b", "Chat", "ü", "dbo", "sys", "guest", "db_owner", &"x".repeat(64)]
        {
            assert_eq!(Schema::parse(name), None, "{name}");
        }
    }

    #[test]
    fn a_text_gets_the_quoted_name() {
        let schema = Schema::parse("chat").unwrap();
        assert_eq!(schema.fill("EXEC {schema}.p; SELECT 1"), "EXEC [chat].p; SELECT 1");
    }
}
