//! Pages of other origins that read REST answers.

use reqwest::{Method, Response};
use towline_harness::{Gateway, PAGE};

/// A request from a page, and with `asks` the pre-flight request for it.
async fn from_page(gateway: &Gateway, method: Method, target: &str, origin: Option<&str>, asks: Option<&str>) -> Response {
    let mut request = gateway.http().request(method, gateway.url(target)).bearer_auth(gateway.token("alice").mint());
    if let Some(origin) = origin {
        request = request.header("origin", origin);
    }
    if let Some(asks) = asks {
        request = request
            .header("access-control-request-method", asks)
            .header("access-control-request-headers", "authorization, content-type");
    }
    request.send().await.unwrap()
}

fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

fn varies_by_origin(response: &Response) -> bool {
    response.headers().get_all("vary").iter().any(|value| value.to_str().unwrap().eq_ignore_ascii_case("origin"))
}

const READS: [&str; 4] =
    ["/api/v1/agents/events", "/api/v1/agents/activity", "/api/ws/replay?topic=user:alice", "/api/v1/stream?topics=user:alice"];

// proves: C5
#[tokio::test]
async fn a_named_page_may_read_answers_and_no_other() {
    let gateway = Gateway::start().await;
    for target in READS {
        let response = from_page(&gateway, Method::GET, target, Some(PAGE), None).await;
        assert_eq!((response.status().as_u16(), header(&response, "access-control-allow-origin")), (200, Some(PAGE)), "{target}");
        assert!(varies_by_origin(&response), "{target}");
        assert_eq!(header(&response, "access-control-allow-credentials"), None);

        let response = from_page(&gateway, Method::GET, target, None, None).await;
        assert_eq!((response.status().as_u16(), header(&response, "access-control-allow-origin")), (200, None), "{target}");
        assert!(varies_by_origin(&response), "a cache must not give this one to a page: {target}");

        let response = from_page(&gateway, Method::GET, target, Some("https://evil.test"), None).await;
        assert_eq!((response.status().as_u16(), header(&response, "access-control-allow-origin")), (403, None), "{target}");
        assert!(varies_by_origin(&response), "{target}");
    }
    // Errors can be read too, with what they say in their head.
    let response = from_page(&gateway, Method::GET, "/api/v1/agents/events?since=never", Some(PAGE), None).await;
    assert_eq!((response.status().as_u16(), header(&response, "access-control-allow-origin")), (400, Some(PAGE)));
    assert!(header(&response, "access-control-expose-headers").unwrap().contains("Retry-After"));
}

// proves: C5
#[tokio::test]
async fn a_preflight_is_answered_for_named_pages_only() {
    let gateway = Gateway::start().await;
    for target in ["/api/v1/events", "/api/v1/agents/events", "/api/v1/stream"] {
        let response = from_page(&gateway, Method::OPTIONS, target, Some(PAGE), Some("POST")).await;
        assert_eq!(response.status(), 204, "{target}");
        assert_eq!(header(&response, "access-control-allow-origin"), Some(PAGE));
        assert!(header(&response, "access-control-allow-methods").unwrap().contains("POST"));
        let headers = header(&response, "access-control-allow-headers").unwrap();
        assert!(headers.contains("Authorization") && headers.contains("Content-Type") && !headers.contains('*'), "{headers}");
        assert_eq!(header(&response, "access-control-max-age"), Some("600"));
        assert_eq!(header(&response, "access-control-allow-credentials"), None);
        assert!(varies_by_origin(&response));

        for origin in ["https://evil.test", "null"] {
            let response = from_page(&gateway, Method::OPTIONS, target, Some(origin), Some("POST")).await;
            assert_eq!((response.status().as_u16(), header(&response, "access-control-allow-origin")), (403, None), "{origin}");
            assert_eq!(header(&response, "access-control-allow-methods"), None);
        }
    }
    // An OPTIONS that is no pre-flight is a method that nothing takes.
    assert_eq!(from_page(&gateway, Method::OPTIONS, "/api/v1/events", Some(PAGE), None).await.status(), 405);
}

// proves: C5, C11
#[tokio::test]
async fn without_cors_a_named_page_may_connect_and_not_read_rest() {
    let gateway = Gateway::builder().config(|config| config.origins.cors = false).start().await;
    gateway.native().bearer(gateway.token("alice")).origin(PAGE).open().await;
    let response = from_page(&gateway, Method::GET, "/api/v1/agents/events", Some(PAGE), None).await;
    assert_eq!((response.status().as_u16(), header(&response, "access-control-allow-origin")), (200, None));
    let response = from_page(&gateway, Method::OPTIONS, "/api/v1/events", Some(PAGE), Some("POST")).await;
    assert_eq!((response.status().as_u16(), header(&response, "access-control-allow-methods")), (405, None));
}
