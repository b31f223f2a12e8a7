//! What the application is asked.

use serde::Serialize;
use towline_protocol::TopicName;

use crate::identity::Identity;

/// What somebody wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Be here.
    Connect,
    /// Watch a topic, live or its history.
    Subscribe,
    /// Publish on a topic.
    Publish,
}

/// Whether somebody may do something. What it says is what an answer is kept by.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Question<'a> {
    /// What is wanted.
    pub action: Action,
    /// By whom: the token's `sub`.
    pub user_id: &'a str,
    /// Of which organisation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub org_id: Option<&'a str>,
    /// With which topic; none for [`Action::Connect`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<&'a str>,
}

impl<'a> Question<'a> {
    /// Whether somebody may be here.
    #[must_use]
    pub fn connect(identity: &'a Identity) -> Self {
        Self { action: Action::Connect, user_id: &identity.subject, org_id: identity.org.as_deref(), topic: None }
    }

    /// Whether somebody may watch or publish a topic.
    #[must_use]
    pub fn about(action: Action, identity: &'a Identity, topic: &'a TopicName) -> Self {
        let topic = Some(topic.as_str());
        Self { action, user_id: &identity.subject, org_id: identity.org.as_deref(), topic }
    }

    /// A plain struct of texts always serialises, and equal questions equally.
    pub(super) fn key(&self) -> Box<str> {
        serde_json::to_string(self).unwrap_or_default().into()
    }
}
