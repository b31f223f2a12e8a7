//! The harness's own log keeps the contract that the doors rely on, with dense and with sparse offsets.

use std::sync::Arc;

use parking_lot::Mutex;
use towline_harness::{Clock, MemoryLog};
use towline_log::conformance::{self, Store};
use towline_log::{EventLog, LogFuture, Policies};

struct InMemory {
    stride: u64,
    open: Mutex<Option<MemoryLog>>,
}

impl Store for InMemory {
    fn open(&self, policies: Policies, clock: Clock) -> LogFuture<Arc<dyn EventLog>> {
        let log = MemoryLog::with(clock, policies, self.stride);
        *self.open.lock() = Some(log.clone());
        Box::pin(std::future::ready(Arc::new(log) as Arc<dyn EventLog>))
    }

    fn keeps_events(&self) -> bool {
        false
    }

    fn retain(&self) -> LogFuture<()> {
        if let Some(log) = &*self.open.lock() {
            log.retain();
        }
        Box::pin(std::future::ready(()))
    }
}

#[tokio::test]
async fn it_keeps_the_contract() {
    for stride in [1, 3] {
        conformance::run_all(&move || Arc::new(InMemory { stride, open: Mutex::new(None) })).await;
    }
}
