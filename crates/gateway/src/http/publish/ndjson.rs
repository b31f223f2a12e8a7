//! Newline-delimited JSON: events are stored while the body still arrives, in memory that does not grow with it.
//!
//! Order is kept: a body's events are appended in the order of its lines. A bad line is refused by itself. If the body breaks off,
//! what came before it is stored and answered, and an unfinished last line is not.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::{self, FuturesOrdered};
use tokio::sync::mpsc;
use towline_auth::{AuthError, Identity};
use towline_protocol::{ErrorBody, ErrorCode, PublishResult, Refusal};

use super::PublishAnswer;
use super::body::next_piece;
use super::items;
use super::lines::{Line, Lines};
use crate::http::failure::Failure;
use crate::publish::{Prepared, Tally};
use crate::shared::Shared;

/// A chunk is appended when its events have this many bytes, even if more lines are at hand.
const CHUNK_BYTES: usize = 256 << 10;
/// Appends that may wait for their acknowledgement while the body is read on.
const CHUNKS_IN_FLIGHT_MAX: usize = 4;
/// Results in a single JSON answer.
const RESULTS_MAX: usize = 10_000;
/// Chunks of results that wait for a client that reads slowly; then the body is not read on either.
const ANSWERS_WAITING_MAX: usize = 4;

/// Takes the body. With `streamed`, the results are NDJSON too, sent as they come about, and a last line with the totals.
pub(super) async fn publish(
    shared: Arc<Shared>,
    identity: Arc<Identity>,
    body: Body,
    streamed: bool,
) -> Result<Response, Failure> {
    let place = shared.reserve_publish_bytes(shared.config.rest.line_bytes_max + CHUNK_BYTES * CHUNKS_IN_FLIGHT_MAX)?;
    let mut intake = Intake::new(shared, identity, body);
    if !streamed {
        let mut answer = PublishAnswer::default();
        while let Some(results) = intake.next().await {
            match results {
                Ok(results) => answer.add(results, RESULTS_MAX),
                Err(failure) => answer.error = Some(failure.error().clone()),
            }
        }
        return Ok(answer.into_response());
    }
    let (sender, receiver) = mpsc::channel::<Bytes>(ANSWERS_WAITING_MAX);
    // A task of its own, because answers are sent while the body still arrives. It ends with the client.
    tokio::spawn(async move {
        let mut tally = Tally::default();
        while let Some(results) = intake.next().await {
            let mut text = Vec::new();
            match results {
                Ok(results) => {
                    tally.add(&results);
                    results.iter().for_each(|result| line(result, &mut text));
                }
                Err(failure) => line(&Broken { error: failure.error() }, &mut text),
            }
            if sender.send(text.into()).await.is_err() {
                return;
            }
        }
        let mut text = Vec::new();
        line(&Totals { stored: tally.stored, duplicates: tally.duplicates, refused: tally.refused }, &mut text);
        // The receiver is gone if the client is; then nobody wants the totals.
        let _ = sender.send(text.into()).await;
        drop(place);
    });
    let chunks = stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|chunk| (Ok::<_, std::convert::Infallible>(chunk), receiver))
    });
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(chunks)).into_response())
}

/// The last line of a streamed answer.
#[derive(serde::Serialize)]
struct Totals {
    stored: u64,
    duplicates: u64,
    refused: u64,
}

/// The line that says why a body was not read to its end.
#[derive(serde::Serialize)]
struct Broken<'a> {
    error: &'a ErrorBody,
}

fn line(value: &impl serde::Serialize, out: &mut Vec<u8>) {
    // Plain structs always serialise, and a Vec takes all bytes.
    let _ = serde_json::to_writer(&mut *out, value);
    out.push(b'\n');
}

type Store = Pin<Box<dyn Future<Output = Vec<PublishResult>> + Send>>;

/// Reads a body and stores its events, both at once.
struct Intake {
    shared: Arc<Shared>,
    identity: Arc<Identity>,
    /// None once it has ended or broken off.
    body: Option<Body>,
    lines: Lines,
    stores: FuturesOrdered<Store>,
    /// Resolves when a server that leaves has waited long enough for the body's end.
    cut_off: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Until when the publisher's rate leaves the rest of the body unread.
    pause: Option<Pin<Box<tokio::time::Sleep>>>,
    broken: Option<Failure>,
}

