//! A consumer that does not read slows its socket and nothing else; what waits in the client is bounded.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use towline_client::{Settings, StartRequest};

use crate::peer::{Server, event, events, quick};

#[tokio::test]
async fn a_slow_consumer_holds_the_server_back_and_misses_nothing() {
    const EVENTS: u64 = 512;
    let server = Server::start().await;
    let settings = Settings { updates_max: 1, ..quick() };
    let mut watching = server.client().settings(settings).build().unwrap().subscribe([("a", StartRequest::Earliest)]).unwrap();
    let (mut peer, _) = server.serve().await;
    let all_sent = Arc::new(AtomicBool::new(false));
    let sending = tokio::spawn({
        let all_sent = Arc::clone(&all_sent);
        async move {
            let data = json!({"text": "x".repeat(128 * 1024)});
            for offset in 1..=EVENTS {
                peer.say(event("a", offset, data.clone())).await;
            }
            all_sent.store(true, Ordering::SeqCst);
            peer
        }
    });
    assert_eq!(events(&mut watching, 1).await, ["a 1"]);
    // 64 MiB are several times what the kernel's socket buffers take: they can only have been sent if the client had taken them in.
    assert!(!all_sent.load(Ordering::SeqCst));
    let rest: Vec<_> = (2..=EVENTS).map(|offset| format!("a {offset}")).collect();
    assert_eq!(events(&mut watching, EVENTS as usize - 1).await, rest);
    sending.await.unwrap();
    assert!(all_sent.load(Ordering::SeqCst));
}
