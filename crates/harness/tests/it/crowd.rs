//! Many subscribers of one topic, who come and go.

use serde_json::json;
use towline_harness::{Gateway, PATIENCE, SERVICE_KEY};

/// Those who stay are served, whoever leaves at the same moment: nobody loses a place to a neighbour.
#[tokio::test]
async fn those_who_stay_are_served_when_many_leave_at_once() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let gateway = Gateway::builder().config(|config| config.sockets.workers = 1).start().await;
    let mut sockets = Vec::new();
    for n in 0..12 {
        while sockets.len() < 60 {
            let mut socket = gateway.connect_with(SERVICE_KEY).await;
            socket.subscribe(json!(["a", "b"])).await;
            sockets.push(socket);
        }
        // Without a goodbye, the oldest first, spread over as many turns of the server as it likes.
        for socket in sockets.drain(..random.usize(40..58)) {
            drop(socket);
            if random.u8(..4) == 0 {
                gateway.publish("c", "x", json!({})).await;
            }
        }
        if random.bool() {
            sockets[0].request("unsubscribe", json!({"topics": ["b"]})).await;
            sockets[0].subscribe(json!(["b"])).await;
        }
        gateway.publish("a", "x", json!({"n": n})).await;
        gateway.publish("b", "x", json!({"n": n})).await;
        for socket in &mut sockets {
            for _ in ["a", "b"] {
                assert_eq!(socket.expect("x", PATIENCE).await["data"]["n"], n, "seed {seed}");
            }
        }
    }
    drop(sockets);
    gateway.expect_idle().await;
}
