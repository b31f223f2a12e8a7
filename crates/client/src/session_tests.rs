//! The session's decisions, without a socket: frames in, actions out.

use towline_protocol::message::{ConnectionLimits, Subscribed};
use towline_protocol::{Asked, Dialect, Epoch, ErrorBody, ErrorCode, GapCause, GapNotice, Position, Stamp};

use super::*;

const IDLE: Duration = Duration::from_secs(60);

fn session(topics: &[(&str, StartRequest)], can_refresh: bool) -> Session {
    let topics = topics.iter().map(|(topic, start)| (TopicName::new(topic).unwrap(), start.clone()));
    Session::new(topics, Backoff::new(Backoff::BASE, Backoff::CEILING, 7), can_refresh, IDLE)
}

fn text(message: &ServerMessage, correlation_id: Option<&str>) -> String {
    let mut out = Vec::new();
    Dialect::Native.encode_message(message, Stamp { id: "m", ts_ms: 0, correlation_id, asked: Asked::Other }, &mut out);
    String::from_utf8(out).unwrap()
}

fn say(session: &mut Session, message: &ServerMessage, correlation_id: Option<&str>) -> Vec<String> {
    show(session.frame(&text(message, correlation_id), Duration::ZERO))
}

fn event(topic: &str, offset: u64) -> String {
    format!(r#"{{"v":1,"id":"e{offset}","topic":"{topic}","type":"x","ts":1,"epoch":"1","offset":{offset},"data":{{}}}}"#)
}

/// Actions in short form, so that a test reads as a transcript.
fn show(actions: Vec<Action>) -> Vec<String> {
    actions
        .into_iter()
        .map(|action| match action {
            Action::Send(text) => {
                let json: serde_json::Value = serde_json::from_str(&text).unwrap();
                format!("send {} {} {}", json["type"].as_str().unwrap(), json["id"].as_str().unwrap_or("-"), json["data"])
            }
            Action::Emit(Update::Event(event)) => format!("event {} {}", event.topic, event.position.offset),
            Action::Emit(Update::Connected { resumed, .. }) => format!("connected resumed={resumed}"),
            Action::Emit(Update::Subscribed { topic, from, .. }) => format!("subscribed {topic} {from}"),
            Action::Emit(Update::Gap(gap)) => format!("gap {} {:?} {}", gap.topic, gap.reason, gap.resume_after),
            Action::Emit(Update::Hole(hole)) => format!("hole {} {} {}", hole.topic, hole.after, hole.got),
            Action::Emit(Update::Refused { topic, code, .. }) => format!("refused {topic} {}", code.as_str()),
            Action::Emit(other) => format!("{other:?}"),
            Action::FetchToken => "fetch token".to_owned(),
            Action::Close { code, .. } => format!("close {}", code.number()),
        })
        .collect()
}

fn welcome() -> ServerMessage {
    ServerMessage::Welcome {
        connection_id: "c".into(),
        user_id: "u".into(),
        server_time: 0.0,
        heartbeat_interval_ms: 30_000,
        idle_timeout_ms: 60_000,
        topics: vec![],
        expires_at: None,
        limits: ConnectionLimits {
            message_bytes_max: 65_536,
            topics_max: 100,
            inbox_message_bytes_max: None,
            user_connections_max: None,
            user_messages_per_minute_max: None,
        },
        features: None,
    }
}

fn at(epoch: u64, offset: u64) -> Position {
    Position { epoch: Epoch(epoch), offset }
}

fn ack(topic: &str, from: Position, gap: Option<GapNotice>) -> ServerMessage {
    let subscribed = Subscribed { topic: topic.into(), from, to: from, complete: gap.is_none(), gap };
    ServerMessage::SubscribeAck { subscriptions: vec![subscribed], errors: vec![] }
}

fn refusal(topic: &str, code: ErrorCode) -> ServerMessage {
    let refusal = TopicRefusal { topic: topic.into(), code, message: "no".into() };
    ServerMessage::SubscribeAck { subscriptions: vec![], errors: vec![refusal] }
}

/// A session that follows `t` from position 1-4.
fn following() -> Session {
    let mut session = session(&[("t", StartRequest::Latest)], false);
    session.opened(Duration::ZERO);
    say(&mut session, &welcome(), None);
    say(&mut session, &ack("t", at(1, 4), None), Some("s1"));
    session
}

fn lost() -> Ending {
    Ending::Lost { reason: "reset".into() }
}

fn code(code: CloseCode) -> Ending {
    Ending::Code { code: code.number(), reason: "why".into() }
}

#[test]
fn after_the_welcome_it_asks_and_after_the_ack_events_pass() {
    let mut session = session(&[("t", StartRequest::Earliest)], false);
    session.opened(Duration::ZERO);
    assert_eq!(
        say(&mut session, &welcome(), None),
        ["connected resumed=false", r#"send subscribe s1 {"topics":[{"from":"earliest","topic":"t"}]}"#]
    );
    assert!(show(session.frame(&event("t", 5), Duration::ZERO)).is_empty(), "an event before the answer");
    assert!(say(&mut session, &ack("t", at(1, 4), None), Some("s0")).is_empty(), "an answer to somebody else's question");
    assert_eq!(say(&mut session, &ack("t", at(1, 4), None), Some("s1")), ["subscribed t 1-4"]);
    assert_eq!(show(session.frame(&event("t", 5), Duration::ZERO)), ["event t 5"]);
    assert!(show(session.frame(&event("t", 5), Duration::ZERO)).is_empty(), "a repetition");
    assert!(show(session.frame(&event("other", 1), Duration::ZERO)).is_empty(), "a topic that nobody asked for");
}

#[test]
fn every_topic_resumes_from_its_last_position() {
    let mut session = following();
    session.frame(&event("t", 5), Duration::ZERO);
    assert!(matches!(session.ended(lost()), Next::Retry(..)));
    session.opened(Duration::ZERO);
    assert_eq!(
        say(&mut session, &welcome(), None),
        ["connected resumed=true", r#"send subscribe s2 {"topics":[{"from":{"epoch":"1","offset":5},"topic":"t"}]}"#]
    );
    let gap = GapNotice { reason: GapCause::EpochChanged, requested: Some(at(1, 5)), resume_after: at(2, 0) };
    assert_eq!(
        say(&mut session, &ack("t", at(2, 0), Some(gap.clone())), Some("s2")),
        ["subscribed t 2-0", "gap t EpochChanged 2-0"]
    );
    assert!(say(&mut session, &ServerMessage::Gap { topic: "t".into(), gap }, None).is_empty(), "told twice");
}

#[test]
fn a_hole_is_told_and_asked_again_and_finally_ends_the_connection() {
    let mut session = following();
    assert_eq!(
        show(session.frame(&event("t", 7), Duration::ZERO)),
        ["hole t 1-4 1-7", r#"send subscribe s2 {"topics":[{"from":{"epoch":"1","offset":4},"topic":"t"}]}"#]
    );
    assert!(show(session.frame(&event("t", 8), Duration::ZERO)).is_empty(), "the old cursor's events");
    say(&mut session, &ack("t", at(1, 4), None), Some("s2"));
    session.frame(&event("t", 7), Duration::ZERO);
    say(&mut session, &ack("t", at(1, 4), None), Some("s3"));
    assert_eq!(show(session.frame(&event("t", 7), Duration::ZERO)), ["hole t 1-4 1-7", "close 1002"]);
}

// proves: B5
#[test]
fn a_ping_is_answered_with_what_was_seen_last() {
    let mut session = following();
    assert_eq!(say(&mut session, &ServerMessage::Ping {}, None), ["send pong - null"]);
    session.frame(&event("t", 5), Duration::ZERO);
    assert_eq!(say(&mut session, &ServerMessage::Ping {}, None), [r#"send pong - {"last_seen":{"t":"e5"}}"#]);
}

#[test]
fn silence_is_first_asked_about_then_ended() {
    let mut session = following();
    assert_eq!(session.deadline(), IDLE / 2);
    assert_eq!(show(session.tick(IDLE / 2)), ["send ping - null"]);
    assert!(session.tick(IDLE / 2 + Duration::from_secs(1)).is_empty(), "one question is enough");
    assert_eq!(session.deadline(), IDLE);
    assert_eq!(show(session.tick(IDLE)), ["close 4408"]);
    session.heard(IDLE);
    assert!(session.tick(IDLE + IDLE / 4).is_empty());
}

// proves: A3
#[test]
fn it_backs_off_until_a_welcome_and_honours_the_servers_hint() {
    let mut session = following();
    let delay = |session: &mut Session| match session.ended(lost()) {
        Next::Retry(delay, Update::Disconnected { retry_in, .. }) if delay == retry_in => delay.as_secs(),
        other => panic!("{other:?}"),
    };
    assert_eq!([delay(&mut session), delay(&mut session), delay(&mut session)], [1, 2, 4]);
    session.opened(Duration::ZERO);
    assert_eq!(delay(&mut session), 8, "an open socket without a welcome is no success");
    session.opened(Duration::ZERO);
    say(&mut session, &welcome(), None);
    say(&mut session, &ServerMessage::Reconnect { retry_after_ms: 7_000 }, None);
    assert_eq!(delay(&mut session), 7);
    assert_eq!(delay(&mut session), 2, "a hint counts once, and as an attempt");
    let busy = Ending::Refused { status: 503, message: "draining".into(), retry_after: Some(Duration::from_secs(9_999)) };
    assert!(matches!(session.ended(busy), Next::Retry(delay, _) if delay == RETRY_AFTER_MAX));
}

// proves: A3
#[test]
fn it_stops_where_trying_again_cannot_help() {
    let stop = |ending| match following().ended(ending) {
        Next::Stop(reason) => reason,
        Next::Retry(..) => panic!("should stop"),
    };
    let refused = |status| Ending::Refused { status, message: "why".into(), retry_after: None };
    assert_eq!(stop(code(CloseCode::Unauthorized)), StopReason::Unauthorized("why".into()));
    assert_eq!(stop(refused(401)), StopReason::Unauthorized("why".into()));
    assert_eq!(stop(code(CloseCode::Forbidden)), StopReason::Forbidden("why".into()));
    assert_eq!(stop(refused(403)), StopReason::Forbidden("why".into()));
    assert_eq!(stop(refused(404)), StopReason::NotASocket { status: 404, message: "why".into() });
    assert_eq!(stop(code(CloseCode::Normal)), StopReason::Closed { code: 1000, reason: "why".into() });
    for ending in [
        code(CloseCode::Restart),
        code(CloseCode::Stalled),
        code(CloseCode::HeartbeatTimeout),
        Ending::Code { code: 4999, reason: String::new() },
        refused(429),
        refused(500),
    ] {
        assert!(matches!(following().ended(ending.clone()), Next::Retry(..)), "{ending:?}");
    }
}

#[test]
fn a_refused_token_is_refreshed_once_between_welcomes() {
    let mut session = session(&[("t", StartRequest::Latest)], true);
    assert!(matches!(session.ended(code(CloseCode::Unauthorized)), Next::Retry(..)));
    say(&mut session, &welcome(), None);
    assert!(matches!(session.ended(code(CloseCode::Unauthorized)), Next::Retry(..)));
    assert!(matches!(session.ended(code(CloseCode::Unauthorized)), Next::Stop(StopReason::Unauthorized(_))));
}

#[test]
fn an_expiring_token_is_refreshed_in_band_or_told() {
    let expiring = ServerMessage::AuthExpiring { expires_at: 1.0, seconds_left: 30 };
    let mut session = session(&[("t", StartRequest::Latest)], true);
    assert_eq!(say(&mut session, &expiring, None), ["fetch token"]);
    assert_eq!(show(session.token("new")), [r#"send auth auth {"token":"new"}"#]);
    assert_eq!(say(&mut following(), &expiring, None), ["AuthExpiring { remaining: 30s }"]);
}

#[test]
fn refused_topics_leave_the_rest_and_passing_refusals_are_asked_again() {
    let mut session = session(&[("t", StartRequest::Latest), ("u", StartRequest::Latest)], false);
    session.opened(Duration::ZERO);
    say(&mut session, &welcome(), None);
    assert_eq!(say(&mut session, &refusal("u", ErrorCode::Forbidden), Some("s1")), ["refused u FORBIDDEN"]);
    assert_eq!(say(&mut session, &refusal("t", ErrorCode::Unavailable), Some("s1")), ["refused t UNAVAILABLE"]);
    assert_eq!(session.deadline(), ASK_AGAIN_AFTER);
    assert_eq!(show(session.tick(ASK_AGAIN_AFTER)), [r#"send subscribe s2 {"topics":[{"from":"latest","topic":"t"}]}"#]);
    assert_eq!(say(&mut session, &refusal("t", ErrorCode::Forbidden), Some("s2")), ["refused t FORBIDDEN", "close 1000"]);
    assert!(matches!(session.ended(lost()), Next::Stop(StopReason::NoTopics(why)) if why == "no"));
}

#[test]
fn a_subscribe_refused_as_a_whole_refuses_its_topics() {
    let mut session = session(&[("t", StartRequest::Latest)], false);
    session.opened(Duration::ZERO);
    say(&mut session, &welcome(), None);
    let error = |code| ServerMessage::Error(ErrorBody::new(code, "no"));
    assert_eq!(say(&mut session, &error(ErrorCode::Internal), Some("s1")), ["refused t INTERNAL_ERROR"]);
    session.tick(ASK_AGAIN_AFTER);
    assert_eq!(say(&mut session, &error(ErrorCode::TooManyTopics), Some("s2")), ["refused t TOO_MANY_TOPICS", "close 1000"]);
}

#[test]
fn what_is_no_envelope_ends_the_connection_and_the_unknown_is_ignored() {
    let mut session = following();
    assert_eq!(show(session.frame("nonsense", Duration::ZERO)), ["close 1002"]);
    assert!(session.frame(r#"{"type":"from_the_future","data":{}}"#, Duration::ZERO).is_empty());
    let error = ServerMessage::Error(ErrorBody::new(ErrorCode::Processing, "x"));
    assert_eq!(say(&mut session, &error, None).len(), 1);
}
