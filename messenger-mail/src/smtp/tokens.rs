use async_trait::async_trait;

/// Gives tokens of OAuth 2 to log in with (XOAUTH2), which are good for a while.
///
/// ```
/// use async_trait::async_trait;
/// use messenger_mail::TokenSource;
///
/// struct Tokens;
///
/// #[async_trait]
/// impl TokenSource for Tokens {
///     async fn token(&self) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
///         // From the identity provider, or from a cache of the host's.
///         Ok("ya29…".to_owned())
///     }
/// }
/// ```
#[async_trait]
pub trait TokenSource: Send + Sync + 'static {
    /// A token that is good now. It is asked for with each new connection.
    ///
    /// # Errors
    /// Why there is none; the mail is tried again later.
    async fn token(&self) -> Result<String, Box<dyn std::error::Error + Send + Sync>>;
}
