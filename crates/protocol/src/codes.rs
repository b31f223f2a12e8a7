//! Error codes and close codes: every one that Towline ever sends, with what it means for the receiver.

use serde::{Deserialize, Serialize};

macro_rules! error_codes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $text:literal, $http:literal, $recoverable:literal;)+) => {
        /// What went wrong, for programs. The text beside it is for people.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
        pub enum ErrorCode {
            $($(#[doc = $doc])+ #[serde(rename = $text)] $variant,)+
        }

        impl ErrorCode {
            /// All codes, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The code as it stands on the wire.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// The HTTP status where the error answers a request.
            #[must_use]
            pub fn http_status(self) -> u16 {
                match self { $(Self::$variant => $http),+ }
            }

            /// Whether the same request may succeed later unchanged.
            #[must_use]
            pub fn retryable(self) -> bool {
                match self { $(Self::$variant => $recoverable),+ }
            }

            /// What the code means, one line.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+)),+ }
            }
        }
    };
}

error_codes! {
    /// No credential was given where one is needed.
    Unauthorized = "UNAUTHORIZED", 401, false;
    /// The credential is not valid here.
    InvalidToken = "INVALID_TOKEN", 401, false;
    /// The credential was valid and has expired.
    TokenExpired = "TOKEN_EXPIRED", 401, false;
    /// The credential is valid and does not allow this.
    Forbidden = "FORBIDDEN", 403, false;
    /// There is no such thing, or it is not yours to know.
    NotFound = "NOT_FOUND", 404, false;
    /// The message is not JSON.
    JsonParse = "JSON_PARSE_ERROR", 400, false;
    /// The message has no `type`.
    MissingType = "MISSING_TYPE_FIELD", 400, false;
    /// The message's `type` is not a string.
    InvalidType = "INVALID_TYPE_FIELD", 400, false;
    /// The message's `type` is not one that this door knows.
    UnknownType = "INVALID_MESSAGE_TYPE", 400, false;
    /// A field is missing or has the wrong shape.
    InvalidFormat = "INVALID_FORMAT", 400, false;
    /// The topic's name breaks the rules for topic names.
    InvalidTopic = "INVALID_TOPIC", 400, false;
    /// A position, id, time or cursor to start from cannot be read.
    InvalidPosition = "INVALID_POSITION", 400, false;
    /// The message or event is larger than allowed.
    TooLarge = "MESSAGE_TOO_LARGE", 413, false;
    /// More topics than one connection may follow.
    TooManyTopics = "TOO_MANY_TOPICS", 400, false;
    /// Too many requests; try again later.
    RateLimited = "RATE_LIMITED", 429, true;
    /// The user has too many connections, or the address too many handshakes; close some, or try again later.
    TooManyConnections = "TOO_MANY_CONNECTIONS", 429, true;
    /// The page that sent this is not one of those that may.
    OriginNotAllowed = "ORIGIN_NOT_ALLOWED", 403, false;
    /// The message has no content.
    EmptyMessage = "EMPTY_MESSAGE", 400, false;
    /// The run was stopped: nothing of it is taken but its acknowledgement and its terminal event.
    RunStopped = "RUN_STOPPED", 409, false;
    /// The run has ended, or was lost; begin a new one.
    RunEnded = "RUN_ENDED", 409, false;
    /// The emergency brake is engaged: no new run begins until it is released.
    BrakeEngaged = "BRAKE_ENGAGED", 409, false;
    /// Nothing of an atomic request was stored, because another item of it was refused.
    NotAttempted = "NOT_ATTEMPTED", 409, false;
    /// The log's disk is full; nothing was stored.
    StorageFull = "STORAGE_FULL", 507, true;
    /// The log could not store or read; nothing was acknowledged.
    StorageFailed = "STORAGE_FAILED", 503, true;
    /// The server is starting, draining or overloaded.
    Unavailable = "UNAVAILABLE", 503, true;
    /// The request could not be processed.
    Processing = "PROCESSING_ERROR", 500, true;
    /// A fault in Towline.
    Internal = "INTERNAL_ERROR", 500, true;
}

/// What a client should do after a close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterClose {
    /// Connect again with back-off and resume from the last positions.
    Resume,
    /// Get a fresh token first; do not retry with the old one.
    NewToken,
    /// Do not connect again: the client or its user must change something.
    Stop,
}

macro_rules! close_codes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $number:literal, $after:ident;)+) => {
        /// Why a socket was closed. 1000–1015 are RFC 6455's, 4000–4999 are ours.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum CloseCode {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl CloseCode {
            /// All codes, ascending.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The number on the wire.
            #[must_use]
            pub fn number(self) -> u16 {
                match self { $(Self::$variant => $number),+ }
            }

            /// What a client should do next.
            #[must_use]
            pub fn after(self) -> AfterClose {
                match self { $(Self::$variant => AfterClose::$after),+ }
            }

            /// What the code means, one line.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+)),+ }
            }
        }
    };
}

close_codes! {
    /// Normal end.
    Normal = 1000, Stop;
    /// The server or page goes away.
    GoingAway = 1001, Resume;
    /// The frame breaks RFC 6455.
    Protocol = 1002, Stop;
    /// A kind of frame that this door does not take.
    Unsupported = 1003, Stop;
    /// Text that is not UTF-8.
    InvalidPayload = 1007, Stop;
    /// A message larger than allowed.
    TooBig = 1009, Stop;
    /// A fault in the server.
    Internal = 1011, Resume;
    /// The server restarts; connect again after the hinted delay.
    Restart = 1012, Resume;
    /// The server is overloaded.
    TryLater = 1013, Resume;
    /// Not authenticated, or the token has expired.
    Unauthorized = 4401, NewToken;
    /// Authenticated and not allowed here.
    Forbidden = 4403, Stop;
    /// Nothing was heard from the client for too long.
    HeartbeatTimeout = 4408, Resume;
    /// The user opened more connections than allowed, and this was the oldest; do not fight the newer ones.
    Superseded = 4409, Stop;
    /// The client accepted no bytes for too long; the log keeps what it missed.
    Stalled = 4410, Resume;
    /// An operator ended the connection; the reason says why.
    Disconnected = 4412, Stop;
    /// Errors repeated past the limit.
    TooManyErrors = 4429, Stop;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_the_contracts_numbers_stand() {
        let mut texts: Vec<_> = ErrorCode::ALL.iter().map(|c| c.as_str()).collect();
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(texts.len(), ErrorCode::ALL.len());
        assert!(CloseCode::ALL.windows(2).all(|w| w[0].number() < w[1].number()));
        assert_eq!(CloseCode::Unauthorized.number(), 4401);
        assert_eq!(CloseCode::HeartbeatTimeout.number(), 4408);
        assert_eq!(serde_json::to_string(&ErrorCode::JsonParse).unwrap(), "\"JSON_PARSE_ERROR\"");
    }
}
