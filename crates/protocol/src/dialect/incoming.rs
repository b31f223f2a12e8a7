//! What all dialects do with a client's text before they look at what it asks.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::codes::ErrorCode;
use crate::message::Decline;

/// The longest message id that is echoed, in bytes.
const MESSAGE_ID_BYTES_MAX: usize = 128;

/// The members of a message, which must be a JSON object.
pub(super) fn members<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Decline> {
    let not_json = |error: serde_json::Error| Decline::new(ErrorCode::JsonParse, format!("not JSON: {error}"));
    // serde would also read an array as a struct.
    if !text.trim_start().starts_with('{') {
        serde_json::from_str::<IgnoredAny>(text).map_err(not_json)?;
        return Err(Decline::new(ErrorCode::InvalidFormat, "the message must be a JSON object"));
    }
    serde_json::from_str(text).map_err(not_json)
}

/// The message's `type`.
pub(super) fn kind(raw: Option<&RawValue>) -> Result<Cow<'_, str>, Decline> {
    let raw = raw.ok_or_else(|| Decline::new(ErrorCode::MissingType, "the message has no `type`"))?;
    serde_json::from_str(raw.get()).map_err(|_| Decline::new(ErrorCode::InvalidType, "`type` must be a string"))
}

/// The id of a request, if it is one that can be echoed.
pub(super) fn request_id(raw: Option<&RawValue>) -> Option<Cow<'_, str>> {
    text(raw).filter(|id| id.len() <= MESSAGE_ID_BYTES_MAX)
}

/// A member that is a string.
pub(super) fn text(raw: Option<&RawValue>) -> Option<Cow<'_, str>> {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok())
}

/// A member that is a string, or a number, which becomes its text: applications name their objects by either.
pub(super) fn name(raw: Option<&RawValue>) -> Option<Cow<'_, str>> {
    let is_number = |raw: &&RawValue| raw.get().starts_with(|c: char| c == '-' || c.is_ascii_digit());
    text(raw).or_else(|| raw.filter(is_number).map(|raw| Cow::Borrowed(raw.get())))
}

/// An unknown type as it is shown in an answer.
pub(super) fn shown(kind: &str) -> String {
    kind.chars().take(64).collect()
}
