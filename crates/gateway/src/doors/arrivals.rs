//! Before every door: whether the client's address may open one more connection now.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::http::Failure;
use crate::server::Accepted;
use crate::shared::Shared;

pub(super) async fn admit(State(shared): State<Arc<Shared>>, mut request: Request, next: Next) -> Response {
    if let Some(accepted) = request.extensions_mut().get_mut::<Accepted>() {
        let now = shared.clock.uptime();
        match shared.limits.addresses.shake_hands(accepted.peer.ip(), accepted.client, now) {
            Ok(None) => {}
            Ok(Some(place)) => accepted.place = accepted.place.clone().of_client(place),
            Err((reason, error)) => {
                shared.metrics.limits.refused(reason);
                if shared.refusal_lines.take(&shared.clock).is_some() {
                    tracing::info!(client = %accepted.client, reason, "an address was refused; if it is a proxy, name it in proxies.trusted");
                }
                return Failure::from(error).into_response();
            }
        }
    }
    next.run(request).await
}
