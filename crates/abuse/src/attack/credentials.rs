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

/// Tickets that were guessed, and one that was stolen: ten use it at once.
pub async fn tickets(target: Target) {
    by_many(target, 4, |target, number| async move {
        let guess: String = (0..43).map(|_| fastrand::alphanumeric()).collect();
        redeem(&target, number, &guess).await;
        let token = target.endpoint.token(&format!("mallory-ticket-{number}")).mint();
        let asking = target.endpoint.http().post(target.endpoint.url("/api/v1/tickets")).bearer_auth(token).body("{}").send();
        let Ok(answer) = asking.await else { return };
        let answer: serde_json::Value =
            answer.text().await.ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        let Some(ticket) = answer["ticket"].as_str() else { return };
        let mut thieves = tokio::task::JoinSet::new();
        for _ in 0..10 {
            let (target, ticket) = (target.clone(), ticket.to_owned());
            thieves.spawn(async move { redeem(&target, number, &ticket).await });
        }
        let winners = thieves.join_all().await.into_iter().filter(|status| *status == Some(101)).count();
        assert!(winners <= 1, "{winners} redeemed one ticket");
    })
    .await;
}

async fn redeem(target: &Target, number: u8, ticket: &str) -> Option<u16> {
    let mut line = target.line(number).await?;
    target.did();
    line.upgrade(&format!("/ws?ticket={ticket}"), "Sec-WebSocket-Protocol: towline.v1\r\n").await.ok()
}