impl Intake {
    fn new(shared: Arc<Shared>, identity: Arc<Identity>, body: Body) -> Self {
        let lines = Lines::new(shared.config.rest.line_bytes_max);
        let (begun, window) = (shared.drain_begun(), shared.config.drain.window);
        let cut_off = Box::pin(async move {
            begun.await;
            tokio::time::sleep(window).await;
        });
        let stores = FuturesOrdered::new();
        let mut intake = Self { shared, identity, body: Some(body), lines, stores, cut_off, pause: None, broken: None };
        intake.keep_pace(0);
        intake
    }

    /// Counts events that were stored, and reads on when the publisher may publish more.
    fn keep_pace(&mut self, events: usize) {
        let pause = self.shared.limits.publish_streamed(&self.identity, events, self.shared.clock.uptime());
        self.pause = (pause > Duration::ZERO).then(|| Box::pin(tokio::time::sleep(pause)));
    }

    /// The results of the next chunk, in order; at last, why the body broke off, if it did.
    async fn next(&mut self) -> Option<Result<Vec<PublishResult>, Failure>> {
        let pause_max = self.shared.config.rest.body_timeout;
        loop {
            let Some(body) = &mut self.body else {
                return match self.stores.next().await {
                    Some(results) => Some(Ok(results)),
                    None => self.broken.take().map(Err),
                };
            };
            let room = self.stores.len() < CHUNKS_IN_FLIGHT_MAX;
            let paused = self.pause.is_some();
            tokio::select! {
                biased;
                Some(results) = self.stores.next(), if !self.stores.is_empty() => return Some(Ok(results)),
                () = async { if let Some(pause) = &mut self.pause { pause.await } }, if paused => self.pause = None,
                piece = next_piece(body, pause_max), if room && !paused => match piece {
                    // A body may last longer than the token it came with.
                    Ok(Some(_)) if self.identity.expired(self.shared.clock.unix_ms()) => self.break_off(AuthError::Expired.into()),
                    Ok(Some(_)) if self.shared.auth.revocations().revokes(&self.identity) => self.break_off(AuthError::Revoked.into()),
                    Ok(Some(piece)) => {
                        self.lines.push(&piece);
                        self.store_lines(Lines::next).await;
                    }
                    Ok(None) => {
                        self.body = None;
                        self.store_lines(Lines::finish).await;
                    }
                    Err(failure) => self.break_off(failure),
                },
                () = &mut self.cut_off => {
                    self.break_off(Failure::new(ErrorCode::Unavailable, "the server is leaving; publish the rest after it is back"));
                }
            }
        }
    }

    /// Reads no further; what was appended is still answered.
    fn break_off(&mut self, why: Failure) {
        self.body = None;
        self.broken = Some(why);
    }

    /// Appends all lines that `take` gives, in chunks.
    async fn store_lines(&mut self, take: fn(&mut Lines) -> Option<Line>) {
        let settings = &self.shared.config.events;
        let (limits, events_max) = (settings.limits(), settings.batch_events_max);
        let mut chunk = Prepared::default();
        let (mut bytes, mut events) = (0, 0);
        while let Some(line) = take(&mut self.lines) {
            events += 1;
            match &line {
                Line::Text(text) => {
                    bytes += text.len();
                    chunk.push(self.shared.publisher(&self.identity), items::read(text), &limits);
                }
                Line::TooLong => {
                    let max = self.shared.config.rest.line_bytes_max;
                    let refusal = Refusal::new(ErrorCode::TooLarge, format!("a line may have at most {max} bytes"));
                    chunk.push(self.shared.publisher(&self.identity), Err(refusal), &limits);
                }
            }
            if chunk.len() >= events_max || bytes >= CHUNK_BYTES {
                self.store_chunk(std::mem::take(&mut chunk)).await;
                bytes = 0;
            }
        }
        if !chunk.is_empty() {
            self.store_chunk(chunk).await;
        }
        self.keep_pace(events);
    }

    async fn store_chunk(&mut self, mut chunk: Prepared) {
        self.shared.settle(&self.identity, &mut chunk).await;
        self.stores.push_back(Box::pin(self.shared.store(chunk, false)));
    }
}
