//! Where a stream or feed starts, as its query says.

use towline_protocol::{ErrorCode, Position, StartRequest, TopicName, cursor, event, timestamp};

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

/// The names of a list in the query, separated by commas.
pub(super) fn topic_list(list: Option<&str>) -> Vec<&str> {
    list.unwrap_or_default().split(',').map(str::trim).filter(|name| !name.is_empty()).collect()
}

/// Where each of several topics starts: `after` may be a cursor over several topics, or hold for all of them as `since` and `from` do.
pub(super) fn per_topic(params: &Params, topics: Vec<TopicName>) -> Result<Vec<(TopicName, StartRequest)>, Failure> {
    if let Some(positions) = params.text("after")?.and_then(|after| cursor::decode_many(after).ok()) {
        return Ok(from_positions(&positions, topics));
    }
    let start = of_query(params)?.unwrap_or_default();
    Ok(topics.into_iter().map(|topic| (topic, start.clone())).collect())
}

/// Each topic after its position; one that has none begins with the next event.
pub(super) fn from_positions(positions: &[(TopicName, Position)], topics: Vec<TopicName>) -> Vec<(TopicName, StartRequest)> {
    let start = |topic: TopicName| {
        let known = positions.iter().find(|(name, _)| *name == topic);
        let start = known.map_or(StartRequest::Latest, |(_, position)| StartRequest::After(*position));
        (topic, start)
    };
    topics.into_iter().map(start).collect()
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
