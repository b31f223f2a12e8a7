//! The task that delivers: reads ahead, makes calls, writes down what came of them. Decisions are in the pure modules beside; this is the
//! only place that waits.

mod ahead;
mod settle;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use towline_hub::Hub;
use towline_log::{AppendError, Appended, Page, ReadError};
use towline_protocol::TopicName;

use super::arrivals::{Arrivals, Bell};
use super::caller::Caller;
use super::journal::Journal;
use super::letters::Letters;
use super::message::Message;
use super::progress::Progress;
use super::schedule::{Limits, Schedule, Turn, Work};
use super::verdict::{Outcome, Patience};
use super::{Command, reading};
use crate::line_rate::LineRate;
use crate::shared::Shared;

/// The longest the loop sleeps: a test's clock wakes nobody, and gauges of age go on.
const TICK: Duration = Duration::from_millis(250);
/// The pause after a read that failed.
const READ_PAUSE: Duration = Duration::from_secs(1);
/// Lines about failing calls in a second.
const LINES_PER_SECOND_MAX: u32 = 2;

/// The running webhook.
pub(super) struct Engine {
    shared: Arc<Shared>,
    caller: Arc<Caller>,
    arrivals: Arrivals,
    inbox: TopicName,
    patience: Patience,
    schedule: Schedule,
    progress: Progress,
    journal: Journal,
    letters: Arc<Mutex<Letters>>,
    tasks: JoinSet<Happened>,
    /// There is more to read.
    behind: bool,
    reading: bool,
    read_not_before: Duration,
    /// The target wants nothing any more.
    gone: bool,
    leaving: bool,
    lines: LineRate,
}

/// What a task beside the loop came to.
enum Happened {
    Read(Result<Page, ReadError>),
    Called(Turn, Called),
    Appended(Result<Vec<Appended>, AppendError>),
}

enum Called {
    /// The call was made.
    Made(Message, Outcome, Duration),
    /// There is no such record any more.
    Trimmed,
    /// The log could not be read.
    Unreadable(ReadError),
}

