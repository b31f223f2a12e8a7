//! Reading a request's body with every bound in place: bytes, the pause between two pieces, and the whole.

use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_LENGTH;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use towline_protocol::ErrorCode;

use crate::http::failure::Failure;

/// How many bytes a body may have: what its header declares, or `bytes_max` where it declares nothing.
pub(in crate::http) fn declared_bytes(headers: &HeaderMap, bytes_max: usize) -> Result<usize, Failure> {
    let declared = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()).and_then(|text| text.parse::<usize>().ok());
    match declared {
        Some(bytes) if bytes > bytes_max => Err(too_large(bytes_max)),
        Some(bytes) => Ok(bytes),
        None => Ok(bytes_max),
    }
}

fn too_large(bytes_max: usize) -> Failure {
    Failure::new(
        ErrorCode::TooLarge,
        format!(
            "the body may have at most {bytes_max} bytes; send more events as NDJSON (Content-Type: application/x-ndjson), which has no limit"
        ),
    )
}

/// The next piece of a body, or none at its end.
pub(super) async fn next_piece(body: &mut Body, pause_max: Duration) -> Result<Option<Bytes>, Failure> {
    loop {
        let frame = tokio::time::timeout(pause_max, body.frame()).await;
        let frame = frame.map_err(|_| Failure::new(ErrorCode::InvalidFormat, "the body did not arrive in time"))?;
        match frame {
            None => return Ok(None),
            Some(Err(_)) => return Err(Failure::new(ErrorCode::InvalidFormat, "the body broke off")),
            // Trailers carry nothing that is asked for.
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) if !data.is_empty() => return Ok(Some(data)),
                _ => {}
            },
        }
    }
}

/// A whole body.
pub(in crate::http) async fn collect(
    mut body: Body,
    bytes_max: usize,
    pause_max: Duration,
    whole_max: Duration,
) -> Result<Bytes, Failure> {
    let all = async {
        // Almost every body is one piece, which needs no copy.
        let mut first = Bytes::new();
        let mut collected = BytesMut::new();
        while let Some(piece) = next_piece(&mut body, pause_max).await? {
            if first.len().max(collected.len()) + piece.len() > bytes_max {
                return Err(too_large(bytes_max));
            }
            if first.is_empty() {
                first = piece;
                continue;
            }
            if collected.is_empty() {
                collected.extend_from_slice(&first);
            }
            collected.extend_from_slice(&piece);
        }
        Ok(if collected.is_empty() { first } else { collected.freeze() })
    };
    let late = |_| Failure::new(ErrorCode::InvalidFormat, "the body did not arrive in time");
    tokio::time::timeout(whole_max, all).await.map_err(late)?
}
