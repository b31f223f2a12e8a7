//! People's messages, handed to the application by webhook: `inbox:*` is read from a kept position, each message is posted until the
//! application has taken it, and what finally fails is kept as a dead letter.
//!
//! At least once, in order per user. `schedule`, `verdict`, `progress` and `letters` decide and are pure; `engine` wires them to the log and
//! to `caller`. All of it is one task with its calls beside it; nothing here is on the way of sockets or publishers.

mod address;
mod arrivals;
mod caller;
mod engine;
mod journal;
mod letter;
mod letters;
mod message;
mod progress;
pub mod reading;
mod resolver;
pub mod retry_after;
mod schedule;
mod signature;
mod target;
mod verdict;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use towline_hub::Hub;

pub use caller::Caller;
pub use letter::{Letter, letters_topic};
pub use letters::{LETTERS_MAX, Letters, Open};
pub use verdict::{Outcome, Reason};

use arrivals::Bell;
use engine::Engine;

use crate::shared::Shared;

/// Letters that one request redrives at most.
pub const REDRIVES_MAX: usize = 1_000;
/// Commands that may wait for the engine.
const COMMANDS_MAX: usize = 16;
/// How long the engine rests after something that it cannot go on from, before it begins again from what is kept.
const RESTART_PAUSE: Duration = Duration::from_secs(1);
/// What writing the progress down may take beyond the drain time-out.
const LAST_COMMIT_TIMEOUT: Duration = Duration::from_secs(5);

/// What may be asked of a running webhook. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    commands: mpsc::Sender<Command>,
    letters: Arc<Mutex<Letters>>,
}

/// A running webhook. Dropping it stops it where it stands, as a kill would.
pub struct Webhook {
    engine: JoinHandle<()>,
    drain_timeout: Duration,
}

/// Which letters to deliver once more.
#[derive(Debug, Clone)]
pub enum Which {
    /// All that are open.
    All,
    /// Those of these messages, by their `webhook-id`.
    Ids(Vec<String>),
}

/// What became of a request to redrive.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
pub struct Redriven {
    /// The `webhook-id`s of those that are delivered once more from now on.
    pub redriven: Vec<String>,
    /// Of those asked for: being delivered once more already, or not known.
    pub skipped: Vec<String>,
    /// Open letters that are not being delivered once more yet.
    pub remaining: usize,
}

enum Command {
    Redrive(Which, oneshot::Sender<Redriven>),
    Resume(oneshot::Sender<()>),
}

impl Handle {
    /// Has letters delivered once more; each is marked durably before this resolves.
    /// None: the webhook is ending, or was interrupted; ask again.
    pub async fn redrive(&self, which: Which) -> Option<Redriven> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(Command::Redrive(which, answer)).await.ok()?;
        answered.await.ok()
    }

    /// Goes on after the target said that it wants nothing any more (410). None: the webhook is ending.
    pub async fn resume(&self) -> Option<()> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(Command::Resume(answer)).await.ok()?;
        answered.await.ok()
    }

    /// The open dead letters.
    #[must_use]
    pub fn letters(&self) -> &Mutex<Letters> {
        &self.letters
    }
}

impl Webhook {
    /// Starts to deliver, if a target is configured. Call within a runtime.
    ///
    /// # Errors
    /// What is wrong with the settings: the key, and why. A configuration that was loaded has been checked for it.
    pub fn start(shared: &Arc<Shared>, hub: &Hub) -> Result<Option<Self>, (&'static str, String)> {
        let Some(caller) = Caller::new(&shared.config, &shared.clock)? else { return Ok(None) };
        let (sender, commands) = mpsc::channel(COMMANDS_MAX);
        let letters = Arc::<Mutex<Letters>>::default();
        let handle = Handle { commands: sender, letters: Arc::clone(&letters) };
        let bell = Bell::hung_on(hub);
        tracing::info!(host = caller.host(), "messages are handed to the application by webhook");
        let running = run(Arc::clone(shared), hub.clone(), bell, Arc::new(caller), letters, commands);
        let drain_timeout = shared.config.drain.timeout;
        // One server starts one webhook, so nothing is there yet.
        let _ = shared.webhook.set(handle);
        Ok(Some(Self { engine: tokio::spawn(running), drain_timeout }))
    }

    /// Waits until the calls under way have ended and the progress is written down, after [`Shared::begin_drain`]. Takes at most the
    /// drain time-out and what the log needs.
    pub async fn drained(mut self) {
        let most = self.drain_timeout + LAST_COMMIT_TIMEOUT;
        if tokio::time::timeout(most, &mut self.engine).await.is_err() {
            tracing::warn!("the webhook's progress could not be written down in time; a few messages may be delivered again");
        }
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.engine.abort();
    }
}

/// Runs engines until one has ended in order. One that cannot go on is followed by one that begins with what is kept in the log.
async fn run(
    shared: Arc<Shared>,
    hub: Hub,
    bell: Bell,
    caller: Arc<Caller>,
    letters: Arc<Mutex<Letters>>,
    mut commands: mpsc::Receiver<Command>,
) {
    loop {
        match Engine::start(&shared, &hub, &bell, &caller, &letters).await {
            Ok(engine) => {
                if engine.run(&mut commands).await {
                    return;
                }
            }
            Err(error) => tracing::error!(%error, "the webhook cannot read what it needs; it tries again"),
        }
        if shared.draining() {
            return;
        }
        tokio::time::sleep(RESTART_PAUSE).await;
    }
}
