//! A stored event, as a slice of the page or batch it came from.

use bytes::Bytes;
use towline_protocol::{Epoch, EventView, NewEvent, Offset, TopicName};

/// One committed event. Cloning it shares the bytes.
///
/// `body` is `id`, `kind`, `extras` and `data` laid end to end, as in [`NewEvent`]; the lengths say where each ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    offset: Offset,
    prev: Offset,
    ts_ms: u64,
    body: Bytes,
    id_len: u16,
    kind_len: u16,
    extras_len: u32,
}

impl Record {
    /// Takes a body that is laid out as described, or `None` if the lengths do not fit it or id and kind are not UTF-8.
    #[must_use]
    pub fn new(
        offset: Offset,
        prev: Offset,
        ts_ms: u64,
        body: Bytes,
        id_len: u16,
        kind_len: u16,
        extras_len: u32,
    ) -> Option<Self> {
        let head = usize::from(id_len) + usize::from(kind_len);
        let fits = head + extras_len as usize <= body.len() && body[..head].is_ascii();
        fits.then_some(Self { offset, prev, ts_ms, body, id_len, kind_len, extras_len })
    }

    /// Lays out a new event.
    #[must_use]
    pub fn from_event(event: &NewEvent, offset: Offset, prev: Offset, ts_ms: u64) -> Self {
        let mut body = Vec::with_capacity(event.body_bytes());
        body.extend_from_slice(event.id.as_bytes());
        body.extend_from_slice(event.kind.as_bytes());
        body.extend_from_slice(&event.extras);
        body.extend_from_slice(&event.data);
        Self {
            offset,
            prev,
            ts_ms,
            body: body.into(),
            // `NewEvent` bounds these well below the types' ranges.
            id_len: event.id.len() as u16,
            kind_len: event.kind.len() as u16,
            extras_len: event.extras.len() as u32,
        }
    }

    /// Its number in the topic.
    #[must_use]
    pub fn offset(&self) -> Offset {
        self.offset
    }

    /// The number of the event before it in the topic; 0 if it is the first. What lies between does not exist in this topic.
    #[must_use]
    pub fn prev(&self) -> Offset {
        self.prev
    }

    /// When the log took it, in Unix milliseconds; never decreases within a topic.
    #[must_use]
    pub fn ts_ms(&self) -> u64 {
        self.ts_ms
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        self.text(0, usize::from(self.id_len))
    }

    /// Its type.
    #[must_use]
    pub fn kind(&self) -> &str {
        let start = usize::from(self.id_len);
        self.text(start, start + usize::from(self.kind_len))
    }

    /// Further envelope members as JSON text, each with a leading comma.
    #[must_use]
    pub fn extras(&self) -> &[u8] {
        let start = usize::from(self.id_len) + usize::from(self.kind_len);
        &self.body[start..start + self.extras_len as usize]
    }

    /// The payload as JSON text.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        let start = usize::from(self.id_len) + usize::from(self.kind_len) + self.extras_len as usize;
        &self.body[start..]
    }

    /// All four parts end to end.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// What an encoder needs.
    #[must_use]
    pub fn view<'a>(&'a self, topic: &'a TopicName, epoch: Epoch) -> EventView<'a> {
        EventView {
            topic: topic.as_str(),
            epoch,
            offset: self.offset,
            prev: self.prev,
            ts_ms: self.ts_ms,
            id: self.id(),
            kind: self.kind(),
            extras: self.extras(),
            data: self.data(),
        }
    }

    /// The constructors checked that this range is ASCII.
    fn text(&self, start: usize, end: usize) -> &str {
        std::str::from_utf8(&self.body[start..end]).unwrap_or_default()
    }
}
