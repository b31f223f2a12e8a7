//! What users say to the application, as it is asked of every door.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::error::Category;
use serde_json::value::RawValue;

use crate::codes::ErrorCode;
use crate::event::Refusal;

/// What a user says to the application: kept in the user's inbox, and handed on from there.
#[derive(Debug, Clone)]
pub struct InboxMessage<'a> {
    /// Its type, such as `user_message`, not yet checked.
    pub kind: Cow<'a, str>,
    /// The user's own id of it: the same id within the dedup window is stored once. A UUIDv7 if left out.
    pub id: Option<Cow<'a, str>>,
    /// Which conversation it belongs to.
    pub thread_id: Option<Cow<'a, str>>,
    /// Ties it to what the application answers.
    pub correlation_id: Option<Cow<'a, str>>,
    /// Its content, any JSON value; `{}` if left out.
    pub payload: Option<&'a RawValue>,
    /// Bytes of the whole message as it was sent.
    pub bytes: usize,
}

impl<'a> InboxMessage<'a> {
    /// Reads a message as the native door and REST have it: an object with `type`, and `id`, `thread_id`, `correlation_id`, `data`.
    /// `bytes` is how large the whole was that it came in.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(json: &'a str, bytes: usize) -> Result<Self, Refusal> {
        #[derive(Deserialize)]
        struct Members<'a> {
            #[serde(borrow, rename = "type")]
            kind: Cow<'a, str>,
            #[serde(borrow, default)]
            id: Option<Cow<'a, str>>,
            #[serde(borrow, default)]
            thread_id: Option<Cow<'a, str>>,
            #[serde(borrow, default)]
            correlation_id: Option<Cow<'a, str>>,
            #[serde(borrow, default)]
            data: Option<&'a RawValue>,
        }
        // serde would also read an array as a struct.
        if !json.trim_start().starts_with('{') {
            serde_json::from_str::<IgnoredAny>(json)
                .map_err(|error| Refusal::new(ErrorCode::JsonParse, format!("not JSON: {error}")))?;
            return Err(Refusal::new(ErrorCode::InvalidFormat, "a message must be a JSON object with `type`"));
        }
        let Members { kind, id, thread_id, correlation_id, data } =
            serde_json::from_str(json).map_err(|error| match error.classify() {
                Category::Data => Refusal::new(ErrorCode::InvalidFormat, error.to_string()),
                _ => Refusal::new(ErrorCode::JsonParse, format!("not JSON: {error}")),
            })?;
        Ok(Self { kind, id, thread_id, correlation_id, payload: data, bytes })
    }
}
