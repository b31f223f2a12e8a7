//! Placing a client's cursors, and counting whether it gets what it comes back for.

use towline_hub::{Hub, Joined};
use towline_log::ReadError;
use towline_protocol::{StartRequest, TopicName};

use crate::metrics::Metrics;

/// The joins of one request or handshake.
pub struct Joining<'a> {
    hub: &'a Hub,
    metrics: &'a Metrics,
    /// One of its topics goes on from somewhere, which was counted.
    resumes: bool,
}

impl<'a> Joining<'a> {
    pub(super) fn new(hub: &'a Hub, metrics: &'a Metrics) -> Self {
        Self { hub, metrics, resumes: false }
    }

    /// Joins one topic.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub(super) async fn join(&mut self, name: &TopicName, start: &StartRequest) -> Result<Joined, ReadError> {
        let joined = self.hub.join(name, start).await;
        if matches!(start, StartRequest::After(_) | StartRequest::AfterId(_)) {
            let clients = &self.metrics.clients;
            if !std::mem::replace(&mut self.resumes, true) {
                clients.resumptions.inc();
            }
            match &joined {
                Ok(Joined { gap: None, .. }) => clients.recovered_all.inc(),
                Ok(_) => clients.recovered_with_gap.inc(),
                Err(_) => clients.recovered_nothing.inc(),
            };
        }
        joined
    }
}