impl Engine {
    /// Begins with what is kept in the log.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub async fn start(
        shared: &Arc<Shared>,
        hub: &Hub,
        bell: &Bell,
        caller: &Arc<Caller>,
        letters: &Arc<Mutex<Letters>>,
    ) -> Result<Self, ReadError> {
        let settings = &shared.config.webhook;
        let inbox = TopicName::all_inboxes();
        // Watched first, so that nothing falls between what is read and what is heard of.
        let arrivals = Arrivals::of(hub, bell, &inbox).await?;
        let loaded = reading::letters(&*shared.log).await?;
        *letters.lock() = loaded;
        let limits = Limits {
            waiting_max: settings.waiting_max,
            waiting_per_user_max: settings.waiting_per_user_max,
            concurrency_max: settings.concurrency_max.max(2),
        };
        let mut schedule = Schedule::new(limits);
        for (offset, open) in letters.lock().after(0) {
            if let Some(since_ms) = open.redriven_ms {
                schedule.offer(&open.user, Work::Letter(offset), since_ms);
            }
        }
        let progress = Progress::resuming(reading::progress(&*shared.log).await?);
        let patience = Patience {
            attempts_max: settings.attempts_max,
            retry_for: settings.retry_for,
            delay: settings.retry_delay,
            delay_max: settings.retry_delay_max,
        };
        Ok(Self {
            shared: Arc::clone(shared),
            caller: Arc::clone(caller),
            arrivals,
            inbox,
            patience,
            schedule,
            progress,
            journal: Journal::default(),
            letters: Arc::clone(letters),
            tasks: JoinSet::new(),
            behind: true,
            reading: false,
            read_not_before: Duration::ZERO,
            gone: false,
            leaving: false,
            lines: LineRate::new(LINES_PER_SECOND_MAX),
        })
    }

    /// Runs until the server drains. False: it cannot go on, and another one should begin with what is kept.
    pub async fn run(mut self, commands: &mut mpsc::Receiver<Command>) -> bool {
        let shared = Arc::clone(&self.shared);
        let drain_begun = shared.drain_begun();
        tokio::pin!(drain_begun);
        while !self.leaving {
            let now = self.now();
            self.read(now);
            self.call(now);
            self.write(now);
            self.gauge();
            let pause = self.pause(now);
            tokio::select! {
                () = &mut drain_begun => self.leaving = true,
                Some(happened) = self.tasks.join_next() => {
                    let Ok(happened) = happened else { return false };
                    if !self.happened(happened) {
                        return false;
                    }
                }
                () = self.arrivals.heard() => self.look(),
                Some(command) = commands.recv() => self.command(command),
                () = tokio::time::sleep(pause) => self.look(),
            }
        }
        self.leave().await
    }

    /// Lets the calls under way end, and writes down what is done.
    async fn leave(mut self) -> bool {
        let deadline = tokio::time::sleep(self.shared.config.drain.timeout);
        tokio::pin!(deadline);
        let mut late = false;
        loop {
            let now = self.now();
            if late || self.schedule.under_way() == 0 {
                // Written at once: nobody waits for company any more.
                self.write(now.max(self.journal.due_at().unwrap_or_default()));
                if self.journal.is_settled() {
                    return true;
                }
            }
            tokio::select! {
                () = &mut deadline, if !late => late = true,
                happened = self.tasks.join_next() => {
                    let Some(Ok(happened)) = happened else { return true };
                    let refused = matches!(happened, Happened::Appended(Err(_)));
                    if !self.happened(happened) || refused {
                        return true;
                    }
                }
            }
        }
    }

    fn now(&self) -> Duration {
        self.shared.clock.uptime()
    }

    fn pause(&self, now: Duration) -> Duration {
        // While the target wants nothing, nobody's time comes.
        let retry = if self.gone { None } else { self.schedule.wake_at() };
        let wakes = [retry, self.journal.due_at()];
        let next = wakes.into_iter().flatten().min().map_or(TICK, |at| at.saturating_sub(now));
        // Never zero: what is due and finds no place yet must not spin.
        next.clamp(Duration::from_millis(1), TICK)
    }

    /// Begins as many calls as there are places.
    fn call(&mut self, now: Duration) {
        if self.gone {
            return;
        }
        while let Some(turn) = self.schedule.next(now) {
            let (log, caller) = (Arc::clone(&self.shared.log), Arc::clone(&self.caller));
            let before = match turn.work {
                Work::Message(offset) => self.progress.before(offset),
                Work::Letter(offset) => self.letters.lock().before(offset),
            };
            let clock = self.shared.clock.clone();
            self.tasks.spawn(async move {
                let called = match reading::message(&*log, turn.work, before).await {
                    Err(error) => Called::Unreadable(error),
                    Ok(None) => Called::Trimmed,
                    Ok(Some(message)) => {
                        let began = clock.uptime();
                        let outcome = caller.call(&message).await;
                        Called::Made(message, outcome, clock.uptime().saturating_sub(began))
                    }
                };
                Happened::Called(turn, called)
            });
        }
    }

    fn write(&mut self, now: Duration) {
        if let Some(events) = self.journal.next(now, &mut self.progress) {
            let append = self.shared.log.append(events);
            self.tasks.spawn(async move { Happened::Appended(append.await) });
        }
    }

    /// False: it cannot go on.
    fn happened(&mut self, happened: Happened) -> bool {
        match happened {
            Happened::Read(Ok(page)) => return self.page(&page),
            Happened::Read(Err(error)) => {
                tracing::error!(%error, "messages for the webhook cannot be read; it tries again");
                self.reading = false;
                self.read_not_before = self.now() + READ_PAUSE;
            }
            Happened::Called(turn, called) => self.called(turn, called),
            Happened::Appended(Ok(appended)) => self.appended(&appended),
            Happened::Appended(Err(error)) => {
                tracing::error!(%error, "the webhook's progress cannot be written down; it tries again");
                self.journal.refused(self.now());
            }
        }
        true
    }

    fn gauge(&self) {
        let metrics = &self.shared.metrics.webhook;
        let head = self.arrivals.head().map_or(0, |head| head.offset);
        let unread = head.saturating_sub(self.progress.read_position().offset);
        metrics.lag.set(unread as i64 + self.progress.unfinished() as i64);
        metrics.in_flight.set(self.schedule.under_way() as i64);
        metrics.dead_letters_open.set(self.letters.lock().len() as i64);
        metrics.stopped.set(i64::from(self.gone));
        let oldest = self.progress.oldest_ms().map_or(0, |since| self.shared.clock.unix_ms().saturating_sub(since));
        metrics.oldest_seconds.set((oldest / 1000) as i64);
    }
}
