//! Whatever a header or a body holds, reading it ends with a value or an error.

use corten_registry::challenge::Challenge;
use corten_registry::{Url, header, redirect, refusal, token, transport::Method};
use proptest::prelude::{any, proptest};

/// Text made of the characters that mean something, so that the odd corners are met.
const PIECES: &str =
    r#"([<>"=,;:/?#@\[\]\\. -]|bytes|Bearer|realm|rel=next|299|0|9{1,20}|é|\PC){0,30}"#;

proptest! {
    #[test]
    fn headers(text in PIECES) {
        let challenges = Challenge::parse(&text);
        assert!(challenges.len() <= text.len() + 1);
        header::next_link(&text);
        header::received(&text);
        header::content_range_start(&text);
        header::retry_after(&text, Some(&text));
        header::warning(&text);
    }

    #[test]
    fn locations(text in PIECES) {
        let base = Url::parse("https://r.example/v2/a").unwrap();
        if let Ok(url) = base.join(&text) {
            // What was understood once is understood the same way again.
            assert_eq!(Url::parse(&url.to_wire()).unwrap(), url);
            assert!(!url.to_string().contains(['?', '#']), "{url}");
        }
        if let Ok(Some(step)) = redirect::follow(Method::Get, &base, 307, Some(&text)) {
            assert!(step.url.is_secure());
            assert_eq!(step.keeps_authorization, step.url.authority() == "r.example");
        }
    }

    #[test]
    fn bodies(bytes in proptest::collection::vec(any::<u8>(), 0..500)) {
        let (_, message) = refusal::parse_body(&bytes);
        assert!(message.chars().count() <= 201);
        assert!(!message.chars().any(char::is_control));
        token::parse(&bytes);
    }
}
