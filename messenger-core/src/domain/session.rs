use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{Device, Me, SessionId, Timestamp};

/// One log-in of a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Session {
    /// Its id. The token is returned once, at log-in, and only the client keeps it.
    pub id: SessionId,
    /// When the person logged in.
    pub created_at: Timestamp,
    /// When the session was last used, to within five minutes.
    pub last_used_at: Timestamp,
    /// When it expires if it is not used.
    pub expires_at: Timestamp,
    /// The device it is used on, as the client named it at log-in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<Device>,
    /// Whether it is the session of this request.
    pub current: bool,
}

/// The result of registering and of logging in.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Authenticated {
    /// The account.
    pub user: Me,
    /// Authenticates requests: `Authorization: Bearer <token>`.
    pub token: Token,
    /// When the session expires if it is not used.
    pub expires_at: Timestamp,
}

/// A session token: 256 random bits, base64url without padding (43 characters). Stores only receive its hash.
#[derive(Clone)]
pub struct Token(Zeroizing<String>);

/// The SHA-256 of a token's text. A token is random, so a plain hash can't be reversed by guessing.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash(pub [u8; 32]);

impl Token {
    /// Makes a token of 32 random bytes.
    pub fn from_random(bytes: &[u8; 32]) -> Self {
        Self(Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// The text that the client sends.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The hash that the store keeps.
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(&self.0)
    }
}

impl TokenHash {
    /// Hashes a token as a client sent it.
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}
impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(…)")
    }
}
impl Serialize for Token {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for Token {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::schema::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .into()
    }
}
#[cfg(feature = "openapi")]
impl utoipa::ToSchema for Token {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_its_random_bytes_in_43_letters() {
        let token = Token::from_random(&[0xfb; 32]);
        assert_eq!(token.expose(), format!("{}-_s", "-_v7".repeat(10)));
        assert_eq!(URL_SAFE_NO_PAD.decode(token.expose()).unwrap(), [0xfb; 32]);
        assert_eq!(serde_json::to_value(&token).unwrap(), token.expose());
    }

    #[test]
    fn a_store_is_given_the_sha_256_of_a_tokens_text() {
        // The example of FIPS 180-4.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let hex: String = TokenHash::of("abc").0.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected);
        let token = Token::from_random(&[7; 32]);
        assert_eq!(token.hash(), TokenHash::of(token.expose()));
        assert_ne!(token.hash(), Token::from_random(&[8; 32]).hash());
    }

    #[test]
    fn neither_a_token_nor_its_hash_is_shown_in_a_log() {
        let token = Token::from_random(&[7; 32]);
        assert_eq!(format!("{token:?} {:?}", token.hash()), "Token(…) TokenHash(…)");
    }
}
