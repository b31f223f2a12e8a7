//! A question as somebody asks it, and the answer's identity.

use serde::Deserialize;
use towline_client::{Event, Position};
use towline_protocol::TopicName;

/// The type of the events that the agent answers.
pub const KIND: &str = "question.asked";
/// A longer question is cut: the rest would not change which words are rare.
const CHARS_MAX: usize = 500;

/// A question that can be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The id of the event that asked, which ties all events of the answer to it.
    pub id: String,
    /// Where it stands in the topic: names the answer's events.
    pub position: Position,
    /// What is asked.
    pub text: String,
    /// Where the answer goes.
    pub answer_to: TopicName,
}

impl Question {
    /// Reads a question; `None` if the event is none, or names nobody who could be answered.
    pub fn from_event(event: &Event) -> Option<Self> {
        #[derive(Deserialize)]
        struct Data {
            question: String,
            user_id: String,
        }
        if event.kind != KIND {
            return None;
        }
        let data: Data = event.data().ok()?;
        Some(Self {
            id: event.id.clone(),
            position: event.position,
            text: data.question.chars().take(CHARS_MAX).collect::<String>().trim().to_owned(),
            answer_to: TopicName::of_user(&data.user_id).ok()?,
        })
    }

    /// The id of the answer's n-th event. The same question gives the same ids in every attempt, so that an attempt after a crash
    /// repeats nothing. It is made from the position, because that is short and unique whatever id the asker chose.
    pub fn step_id(&self, step: usize) -> String {
        format!("{}:{step}", self.run_id())
    }

    /// The name of the work on this question.
    pub fn run_id(&self) -> String {
        format!("librarian-{}", self.position)
    }
}
