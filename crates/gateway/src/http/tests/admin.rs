//! Who is an operator, what operators do is written down, and nobody else learns that there is anything.

use towline_log::Health;

use super::*;

const FULL: &str = "full-key-for-tests-0123";
const READ: &str = "read-key-for-tests-0123";

fn with_keys() -> Rest {
    Rest::with(|config| {
        config.admin.keys_full = vec![Secret::new(FULL)];
        config.admin.keys_read = vec![Secret::new(READ)];
    })
}

async fn publish(rest: &Rest, credential: &str, body: &str) -> Answer {
    let request = Request::post("/api/v1/admin/events").header("x-api-key", credential);
    rest.send(request.body(Body::from(body.to_owned())).unwrap()).await
}

#[tokio::test]
async fn without_admin_keys_there_is_no_admin_interface() {
    let rest = Rest::new();
    for credential in ["", KEY, FULL] {
        let answer = rest.get("/api/v1/admin/audit", credential).await;
        assert_eq!(answer.status, 404, "{}", answer.text);
        assert_eq!(answer.json()["error"]["code"], "NOT_FOUND");
    }
}

#[tokio::test]
async fn admin_keys_open_the_admin_interface_and_nothing_else_and_nothing_else_opens_it() {
    let rest = with_keys();
    let token = rest.token("alice", &["*"]);
    for credential in ["", KEY, "full-key-for-tests-012", &token] {
        assert_eq!(rest.get("/api/v1/admin/audit", credential).await.error().0, 403, "{credential}");
        assert_eq!(publish(&rest, credential, "{}").await.error().0, 403, "{credential}");
    }
    // Not from a query: those end in the logs of proxies.
    assert_eq!(rest.get(&format!("/api/v1/admin/audit?token={FULL}"), "").await.status, 403);
    for credential in [FULL, READ] {
        assert_eq!(rest.get("/api/v1/admin/audit", credential).await.status, 200);
        assert_eq!(rest.get("/api/v1/agents/events?user_id=1", credential).await.status, 401, "{credential} is no service key");
    }
    let refused = publish(&rest, READ, r#"{"topic":"system","type":"x"}"#).await;
    assert_eq!(refused.error().0, 403);
    assert!(refused.error().1.contains("may only read"));
}

#[tokio::test]
async fn what_an_operator_does_is_written_down_with_who_and_how_it_went_and_without_the_key() {
    let rest = with_keys();
    let answer = publish(&rest, FULL, r#"{"topic":"user:7","type":"test.ping","id":"test-1"}"#).await;
    assert_eq!((answer.status.as_u16(), answer.json()["stored"].as_u64()), (200, Some(1)), "{}", answer.text);
    assert_eq!(publish(&rest, FULL, r#"{"topic":"audit","type":"forged"}"#).await.status, 403, "nobody writes the audit");
    let audit = rest.get("/api/v1/admin/audit?limit=1", READ).await;
    let refused = &audit.json()["events"][0];
    assert_eq!(refused["data"]["outcome"], "refused");
    let older = rest.get(&format!("/api/v1/admin/audit?cursor={}", audit.json()["cursor"].as_str().unwrap()), READ).await.json();
    let event = &older["events"][0];
    assert_eq!((event["topic"].as_str(), event["type"].as_str()), (Some("audit"), Some("admin.event.publish")));
    let data = &event["data"];
    assert_eq!((data["key"].as_str(), data["outcome"].as_str()), (Some("full-1"), Some("done")));
    assert_eq!((data["target"]["topic"].as_str(), data["detail"]["id"].as_str()), (Some("user:7"), Some("test-1")));
    assert_eq!(data["fingerprint"].as_str().unwrap().len(), 8);
    assert_eq!((older["events"].as_array().unwrap().len(), older["has_more"].as_bool()), (1, Some(false)));
    assert!(!audit.text.contains(FULL) && !older.to_string().contains(FULL));
}

#[tokio::test]
async fn an_audit_that_cannot_be_stored_is_counted_and_keeps_nobody_from_acting() {
    let rest = with_keys();
    rest.shared.log.close().await;
    assert!(matches!(rest.shared.log.health(), Health::Refusing(_)));
    assert_eq!(publish(&rest, FULL, r#"{"topic":"user:7","type":"x"}"#).await.status, 503);
    assert!(rest.get("/metrics", "").await.text.contains("towline_audit_failures_total 1\n"));
}
