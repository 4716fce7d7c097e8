//! Who we are to a registry.

use std::fmt;

use base64::Engine as _;

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text` secret.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// Returns the text, for the wire and for files that are the user's own.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// How to sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// Not at all.
    None,
    /// With a name and a password, or an access token in its place.
    Basic {
        /// The name.
        username: String,
        /// The password.
        password: Secret,
    },
    /// With a token that a token server exchanges for others.
    IdentityToken(Secret),
    /// With a token that the registry itself takes.
    RegistryToken(Secret),
}

impl Credentials {
    /// Returns the `Authorization` header of RFC 7617, if there is a password.
    pub(crate) fn basic(&self) -> Option<String> {
        match self {
            Self::Basic { username, password } => {
                let pair = format!("{username}:{}", password.expose());
                let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
                Some(format!("Basic {encoded}"))
            }
            Self::None | Self::IdentityToken(_) | Self::RegistryToken(_) => None,
        }
    }
}

/// Credentials and where they came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// How to sign in.
    pub credentials: Credentials,
    /// What messages call the place they came from, such as a path.
    pub origin: String,
}

/// What a search for credentials found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookup {
    /// The first that fits.
    pub login: Option<Login>,
    /// Where was looked, each with what was found there: `/root/.docker/config.json (no entry)`.
    pub searched: Vec<String>,
}
