//! Where a request carries its credential, and how to keep it out of logs. Knows strings only, no HTTP types.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::error::{AuthError, InvalidReason};
use crate::token::TOKEN_BYTES_MAX;

/// What a subprotocol that is really a token begins with: `jwt.<token>`, offered beside a real one.
pub const TOKEN_PROTOCOL_PREFIX: &str = "jwt.";

/// The same for a one-time ticket: `ticket.<ticket>`.
pub const TICKET_PROTOCOL_PREFIX: &str = "ticket.";

/// The names of query parameters that carry credentials, in lower case.
const SECRET_PARAMETERS: &[&str] = &["token", "ticket", "access_token", "id_token", "jwt", "key", "api_key", "apikey", "secret"];

/// The places of a request that may carry a credential. Header values that are not text cannot carry one and are left out.
#[derive(Debug, Clone, Copy, Default)]
pub struct Places<'a> {
    /// Each `Authorization` header. Schemes other than `Bearer` are not ours and are passed over.
    pub authorization: &'a [&'a str],
    /// The query string without its `?`: parameters `token` and `ticket`.
    pub query: Option<&'a str>,
    /// Each `Sec-WebSocket-Protocol` header: an entry `jwt.<token>` or `ticket.<ticket>`.
    pub protocols: &'a [&'a str],
}

/// What a request proves itself with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential<'a> {
    /// A JWT or service key.
    Token(Cow<'a, str>),
    /// A one-time ticket.
    Ticket(Cow<'a, str>),
}

impl Credential<'_> {
    fn text(&self) -> &str {
        match self {
            Self::Token(text) | Self::Ticket(text) => text,
        }
    }
}

/// The one credential that a request carries, or None. The same one in several places is one; an empty one is none.
///
/// # Errors
/// [`InvalidReason::Conflicting`] for different ones (which of them counts would depend on who reads them), [`InvalidReason::TooLong`],
/// [`InvalidReason::Malformed`] for a query value that is not percent-encoded UTF-8.
pub fn credential<'a>(places: Places<'a>) -> Result<Option<Credential<'a>>, AuthError> {
    let mut found: Option<Credential<'a>> = None;
    let mut take = |candidate: Credential<'a>| -> Result<(), AuthError> {
        if candidate.text().len() > TOKEN_BYTES_MAX {
            return Err(InvalidReason::TooLong.into());
        }
        let empty = candidate.text().is_empty();
        if found.as_ref().is_some_and(|first| !empty && *first != candidate) {
            return Err(InvalidReason::Conflicting.into());
        }
        if !empty {
            found = Some(candidate);
        }
        Ok(())
    };
    for header in places.authorization {
        if let Some(token) = bearer(header) {
            take(Credential::Token(Cow::Borrowed(token)))?;
        }
    }
    for (name, value) in places.query.into_iter().flat_map(parameters) {
        match &*decoded(name)? {
            "token" => take(Credential::Token(decoded(value)?))?,
            "ticket" => take(Credential::Ticket(decoded(value)?))?,
            _ => {}
        }
    }
    for protocol in places.protocols.iter().flat_map(|header| header.split(',')).map(str::trim) {
        if let Some(token) = protocol.strip_prefix(TOKEN_PROTOCOL_PREFIX) {
            take(Credential::Token(Cow::Borrowed(token)))?;
        } else if let Some(ticket) = protocol.strip_prefix(TICKET_PROTOCOL_PREFIX) {
            take(Credential::Ticket(Cow::Borrowed(ticket)))?;
        }
    }
    Ok(found)
}

/// Whether an offered subprotocol is a token or ticket in disguise. Such a one is never chosen, echoed or logged.
#[must_use]
pub fn is_token_protocol(protocol: &str) -> bool {
    [TOKEN_PROTOCOL_PREFIX, TICKET_PROTOCOL_PREFIX].iter().any(|prefix| protocol.trim().starts_with(prefix))
}

/// A request target, URL or query string with the values of credentials replaced by `REDACTED`. For logs.
///
/// A parameter may begin after any `?` or `&` or at the start, so that no odd target slips through; its value reaches to the next `&`.
#[must_use]
pub fn redact_query(text: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut copied = 0;
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let segment = rest.split(['?', '&']).next().unwrap_or(rest);
        let end = match segment.split_once('=') {
            Some((name, _)) if is_secret(name) => {
                let value_at = at + name.len() + 1;
                let value_len = text[value_at..].find('&').unwrap_or(text.len() - value_at);
                if value_len > 0 {
                    out.push_str(&text[copied..value_at]);
                    out.push_str("REDACTED");
                    copied = value_at + value_len;
                }
                value_at + value_len
            }
            _ => at + segment.len(),
        };
        at = end + 1;
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[copied..]);
    Cow::Owned(out)
}

fn is_secret(name: &str) -> bool {
    let name = percent_decode_str(name).decode_utf8_lossy().to_ascii_lowercase();
    SECRET_PARAMETERS.contains(&&*name)
}

