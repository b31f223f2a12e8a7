//! The webhook's dead letters: what could not be delivered, why, and once more. For services and operators.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use serde_json::json;
use towline_auth::{AuthMode, IdentityKind};
use towline_protocol::{ErrorCode, Position, cursor, timestamp};

use super::admin::{self, Admin};
use super::credential::identify;
use super::failure::Failure;
use super::feed::within;
use super::params::Params;
use super::publish::body;
use crate::shared::Shared;
use crate::webhook::{Handle, Letter, REDRIVES_MAX, Redriven, Which, letters_topic, reading};

/// A body names letters and nothing else.
const BODY_BYTES_MAX: usize = 256 << 10;

/// One page of open dead letters, oldest first.
#[derive(Debug, serde::Serialize, schemars::JsonSchema)]
pub struct DeadLettersPage {
    /// The letters.
    pub dead_letters: Vec<DeadLetterView>,
    /// How many are open altogether.
    pub total: usize,
    /// There are more behind these.
    pub has_more: bool,
    /// Pass it back to go on.
    pub cursor: String,
}

/// A message that could not be delivered. What it carries stands in the topic `dead-letter:webhook`.
#[derive(Debug, serde::Serialize, schemars::JsonSchema)]
pub struct DeadLetterView {
    /// The message's `webhook-id`.
    pub id: String,
    /// Who sent it.
    pub user_id: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// `refused`, `failed`, `expired`, or `backlog`: its user had too many waiting.
    pub reason: String,
    /// Calls that were made for it.
    pub attempts: u32,
    /// What the last call came to, if one was made: `refused`, `failed`, `busy`, `timeout`, `unreachable`, `internal_address`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_outcome: Option<String>,
    /// The last call's status, if it was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_status: Option<u16>,
    /// When the message was taken, ISO 8601.
    pub taken_at: String,
    /// When it was given up, ISO 8601.
    pub failed_at: String,
    /// Where it stands in `inbox:*`.
    pub position: Position,
    /// How many times it was redriven and failed again.
    pub rounds: u32,
    /// It is being delivered once more right now.
    pub redriving: bool,
}

/// Which letters to deliver once more: `{"all": true}` or `{"ids": ["…"]}`.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RedriveRequest {
    /// All that are open, up to 1,000 per request.
    #[serde(default)]
    pub all: bool,
    /// Those of these messages, up to 1,000.
    #[serde(default)]
    pub ids: Vec<String>,
}

/// The answer to `resume`.
#[derive(Debug, serde::Serialize, schemars::JsonSchema)]
pub struct Resumed {
    /// The webhook delivers.
    pub resumed: bool,
}

pub(super) async fn dead_letters(State(shared): State<Arc<Shared>>, parts: Parts) -> Result<Json<DeadLettersPage>, Failure> {
    let _ = operator(&shared, &parts, admin::require_read).await?;
    let webhook = running(&shared)?;
    let params = Params::of(&parts.uri)?;
    let limit = params.number("limit", 100, 1..=1000)?;
    let after = params.cursor("cursor")?.map_or(0, |position| position.offset);
    let (mut chosen, total, epoch) = {
        let letters = webhook.letters().lock();
        let chosen: Vec<_> =
            letters.after(after).take(limit + 1).map(|(at, open)| (at, letters.before(at), open.redriven_ms)).collect();
        (chosen, letters.len(), letters.before(0).epoch)
    };
    let has_more = chosen.len() > limit;
    chosen.truncate(limit);
    let last = chosen.last().map_or(after, |(offset, ..)| *offset);
    let mut dead_letters = Vec::with_capacity(chosen.len());
    for (offset, before, redriven_ms) in chosen {
        let record = within(&shared, reading::record(&*shared.log, letters_topic(), before, offset)).await??;
        let Some((record, letter)) = record.and_then(|record| {
            let letter: Letter = serde_json::from_slice(record.data()).ok()?;
            Some((record, letter))
        }) else {
            // The retention was faster.
            webhook.letters().lock().close(offset);
            continue;
        };
        dead_letters.push(DeadLetterView {
            id: letter.webhook_id,
            user_id: letter.user_id,
            kind: letter.kind,
            reason: letter.reason,
            attempts: letter.attempts,
            last_outcome: letter.last_outcome,
            last_status: letter.last_status,
            taken_at: timestamp::iso(letter.taken_ms),
            failed_at: timestamp::iso(record.ts_ms()),
            position: letter.position,
            rounds: letter.round,
            redriving: redriven_ms.is_some(),
        });
    }
    Ok(Json(DeadLettersPage { dead_letters, total, has_more, cursor: cursor::encode(Position { epoch, offset: last }) }))
}

pub(super) async fn redrive(State(shared): State<Arc<Shared>>, request: Request) -> Result<Json<Redriven>, Failure> {
    let (parts, body) = request.into_parts();
    let admin = operator(&shared, &parts, admin::require_full).await?;
    let webhook = running(&shared)?;
    let rest = &shared.config.rest;
    let bytes_max = body::declared_bytes(&parts.headers, BODY_BYTES_MAX)?;
    let text = body::collect(body, bytes_max, rest.body_timeout, rest.request_timeout).await?;
    let request: RedriveRequest =
        serde_json::from_slice(&text).map_err(|error| Failure::new(ErrorCode::InvalidFormat, format!("the body: {error}")))?;
    let which = match (request.all, request.ids) {
        (true, ids) if ids.is_empty() => Which::All,
        (false, ids) if (1..=REDRIVES_MAX).contains(&ids.len()) => Which::Ids(ids),
        _ => {
            let why = format!("give either `all`: true, or 1 to {REDRIVES_MAX} `ids`");
            return Err(Failure::new(ErrorCode::InvalidFormat, why));
        }
    };
    let asked = match &which {
        Which::All => json!({ "all": true }),
        Which::Ids(ids) => json!({ "ids": ids.len() }),
    };
    let redriven = within(&shared, webhook.redrive(which)).await?.ok_or_else(interrupted)?;
    if let Some(admin) = admin {
        admin.record(&shared, "webhook.redrive", asked, Ok(json!({ "redriven": redriven.redriven.len() }))).await;
    }
    Ok(Json(redriven))
}

pub(super) async fn resume(State(shared): State<Arc<Shared>>, parts: Parts) -> Result<Json<Resumed>, Failure> {
    let admin = operator(&shared, &parts, admin::require_full).await?;
    within(&shared, running(&shared)?.resume()).await?.ok_or_else(interrupted)?;
    if let Some(admin) = admin {
        admin.record(&shared, "webhook.resume", json!({}), Ok(json!({}))).await;
    }
    Ok(Json(Resumed { resumed: true }))
}

fn running(shared: &Shared) -> Result<&Handle, Failure> {
    shared.webhook.get().ok_or_else(|| Failure::new(ErrorCode::NotFound, "no webhook is configured here (webhook.url)"))
}

fn interrupted() -> Failure {
    Failure::new(ErrorCode::Unavailable, "the webhook is starting or ending; try again")
}

/// Lets in services and operators; of the latter it is written down what they do.
async fn operator(
    shared: &Shared,
    parts: &Parts,
    require: fn(&Shared, &Parts) -> Result<Admin, Failure>,
) -> Result<Option<Admin>, Failure> {
    if admin::shows_key(shared, parts) {
        return require(shared, parts).map(Some);
    }
    let identity = identify(shared, parts, None).await?;
    if identity.kind == IdentityKind::Service || shared.auth.mode() == AuthMode::Development {
        return Ok(None);
    }
    Err(Failure::new(ErrorCode::Forbidden, "this takes a service key or an admin key"))
}
