//! Doors: routes that speak a dialect, all over the same connections, cursors and grants.
//!
//! A [`Door`] is data. [`Gate`] holds what every connection does, whatever its door: one per reactor thread, plain synchronous code,
//! tested without a socket where it decides something. Nothing here knows which engine keeps the log.

mod arrivals;
mod catch_up;
mod delivery;
mod desk;
mod door;
mod drain;
mod encoding;
mod entry;
mod gate;
mod headcount;
mod joining;
mod local_topics;
mod messages;
mod places;
mod publishing;
mod recheck;
mod requests;
mod session;
mod start;
mod stream;
mod survey;
mod tap;
mod tasks;
mod ticket;
mod upgrade;
mod view;
mod watch;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use towline_clock::Clock;
use towline_hub::Hub;
use towline_sockets::websocket::Limits;
use towline_sockets::{Mailbox, Reactor};

pub use desk::Heads;
pub use desk::Place;
pub use door::Door;
use gate::{Gate, Note};
pub(crate) use requests::notice as gap_notice;
pub(crate) use start::of_query as start_of_query;
pub use survey::{Filter, Surveyed, Task};
use tap::Taps;
pub use tap::{Drawn, Tap};
pub use view::{ClosedView, ConnectionState, ConnectionView, SubscriptionView};

use crate::shared::Shared;

/// All doors of a server, and the reactor behind them.
pub struct Doors {
    shared: Arc<Shared>,
    hub: Hub,
    mailboxes: Vec<Mailbox<Gate>>,
    taps: Taps,
    next: AtomicUsize,
}

impl Doors {
    /// Starts the reactor. Call within a runtime: slow work of the gates goes there.
    ///
    /// # Errors
    /// If the system gives no threads or readiness queues.
    pub fn start(shared: &Arc<Shared>) -> std::io::Result<(Arc<Self>, DoorsReactor)> {
        let sockets = &shared.config.sockets;
        let hub_settings = towline_hub::Settings {
            window_events_max: sockets.window_events,
            window_bytes_max: sockets.window_bytes,
            page_bytes_max: sockets.catch_up_page_bytes,
            pages_in_flight_max: sockets.catch_ups_max,
        };
        let hub = Hub::new(Arc::clone(&shared.log), encoding::encoder(sockets), hub_settings);
        let settings = towline_sockets::Settings {
            workers: sockets.workers,
            limits: Limits { message_bytes_max: sockets.message_bytes_max, ..Limits::default() },
            replies_bytes_max: sockets.outbox_bytes_max,
            ..towline_sockets::Settings::default()
        };
        let runtime = tokio::runtime::Handle::current();
        let clock: &Clock = &shared.clock;
        let colleagues = Arc::new(OnceLock::new());
        let reactor = Reactor::start(&settings, clock, |number, mailbox| {
            Gate::new(Arc::clone(shared), hub.clone(), runtime.clone(), mailbox, number, Arc::clone(&colleagues))
        })?;
        let mailboxes = reactor.mailboxes().to_vec();
        // Set once, before anybody arrives.
        let _ = colleagues.set(mailboxes.clone());
        let taps = Taps::new(&hub);
        let doors = Self { shared: Arc::clone(shared), hub, mailboxes, taps, next: AtomicUsize::new(0) };
        Ok((Arc::new(doors), DoorsReactor(reactor)))
    }

    /// The routes of all doors.
    pub fn routes(self: &Arc<Self>) -> Router<Arc<Shared>> {
        Router::new()
            .route(door::NATIVE.path, get(upgrade::native_or_unified))
            .route(door::FEED.path, get(upgrade::feed))
            .route(door::HUB.path, get(upgrade::hub))
            .route(door::SSE.path, get(stream::open))
            .route_layer(from_fn_with_state(Arc::clone(&self.shared), arrivals::admit))
            .merge(crate::http::admin::routes_with_doors())
            .with_state(Arc::clone(self))
    }

    /// Tells every client to come back elsewhere or later, and closes the connections spread over the drain window.
    pub fn drain(&self) {
        for mailbox in &self.mailboxes {
            mailbox.note(Note::Drain);
        }
    }

    /// What it shares with the rest of the server.
    #[must_use]
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Where topics are watched.
    #[must_use]
    pub(crate) fn hub(&self) -> &Hub {
        &self.hub
    }

    /// How many topics are watched.
    #[must_use]
    pub fn watched_topics(&self) -> usize {
        self.hub.watched_topics()
    }

    fn mailbox(&self) -> &Mailbox<Gate> {
        let number = self.next.fetch_add(1, Ordering::Relaxed) % self.mailboxes.len();
        &self.mailboxes[number]
    }
}

/// The threads behind the doors; stop them last.
pub struct DoorsReactor(Reactor<Gate>);

impl DoorsReactor {
    /// Drops what is still connected and waits for the threads.
    pub fn stop(self) {
        self.0.stop();
    }
}
