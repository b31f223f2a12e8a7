//! Requests of the REST interface that mean harm.

use std::time::Duration;

use super::{Target, by_many};

const SOON: Duration = Duration::from_millis(100);

/// A body that is announced and comes a byte at a time.
pub async fn body_drips(target: Target) {
    by_many(target, 20, |target, number| async move {
        let Some(mut line) = target.line(number).await else { return };
        let token = target.endpoint.token("mallory").publishes(["busy"]).mint();
        let head = format!(
            "POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n["
        );
        if line.send(head.as_bytes()).await.is_ok() {
            for _ in 0..300 {
                if line.send(b" ").await.is_err() || line.read_for(SOON).await {
                    break;
                }
            }
        }
        target.did();
    })
    .await;
}

/// Publishes into other people's topics.
pub async fn forbidden_publishes(target: Target) {
    by_many(target, 2, |target, number| async move {
        let Some(mut line) = target.line(number).await else { return };
        let token = target.endpoint.token("mallory").mint();
        let body = format!("[{}]", vec![r#"{"topic":"user:honest-1","type":"agent.error","data":{}}"#; 500].join(","));
        let request = format!(
            "POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        for _ in 0..5 {
            if line.send(request.as_bytes()).await.is_err() || line.read_for(SOON).await {
                break;
            }
            target.did();
        }
    })
    .await;
}

/// Requests with odd lines, lengths, targets and encodings.
pub async fn odd_requests(target: Target) {
    const ODD: [&str; 8] = [
        "GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /",
        "POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        "GET /api/v1/agents/events?since=%00%ff&limit=99999999999999999999 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /api/ws/replay?topic=%2a&after=%22%27 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\u{fc}\x03\x03",
    ];
    by_many(target, 4, |target, number| async move {
        for odd in ODD {
            let Some(mut line) = target.line(number).await else { continue };
            let _ = line.send(odd.as_bytes()).await;
            line.read_for(SOON).await;
            target.did();
        }
    })
    .await;
}
