//! Those who have no right to be here.

use std::time::Duration;

use towline_harness::{Clock, Token};

use super::{Target, by_many};

/// Forged, expired, empty and giant tokens.
pub async fn bad_tokens(target: Target) {
    by_many(target, 4, |target, number| async move {
        let good = target.endpoint.token("mallory").mint();
        let (signed, signature) = good.rsplit_once('.').unwrap_or_default();
        let forged = [
            format!("{signed}.{}", signature.chars().rev().collect::<String>()),
            "eyJhbGciOiJub25lIn0.eyJzdWIiOiJob25lc3QtMSIsImV4cCI6OTk5OTk5OTk5OX0.".to_owned(),
            target.endpoint.token("honest-1").expired_for(Duration::from_secs(3600)).mint(),
            Token::signed_by("not-the-secret-not-the-secret-not-the-secret", Clock::system(), "honest-1").mint(),
            "x".repeat(9_000),
            String::new(),
        ];
        for token in forged {
            let Some(mut line) = target.line(number).await else { continue };
            // As a page would: it is let in to be told why not.
            let headers = format!("Origin: http://localhost\r\nAuthorization: Bearer {token}\r\n");
            let _ = line.upgrade("/api/v1/ws/agents/honest-1", &headers).await;
            line.read_for(Duration::from_millis(20)).await;
            target.did();
        }
    })
    .await;
}

/// Tickets that were guessed.
pub async fn tickets(target: Target) {
    by_many(target, 4, |target, number| async move {
        let guess: String = (0..43).map(|_| fastrand::alphanumeric()).collect();
        let Some(mut line) = target.line(number).await else { return };
        let _ = line.upgrade(&format!("/ws?ticket={guess}"), "Sec-WebSocket-Protocol: towline.v1\r\n").await;
        target.did();
    })
    .await;
}
