//! TLS in the process: the doors behave as over TCP, certificates come and go, clients prove themselves by theirs, and whoever does not
//! finish a handshake is let go of.

use std::time::Duration;

use serde_json::json;
use towline::config::ClientCertificates;
use towline::tls::Reloaded;
use towline_auth::NameField;
use towline_harness::{Authority, Certified, Gateway, GatewayBuilder, PATIENCE, RawSocket, eventually};

/// What holds over TCP holds over TLS: the same tests.
mod like_tcp {
    use super::super::*;
    use towline_harness::Gateway;

    #[tokio::test]
    async fn a_slow_reader_delays_nobody_and_gets_everything_in_the_end() {
        slow_readers::a_slow_reader_delays_nobody_and_gets_everything_in_the_end_over(Gateway::builder().tls()).await;
    }

    #[tokio::test]
    async fn a_slow_readers_answers_and_other_topics_are_not_lost() {
        slow_readers::a_slow_readers_answers_and_other_topics_are_not_lost_over(Gateway::builder().tls()).await;
    }

    #[tokio::test]
    async fn a_reader_that_is_stuck_for_30_s_is_closed_with_4410_and_resumes() {
        slow_readers::a_reader_that_is_stuck_for_30_s_is_closed_with_4410_and_resumes_over(Gateway::builder().tls()).await;
    }

    #[tokio::test]
    async fn tiny_fragments_end_at_their_limit() {
        hostile_clients::tiny_fragments_end_at_their_limit_over(Gateway::builder().tls()).await;
    }

    #[tokio::test]
    async fn garbage_is_refused_at_every_stage() {
        hostile_clients::garbage_is_refused_at_every_stage_over(Gateway::builder().tls()).await;
    }

    #[tokio::test]
    async fn half_open_connections_are_let_go_of() {
        hostile_clients::half_open_connections_are_let_go_of_over(Gateway::builder().tls()).await;
    }

    #[tokio::test]
    async fn frames_against_the_rules_are_closed_with_their_code() {
        hostile_clients::frames_against_the_rules_are_closed_with_their_code_over(Gateway::builder().tls()).await;
    }

    #[tokio::test]
    async fn requests_whose_answers_are_not_read_are_held_back() {
        hostile_clients::requests_whose_answers_are_not_read_are_held_back_over(Gateway::builder().tls()).await;
    }

    #[tokio::test]
    async fn a_stream_carries_events_as_they_happen() {
        event_stream::a_stream_carries_events_as_they_happen_over(Gateway::builder().tls()).await;
    }

