//! Identities that a trusted proxy vouches for in headers: `x-user-id` and `x-org-id`, or as Amazon's API Gateway maps them.
//!
//! They count only from the machines in `proxies.trusted`, by the address of the connection itself. From anybody else they are what
//! anybody may write, and passed over.

use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::request::Parts;
use towline_auth::{AuthError, Identity, IdentityKind, InvalidReason};

use crate::config::Value;
use crate::server::Accepted;
use crate::shared::Shared;

/// Which headers name an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HeaderStyle {
    /// Both kinds; if both are there they must agree.
    #[default]
    All,
    /// `x-user-id` and `x-org-id`.
    Plain,
    /// `x-amzn-request-context-userid` and `x-amzn-request-context-orgid`.
    ApiGateway,
}

impl HeaderStyle {
    fn user(self) -> &'static [&'static str] {
        self.choose(&["x-user-id", "x-amzn-request-context-userid"])
    }

    fn org(self) -> &'static [&'static str] {
        self.choose(&["x-org-id", "x-amzn-request-context-orgid"])
    }

    fn choose(self, names: &'static [&'static str; 2]) -> &'static [&'static str] {
        match self {
            Self::All => names,
            Self::Plain => &names[..1],
            Self::ApiGateway => &names[1..],
        }
    }
}

impl Value for HeaderStyle {
    const EXPECTED: &'static str = "all, plain or api-gateway";

    fn read(text: &str) -> Option<Self> {
        match text.trim().to_ascii_lowercase().as_str() {
            "all" => Some(Self::All),
            "plain" => Some(Self::Plain),
            "api-gateway" => Some(Self::ApiGateway),
            _ => None,
        }
    }

    fn show(&self) -> String {
        match self {
            Self::All => "all",
            Self::Plain => "plain",
            Self::ApiGateway => "api-gateway",
        }
        .to_owned()
    }
}

/// Who the headers say it is.
#[derive(Debug, PartialEq, Eq)]
struct Vouched<'a> {
    user: Option<&'a str>,
    org: Option<&'a str>,
}

/// The identity of a request, from its headers and from what its credential proved: whichever there is, and if both, only where they agree.
pub(super) fn reconcile(
    shared: &Shared,
    parts: &Parts,
    proven: Result<Arc<Identity>, AuthError>,
) -> Result<Arc<Identity>, AuthError> {
    let settings = shared.config.identity_headers;
    if !settings.enabled {
        return proven;
    }
    let metrics = &shared.metrics.access;
    let vouched = read(&parts.headers, settings.style);
    if vouched == Ok(Vouched { user: None, org: None }) {
        return proven;
    }
    if !parts.extensions.get().is_some_and(|accepted: &Accepted| shared.proxies.is_trusted(accepted.peer.ip())) {
        metrics.identity_headers("ignored");
        return proven;
    }
    let judged = vouched.and_then(|vouched| judge(shared, &vouched, proven));
    metrics.identity_headers(if judged.is_ok() { "taken" } else { "refused" });
    judged
}

fn judge(shared: &Shared, vouched: &Vouched<'_>, proven: Result<Arc<Identity>, AuthError>) -> Result<Arc<Identity>, AuthError> {
    match (proven, vouched.user) {
        (Ok(identity), user) => {
            let same_user = user.is_none_or(|user| user == &*identity.subject && identity.kind != IdentityKind::Service);
            let same_org = vouched.org.is_none_or(|org| Some(org) == identity.org.as_deref());
            if same_user && same_org { Ok(identity) } else { Err(InvalidReason::IdentityHeaders.into()) }
        }
        // A bad token beside good headers is no slip: nobody sends one without wanting it to count.
        (Err(AuthError::Missing), Some(user)) => shared.auth.vouched_identity(user, vouched.org),
        (Err(error), _) => Err(error),
    }
}

fn read(headers: &HeaderMap, style: HeaderStyle) -> Result<Vouched<'_>, AuthError> {
    Ok(Vouched { user: one_of(headers, style.user())?, org: one_of(headers, style.org())? })
}

/// The one value that these headers have. Empty ones are not there: proxies map what is missing to nothing.
fn one_of<'a>(headers: &'a HeaderMap, names: &[&str]) -> Result<Option<&'a str>, AuthError> {
    let refused = || AuthError::from(InvalidReason::IdentityHeaders);
    let mut found: Option<&str> = None;
    for name in names {
        let mut values = headers.get_all(*name).iter();
        let Some(value) = values.next() else { continue };
        // Twice the same is still two writers.
        if values.next().is_some() {
            return Err(refused());
        }
        let value = value.to_str().map_err(|_| refused())?.trim();
        if value.is_empty() {
            continue;
        }
        if found.is_some_and(|other| other != value) {
            return Err(refused());
        }
        found = Some(value);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;

    use super::*;

    fn vouched(style: HeaderStyle, lines: &[(&str, &str)]) -> Result<(Option<String>, Option<String>), AuthError> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        let own = |text: Option<&str>| text.map(str::to_owned);
        read(&headers, style).map(|vouched| (own(vouched.user), own(vouched.org)))
    }

    // proves: D1
    #[test]
    fn both_kinds_of_headers_are_read_and_must_agree() {
        use HeaderStyle::{All, ApiGateway, Plain};
        const USER: &str = "x-amzn-request-context-userid";
        const ORG: &str = "x-amzn-request-context-orgid";
        let is = |user: Option<&str>, org: Option<&str>| Ok((user.map(str::to_owned), org.map(str::to_owned)));
        assert_eq!(vouched(All, &[]), is(None, None));
        assert_eq!(vouched(All, &[("x-user-id", "7"), ("x-org-id", "o")]), is(Some("7"), Some("o")));
        assert_eq!(vouched(All, &[(USER, " 7 "), (ORG, "o")]), is(Some("7"), Some("o")));
        assert_eq!(vouched(All, &[(USER, "7"), ("x-user-id", "7"), (ORG, "")]), is(Some("7"), None));
        assert_eq!(vouched(Plain, &[(USER, "7"), ("x-user-id", "8")]), is(Some("8"), None));
        assert_eq!(vouched(ApiGateway, &[(USER, "7"), ("x-user-id", "8")]), is(Some("7"), None));
        let refused = Err(InvalidReason::IdentityHeaders.into());
        for bad in [
            [(USER, "7"), ("x-user-id", "8")],
            [("x-user-id", "7"), ("x-user-id", "7")],
            [("x-org-id", "a"), (ORG, "b")],
            [("x-user-id", "7"), ("x-org-id", "\u{e9}")],
        ] {
            assert_eq!(vouched(All, &bad), refused, "{bad:?}");
        }
    }
}
