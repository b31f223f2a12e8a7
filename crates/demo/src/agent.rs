//! The agent: takes questions in order, works on several at once, publishes each step, and remembers what is answered.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::task::JoinSet;
use towline_client::{Client, ErrorCode, Position, Publish, PublishError, PublishResult, StartRequest, Update};

use crate::progress::Progress;
use crate::question::Question;
use crate::research::{Research, Step};
use crate::run::Run;

/// The topic on which questions are asked.
pub const QUESTIONS: &str = "agent:demo";
/// What the agent calls itself.
pub const AGENT_TYPE: &str = "librarian";
/// Questions worked on at once. The next waits in the server's log.
const AT_ONCE_MAX: usize = 4;
/// An agent without a past answers what was asked in the last minutes: the server recognises repeated ids that long, so that an agent
/// that lost its state folder does not answer old questions again.
const LOOK_BACK: Duration = Duration::from_secs(10 * 60);

/// How the agent works.
#[derive(Debug, Clone)]
pub struct Agent {
    /// The server.
    pub client: Client,
    /// Files and folders to search.
    pub docs: Vec<PathBuf>,
    /// The pause between two steps, so that a person can follow.
    pub pace: Duration,
}

impl Agent {
    /// Answers questions until the server refuses for good. Dropping the future leaves open questions to the next start.
    ///
    /// # Errors
    /// The server refuses the agent, or the progress cannot be saved.
    pub async fn run(self, mut progress: Progress, now_ms: u64) -> anyhow::Result<()> {
        let look_back = u64::try_from(LOOK_BACK.as_millis()).unwrap_or(u64::MAX);
        let start = progress.after().map_or(StartRequest::Since(now_ms.saturating_sub(look_back)), StartRequest::After);
        let mut questions = self.client.subscribe([(QUESTIONS, start)]).context("cannot ask for questions")?;
        let mut work = JoinSet::new();
        loop {
            tokio::select! {
                Some(done) = work.join_next() => {
                    let position: Position = done.context("the work on a question failed")??;
                    // A few hundred bytes per question: not worth a thread of its own.
                    progress.finished(position)?;
                }
                update = questions.next(), if work.len() < AT_ONCE_MAX => match update {
                    Some(Update::Event(event)) => {
                        if progress.came(event.position) {
                            match Question::from_event(&event) {
                                Some(question) => {
                                    tracing::info!(question = question.id, "a question came");
                                    work.spawn(self.clone().answer(question));
                                }
                                None => progress.finished(event.position)?,
                            }
                        }
                    }
                    Some(Update::Stopped(reason)) => bail!("{reason}"),
                    Some(Update::Connected { resumed, .. }) => tracing::info!(resumed, "connected"),
                    Some(Update::Disconnected { reason, retry_in, .. }) => tracing::warn!(reason, ?retry_in, "disconnected"),
                    Some(Update::Gap(gap)) => {
                        tracing::warn!(reason = ?gap.reason, resume_after = %gap.resume_after, "questions were lost from the log");
                    }
                    Some(other) => tracing::debug!(?other, "update"),
                    None => bail!("the subscription ended"),
                },
            }
        }
    }

    /// Works on one question to its end, as one run, and gives its position back.
    async fn answer(self, question: Question) -> anyhow::Result<Position> {
        let Some(mut run) = Run::begin(&self.client, &question).await? else { return Ok(question.position) };
        let mut research = Research::new(&question.text, self.docs.clone());
        for number in 0.. {
            // A step that the stop comes into is finished, and said only if the run goes on.
            let step = tokio::task::spawn_blocking(move || {
                let step = research.step();
                (research, step)
            });
            let (back, step) = run.listening_while(step).await?;
            research = back;
            let Some(step) = step else { break };
            while run.may_go_on().await? {
                match self.publish(&question, number, &step).await? {
                    Said::Stored => break,
                    Said::Stopped => run.was_refused(),
                    Said::Over => return Ok(question.position),
                }
            }
            if run.is_over() {
                break;
            }
            run.listening_while(async {
                tokio::time::sleep(self.pace).await;
                Ok::<_, std::convert::Infallible>(())
            })
            .await?;
        }
        Ok(question.position)
    }

    /// Publishes a step, however long the server is away.
    async fn publish(&self, question: &Question, number: usize, step: &Step) -> anyhow::Result<Said> {
        let event = Publish::new(question.answer_to.as_str(), step.kind)
            .id(question.step_id(number))
            .title(step.title.as_str())
            .severity(step.severity)
            .data(step.data.clone())
            .agent_type(AGENT_TYPE)
            .run_id(question.run_id())
            .correlation_id(question.id.as_str());
        loop {
            match self.client.publish([event.clone()]).await.as_deref() {
                Ok([PublishResult::Refused { error, .. }]) if error.retryable => {
                    tracing::warn!(code = error.code.as_str(), "the server takes no events at present");
                }
                Ok([PublishResult::Refused { error, .. }]) if error.code == ErrorCode::RunStopped => return Ok(Said::Stopped),
                Ok([PublishResult::Refused { error, .. }]) => {
                    tracing::warn!(code = error.code.as_str(), question = question.id, "the answer may not be published");
                    return Ok(Said::Over);
                }
                Ok(_) => return Ok(Said::Stored),
                Err(PublishError::Unreachable { last, .. }) => tracing::warn!(last, "the server is away"),
                Err(error) => bail!("cannot publish: {error}"),
            }
        }
    }
}

/// What became of a step.
enum Said {
    /// It stands in the log.
    Stored,
    /// The run was stopped.
    Stopped,
    /// Nothing of this run is taken any more.
    Over,
}
