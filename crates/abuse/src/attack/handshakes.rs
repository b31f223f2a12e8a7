//! Those who never finish a handshake, or make too many.

use std::time::Duration;

use super::{Target, by_many};

/// Connects and says nothing.
pub async fn silent(target: Target) {
    by_many(target, 40, |target, number| async move {
        let Some(mut line) = target.line(number).await else { return };
        line.read_for(Duration::from_secs(20)).await;
        target.did();
    })
    .await;
}

/// A header, one byte at a time.
pub async fn dripping(target: Target) {
    by_many(target, 20, |target, number| async move {
        let Some(mut line) = target.line(number).await else { return };
        for byte in b"GET /ws HTTP/1.1\r\nHost: localhost\r\nX-Slow: ".iter().chain(std::iter::repeat_n(&b'x', 1_000)) {
            if line.send(&[*byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        target.did();
    })
    .await;
}

/// Thousands of headers, and one without end.
pub async fn header_floods(target: Target) {
    by_many(target, 4, |target, number| async move {
        let Some(mut line) = target.line(number).await else { return };
        let mut flood = "GET /ws HTTP/1.1\r\nHost: localhost\r\n".to_owned();
        if number % 2 == 0 {
            (0..5_000).for_each(|n| flood.push_str(&format!("X-{n}: y\r\n")));
        } else {
            flood.push_str(&format!("X-Long: {}", "x".repeat(1 << 20)));
        }
        // The server is expected to go away in the middle of it.
        let _ = line.send(flood.as_bytes()).await;
        line.read_for(Duration::from_millis(200)).await;
        target.did();
        tokio::time::sleep(Duration::from_millis(200)).await;
    })
    .await;
}

/// Pages that are not ours, with a good token.
pub async fn foreign_origins(target: Target) {
    const ORIGINS: [&str; 6] = [
        "https://evil.example",
        "null",
        "https://app.example.com.evil.example",
        "https://evil-example.com",
        "http://localhost@evil.example",
        "file://",
    ];
    by_many(target, 4, |target, number| async move {
        for origin in ORIGINS {
            let Some(line) = target.line(number).await else { continue };
            if let Some(mut line) = target.upgrade(line, number, &format!("Origin: {origin}\r\n")).await {
                line.read_for(Duration::from_millis(50)).await;
            }
            target.did();
        }
    })
    .await;
}

/// Upgrades and resets, as fast as this one can.
pub async fn connect_storm(target: Target) {
    by_many(target, 8, |target, number| async move {
        let source = number * 10 + fastrand::u8(0..10);
        if let Some(line) = target.upgraded(source).await {
            line.cut();
            target.did();
        }
    })
    .await;
}
