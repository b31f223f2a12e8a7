//! From a JSON body to its items: one object, or an array of them. Each item is read by itself, so that a bad one spoils no other.

use std::fmt;

use serde::de::{Deserializer as _, SeqAccess, Visitor};
use serde_json::value::RawValue;
use towline_protocol::{ErrorCode, PublishItem, Refusal};

use crate::http::failure::Failure;

/// The items of a body, at most `items_max`, or why one is none.
pub(in crate::http) fn of(body: &[u8], items_max: usize) -> Result<Vec<Result<PublishItem<'_>, Refusal>>, Failure> {
    let not_json = |error: &dyn fmt::Display| Failure::new(ErrorCode::JsonParse, format!("the body is not JSON: {error}"));
    let body = std::str::from_utf8(body).map_err(|error| not_json(&error))?;
    match body.bytes().find(|byte| !byte.is_ascii_whitespace()) {
        None => Err(Failure::new(ErrorCode::JsonParse, "the body is empty; send an event, an array of events, or NDJSON")),
        Some(b'[') => {
            let mut json = serde_json::Deserializer::from_str(body);
            let items = json.deserialize_seq(Items { items_max }).map_err(|error| not_json(&error))?;
            json.end().map_err(|error| not_json(&error))?;
            let items = items.ok_or_else(|| {
                Failure::new(
                    ErrorCode::TooLarge,
                    format!(
                        "an array may have at most {items_max} events; send more as NDJSON (Content-Type: application/x-ndjson)"
                    ),
                )
            })?;
            Ok(items.into_iter().map(|item| read_text(item.get())).collect())
        }
        // The whole body is the item, so it is read once, unless something is wrong with it.
        Some(_) => {
            let item = read_text(body);
            if item.is_err() {
                serde_json::from_str::<serde::de::IgnoredAny>(body).map_err(|error| not_json(&error))?;
            }
            Ok(vec![item])
        }
    }
}

/// One item.
pub(super) fn read(json: &[u8]) -> Result<PublishItem<'_>, Refusal> {
    read_text(std::str::from_utf8(json).map_err(|error| not_json(&error))?)
}

/// serde would also read an array as a struct, so it has to be an object first.
fn read_text(json: &str) -> Result<PublishItem<'_>, Refusal> {
    if json.bytes().find(|byte| !byte.is_ascii_whitespace()) != Some(b'{') {
        // What is no JSON at all is told so.
        serde_json::from_str::<serde::de::IgnoredAny>(json).map_err(|error| not_json(&error))?;
        return Err(Refusal::new(ErrorCode::InvalidFormat, "an event must be a JSON object with `topic` and `type`"));
    }
    serde_json::from_str(json).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => Refusal::new(ErrorCode::InvalidFormat, error.to_string()),
        _ => not_json(&error),
    })
}

fn not_json(error: &dyn fmt::Display) -> Refusal {
    Refusal::new(ErrorCode::JsonParse, format!("not JSON: {error}"))
}

/// Collects raw items, and stops counting them in memory past the limit.
struct Items {
    items_max: usize,
}

impl<'de> Visitor<'de> for Items {
    /// None: there are more than allowed.
    type Value = Option<Vec<&'de RawValue>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element::<&RawValue>()? {
            if items.len() == self.items_max {
                while seq.next_element::<serde::de::IgnoredAny>()?.is_some() {}
                return Ok(None);
            }
            items.push(item);
        }
        Ok(Some(items))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(body: &str) -> Result<usize, ErrorCode> {
        of(body.as_bytes(), 3).map(|items| items.len()).map_err(|failure| failure.error().code)
    }

    #[test]
    fn a_body_is_one_item_or_an_array_of_bounded_length() {
        assert_eq!(count(" {\"a\":1} "), Ok(1));
        assert_eq!(count("[]"), Ok(0));
        assert_eq!(count("[{}, 1, \"x\"]"), Ok(3));
        assert_eq!(count("[1,2,3,4]"), Err(ErrorCode::TooLarge));
        for bad in ["", "  ", "{", "[1,", "[1] x", "{} {}", "nonsense", "\u{feff}{}", "{\"topic\":\"a\",\"type\":\"b\"} {}"] {
            assert_eq!(count(bad), Err(ErrorCode::JsonParse), "{bad}");
        }
        assert_eq!(
            of(b"{\"topic\":\"\xff\"}", 3).map(|items| items.len()).map_err(|failure| failure.error().code),
            Err(ErrorCode::JsonParse)
        );
    }

    #[test]
    fn an_item_is_an_object_and_what_is_wrong_is_said() {
        assert!(read(br#"{"topic":"a","type":"b","more":[1]}"#).is_ok());
        for (json, code, word) in [
            (&br#"["a","b"]"#[..], ErrorCode::InvalidFormat, "object"),
            (b"7", ErrorCode::InvalidFormat, "object"),
            (br#"{"topic":"a"}"#, ErrorCode::InvalidFormat, "`type`"),
            (br#"{"topic":1,"type":"b"}"#, ErrorCode::InvalidFormat, "string"),
            (br#"{"topic":"a","topic":"b","type":"c"}"#, ErrorCode::InvalidFormat, "duplicate"),
            (br#"{"topic":"a","#, ErrorCode::JsonParse, "not JSON"),
            (b"\xff", ErrorCode::JsonParse, "not JSON"),
            (b"{\"topic\":\"\xff\",\"type\":\"b\"}", ErrorCode::JsonParse, "not JSON"),
            (b"{\"topic\":\"a\",\"type\":\"b\",\"unknown\":\"\xff\"}", ErrorCode::JsonParse, "not JSON"),
        ] {
            let refusal = read(json).unwrap_err();
            assert_eq!(refusal.code, code, "{refusal:?}");
            assert!(refusal.message.contains(word), "{refusal:?}");
        }
    }
}
