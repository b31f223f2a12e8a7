//! The task that delivers: reads ahead, makes calls, writes down what came of them. Decisions are in the pure modules beside; this is the
//! only place that waits.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use towline_hub::Hub;
use towline_log::{AppendError, Appended, Direction, Page, Read, ReadError, Start};
use towline_protocol::TopicName;

use super::arrivals::{Arrivals, Bell};
use super::caller::Caller;
use super::journal::{Entry, Journal};
use super::letter::{self, REDELIVERED, REDRIVEN};
use super::letters::{Letters, Open};
use super::message::{Message, sender};
use super::progress::Progress;
use super::schedule::{Limits, Schedule, Turn, Work};
use super::verdict::{Outcome, Patience, Reason, Tried, Verdict, judge};
use super::{Command, REDRIVES_MAX, Redriven, reading};
use crate::line_rate::LineRate;
use crate::shared::Shared;

/// Messages of one page that is read ahead.
const PAGE_EVENTS_MAX: usize = 512;
/// Bytes of one page.
const PAGE_BYTES_MAX: usize = 1 << 20;
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
        let wakes = [self.schedule.wake_at(), self.journal.due_at()];
        let next = wakes.into_iter().flatten().min().map_or(TICK, |at| at.saturating_sub(now));
        // Never zero: what is due and finds no place yet must not spin.
        next.clamp(Duration::from_millis(1), TICK)
    }

    /// What is to be read after the last message.
    fn look(&mut self) {
        let read_to = self.progress.read_position();
        self.behind |= self.arrivals.head().is_some_and(|head| head.epoch != read_to.epoch || head.offset > read_to.offset);
    }

    /// Reads a page ahead, if all of it finds a place.
    fn read(&mut self, now: Duration) {
        let room = self.schedule.room() >= PAGE_EVENTS_MAX.min(self.shared.config.webhook.waiting_max)
            && self.journal.waiting() < PAGE_EVENTS_MAX;
        if !self.behind || self.reading || self.gone || !room || now < self.read_not_before {
            return;
        }
        self.reading = true;
        let read = Read {
            topic: self.inbox.clone(),
            start: Start::At(self.progress.read_position()),
            direction: Direction::Forward,
            events_max: PAGE_EVENTS_MAX,
            bytes_max: PAGE_BYTES_MAX,
        };
        let page = self.shared.log.read(read);
        self.tasks.spawn(async move { Happened::Read(page.await) });
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

    /// Takes in what was read.
    fn page(&mut self, page: &Page) -> bool {
        self.reading = false;
        // An empty topic gets its epoch with its first event; nothing is missing then.
        let first = self.progress.read_position().offset == 0;
        if let Some(gap) = page.gap
            && first
            && gap.resume_after.offset == 0
        {
            self.progress = Progress::starting_after(gap.resume_after);
        } else if let Some(gap) = page.gap {
            let metrics = &self.shared.metrics.webhook;
            metrics.gaps.inc();
            tracing::error!(reason = ?gap.reason, from = %self.progress.read_position(), to = %gap.resume_after, "messages that were not delivered yet are gone from the log");
            if gap.resume_after.epoch != self.progress.read_position().epoch {
                // Offsets of the former history mean nothing any more.
                let idle = self.progress.unfinished() == 0;
                self.progress = Progress::starting_after(gap.resume_after);
                self.journal.progress_changed();
                if !idle {
                    return false;
                }
            }
        }
        let shared = Arc::clone(&self.shared);
        let wanted = &shared.config.webhook.types;
        for record in &page.records {
            let offset = record.offset();
            if !self.progress.read(offset, record.ts_ms()) {
                continue;
            }
            if !wanted.is_empty() && !wanted.iter().any(|kind| kind == record.kind()) {
                self.progress.finish(offset);
                self.shared.metrics.webhook.unwanted.inc();
                continue;
            }
            let user = sender(record.data());
            if self.schedule.takes(&user) {
                self.schedule.offer(&user, Work::Message(offset), record.ts_ms());
            } else {
                let message = Message::of_record(record, page.epoch);
                self.dead(None, Work::Message(offset), &message, Reason::Backlog, 0, None);
            }
        }
        self.progress.read_to(page.to_position());
        self.journal.progress_changed();
        self.behind = !page.complete;
        if page.complete {
            self.look();
        }
        true
    }

    fn called(&mut self, turn: Turn, called: Called) {
        let now = self.now();
        let (message, outcome, took) = match called {
            Called::Made(message, outcome, took) => (message, outcome, took),
            Called::Unreadable(error) => {
                tracing::error!(%error, "a message for the webhook cannot be read; it tries again");
                self.schedule.failed(&turn.user, false, now + READ_PAUSE);
                return;
            }
            Called::Trimmed => {
                tracing::error!(work = ?turn.work, "a message that was not delivered yet is gone from the log");
                self.shared.metrics.webhook.gaps.inc();
                self.done(&turn);
                return;
            }
        };
        let age = Duration::from_millis(self.shared.clock.unix_ms().saturating_sub(turn.since_ms));
        let metrics = &self.shared.metrics.webhook;
        metrics.called(outcome, took);
        let tried = Tried { attempts: turn.attempt, answered: turn.answered, age };
        let verdict = judge(outcome, tried, &self.patience, fastrand::f64());
        self.tell(&turn, &message, outcome, verdict);
        match verdict {
            Verdict::Delivered => {
                metrics.delivered_after.observe(age.as_secs_f64());
                match turn.work {
                    Work::Message(_) => self.done(&turn),
                    Work::Letter(letter) => {
                        self.schedule.leave(&turn.user);
                        let event = letter::mark(REDELIVERED, letter, &message.id);
                        self.journal.push(Entry::Redelivered { user: turn.user, letter, event });
                    }
                }
            }
            Verdict::Again { after, answered } => {
                metrics.retried.inc();
                self.schedule.failed(&turn.user, answered, now + after);
            }
            Verdict::Dead(reason) => {
                self.schedule.leave(&turn.user);
                self.dead(Some(turn.user), turn.work, &message, reason, turn.attempt, Some(outcome));
            }
            Verdict::Gone => {
                self.schedule.given_back(&turn.user);
                if !std::mem::replace(&mut self.gone, true) {
                    tracing::error!(
                        host = self.caller.host(),
                        "the webhook's target answers 410, so it wants nothing any more: nothing is delivered until `towline webhook resume`, or a restart; messages wait in the log"
                    );
                }
            }
        }
    }

    /// A line about a call, with what leads to it and nothing that it carries. Failures are bounded, successes are for who wants them.
    fn tell(&self, turn: &Turn, message: &Message, outcome: Outcome, verdict: Verdict) {
        let (class, status) = (outcome.class(), outcome.status());
        if matches!(verdict, Verdict::Delivered) {
            tracing::debug!(trace_id = &*message.id, status, attempt = turn.attempt, "message delivered");
        } else if let Some(left_out) = self.lines.take(&self.shared.clock) {
            tracing::warn!(
                trace_id = &*message.id,
                class,
                status,
                attempt = turn.attempt,
                left_out,
                ?verdict,
                "a webhook call failed"
            );
        }
    }

    fn done(&mut self, turn: &Turn) {
        match turn.work {
            Work::Message(offset) => {
                self.progress.finish(offset);
                self.journal.progress_changed();
            }
            Work::Letter(offset) => self.letters.lock().close(offset),
        }
        self.schedule.finished(&turn.user);
    }

    /// Something becomes a dead letter; its line goes on once that is durable.
    fn dead(
        &mut self,
        line: Option<Arc<str>>,
        work: Work,
        message: &Message,
        reason: Reason,
        attempts: u32,
        last: Option<Outcome>,
    ) {
        let replaces = match work {
            Work::Letter(offset) => Some(offset),
            Work::Message(_) => None,
        };
        self.shared.metrics.webhook.dead(reason);
        let event = letter::letter(message, reason, attempts, last, replaces);
        let sender = line.clone().unwrap_or_else(|| (&*message.user).into());
        self.journal.push(Entry::Dead { user: line, sender, work, webhook_id: message.id.clone(), event });
    }

    /// What was written down takes effect.
    fn appended(&mut self, appended: &[Appended]) {
        let entries = self.journal.written(self.now());
        let now_ms = self.shared.clock.unix_ms();
        let mut letters = self.letters.lock();
        let mut places = appended.iter();
        for entry in entries {
            let place = places.by_ref().take(entry.events().len()).last();
            if let Some(place) = place {
                letters.epoch = Some(place.position.epoch);
            }
            match entry {
                Entry::Dead { user, sender, work, webhook_id, .. } => {
                    let replaces = if let Work::Letter(offset) = work { Some(offset) } else { None };
                    if let Some(place) = place {
                        letters.add(place.position.offset, Open { webhook_id, user: sender, redriven_ms: None }, replaces);
                    }
                    if let Some(user) = user {
                        self.schedule.finished(&user);
                    }
                }
                Entry::Redelivered { user, letter, .. } => {
                    letters.close(letter);
                    self.schedule.finished(&user);
                }
                Entry::Redrive { letters: offsets, answer, redriven, .. } => {
                    for offset in offsets {
                        if let Some((_, open)) = letters.after(offset - 1).next().filter(|(at, _)| *at == offset) {
                            self.schedule.offer(&open.user, Work::Letter(offset), now_ms);
                        }
                    }
                    // Whoever asked may have gone; the letters are delivered all the same.
                    let _ = answer.send(redriven);
                }
            }
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Resume(answer) => {
                if std::mem::replace(&mut self.gone, false) {
                    tracing::info!(host = self.caller.host(), "the webhook was resumed");
                }
                let _ = answer.send(());
            }
            Command::Redrive(which, answer) => {
                let mut letters = self.letters.lock();
                let chosen = letters.choose(&which, self.schedule.room().min(REDRIVES_MAX));
                let events = chosen.letters.iter().map(|(offset, id)| letter::mark(REDRIVEN, *offset, id)).collect::<Vec<_>>();
                let offsets: Vec<_> = chosen.letters.iter().map(|(offset, _)| *offset).collect();
                // Marked in memory at once, so that a second request meanwhile does not choose them too.
                offsets.iter().for_each(|offset| letters.redriven(*offset, self.shared.clock.unix_ms()));
                drop(letters);
                let redriven = Redriven {
                    redriven: chosen.letters.into_iter().map(|(_, id)| id.into()).collect(),
                    skipped: chosen.skipped,
                    remaining: chosen.remaining,
                };
                if events.is_empty() {
                    let _ = answer.send(redriven);
                } else {
                    self.journal.push(Entry::Redrive { letters: offsets, events, answer, redriven });
                }
            }
        }
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
