//! What calls, appends and requests come to.

use std::sync::Arc;
use std::time::Duration;

use towline_log::Appended;

use super::{Called, Engine, READ_PAUSE};
use crate::webhook::journal::Entry;
use crate::webhook::letter::{self, REDELIVERED, REDRIVEN};
use crate::webhook::letters::Open;
use crate::webhook::message::Message;
use crate::webhook::schedule::{Turn, Work};
use crate::webhook::verdict::{Outcome, Reason, Tried, Verdict, judge};
use crate::webhook::{Command, REDRIVES_MAX, Redriven};

impl Engine {
    pub(super) fn called(&mut self, turn: Turn, called: Called) {
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
    pub(super) fn tell(&self, turn: &Turn, message: &Message, outcome: Outcome, verdict: Verdict) {
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

    pub(super) fn done(&mut self, turn: &Turn) {
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
    pub(super) fn dead(
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
    pub(super) fn appended(&mut self, appended: &[Appended]) {
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

    pub(super) fn command(&mut self, command: Command) {
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
}
