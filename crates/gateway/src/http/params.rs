//! The query of a request. Unknown parameters are ignored; known ones are checked, and what is wrong is said.

use std::ops::RangeInclusive;
use std::str::FromStr;

use axum::extract::Query;
use axum::http::Uri;
use towline_protocol::{ErrorCode, Position, cursor};

use super::failure::Failure;

/// A request's parameters, decoded.
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    pub(crate) fn of(uri: &Uri) -> Result<Self, Failure> {
        Query::try_from_uri(uri)
            .map(|Query(pairs)| Self(pairs))
            .map_err(|_| Failure::new(ErrorCode::InvalidFormat, "the query is not percent-encoded text"))
    }

    /// A parameter, or none if it is missing or empty. Given twice it is refused: which one counts would be anybody's guess.
    pub(crate) fn text(&self, name: &str) -> Result<Option<&str>, Failure> {
        let mut found = self.0.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let first = found.next();
        if found.next().is_some() {
            return Err(Failure::parameter(name, ErrorCode::InvalidFormat, "is given more than once"));
        }
        Ok(first.filter(|value| !value.is_empty()))
    }

    pub(crate) fn number(&self, name: &str, default: usize, range: RangeInclusive<usize>) -> Result<usize, Failure> {
        let Some(text) = self.text(name)? else { return Ok(default) };
        let number = usize::from_str(text).ok().filter(|number| range.contains(number));
        number.ok_or_else(|| {
            let why = format!("must be a whole number from {} to {}", range.start(), range.end());
            Failure::parameter(name, ErrorCode::InvalidFormat, why)
        })
    }

    pub(crate) fn flag(&self, name: &str) -> Result<bool, Failure> {
        match self.text(name)? {
            None | Some("false" | "0") => Ok(false),
            Some("true" | "1") => Ok(true),
            Some(_) => Err(Failure::parameter(name, ErrorCode::InvalidFormat, "must be true or false")),
        }
    }

    pub(crate) fn cursor(&self, name: &str) -> Result<Option<Position>, Failure> {
        let Some(token) = self.text(name)? else { return Ok(None) };
        let why = "is not a cursor; pass back the `cursor` of an earlier answer unchanged";
        cursor::decode(token).map(Some).map_err(|_| Failure::parameter(name, ErrorCode::InvalidPosition, why))
    }
}
