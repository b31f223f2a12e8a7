//! The run of one question: begun, kept alive, and obedient. A stop is heard between steps and in the middle of one, acknowledged at
//! once, and waited out if it is not final.

use std::time::Duration;

use anyhow::bail;
use tokio::time::{Interval, interval, sleep};
use towline_client::{
    Client, ErrorCode, Event, NewRun, Publish, PublishError, PublishResult, RunError, StartRequest, Subscription, Update,
};

use crate::agent::AGENT_TYPE;
use crate::question::Question;

/// How often the run says that it is alive: a third of its lease.
const HEARTBEAT: Duration = Duration::from_secs(20);
/// How often a run is tried that may not begin because the brake is engaged.
const BRAKED_PAUSE: Duration = Duration::from_secs(2);

/// A run that was begun.
pub struct Run {
    client: Client,
    id: String,
    answer_to: String,
    control: Subscription,
    heartbeat: Interval,
    state: State,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Running,
    /// A publish was refused, and the stop itself has not been heard yet.
    Refused,
    /// By the stop of this id.
    Stopped {
        stop: String,
        is_final: bool,
        acknowledged: bool,
    },
    Over,
}

impl Run {
    /// Begins the run of a question, as soon as the brake lets it. `None`: there is nothing to do, because it has ended before.
    pub async fn begin(client: &Client, question: &Question) -> anyhow::Result<Option<Self>> {
        let id = question.run_id();
        let user_id = question.answer_to.as_str().trim_start_matches("user:").to_owned();
        let title = Some(question.text.clone());
        let run = NewRun { run_id: id.clone(), user_id, agent_type: Some(AGENT_TYPE.to_owned()), title };
        let mut told = false;
        loop {
            match client.begin_run(&run).await {
                Ok(()) => break,
                // A stop that came while nobody was at work is heard from the control topic.
                Err(RunError::Refused(error)) if error.code == ErrorCode::RunStopped => break,
                Err(RunError::Refused(error)) if error.code == ErrorCode::BrakeEngaged => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::info!(question = question.id, "the brake is engaged: the question waits");
                    }
                }
                Err(RunError::Refused(error)) if error.code == ErrorCode::RunEnded => return Ok(None),
                Err(RunError::Refused(error)) => {
                    tracing::warn!(code = error.code.as_str(), question = question.id, "the run may not begin");
                    return Ok(None);
                }
                Err(RunError::Unreachable(last)) => tracing::warn!(last, "the server is away"),
            }
            sleep(BRAKED_PAUSE).await;
        }
        let control = client.subscribe([(format!("control:{id}"), StartRequest::Earliest)])?;
        let answer_to = question.answer_to.to_string();
        let heartbeat = interval(HEARTBEAT);
        Ok(Some(Self { client: client.clone(), id, answer_to, control, heartbeat, state: State::Running }))
    }

    /// Does something and listens meanwhile.
    pub async fn listening_while<T, E>(&mut self, work: impl Future<Output = Result<T, E>>) -> anyhow::Result<T>
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Ok(done?),
                heard = self.listen() => heard?,
            }
        }
    }

    /// Whether the next step may be said. Acknowledges a stop, and waits until the run may go on if it is not final.
    pub async fn may_go_on(&mut self) -> anyhow::Result<bool> {
        loop {
            match self.state.clone() {
                State::Running => return Ok(true),
                State::Over => return Ok(false),
                State::Stopped { stop, is_final, acknowledged: false } => {
                    self.acknowledge(&stop, is_final).await?;
                    self.state = if is_final { State::Over } else { State::Stopped { stop, is_final, acknowledged: true } };
                }
                State::Stopped { .. } | State::Refused => self.listen().await?,
            }
        }
    }

    /// The server refused a step because the run was stopped.
    pub fn was_refused(&mut self) {
        if self.state == State::Running {
            self.state = State::Refused;
        }
    }

    /// Whether nothing of the run is taken any more.
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// Hears one thing, or says that the run is alive.
    async fn listen(&mut self) -> anyhow::Result<()> {
        tokio::select! {
            update = self.control.next() => match update {
                Some(Update::Event(event)) => self.heard(&event),
                Some(Update::Stopped(reason)) => bail!("the run's control topic cannot be followed: {reason}"),
                Some(_) => {}
                None => bail!("the run's control topic has ended"),
            },
            _ = self.heartbeat.tick() => {
                if let Err(error) = self.client.heartbeat(&self.id).await {
                    tracing::debug!(%error, run = self.id, "no heartbeat");
                }
            }
        }
        Ok(())
    }

    fn heard(&mut self, event: &Event) {
        match &*event.kind {
            "run.stopped" => {
                let is_final = event.data::<serde_json::Value>().is_ok_and(|data| data["final"] == true);
                tracing::info!(run = self.id, is_final, "stopped");
                let acknowledged = matches!(self.state, State::Stopped { acknowledged: true, .. });
                // A final stop of a paused run still wants its end.
                self.state = State::Stopped { stop: event.id.clone(), is_final, acknowledged: acknowledged && !is_final };
            }
            "run.resumed" => {
                tracing::info!(run = self.id, "resumed");
                self.state = State::Running;
            }
            "run.lost" => self.state = State::Over,
            _ => {}
        }
    }

    /// Says that the stop was heard, and that the run is over if it is final. What cannot be said is not repeated: the server has
    /// stopped the run in any case.
    async fn acknowledge(&self, stop: &str, is_final: bool) -> anyhow::Result<()> {
        let event = |kind: &str, title: &str| {
            Publish::new(self.answer_to.as_str(), kind).title(title).agent_type(AGENT_TYPE).run_id(self.id.as_str())
        };
        let title = if is_final { "The librarian stops" } else { "The librarian pauses" };
        let mut events = vec![event("run.stop_acknowledged", title).id(format!("{}:ack:{stop}", self.id))];
        if is_final {
            events.push(event("agent.cancelled", "Stopped before the answer was found").id(format!("{}:cancelled", self.id)));
        }
        match self.client.publish(events).await {
            Ok(results) => {
                for result in results {
                    if let PublishResult::Refused { error, .. } = result {
                        tracing::debug!(code = error.code.as_str(), run = self.id, "an acknowledgement was not taken");
                    }
                }
                Ok(())
            }
            Err(PublishError::Unreachable { last, .. }) => {
                tracing::warn!(last, run = self.id, "the server is away");
                Ok(())
            }
            Err(error) => bail!("cannot acknowledge: {error}"),
        }
    }
}
