//! What the address of a door asks for: topics that come with the door, topics that its query names, and where they start.

use std::sync::Arc;

use http::request::Parts;
use towline_auth::Identity;
use towline_protocol::message::TopicRefusal;
use towline_protocol::{ErrorCode, StartRequest, TopicName};

use super::Doors;
use super::gate::read_failed;
use super::joining::Joining;
use super::requests::not_refused;
use super::start;
use super::ticket::JoinedTopics;
use crate::http::Failure;
use crate::http::credential::identify;
use crate::http::params::Params;

/// Somebody who may come in, and what is followed from the first moment on.
pub struct Entry {
    pub(super) identity: Arc<Identity>,
    /// Comes with the door.
    pub(super) own: Option<(TopicName, StartRequest)>,
    /// Asked for in the address, if anything was.
    pub(super) asked: Option<AskedTopics>,
}

/// Topics that an address asked for.
pub struct AskedTopics {
    allowed: Vec<(TopicName, StartRequest)>,
    refused: Vec<TopicRefusal>,
}

impl Entry {
    /// The native door: nothing is followed before it was asked for.
    pub(super) async fn native(doors: &Doors, parts: &Parts) -> Result<Self, Failure> {
        let params = Params::of(&parts.uri)?;
        let identity = identify(&doors.shared, parts, params.text("user_id")?).await?;
        Ok(Self { identity, own: None, asked: None })
    }

    /// The unified door: the user's own topic.
    pub(super) async fn unified(doors: &Doors, parts: &Parts) -> Result<Self, Failure> {
        let params = Params::of(&parts.uri)?;
        let identity = identify(&doors.shared, parts, params.text("user_id")?).await?;
        let start = start::of_query(&params)?.unwrap_or_default();
        let own = identity.own_topic().map(|topic| (topic, start));
        Ok(Self { identity, own, asked: None })
    }

    /// The feed: the stream belongs to the person in the address, and nobody else's token opens it.
    pub(super) async fn feed(doors: &Doors, parts: &Parts, user_id: &str) -> Result<Self, Failure> {
        let identity = identify(&doors.shared, parts, Some(user_id)).await?;
        if *identity.subject != *user_id {
            return Err(Failure::new(ErrorCode::Forbidden, "this feed belongs to another user"));
        }
        let topic = TopicName::of_user(user_id).map_err(|error| Failure::new(ErrorCode::InvalidTopic, error.to_string()))?;
        let start = start::of_query(&Params::of(&parts.uri)?)?;
        Ok(Self { identity, own: Some((topic, start.unwrap_or_default())), asked: None })
    }

    /// The hub: the user's own topic, and `initial_topics`, each authorised by itself.
    pub(super) async fn hub(doors: &Doors, parts: &Parts) -> Result<Self, Failure> {
        let params = Params::of(&parts.uri)?;
        let identity = identify(&doors.shared, parts, params.text("user_id")?).await?;
        let names = start::topic_list(params.text("initial_topics")?);
        let topics_max = doors.shared.config.sockets.topics_per_connection_max;
        let own = identity.own_topic();
        // One of them may be the user's own, which is followed in any case.
        if names.len() + usize::from(own.is_some()) > topics_max {
            let why = format!("a connection may follow at most {topics_max} topics");
            return Err(Failure::parameter("initial_topics", ErrorCode::TooManyTopics, why));
        }
        let (mut named, mut refused): (Vec<(TopicName, ())>, _) = (Vec::new(), Vec::new());
        for name in names {
            match not_refused(&doors.shared, &identity, name) {
                Ok(name) if named.iter().any(|(other, ())| *other == name) => {}
                Ok(name) => named.push((name, ())),
                Err(refusal) => refused.push(refusal),
            }
        }
        let readable = doors.shared.readable_of(&identity, named, &mut refused).await;
        let allowed: Vec<TopicName> = readable.into_iter().map(|(name, ())| name).collect();
        // A topic has one cursor: what was asked for by name is answered by name.
        let own = own.filter(|own| !allowed.contains(own));
        let starts = start::per_topic(&params, own.iter().cloned().chain(allowed.iter().cloned()).collect())?;
        let mut starts = starts.into_iter();
        let own = own.and_then(|_| starts.next());
        let named = !allowed.is_empty() || !refused.is_empty();
        let asked = named.then(|| AskedTopics { allowed: starts.collect(), refused });
        Ok(Self { identity, own, asked })
    }
}

impl AskedTopics {
    /// Joins those that are allowed.
    pub(super) async fn join(self, joining: &mut Joining<'_>) -> JoinedTopics {
        let mut topics = JoinedTopics { refused: self.refused, ..JoinedTopics::default() };
        for (name, start) in self.allowed {
            let joined = joining.join(&name, &start).await;
            topics.joined.push((name, joined));
        }
        topics
    }
}

/// Joins the topic that comes with a door.
pub(super) async fn join_own(
    joining: &mut Joining<'_>,
    own: Option<(TopicName, StartRequest)>,
) -> Result<Vec<towline_hub::Joined>, Failure> {
    let Some((name, start)) = own else { return Ok(Vec::new()) };
    let joined = joining.join(&name, &start).await.map_err(|error| Failure::from(read_failed(&error)))?;
    Ok(vec![joined])
}
