//! Signing in: which `Authorization` header a request gets, remembered by registry.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::challenge::Challenge;
use crate::credentials::{Credentials, Lookup, Secret};
use crate::settings::Settings;
use crate::token::Token;
use crate::url::is_loopback;
use crate::{Error, Result, Url};

/// Who asks whom for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Realm {
    /// What users call the registry; credentials go by it.
    pub(crate) host: String,
    /// The repository, for credentials that are for a part of a registry only.
    pub(crate) repository: String,
    /// What a token must allow.
    pub(crate) scopes: Vec<String>,
    /// Where the registry is: nothing else gets its credentials.
    pub(crate) home: Url,
}

/// What was learnt about registries so far.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    challenges: HashMap<String, Challenge>,
    lookups: HashMap<(String, String), Lookup>,
    tokens: HashMap<(String, Vec<String>), (Secret, Instant)>,
}

impl Memory {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what `host` asked for the last time.
    pub(crate) fn challenge(&self, host: &str) -> Option<Challenge> {
        self.state().challenges.get(host).cloned()
    }

    pub(crate) fn learn(&self, host: &str, challenge: Challenge) {
        self.state().challenges.insert(host.to_owned(), challenge);
    }

    pub(crate) fn token(&self, host: &str, scopes: &[String]) -> Option<Secret> {
        let state = self.state();
        let (token, until) = state.tokens.get(&(host.to_owned(), scopes.to_vec()))?;
        (Instant::now() < *until).then(|| token.clone())
    }

    pub(crate) fn keep_token(&self, host: &str, scopes: Vec<String>, token: &Token) {
        /// Tokens are given up this much earlier than they end, for clocks and for the way.
        const MARGIN: Duration = Duration::from_secs(10);
        let until = Instant::now() + token.lifetime.saturating_sub(MARGIN);
        let key = (host.to_owned(), scopes);
        self.state()
            .tokens
            .insert(key, (token.value.clone(), until));
    }

    pub(crate) fn forget_token(&self, host: &str, scopes: &[String]) {
        self.state()
            .tokens
            .remove(&(host.to_owned(), scopes.to_vec()));
    }

    /// Looks for credentials, once for each repository.
    pub(crate) fn lookup(&self, settings: &Settings, realm: &Realm) -> Result<Lookup> {
        if let Some(login) = settings.logins.get(&realm.host) {
            return Ok(Lookup {
                login: Some(login.clone()),
                searched: Vec::new(),
            });
        }
        let key = (realm.host.clone(), realm.repository.clone());
        if let Some(lookup) = self.state().lookups.get(&key) {
            return Ok(lookup.clone());
        }
        // A helper may run for seconds: nobody waits for the lock meanwhile.
        let lookup = settings
            .credentials
            .lookup(&realm.host, &realm.repository)?;
        self.state().lookups.insert(key, lookup.clone());
        Ok(lookup)
    }
}

/// Refuses to send credentials to a token server without TLS, unless the registry has none either:
/// otherwise an answer could lead a password out of the encrypted connection.
pub(crate) fn check_realm(asker: &Url, realm: &str, credentials: &Credentials) -> Result<()> {
    let url = Url::parse(realm)?;
    let is_open = !url.is_secure() && !is_loopback(url.authority());
    if is_open && asker.is_secure() && *credentials != Credentials::None {
        return Err(Error::Protocol {
            url: asker.clone(),
            reason: format!("it wants the credentials to go to `{url}`, without encryption"),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_credentials_may_go() {
        #[track_caller]
        fn check(asker: &str, realm: &str, allowed: bool) {
            let credentials = Credentials::IdentityToken(Secret::new("t".into()));
            let found = check_realm(&Url::parse(asker).unwrap(), realm, &credentials);
            assert_eq!(found.is_ok(), allowed, "{asker} {realm}");
        }
        check("https://r/v2", "https://auth/token", true);
        check("https://r/v2", "http://auth/token", false);
        check("https://r/v2", "http://localhost:1/token", true);
        check("http://r/v2", "http://auth/token", true);
        check("https://r/v2", "junk", false);
    }

    #[test]
    fn tokens_end_before_they_end() {
        let memory = Memory::default();
        let scopes = vec!["repository:a:pull".to_owned()];
        let token = |seconds| Token {
            value: Secret::new("t".into()),
            lifetime: Duration::from_secs(seconds),
        };
        memory.keep_token("r", scopes.clone(), &token(5));
        assert_eq!(memory.token("r", &scopes), None);
        memory.keep_token("r", scopes.clone(), &token(3600));
        assert!(memory.token("r", &scopes).is_some());
        assert_eq!(memory.token("other", &scopes), None);
        memory.forget_token("r", &scopes);
        assert_eq!(memory.token("r", &scopes), None);
    }
}