/// RFC 6750 section 2.1; the scheme's case does not matter.
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn parameters(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// `+` stays: tokens have no spaces, while keys in base64 have pluses that people forget to encode.
fn decoded(text: &str) -> Result<Cow<'_, str>, AuthError> {
    percent_decode_str(text).decode_utf8().map_err(|_| InvalidReason::Malformed.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn from(authorization: &[&str], query: Option<&str>, protocols: &[&str]) -> Result<Option<String>, AuthError> {
        credential(Places { authorization, query, protocols }).map(|found| found.map(|credential| credential.text().to_owned()))
    }

    fn ticket(query: &str, protocol: &str) -> Option<Credential<'static>> {
        let protocols = [protocol];
        let found = credential(Places { query: Some(query), protocols: &protocols, ..Places::default() }).unwrap();
        found.map(|credential| match credential {
            Credential::Token(text) => Credential::Token(text.into_owned().into()),
            Credential::Ticket(text) => Credential::Ticket(text.into_owned().into()),
        })
    }

    // proves: C1
    #[test]
    fn a_ticket_is_found_in_its_places_and_is_no_token() {
        let is = |text: &str| Some(Credential::Ticket(text.to_owned().into()));
        assert_eq!(ticket("ticket=abc", ""), is("abc"));
        assert_eq!(ticket("x=1&%74icket=a%2Db", ""), is("a-b"));
        assert_eq!(ticket("", "towline.v1, ticket.abc"), is("abc"));
        assert_eq!(ticket("ticket=abc", "ticket.abc"), is("abc"));
        assert_eq!(ticket("ticket=&tickets=x", "ticket."), None);
        let conflict = Err(InvalidReason::Conflicting.into());
        for (authorization, query, protocol) in [
            ("Bearer a", "ticket=b", ""),
            ("Bearer a", "ticket=a", ""),
            ("", "token=a&ticket=a", ""),
            ("", "ticket=a", "ticket.b"),
        ] {
            assert_eq!(from(&[authorization], Some(query), &[protocol]), conflict, "{authorization} {query} {protocol}");
        }
    }

    // proves: C1
    #[test]
    fn each_place_is_read() {
        assert_eq!(from(&["Bearer a.b.c"], None, &[]).unwrap().unwrap(), "a.b.c");
        assert_eq!(from(&["bearer  a.b.c "], None, &[]).unwrap().unwrap(), "a.b.c");
        assert_eq!(from(&[], Some("x=1&token=a%2Eb.c"), &[]).unwrap().unwrap(), "a.b.c");
        assert_eq!(from(&[], Some("token=k+y%2B"), &[]).unwrap().unwrap(), "k+y+");
        assert_eq!(from(&[], None, &["towline.v1, jwt.a.b.c"]).unwrap().unwrap(), "a.b.c");
        for none in
            [from(&["Basic dTpw"], Some("token=&tokens=x"), &["towline.v1"]), from(&["Bearer"], None, &[]), from(&[], None, &[])]
        {
            assert_eq!(none, Ok(None));
        }
    }

    #[test]
    fn different_credentials_at_once_are_refused_and_equal_ones_are_one() {
        let conflict = Err(InvalidReason::Conflicting.into());
        assert_eq!(from(&["Bearer a"], Some("token=b"), &[]), conflict);
        assert_eq!(from(&["Bearer a", "Bearer b"], None, &[]), conflict);
        assert_eq!(from(&[], Some("token=a&token=b"), &[]), conflict);
        assert_eq!(from(&[], Some("token=a&%74oken=b"), &[]), conflict);
        assert_eq!(from(&[], Some("token=a"), &["jwt.b"]), conflict);
        assert_eq!(from(&["Bearer a"], Some("token=a&token="), &["x, jwt.a"]).unwrap().unwrap(), "a");
    }

    #[test]
    fn what_cannot_be_a_credential_is_refused() {
        assert_eq!(from(&[], Some("token=%ff"), &[]), Err(InvalidReason::Malformed.into()));
        let long = "a".repeat(TOKEN_BYTES_MAX + 1);
        assert_eq!(from(&[&format!("Bearer {long}")], None, &[]), Err(InvalidReason::TooLong.into()));
        assert!(is_token_protocol(" jwt.x") && is_token_protocol("ticket.x") && !is_token_protocol("towline.v1"));
    }

    #[test]
    fn logs_never_see_a_credential() {
        assert_eq!(redact_query("/ws?token=abc&topic=x"), "/ws?token=REDACTED&topic=x");
        assert_eq!(redact_query("topic=x&Ticket=t&%74oken=u"), "topic=x&Ticket=REDACTED&%74oken=REDACTED");
        assert_eq!(redact_query("https://h/p?a=1&token=a=b?c"), "https://h/p?a=1&token=REDACTED");
        assert_eq!(redact_query("token=a?b&x=1"), "token=REDACTED&x=1");
        assert_eq!(redact_query("/p=1?token=a&token=b"), "/p=1?token=REDACTED&token=REDACTED");
        for plain in ["/ws", "/ws?topic=x", "/ws?token=", ""] {
            assert!(matches!(redact_query(plain), Cow::Borrowed(same) if same == plain));
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic_and_no_token_survives(text in "\\PC*", secret in "[a-z]{12}") {
            let _ = from(&[&text], Some(&text), &[&text]);
            let line = format!("{text}&token={secret}");
            prop_assume!(!text.contains(&secret));
            prop_assert!(!redact_query(&line).contains(&secret));
        }
    }
}
