//! Errors as the unified socket's clients know them: a code, whether the client can go on, and what to do.

use serde::Serialize;

use crate::codes::ErrorCode;
use crate::message::ErrorBody;

/// The payload of an `error`.
#[derive(Serialize)]
pub(super) struct ErrorPayload<'a> {
    code: &'static str,
    error: &'a str,
    timestamp: f64,
    recoverable: bool,
    help: &'static str,
    /// Only where waiting helps and it is known how long.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
}

pub(super) fn payload(error: &ErrorBody, ts_ms: u64) -> ErrorPayload<'_> {
    let code = known(error.code);
    ErrorPayload {
        code: code.as_str(),
        error: &error.message,
        timestamp: ts_ms as f64 / 1000.0,
        recoverable: recoverable(code),
        help: help(code),
        retry_after_ms: error.retry_after_ms,
    }
}

/// These clients know fewer codes: where one of theirs says the same, it is what they get. Others pass as they are.
fn known(code: ErrorCode) -> ErrorCode {
    match code {
        ErrorCode::InvalidToken => ErrorCode::Unauthorized,
        ErrorCode::StorageFull | ErrorCode::StorageFailed => ErrorCode::Processing,
        other => other,
    }
}

/// Whether the client can go on by itself: send something better, wait, or send it again. What it is not allowed, and a fault in the
/// server, it cannot mend.
fn recoverable(code: ErrorCode) -> bool {
    !matches!(
        code,
        ErrorCode::Unauthorized
            | ErrorCode::InvalidToken
            | ErrorCode::TokenExpired
            | ErrorCode::Forbidden
            | ErrorCode::OriginNotAllowed
            | ErrorCode::RunEnded
            | ErrorCode::RunStopped
    )
}

/// What to do.
fn help(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::Unauthorized => "Get a valid token and send it as `auth`, or connect again with it.",
        ErrorCode::InvalidToken => "Get a token that this server's issuer has signed.",
        ErrorCode::TokenExpired => "Get a fresh token and send it as `auth` before the connection ends.",
        ErrorCode::Forbidden => "Ask for the permission, or do without.",
        ErrorCode::NotFound => "Check the name; it may be gone, or belong to somebody else.",
        ErrorCode::JsonParse => "Send one JSON object per message; check quotes and brackets.",
        ErrorCode::MissingType => "Add a `type`, for example {\"type\":\"user_message\",\"payload\":{}}.",
        ErrorCode::InvalidType => "Make `type` a string.",
        ErrorCode::UnknownType => {
            "Use a type of the application's own, up to 128 visible ASCII characters, that the server does not use itself."
        }
        ErrorCode::InvalidFormat => "Correct the member that the error names.",
        ErrorCode::InvalidTopic => "Use 1 to 200 letters, digits and _ - . : @ | + = / ~ as a topic.",
        ErrorCode::InvalidPosition => "Pass back a position as the server gave it, or start at `latest` or `earliest`.",
        ErrorCode::TooLarge => "Send less in one message; the limit stands in `connection_established`.",
        ErrorCode::TooManyTopics => "Unsubscribe from a topic first.",
        ErrorCode::RateLimited => "Send more slowly; wait as long as the error says, then send it again.",
        ErrorCode::TooManyConnections => "Close another connection of this user, or wait.",
        ErrorCode::OriginNotAllowed => "Ask the operator to allow this page's origin.",
        ErrorCode::EmptyMessage => "Send a JSON object with a `type`.",
        ErrorCode::RunStopped | ErrorCode::RunEnded => "Begin a new run.",
        ErrorCode::BrakeEngaged => "Wait until the agents are resumed.",
        ErrorCode::NotAttempted => "Correct what was refused, then send all of it again.",
        ErrorCode::StorageFull | ErrorCode::StorageFailed | ErrorCode::Processing => {
            "Nothing was lost that was acknowledged; send it again later with the same id."
        }
        ErrorCode::Unavailable => "Send it again in a few seconds.",
        ErrorCode::Internal => "Send it again; if it stays, tell the operator the `id` of this message.",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    // proves: C4
    #[test]
    fn every_code_has_the_five_members_and_says_what_to_do() {
        let mut shown = Vec::new();
        for code in ErrorCode::ALL {
            let json = serde_json::to_value(payload(&ErrorBody::new(*code, "what"), 1_500)).unwrap();
            let mut names: Vec<&String> = json.as_object().unwrap().keys().collect();
            names.sort();
            assert_eq!(names, ["code", "error", "help", "recoverable", "timestamp"]);
            assert_eq!((&json["error"], &json["timestamp"]), (&json!("what"), &json!(1.5)));
            assert!(json["help"].as_str().unwrap().ends_with('.'));
            shown.push(json["code"].clone());
        }
        for code in [
            "EMPTY_MESSAGE",
            "JSON_PARSE_ERROR",
            "INVALID_MESSAGE_TYPE",
            "MISSING_TYPE_FIELD",
            "INVALID_TYPE_FIELD",
            "MESSAGE_TOO_LARGE",
            "RATE_LIMITED",
            "PROCESSING_ERROR",
            "UNAUTHORIZED",
            "FORBIDDEN",
            "TOKEN_EXPIRED",
            "INTERNAL_ERROR",
        ] {
            assert!(shown.contains(&Value::from(code)), "{code}");
        }
    }
}
