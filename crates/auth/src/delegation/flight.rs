//! A question on its way: asked once however many wait for its answer, in a task of its own, so that who goes away cancels it for nobody.

use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::answer::Answer;
use super::breaker::Breaker;
use super::cache::Cache;
use super::call::AskError;
use super::question::Question;
use super::{DelegationStats, Inner};

/// Different questions on their way or waiting for their turn, about 1 KiB each; more are not asked.
const FLIGHTS_MAX: usize = 4_096;
/// A refusal that does not say how long it holds is asked about again soon: rights are given while people wait.
const REFUSAL_TTL_MAX: Duration = Duration::from_secs(5);

type Outcome = Result<Answer, AskError>;

/// What is known and what is on its way.
pub(super) struct State {
    answers: Cache,
    flights: HashMap<Box<str>, watch::Receiver<Option<Outcome>>>,
    /// Turns of the users with questions on their way: as many as flights at most.
    turns: HashMap<Box<str>, Arc<Semaphore>>,
    breaker: Breaker,
    stats: DelegationStats,
    asked: u64,
}

impl State {
    pub(super) fn new(answers_max: usize) -> Self {
        Self {
            answers: Cache::new(answers_max),
            flights: HashMap::new(),
            turns: HashMap::new(),
            breaker: Breaker::default(),
            stats: DelegationStats::default(),
            asked: 0,
        }
    }

    pub(super) fn known(&mut self, key: &str, now: Duration) -> Option<Answer> {
        let answer = self.answers.get(key, now)?;
        self.stats.cached_total += 1;
        Some(answer)
    }

    pub(super) fn stats(&self, now: Duration) -> DelegationStats {
        DelegationStats { answers: self.answers.len() as u64, paused: self.breaker.paused(now), ..self.stats }
    }

    fn count(&mut self, outcome: &Outcome) {
        let stats = &mut self.stats;
        *match outcome {
            Ok(Answer { allow: true, .. }) => &mut stats.allowed_total,
            Ok(_) => &mut stats.refused_total,
            Err(AskError::Timeout) => &mut stats.timeouts_total,
            Err(AskError::Busy) => &mut stats.busy_total,
            Err(AskError::Paused) => &mut stats.paused_total,
            Err(_) => &mut stats.failures_total,
        } += 1;
    }
}

pub(super) async fn ask(inner: &Arc<Inner>, question: &Question<'_>) -> Outcome {
    let mut landing = match begin(inner, question) {
        Ok(landing) => landing,
        Err(settled) => return settled,
    };
    match landing.wait_for(Option::is_some).await {
        Ok(outcome) => outcome.clone().unwrap_or(Err(AskError::Abandoned)),
        Err(_) => Err(AskError::Abandoned),
    }
}

/// The flight to wait for, or what is known already.
fn begin(inner: &Arc<Inner>, question: &Question<'_>) -> Result<watch::Receiver<Option<Outcome>>, Outcome> {
    let key = question.key();
    let now = inner.clock.uptime();
    let mut state = inner.state.lock();
    let state = &mut *state;
    if let Some(answer) = state.known(&key, now) {
        return Err(Ok(answer));
    }
    if let Some(flight) = state.flights.get(&key) {
        return Ok(flight.clone());
    }
    let hindered = if state.flights.len() >= FLIGHTS_MAX {
        Some(AskError::Busy)
    } else {
        (!state.breaker.begin(now)).then_some(AskError::Paused)
    };
    if let Some(error) = hindered {
        state.count(&Err(error));
        return Err(Err(error));
    }
    let (landed, landing) = watch::channel(None);
    state.flights.insert(key.clone(), landing.clone());
    state.asked += 1;
    let turns = state.turns.entry_ref(question.user_id);
    let turn = Arc::clone(turns.or_insert_with(|| Arc::new(Semaphore::new(inner.config.calls_per_user_max))));
    let user = question.user_id.into();
    let flight = Flight { inner: Arc::clone(inner), number: state.asked, key, user, turn: Some(turn), landed };
    tokio::spawn(flight.fly());
    Ok(landing)
}

/// Lands even if its task is dropped with the runtime, so that nobody waits for ever.
struct Flight {
    inner: Arc<Inner>,
    number: u64,
    /// The question, which is also the body's beginning.
    key: Box<str>,
    user: Box<str>,
    turn: Option<Arc<Semaphore>>,
    landed: watch::Sender<Option<Outcome>>,
}

impl Flight {
    async fn fly(self) {
        let outcome = match tokio::time::timeout(self.inner.config.timeout, self.turn()).await {
            Ok(Some(_turn)) => self.call().await,
            Ok(None) | Err(_) => Err(AskError::Busy),
        };
        if let Err(error) = &outcome {
            tracing::warn!(%error, "the application did not say whether something is allowed, so it is not");
        }
        self.land(outcome);
    }

    /// The user's turn, then everybody's.
    async fn turn(&self) -> Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)> {
        let own = Arc::clone(self.turn.as_ref()?).acquire_owned().await.ok()?;
        Some((own, Arc::clone(&self.inner.calls).acquire_owned().await.ok()?))
    }

    async fn call(&self) -> Outcome {
        let unix_ms = self.inner.clock.unix_ms();
        // Unique enough to find a question in two logs: the time and a number.
        let id = format!("ask_{unix_ms:x}_{:x}", self.number);
        self.inner.caller.call(&id, unix_ms, String::from(&*self.key)).await
    }

    fn land(&self, outcome: Outcome) {
        let (config, now) = (&self.inner.config, self.inner.clock.uptime());
        {
            let mut state = self.inner.state.lock();
            state.flights.remove(&self.key);
            let well = match &outcome {
                Ok(_) => Some(true),
                Err(AskError::Busy | AskError::Paused | AskError::Abandoned) => None,
                Err(_) => Some(false),
            };
            state.breaker.ended(well, now);
            state.count(&outcome);
            if let Ok(answer) = &outcome {
                let fallback = if answer.allow { config.ttl } else { config.ttl.min(REFUSAL_TTL_MAX) };
                let ttl = answer.ttl.unwrap_or(fallback).min(config.ttl_max);
                if !ttl.is_zero() {
                    state.answers.put(self.key.clone(), answer.clone(), now + ttl);
                }
            }
        }
        self.landed.send_replace(Some(outcome));
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if self.landed.borrow().is_none() {
            self.land(Err(AskError::Abandoned));
        }
        self.turn = None;
        let mut state = self.inner.state.lock();
        // The table's own is the last one: nobody else asks for this user.
        if state.turns.get(&self.user).is_some_and(|turn| Arc::strong_count(turn) == 1) {
            state.turns.remove(&self.user);
        }
    }
}
