//! What an operator allows: an exact origin, or all origins one label below a name.

use super::origin::{Host, NotAnOrigin, Origin, default_port, split};

/// `https://app.example.com`, or `https://*.example.com` for exactly one label in front.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OriginPattern {
    /// This origin.
    Exact(Origin),
    /// Every origin whose host is one label and this name behind it; `app.example.com`, and neither `example.com` nor `a.b.example.com`.
    Below {
        /// `http` or `https`.
        scheme: Box<str>,
        /// `.example.com`, with its first dot.
        suffix: Box<str>,
        /// Where it is not the scheme's own.
        port: Option<u16>,
    },
}

/// Why a text allows nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPattern {
    /// The text is no origin either.
    #[error(transparent)]
    Origin(#[from] NotAnOrigin),
    /// `*`.
    #[error("would let every page on the web in; name the origins, as in https://app.example.com or https://*.example.com")]
    Everybody,
    /// A `*` somewhere else than as the whole first label.
    #[error("a `*` stands for the whole first label of the host, as in https://*.example.com, and nowhere else")]
    Misplaced,
    /// `https://*.com`.
    #[error("would let a whole top-level domain in: behind the `*.` must stand a name of two parts or more")]
    TooWide,
    /// A `*` in an origin of another scheme.
    #[error("a `*` is for http and https only")]
    Scheme,
}

impl OriginPattern {
    /// Reads what an operator wrote.
    ///
    /// # Errors
    /// Says what to write instead.
    pub fn parse(text: &str) -> Result<Self, BadPattern> {
        let text = text.trim();
        if !text.contains('*') {
            return Ok(Self::Exact(Origin::parse(text)?));
        }
        if text == "*" {
            return Err(BadPattern::Everybody);
        }
        let (scheme, host, port) = match split(text) {
            // `https://app.example.com:*`
            Err(NotAnOrigin::BadPort) if text.ends_with(":*") => return Err(BadPattern::Misplaced),
            other => other?,
        };
        if host == "*" {
            return Err(BadPattern::Everybody);
        }
        let Some(name) = host.strip_prefix("*.").filter(|name| !name.contains('*')) else { return Err(BadPattern::Misplaced) };
        if default_port(&scheme).is_none() {
            return Err(BadPattern::Scheme);
        }
        // `localhost` is nobody's top-level domain.
        let Host::Name(name) = Host::parse(name)? else { return Err(BadPattern::Misplaced) };
        if !name.contains('.') && &*name != "localhost" {
            return Err(BadPattern::TooWide);
        }
        let port = port.filter(|port| default_port(&scheme) != Some(*port));
        Ok(Self::Below { scheme, suffix: format!(".{name}").into(), port })
    }

    /// Whether it allows an origin.
    #[must_use]
    pub fn matches(&self, origin: &Origin) -> bool {
        match self {
            Self::Exact(allowed) => allowed == origin,
            Self::Below { scheme, suffix, port } => {
                let Host::Name(name) = &origin.host else { return false };
                let label = name.strip_suffix(&**suffix).filter(|label| !label.is_empty() && !label.contains('.'));
                label.is_some() && *scheme == origin.scheme && *port == origin.port
            }
        }
    }

    /// Whether the pages that it allows can be changed on their way to the browser.
    #[must_use]
    pub fn is_insecure(&self) -> bool {
        match self {
            Self::Exact(origin) => origin.is_insecure(),
            Self::Below { scheme, suffix, .. } => &**scheme == "http" && &**suffix != ".localhost",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, origin: &str) -> bool {
        let pattern = OriginPattern::parse(pattern).unwrap();
        Origin::parse(origin).is_ok_and(|origin| pattern.matches(&origin))
    }

    // proves: C5
    #[test]
    fn lookalikes_match_nothing() {
        let exact = "https://app.example.com";
        for origin in
            ["https://app.example.com", "https://APP.example.com", "https://app.example.com:443", "HTTPS://app.example.com"]
        {
            assert!(matches(exact, origin), "{origin}");
        }
        for origin in [
            "http://app.example.com",
            "https://app.example.com:8443",
            "https://example.com",
            "https://x.app.example.com",
            "https://app.example.com.",
            "https://app.example.com.evil.test",
            "https://app.example.comevil.test",
            "https://app-example.com",
            "https://appXexample.com",
            "https://evilapp.example.com",
            "https://app.example.com@evil.test",
            "https://app.example.com:443@evil.test",
            "https://app.example.com/",
            "https://app.example.com/..",
            "https://evil.test/https://app.example.com",
            "https://evil.test?https://app.example.com",
            "https://evil.test#https://app.example.com",
            "https://app.example.com%00.evil.test",
            "https://app.example.com\\.evil.test",
            "https://app.example.com evil.test",
            "https://app.example.com,https://evil.test",
            "https://аpp.example.com",
            "https://xn--pp-6kc.example.com",
            "wss://app.example.com",
            "ftp://app.example.com",
            "null",
            "",
            "*",
            "app.example.com",
        ] {
            assert!(!matches(exact, origin), "{origin}");
        }
    }

    // proves: C5
    #[test]
    fn a_wildcard_is_exactly_one_label() {
        let wildcard = "https://*.example.com";
        for origin in [
            "https://app.example.com",
            "https://a-b_1.EXAMPLE.com",
            "https://app.example.com:443",
            "https://xn--bcher-kva.example.com",
        ] {
            assert!(matches(wildcard, origin), "{origin}");
        }
        for origin in [
            "https://example.com",
            "https://.example.com",
            "https://a.b.example.com",
            "https://evil-example.com",
            "https://evilexample.com",
            "https://example.com.evil.test",
            "https://app.example.com.evil.test",
            "https://app.example.com.",
            "https://app.example.community",
            "http://app.example.com",
            "https://app.example.com:8443",
            "https://evil.test/.example.com",
            "https://evil.test#.example.com",
            "https://evil.test:443.example.com",
            "https://evil@app.example.com",
            "https://*.example.com",
            "https://app%2eexample.com",
            "https://[::1].example.com",
            "null",
        ] {
            assert!(!matches(wildcard, origin), "{origin}");
        }
        assert!(matches("http://*.example.com:8080", "http://a.example.com:8080"));
        assert!(!matches("http://*.example.com:8080", "http://a.example.com"));
        assert!(matches("http://*.localhost", "http://app.localhost"));
    }

    // proves: C5
    #[test]
    fn a_pattern_that_allows_too_much_or_nothing_is_refused_with_what_to_write() {
        for (text, word) in [
            ("*", "name the origins"),
            ("https://*", "name the origins"),
            ("https://*:443", "name the origins"),
            ("https://*.com", "top-level domain"),
            ("https://*.*.com", "first label"),
            ("https://*example.com", "first label"),
            ("https://app*.example.com", "first label"),
            ("https://app.*.com", "first label"),
            ("https://example.*", "first label"),
            ("https://app.example.com:*", "first label"),
            ("https://*.10.0.0.1", "first label"),
            ("*://app.example.com", "scheme"),
            ("*.example.com", "begin with a scheme"),
            ("capacitor://*.example.com", "http and https"),
            ("https://*.example.com/", "leave out the path"),
            ("https://*.bücher.example", "ASCII"),
            ("https://*.example.com.", "no dot at the end"),
            ("https://app.example.com/", "leave out the path"),
            ("app.example.com", "begin with a scheme"),
            ("null", "`null` names no page"),
            ("", "begin with a scheme"),
        ] {
            let error = OriginPattern::parse(text).expect_err(text).to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
