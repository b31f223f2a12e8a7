//! Errors of the REST interface: one JSON shape, `{"error": {"code", "message", "retryable"}}`.

use axum::Json;
use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use towline_auth::AuthError;
use towline_log::ReadError;
use towline_protocol::{ErrorBody, ErrorCode, Refusal};

/// A request that cannot be answered as asked.
#[derive(Debug, Clone)]
pub struct Failure {
    error: ErrorBody,
    status: StatusCode,
    /// RFC 6750 section 3: what a client without a good token is told.
    challenge: Option<HeaderValue>,
}

/// The body of every error answer.
#[derive(Debug, serde::Serialize, schemars::JsonSchema)]
pub struct ErrorAnswer {
    /// What went wrong.
    pub error: ErrorBody,
}

impl Failure {
    /// A failure with the status that belongs to its code.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self::from(ErrorBody::new(code, message))
    }

    /// A parameter of the query that cannot be understood.
    pub fn parameter(name: &str, code: ErrorCode, why: impl std::fmt::Display) -> Self {
        Self::new(code, format!("`{name}`: {why}"))
    }

    /// Its error.
    #[must_use]
    pub fn error(&self) -> &ErrorBody {
        &self.error
    }
}

/// The header that says when to try again, in whole seconds; one where nothing better is known.
pub(super) fn retry_after(error: &ErrorBody) -> Option<HeaderValue> {
    error.retryable.then(|| HeaderValue::from(error.retry_after_ms.unwrap_or(1_000).div_ceil(1_000)))
}

impl From<ErrorBody> for Failure {
    fn from(error: ErrorBody) -> Self {
        let status = StatusCode::from_u16(error.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { error, status, challenge: None }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::from(ErrorBody::from(refusal))
    }
}

impl From<AuthError> for Failure {
    fn from(error: AuthError) -> Self {
        let mut failure = Self::new(error.code(), error.public_message());
        if failure.status == StatusCode::UNAUTHORIZED {
            let challenge = match error {
                AuthError::Missing => "Bearer realm=\"towline\"".to_owned(),
                // The reasons are fixed texts of ours; none holds a quote or a line break.
                _ => format!("Bearer realm=\"towline\", error=\"invalid_token\", error_description=\"{}\"", error.close_reason()),
            };
            failure.challenge = HeaderValue::try_from(challenge).ok();
        }
        failure
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        // The error names files and places, which are the operator's business.
        tracing::error!(%error, "a read failed");
        Self::new(
            ErrorCode::StorageFailed,
            "the server could not read its log; its operator finds the reason in the server's log",
        )
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let code = self.error.code;
        let wait = retry_after(&self.error);
        let mut response = (self.status, Json(ErrorAnswer { error: self.error })).into_response();
        if let Some(challenge) = self.challenge {
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        if let Some(wait) = wait {
            response.headers_mut().insert(RETRY_AFTER, wait);
        }
        // For `observe`, which counts it.
        response.extensions_mut().insert(code);
        response
    }
}

pub(super) async fn no_route(uri: Uri) -> Failure {
    no_such_route(&uri)
}

pub(super) fn no_such_route(uri: &Uri) -> Failure {
    Failure::new(ErrorCode::NotFound, format!("there is nothing at {}; GET /openapi.json lists what there is", uri.path()))
}

pub(super) async fn no_such_method(method: Method, uri: Uri) -> Failure {
    let mut failure = Failure::new(ErrorCode::InvalidFormat, format!("{} does not take {method}", uri.path()));
    failure.status = StatusCode::METHOD_NOT_ALLOWED;
    failure
}
