//! Why a credential was refused: for programs a code, for people a text that gives nothing away.

use towline_protocol::{CloseCode, ErrorCode};

/// A credential was refused, or could not be judged. No variant carries a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuthError {
    /// No credential was given. Ask for one.
    Missing,
    /// The token was valid and its `exp` has passed. Get a fresh one.
    Expired,
    /// The token's `nbf` or `iat` lies in the future by more than the leeway.
    NotYetValid,
    /// The credential is not acceptable; the same one never will be.
    Invalid(InvalidReason),
    /// It was good, and an operator ended it before its time. A fresh one may be good.
    Revoked,
    /// The application was asked about this user and says no.
    Barred,
    /// The application was to be asked about this user and does not answer. The same credential may succeed later.
    Undecided,
    /// The issuer's keys cannot be had at present. The same credential may succeed later.
    KeysUnavailable,
}

impl std::fmt::Display for AuthError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.public_message())
    }
}

impl std::error::Error for AuthError {}

impl AuthError {
    /// The wire code.
    #[must_use]
    pub fn code(self) -> ErrorCode {
        match self {
            Self::Missing => ErrorCode::Unauthorized,
            Self::Expired => ErrorCode::TokenExpired,
            Self::NotYetValid | Self::Revoked | Self::Invalid(_) => ErrorCode::InvalidToken,
            Self::Barred => ErrorCode::Forbidden,
            Self::KeysUnavailable | Self::Undecided => ErrorCode::Unavailable,
        }
    }

    /// How to close a socket for it: 4401 if a new token is needed, 1013 if waiting helps.
    #[must_use]
    pub fn close_code(self) -> CloseCode {
        match self {
            Self::KeysUnavailable | Self::Undecided => CloseCode::TryLater,
            Self::Barred => CloseCode::Forbidden,
            Self::Missing | Self::Expired | Self::NotYetValid | Self::Revoked | Self::Invalid(_) => CloseCode::Unauthorized,
        }
    }

    /// The reason inside a close frame: at most 123 bytes, as RFC 6455 section 5.5 allows.
    #[must_use]
    pub fn close_reason(self) -> &'static str {
        match self {
            Self::Missing => "no credential was given",
            Self::Expired => "the token has expired; get a fresh one",
            Self::NotYetValid => "the token is not valid yet",
            Self::Revoked => "the credential was revoked; sign in again",
            Self::Invalid(reason) => reason.text(),
            Self::Barred => "the application does not let this user in",
            Self::Undecided => "the application does not say whether this user may come in; try again later",
            Self::KeysUnavailable => "the issuer's keys cannot be fetched at present; try again later",
        }
    }

    /// The text for whoever sent the credential.
    #[must_use]
    pub fn public_message(self) -> &'static str {
        match self {
            Self::Missing => {
                "no credential was given: send a token in the Authorization header, the query parameter `token`, or the subprotocol `jwt.<token>`"
            }
            Self::NotYetValid => {
                "the token is not valid yet (nbf or iat lies in the future); check the clocks of its issuer and of this server"
            }
            _ => self.close_reason(),
        }
    }
}

impl From<InvalidReason> for AuthError {
    fn from(reason: InvalidReason) -> Self {
        Self::Invalid(reason)
    }
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $text:literal;)+) => {
        /// What is wrong with a credential. Each text is at most 123 bytes, so that it fits into a close frame.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum InvalidReason {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl InvalidReason {
            /// All reasons.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The reason in words that may be shown to anybody.
            #[must_use]
            pub fn text(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }
    };
}

reasons! {
    /// Longer than [`crate::TOKEN_BYTES_MAX`].
    TooLong = "the credential is longer than 8192 bytes";
    /// Neither three base64url parts with JSON inside, nor a known service key.
    Malformed = "the credential is neither a well-formed JWT nor a known service key";
    /// Several places of one request carry different credentials.
    Conflicting = "the request carries several different credentials; send one";
    /// Towline was given nothing to check a JWT of this kind with.
    NothingToCheckWith = "this server is not configured to check tokens of this kind";
    /// `alg` is none, unknown, or not the one that the issuer's configuration names.
    Algorithm = "the token's algorithm is not accepted here";
    /// `crit` names extensions; Towline implements none.
    Critical = "the token demands header extensions (crit) that are not supported";
    /// `typ` says that this is another kind of token.
    Kind = "the token's typ is not that of an access token";
    /// The token has no `kid` and several keys could have signed it.
    KeyIdMissing = "the token names no key (kid), and its issuer has several";
    /// The issuer does not publish the key that the token names.
    KeyUnknown = "the token's key (kid) is not among its issuer's keys";
    /// The signature does not match.
    Signature = "the token's signature is not valid";
    /// `iss` is missing or nobody configured.
    Issuer = "the token's issuer (iss) is not accepted here";
    /// `aud` names none of the configured audiences.
    Audience = "the token is not meant for this server (aud)";
    /// No `exp`.
    ExpiryMissing = "the token has no expiry (exp)";
    /// `exp`, `nbf` or `iat` is not a number of seconds.
    Times = "the token's exp, nbf and iat must be numbers of seconds";
    /// No `sub`, or an empty one.
    SubjectMissing = "the token has no subject (sub)";
    /// `sub` breaks the rules for subjects.
    Subject = "the subject may have 1 to 128 bytes of letters, digits and _ - . @ | + = / ~";
    /// The organisation claim breaks the same rules.
    Organisation = "the organisation may have 1 to 128 bytes of letters, digits and _ - . @ | + = ~";
    /// It lives longer than the server's `auth.token_lifetime_max`.
    Lifetime = "the token lives longer than this server accepts";
    /// A ticket that is unknown, used, expired or shown from elsewhere: which of these is nobody's business.
    Ticket = "the ticket is not valid: tickets are good once, for a short while, from where they were issued";
    /// Headers of a trusted proxy that name an identity contradict each other or the token.
    IdentityHeaders = "the identity headers are not valid, or contradict each other or the token";
    /// `jti` is not a short string.
    TokenId = "the token's id (jti) must be a string of at most 128 bytes";
    /// A claim that grants topics is not a list of at most 64 topic patterns.
    GrantClaim = "a claim that grants topics must be a list of at most 64 topic patterns";
}

impl std::fmt::Display for InvalidReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_close_reason_fits_into_a_close_frame() {
        let all = [
            AuthError::Missing,
            AuthError::Expired,
            AuthError::NotYetValid,
            AuthError::Revoked,
            AuthError::Barred,
            AuthError::Undecided,
            AuthError::KeysUnavailable,
        ];
        for error in all.into_iter().chain(InvalidReason::ALL.iter().map(|r| AuthError::Invalid(*r))) {
            assert!(error.close_reason().len() <= 123, "{error:?}");
        }
    }

    #[test]
    fn refusals_ask_for_a_new_token_and_outages_for_patience() {
        assert_eq!(AuthError::Expired.code(), ErrorCode::TokenExpired);
        assert_eq!(AuthError::Invalid(InvalidReason::Signature).close_code().number(), 4401);
        assert!(AuthError::KeysUnavailable.code().retryable());
        assert_eq!(AuthError::KeysUnavailable.close_code(), CloseCode::TryLater);
    }
}
