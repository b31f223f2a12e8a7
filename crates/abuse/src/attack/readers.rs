//! Tabs that do not read what they asked for.

use std::time::Duration;

use towline_harness::client_frame;

use super::{Target, by_many};
use crate::line::{From, Line};

const MASK: Option<[u8; 4]> = Some([1, 2, 3, 4]);
/// All that is retained of a topic that is written to all the time.
const FOLLOW: &str = r#"{"type":"subscribe","id":"1","data":{"topics":[{"topic":"busy","from":"earliest"}]}}"#;

/// Follows a busy topic from its beginning and never reads.
pub async fn never_reading(target: Target) {
    by_many(target, 60, |target, number| async move {
        let line = Line::open_with_buffer(target.endpoint.address(), From(target.house, number), Some(4096)).await;
        let Some(line) = target.or_pause(line).await else { return };
        let Some(mut line) = target.upgrade(line, number, "").await else { return };
        let _ = line.send(&client_frame(0x81, FOLLOW.as_bytes(), MASK)).await;
        // Longer than the server's patience with readers that take nothing.
        tokio::time::sleep(Duration::from_secs(60)).await;
        target.did();
    })
    .await;
}

/// Follows it and reads a little now and then.
pub async fn slow_reading(target: Target) {
    by_many(target, 20, |target, number| async move {
        let Some(mut line) = target.upgraded(number).await else { return };
        let _ = line.send(&client_frame(0x81, FOLLOW.as_bytes(), MASK)).await;
        for _ in 0..30 {
            if line.read_for(Duration::from_millis(5)).await {
                break;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        target.did();
    })
    .await;
}