    #[tokio::test]
    async fn a_slow_reader_gets_everything_in_the_end() {
        event_stream::a_slow_reader_gets_everything_in_the_end_over(Gateway::builder().tls()).await;
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_reader_that_never_reads_does_not_hold_its_connection_for_ever() {
        event_stream::a_reader_that_never_reads_does_not_hold_its_connection_for_ever_over(Gateway::builder().tls()).await;
    }

    #[tokio::test]
    async fn a_replay_of_any_length_joins_the_live_events() {
        resumption::a_replay_of_any_length_joins_the_live_events_over(Gateway::builder().tls()).await;
    }

    #[tokio::test]
    async fn a_subscriber_gets_events_as_envelopes() {
        native_door::a_subscriber_gets_events_as_envelopes_over(Gateway::builder().tls()).await;
    }

    #[tokio::test]
    async fn control_frames_are_answered_by_the_book() {
        native_door::control_frames_are_answered_by_the_book_over(Gateway::builder().tls()).await;
    }

    #[tokio::test]
    async fn a_message_larger_than_allowed_closes_with_1009() {
        native_door::a_message_larger_than_allowed_closes_with_1009_over(Gateway::builder().tls()).await;
    }

    #[tokio::test]
    async fn what_is_under_way_is_answered() {
        draining::what_is_under_way_is_answered_over(Gateway::builder().tls()).await;
    }

    #[tokio::test]
    async fn idle_connections_do_not_hold_a_drain_up() {
        draining::idle_connections_do_not_hold_a_drain_up_over(Gateway::builder().tls()).await;
    }

    #[tokio::test]
    async fn a_silent_socket_is_pinged_and_then_closed_with_4408() {
        heartbeat::a_silent_socket_is_pinged_and_then_closed_with_4408_over(Gateway::builder().tls()).await;
    }

    // proves: B4
    #[tokio::test]
    async fn random_lives_have_no_hole_and_no_repetition() {
        for _ in 0..2 {
            join::run(fastrand::u64(..), 300, Gateway::builder().tls()).await;
        }
    }
}

/// An honest client is served on every door.
async fn serves(endpoint: &towline_harness::Endpoint) {
    let mut native = endpoint.connect("honest").await;
    native.subscribe(json!(["user:honest"])).await;
    let mut feed = endpoint.feed("honest").token(endpoint.token("honest")).open().await;
    let mut stream = endpoint.stream("/api/v1/stream?topics=user:honest", endpoint.token("honest"), None).await.ok().unwrap();
    stream.expect("welcome", PATIENCE).await;
    let stored = endpoint.publish("user:honest", "x", json!({"large": "y".repeat(100_000)})).await;
    assert_eq!(native.expect("x", PATIENCE).await.id(), stored.id);
    assert_eq!(feed.expect("x", PATIENCE).await["data"]["large"].as_str().unwrap().len(), 100_000);
    assert_eq!(stream.expect("x", PATIENCE).await.id(), stored.id);
    let (status, page) = endpoint.get("/api/ws/replay?topic=user:honest", endpoint.token("honest")).await;
    assert_eq!((status, page["events"].as_array().unwrap().is_empty()), (200, false));
    native.close().await;
}

fn impatient() -> GatewayBuilder {
    Gateway::builder().tls().config(|config| config.sockets.handshake_timeout = Duration::from_millis(300))
}

async fn handshakes(gateway: &Gateway, outcome: &str) -> f64 {
    gateway.metric(&format!("towline_handshakes_total{{door=\"tls\",outcome=\"{outcome}\"}}")).await
}

#[tokio::test]
async fn every_door_is_served() {
    let gateway = Gateway::builder().tls().start().await;
    serves(&gateway).await;
    gateway.expect_idle().await;
    assert!(handshakes(&gateway, "accepted").await >= 5.0);
    let expires = gateway.metric("towline_tls_certificate_expires_at_seconds{certificate=\"server\"}").await;
    assert_eq!(expires, 4_070_908_800.0, "2099-01-01");
}

#[tokio::test]
async fn who_says_nothing_garbage_or_only_half_is_let_go_of() {
    let gateway = impatient().start().await;
    let mut silent = RawSocket::connect(gateway.address()).await;
    let mut half = RawSocket::connect(gateway.address()).await;
    // A record that announces 512 bytes of ClientHello.
    half.send(&[22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]).await.unwrap();
    let mut garbage = RawSocket::connect(gateway.address()).await;
    garbage.send(&[0x16, 0xff, 0xff, 0xff, 0xff, 1, 2, 3]).await.unwrap();
    // Behind its handshake, and then not a word.
    let mut mute = gateway.raw().await;
    let mut request = gateway.raw().await;
    request.send(b"GET /livez HTTP/1.1\r\nHost: loc").await.unwrap();
    for socket in [&mut silent, &mut half, &mut garbage, &mut mute, &mut request] {
        socket.until_end().await;
    }
    serves(&gateway).await;
    gateway.expect_idle().await;
    assert_eq!(handshakes(&gateway, "timeout").await, 2.0);
    assert_eq!(handshakes(&gateway, "invalid").await, 1.0);
    assert_eq!(gateway.metric("towline_handshakes_total{door=\"http\",outcome=\"timeout\"}").await, 2.0);
    assert_eq!(gateway.server().shared().metrics.handshakes_pending.get(), 0);
}

/// One byte at a time: the deadline is for the whole of it.
#[tokio::test]
async fn a_handshake_in_drips_is_cut_off() {
    let gateway = impatient().start().await;
    let mut drip = RawSocket::connect(gateway.address()).await;
    let hello = [&[22, 3, 1, 0x20, 0, 1, 0, 0x1f, 0xfc, 3, 3][..], &[7; 8_000]].concat();
    let mut sent = 0;
    for byte in &hello {
        if drip.send(&[*byte]).await.is_err() {
            break;
        }
        sent += 1;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(sent < hello.len(), "it was let finish");
    serves(&gateway).await;
    gateway.expect_idle().await;
}

#[tokio::test]
async fn unfinished_tls_handshakes_count_as_handshakes() {
    let gateway = impatient().config(|config| config.sockets.handshakes_pending_max = 3).start().await;
    let mut established = gateway.connect("alice").await;
    let mut sockets = Vec::new();
    for _ in 0..3 {
        sockets.push(RawSocket::connect(gateway.address()).await);
    }
    let metrics = gateway.server().shared().metrics.clone();
    eventually("they are all waited for", || async { metrics.handshakes_pending.get() == 3 }).await;
    assert!(gateway.try_raw().await.is_err(), "the fourth is closed at once");
    assert_eq!(metrics.accepts_refused.get(), 1);
    established.expect_quiet().await;
    for mut socket in sockets {
        socket.until_end().await;
    }
    serves(&gateway).await;
}

#[tokio::test]
async fn plain_http_is_told_to_use_tls() {
    let gateway = Gateway::builder().tls().start().await;
    let mut plain = RawSocket::connect(gateway.address()).await;
    plain.send(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let answer = plain.response().await;
    assert_eq!(answer.status, 400);
    assert!(answer.body.ends_with("https:// or wss://\n"), "{:?}", answer.body);
    assert_eq!(plain.until_end().await, 0);
    assert_eq!(handshakes(&gateway, "plain_http").await, 1.0);
}

/// Connections live on with what they began with; new ones get what is in the files; a bad file changes nothing.
#[tokio::test]
async fn certificates_are_replaced_under_live_connections() {
    let gateway = Gateway::builder().tls().config(|config| config.tls.reload_interval = Duration::from_secs(3_600)).start().await;
    let authority = gateway.authority();
    let certificates = gateway.server().certificates().unwrap();
    let expires = "towline_tls_certificate_expires_at_seconds{certificate=\"server\"}";
    let mut before = gateway.connect("alice").await;
    assert_eq!(certificates.reload(), Reloaded::Unchanged);

    let year_2040 = Duration::from_secs(2_208_988_800);
    let next = authority.server().until_unix(year_2040).make();
    authority.install(&next);
    assert_eq!(certificates.reload(), Reloaded::Taken);
    before.expect_quiet().await;
    serves(&gateway).await;
    assert_eq!(gateway.metric(expires).await, year_2040.as_secs_f64());

    let stranger = Authority::new().server().make();
    for (certificate, key) in [
        (&*next.certificate, "no key at all"),
        (&*next.certificate, &*stranger.key),
        ("no certificate", &*next.key),
        (&*authority.server().until_unix(Duration::from_secs(1_600_000_000)).make().certificate, &*next.key),
    ] {
        authority.install(&Certified { certificate: certificate.to_owned(), key: key.to_owned() });
        assert_eq!(certificates.reload(), Reloaded::Refused);
    }
    let expired = authority.server().until_unix(Duration::from_secs(1_600_000_000)).make();
    authority.install(&expired);
    assert_eq!((certificates.reload(), certificates.reload()), (Reloaded::Refused, Reloaded::Unchanged), "said once");
    before.expect_quiet().await;
    serves(&gateway).await;
    assert_eq!(gateway.metric(expires).await, year_2040.as_secs_f64());
    assert_eq!(gateway.metric("towline_tls_reloads_total").await, 1.0);
    assert_eq!(gateway.metric("towline_tls_reload_failures_total").await, 5.0);

    authority.install(&authority.server().make());
    assert_eq!(certificates.reload(), Reloaded::Taken);
    serves(&gateway).await;
}

#[tokio::test]
async fn the_files_are_looked_at_by_themselves() {
    let gateway = Gateway::builder().tls().config(|config| config.tls.reload_interval = Duration::from_millis(100)).start().await;
    let authority = gateway.authority();
    authority.install(&authority.server().until_unix(Duration::from_secs(2_208_988_800)).make());
    let metrics = gateway.server().shared().metrics.clone();
    eventually("the new certificate is taken", || async { metrics.tls.reloads.get() == 1 }).await;
    serves(&gateway).await;
}

/// A gateway whose clients' certificates are signed by the same authority, and name services by DNS names.
fn with_clients(wanted: ClientCertificates) -> GatewayBuilder {
    Gateway::builder().tls().client_ca().config(move |config| {
        config.tls.client_certificates = wanted;
        config.tls.client_name = NameField::Dns;
        config.tls.client_names = vec!["billing.internal".to_owned()];
    })
}

/// Status of a request that carries no other credential.
async fn publishes(endpoint: &towline_harness::Endpoint) -> u16 {
    let body = json!({"topic": "user:alice", "type": "x"}).to_string();
    endpoint.post_events_as("", "", "application/json", &body).await.0
}

#[tokio::test]
async fn a_certificate_makes_a_service() {
    let gateway = with_clients(ClientCertificates::Optional).start().await;
    let billing = gateway.authority().client().dns("billing.internal").make();
    let service = gateway.with_tls(gateway.authority().client_config(Some(&billing)));
    assert_eq!(publishes(&service).await, 200);
    let mut socket = service.native().open().await;
    let welcome = socket.expect("welcome", PATIENCE).await;
    assert_eq!(welcome["data"]["user_id"], "billing.internal");
    assert_eq!(welcome["data"]["expires_at"], 4_070_908_800.0);
    socket.subscribe(json!(["user:alice", "anything"])).await;
    // Whoever shows a token is who the token says, certificate or not.
    let mut alice = service.connect("alice").await;
    let refused = alice.request("subscribe", json!({"topics": ["user:bob"]})).await;
    assert_eq!(refused["data"]["errors"][0]["code"], "FORBIDDEN");
    let wrong = service.native().bearer("a token that is none").try_open().await.err().unwrap();
    assert_eq!(wrong.status, 401);
    // What a page makes a browser send counts for nothing.
    let page = service.native().origin("http://localhost:3000").try_open().await.err().unwrap();
    assert_eq!(page.status, 401);

    // A certificate with another name, and none: neither is a service, both may bring a token.
    let other =
        gateway.authority().client().dns("other.internal").uri("spiffe://billing.internal").common_name("billing.internal");
    let other = gateway.with_tls(gateway.authority().client_config(Some(&other.make())));
    assert_eq!((publishes(&other).await, publishes(&gateway).await), (401, 401));
    other.connect("alice").await.expect_quiet().await;
    serves(&gateway).await;
}

#[tokio::test]
async fn certificates_of_strangers_and_expired_ones_do_not_connect() {
    let gateway = with_clients(ClientCertificates::Optional).start().await;
    let authority = gateway.authority();
    let stranger = Authority::new().client().dns("billing.internal").make();
    let expired = authority.client().dns("billing.internal").until_unix(Duration::from_secs(1_600_000_000)).make();
    // A server's certificate is no client's.
    let server = authority.server().dns("billing.internal").make();
    for shown in [stranger, expired, server] {
        let client = gateway.with_tls(authority.client_config(Some(&shown)));
        // In TLS 1.3 a client learns that it was refused only when it reads.
        if let Ok(mut raw) = client.try_raw().await {
            let _ = raw.send(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
            assert_eq!(raw.until_end().await, 0);
        }
    }
    assert_eq!(handshakes(&gateway, "invalid").await, 3.0);
    serves(&gateway).await;
}

#[tokio::test]
async fn who_must_show_a_certificate_and_has_none_does_not_connect() {
    let gateway = with_clients(ClientCertificates::Required).start().await;
    let shown = gateway.authority().client().dns("anybody.internal").make();
    let mut raw = gateway.raw().await;
    let _ = raw.send(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(raw.until_end().await, 0);
    serves(&gateway.with_tls(gateway.authority().client_config(Some(&shown)))).await;
}

/// The connection of a service ends with its certificate, as others do with their token.
#[tokio::test]
async fn a_service_ends_with_its_certificate() {
    let builder = with_clients(ClientCertificates::Optional).manual_clock();
    let gateway = builder.config(|config| config.sockets.idle_timeout = Duration::from_secs(10_000)).start().await;
    let in_an_hour = Duration::from_millis(gateway.clock().unix_ms()) + Duration::from_secs(3_600);
    let short = gateway.authority().client().dns("billing.internal").until_unix(in_an_hour).make();
    let service = gateway.with_tls(gateway.authority().client_config(Some(&short)));
    let mut socket = service.native().open().await;
    socket.expect("welcome", PATIENCE).await;
    let mut kept = service.raw().await;
    let request = b"GET /api/ws/replay?topic=a HTTP/1.1\r\nHost: localhost\r\n\r\n";
    kept.send(request).await.unwrap();
    assert_eq!(kept.response().await.status, 200);
    gateway.clock().advance(Duration::from_secs(3_590));
    socket.expect("auth_expiring", PATIENCE).await;
    gateway.clock().advance(Duration::from_secs(50));
    assert_eq!(socket.expect_close(PATIENCE).await.0, 4401);
    kept.send(request).await.unwrap();
    assert_eq!(kept.response().await.status, 401);
    // And it opens no other.
    if let Ok(mut raw) = service.try_raw().await {
        let _ = raw.send(request).await;
        assert_eq!(raw.until_end().await, 0);
    }
}
