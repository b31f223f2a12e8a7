//! Hears of new messages in `inbox:*`, side by side with services that follow the same topic.

use std::sync::Arc;

use tokio::sync::Notify;
use towline_hub::{Attachment, Hub, Listener, ListenerId};
use towline_log::ReadError;
use towline_protocol::{Position, TopicName};

/// Is rung by the hub; hung up once per server, because a hub never forgets a listener.
pub struct Bell {
    listener: ListenerId,
    rung: Arc<Notify>,
}

struct Ring(Arc<Notify>);

impl Listener for Ring {
    fn advanced(&self, _: u32) {
        self.0.notify_one();
    }
}

impl Bell {
    /// A bell on a hub.
    #[must_use]
    pub fn hung_on(hub: &Hub) -> Self {
        let rung = Arc::new(Notify::new());
        Self { listener: hub.register(Arc::new(Ring(Arc::clone(&rung)))), rung }
    }
}

/// Watches a topic as long as it lives.
pub struct Arrivals {
    attachment: Attachment,
    listener: ListenerId,
    rung: Arc<Notify>,
}

/// One bell, one topic: the tag names nothing.
const TAG: u32 = 0;

impl Arrivals {
    /// Begins to watch.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub async fn of(hub: &Hub, bell: &Bell, topic: &TopicName) -> Result<Self, ReadError> {
        let attachment = hub.attach(topic).await?;
        attachment.topic().listen(bell.listener, TAG);
        Ok(Self { attachment, listener: bell.listener, rung: Arc::clone(&bell.rung) })
    }

    /// Resolves once there was something new since the last [`Arrivals::head`]. Cancellation safe.
    pub async fn heard(&self) {
        self.rung.notified().await;
    }

    /// The newest message's position; what comes after it is heard of.
    pub fn head(&self) -> Option<Position> {
        self.attachment.topic().look(self.listener, TAG)
    }
}

impl Drop for Arrivals {
    fn drop(&mut self) {
        self.attachment.topic().unlisten(self.listener, TAG);
    }
}
