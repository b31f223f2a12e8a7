//! Messages that are well formed and too many, or ask for too much.

use std::time::Duration;

use towline_harness::client_frame;

use super::{Target, by_many};

const MASK: Option<[u8; 4]> = Some([1, 2, 3, 4]);
const SOON: Duration = Duration::from_millis(100);

fn text(message: &str) -> Vec<u8> {
    client_frame(0x81, message.as_bytes(), MASK)
}

/// Follows and leaves topics that nobody writes to, a new one each time, and some that are not its own.
pub async fn subscribe_floods(target: Target) {
    by_many(target, 4, |target, number| async move {
        let Some(mut line) = target.upgraded(number).await else { return };
        for _ in 0..50 {
            let topics: Vec<String> = (0..20).map(|_| format!("\"user:honest-{}\"", fastrand::u32(..))).collect();
            let topics = format!("{},\"user:mallory-{}-{number}\"", topics.join(","), target.house);
            let flood = text(&format!(r#"{{"type":"subscribe","data":{{"topics":[{topics}]}}}}"#));
            let leave = text(&format!(r#"{{"type":"unsubscribe","data":{{"topics":[{topics}]}}}}"#));
            if line.send(&flood).await.is_err()
                || line.send(&leave).await.is_err()
                || line.read_for(Duration::from_millis(20)).await
            {
                break;
            }
            target.did();
        }
    })
    .await;
}

/// Messages to the application, some of them as large as they may be, and publishes without a right to, as fast as they go.
pub async fn message_floods(target: Target) {
    by_many(target, 4, |target, number| async move {
        let Some(mut line) = target.upgraded(number).await else { return };
        let mut flood = text(r#"{"type":"publish","id":"p","data":{"topic":"user:honest-1","type":"x","data":{}}}"#);
        flood.extend(text(r#"{"type":"message","id":"m","data":{"type":"user_message","data":{"content":"hello"}}}"#));
        let long = "x".repeat(9_000);
        flood.extend(text(&format!(r#"{{"type":"message","data":{{"type":"user_message","data":{{"content":"{long}"}}}}}}"#)));
        flood.extend(text("{}"));
        for _ in 0..100 {
            if line.send(&flood).await.is_err() || line.read_for(Duration::from_millis(5)).await {
                break;
            }
            target.did();
        }
    })
    .await;
}

/// JSON that is nested without end, or is none.
pub async fn deep_json(target: Target) {
    by_many(target, 3, |target, number| async move {
        let Some(mut line) = target.upgraded_anywhere(number).await else { return };
        for nested in ["[".repeat(500_000), format!("{{\"type\":\"publish\",\"data\":{}", "{\"a\":".repeat(100_000))] {
            let _ = line.send(&text(&nested)).await;
            line.read_for(SOON).await;
        }
        target.did();
    })
    .await;
}
