//! Where a stream or feed starts, as its query says.

use towline_protocol::{ErrorCode, StartRequest, cursor, event, timestamp};

use crate::http::Failure;
use crate::http::params::Params;

/// `after=` (a position, a cursor or an event id), `since=` (a time) or `from=earliest|latest`; none of them: `None`.
pub(crate) fn of_query(params: &Params) -> Result<Option<StartRequest>, Failure> {
    if let Some(after) = params.text("after")? {
        return after_text(after).map(Some);
    }
    if let Some(since) = params.text("since")? {
        let ms = timestamp::parse_ms(since).map_err(|why| Failure::parameter("since", ErrorCode::InvalidPosition, why))?;
        return Ok(Some(StartRequest::Since(ms)));
    }
    match params.text("from")? {
        None => Ok(None),
        Some("latest") => Ok(Some(StartRequest::Latest)),
        Some("earliest") => Ok(Some(StartRequest::Earliest)),
        Some(_) => Err(Failure::parameter("from", ErrorCode::InvalidPosition, "must be `earliest` or `latest`")),
    }
}

/// A position, a cursor or an event id.
pub(super) fn after_text(text: &str) -> Result<StartRequest, Failure> {
    if let Ok(position) = cursor::decode(text) {
        return Ok(StartRequest::After(position));
    }
    if text.len() > event::EVENT_ID_BYTES_MAX {
        return Err(Failure::parameter("after", ErrorCode::InvalidPosition, "is neither a position, a cursor nor an event id"));
    }
    Ok(StartRequest::AfterId(text.into()))
}
