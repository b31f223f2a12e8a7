//! The configurations for nginx and HAProxy that are checked in, as they stand: two gateways behind the real program, and everything that a
//! client does goes through it. `cargo xtask test` installs the programs and runs these; without them they are left out.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::json;
use tempfile::TempDir;
use towline::peers::Networks;
use towline_harness::{Authority, Clock, Endpoint, Gateway, GatewayBuilder, PATIENCE, SERVICE_KEY, eventually};

/// A proxy in front of two gateways, which it ends with.
struct Proxy {
    endpoint: Endpoint,
    authority: Authority,
    child: Child,
    directory: TempDir,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Replaces what the configuration asks to be changed. Each must be there: the file is tested as it is.
fn changed(file: &str, changes: &[(&str, String)]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy").join(file);
    let mut text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    for (from, to) in changes {
        assert!(text.contains(from), "{file} has no `{from}`");
        text = text.replace(from, to);
    }
    text
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).unwrap().port()
}

impl Proxy {
    async fn nginx(gateways: [&Gateway; 2]) -> Self {
        Self::start(gateways, |place, port, authority| {
            let (certificate, key) = authority.install(&authority.server().make());
            let site = changed(
                "nginx/towline.conf",
                &[
                    ("listen 443 ssl;", format!("listen 127.0.0.1:{port} ssl;")),
                    ("server 127.0.0.1:8080 ", format!("server {} ", gateways[0].address())),
                    ("server 127.0.0.1:8081 ", format!("server {} ", gateways[1].address())),
                    ("/etc/nginx/towline.pem", certificate.display().to_string()),
                    ("/etc/nginx/towline.key", key.display().to_string()),
                    ("/var/log/nginx/towline.log", place.join("access.log").display().to_string()),
                ],
            );
            std::fs::write(place.join("towline.conf"), site).unwrap();
            let paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                .map(|kind| format!("{kind}_temp_path {}/{kind};\n", place.display()))
                .concat();
            let around = format!(
                "daemon off;\nmaster_process off;\npid {0}/pid;\nerror_log {0}/error.log info;\nevents {{}}\nhttp {{\n{paths}\
                 include {0}/towline.conf;\n}}\n",
                place.display()
            );
            std::fs::write(place.join("nginx.conf"), around).unwrap();
            let mut command = Command::new("nginx");
            command.arg("-p").arg(place).arg("-c").arg(place.join("nginx.conf"));
            command
        })
        .await
    }

    async fn haproxy(gateways: [&Gateway; 2]) -> Self {
        Self::start(gateways, |place, port, authority| {
            let made = authority.server().make();
            let both = authority.write("both.pem", &format!("{}{}", made.certificate, made.key));
            let text = changed(
                "haproxy/towline.cfg",
                &[
                    ("bind :443 ", format!("bind 127.0.0.1:{port} ")),
                    ("server one 127.0.0.1:8080 ", format!("server one {} ", gateways[0].address())),
                    ("server two 127.0.0.1:8081 ", format!("server two {} ", gateways[1].address())),
                    ("/etc/haproxy/towline.pem", both.display().to_string()),
                    // What a user may open, who is not root.
                    ("maxconn 100000", "maxconn 1000".to_owned()),
                ],
            );
            std::fs::write(place.join("haproxy.cfg"), text).unwrap();
            let mut command = Command::new("haproxy");
            command.arg("-db").arg("-f").arg(place.join("haproxy.cfg"));
            command
        })
        .await
    }

    async fn start(_: [&Gateway; 2], prepare: impl FnOnce(&Path, u16, &Authority) -> Command) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (authority, port) = (Authority::new(), free_port());
        let mut command = prepare(directory.path(), port, &authority);
        let output = std::fs::File::create(directory.path().join("output")).unwrap();
        let child = command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output).spawn();
        let child = child.unwrap_or_else(|error| panic!("{:?}: {error}; `cargo xtask test` installs it", command.get_program()));
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let endpoint = Endpoint::at(address, Clock::system()).with_tls(authority.client_config(None));
        let mut proxy = Self { endpoint, authority, child, directory };
        proxy.until_ready().await;
        proxy
    }

    async fn until_ready(&mut self) {
        let output = self.directory.path().join("output");
        let (endpoint, child) = (&self.endpoint, &mut self.child);
        eventually("the proxy passes requests on", || {
            if let Ok(Some(status)) = child.try_wait() {
                panic!("the proxy ended with {status}:\n{}", std::fs::read_to_string(&output).unwrap_or_default());
            }
            let asking = endpoint.http().get(endpoint.url("/readyz")).send();
            async move { asking.await.is_ok_and(|answer| answer.status() == 200) }
        })
        .await;
    }

    fn log(&self, name: &str) -> String {
        let path: PathBuf = self.directory.path().join(name);
        std::fs::read_to_string(path).unwrap_or_default()
    }

    /// A client with an address of its own.
    fn client(&self, address: [u8; 4]) -> reqwest::Client {
        let tls = rustls::ClientConfig::clone(&self.authority.client_config(None));
        let client = reqwest::Client::builder().no_proxy().tls_backend_preconfigured(tls);
        client.local_address(IpAddr::from(address)).build().unwrap()
    }
}

/// A gateway that knows its proxy, and is as strict with its clients as with those from elsewhere.
fn behind() -> GatewayBuilder {
    Gateway::builder().config(|config| {
        config.proxies.trusted = "127.0.0.1".parse().unwrap();
        config.addresses.exempt = Networks::default();
        config.drain.window = std::time::Duration::from_millis(200);
    })
}

/// All doors, REST with a large body, and an answer that comes in pieces.
async fn serves(proxy: &Proxy, gateways: [&Gateway; 2]) {
    let endpoint = &proxy.endpoint;
    let mut native = endpoint.connect("alice").await;
    native.subscribe(json!(["user:alice"])).await;
    let mut feed = endpoint.feed("alice").token(endpoint.token("alice")).open().await;
    let token = endpoint.token("alice");
    let mut stream = endpoint.stream("/api/v1/stream?topics=user:alice", token, None).await.ok().unwrap();
    // What the stream says arrives although the stream goes on: nobody collects it.
    stream.expect("welcome", PATIENCE).await;
    // The two gateways are two logs here, so each is told.
    for gateway in gateways {
        gateway.publish("user:alice", "x", json!({"large": "y".repeat(200_000)})).await;
    }
    native.expect("x", PATIENCE).await;
    feed.expect("x", PATIENCE).await;
    stream.expect("x", PATIENCE).await;
    let lines: String =
        (0..2_000).map(|n| format!("{{\"topic\":\"b\",\"type\":\"x\",\"data\":\"{n}{}\"}}\n", "z".repeat(4_000))).collect();
    let (status, answer) = endpoint.post_events_as(SERVICE_KEY, "", "application/x-ndjson", &lines).await;
    assert_eq!((status, &answer["stored"]), (200, &json!(2_000)), "8 MB of NDJSON: {}", answer["error"]);
    let (status, _) = endpoint.get("/api/ws/replay?topic=user:alice", endpoint.token("alice")).await;
    assert_eq!(status, 200);
    native.expect_quiet().await;
    native.close().await;
}

/// One gateway leaves: its clients are told, come back by the same address, and are served by the other.
async fn moves(proxy: &Proxy, leaving: &mut Gateway, staying: &Gateway) {
    let endpoint = &proxy.endpoint;
    let mut clients = Vec::new();
    for _ in 0..6 {
        let mut client = endpoint.connect("alice").await;
        client.subscribe(json!(["user:alice"])).await;
        clients.push(client);
    }
    let open = |gateway: &Gateway| gateway.server().shared().metrics.connections("native").get();
    let (there, here) = (open(leaving), open(staying));
    assert_eq!((there + here, there > 0, here > 0), (6, true, true), "{there} and {here}: both have some");
    leaving.drain().await;
    let mut moved = 0;
    for client in &mut clients {
        // Who was with the other notices nothing.
        staying.publish("user:alice", "still", json!({})).await;
        let packet = client.next(PATIENCE).await.unwrap();
        if packet.kind() == "reconnect" {
            assert_eq!(client.expect_close(PATIENCE).await.0, 1012);
            *client = endpoint.connect("alice").await;
            client.expect_quiet().await;
            moved += 1;
        }
    }
    assert_eq!(moved, there);
    assert_eq!(open(staying), 6);
    let (status, _) = endpoint.get("/api/ws/replay?topic=user:alice", endpoint.token("alice")).await;
    assert_eq!(status, 200);
    assert!(endpoint.publish("user:alice", "x", json!({})).await.offset > 0);
}

/// Whatever a client writes into the headers by which proxies vouch for it: it stays who it is.
async fn believes_nobody(proxy: &Proxy) {
    let ask = async |client: &reqwest::Client, n: usize| {
        let request = client.get(proxy.endpoint.url("/api/v1/stream?topics=a"));
        let request = request.bearer_auth(SERVICE_KEY).header("x-forwarded-for", format!("10.0.0.{n}"));
        request.header("forwarded", format!("for=10.0.0.{n}")).send().await.unwrap().status().as_u16()
    };
    let (flood, other) = (proxy.client([127, 0, 0, 2]), proxy.client([127, 0, 0, 3]));
    let mut answers = Vec::new();
    for n in 0..8 {
        answers.push(ask(&flood, n).await);
    }
    // Two at each gateway: their clocks stand, so nothing is forgiven meanwhile.
    assert_eq!(answers, [200, 200, 200, 200, 429, 429, 429, 429]);
    assert_eq!(ask(&other, 9).await, 200, "another client has limits of its own");
}

/// For operators only. Here the operator's address is this machine's, so somebody else asks.
async fn keeps_operators_routes(proxy: &Proxy) {
    let stranger = proxy.client([127, 0, 0, 4]);
    for path in ["/metrics", "/api/v1/admin/connections"] {
        assert_eq!(stranger.get(proxy.endpoint.url(path)).send().await.unwrap().status(), 403, "{path}");
    }
    assert!(proxy.endpoint.metrics().await.contains("towline_connections"));
}

fn strict() -> GatewayBuilder {
    behind().manual_clock().config(|config| {
        config.addresses.handshakes_per_second_max = Some(1);
        config.addresses.handshakes_burst = 2;
    })
}

// proves: C14
#[tokio::test]
#[ignore = "needs nginx: cargo xtask test --only proxies"]
async fn nginx_passes_everything_on_and_clients_move_when_a_gateway_leaves() {
    let (mut one, two) = (behind().start().await, behind().start().await);
    let proxy = Proxy::nginx([&one, &two]).await;
    serves(&proxy, [&one, &two]).await;
    keeps_operators_routes(&proxy).await;
    one.expect_idle_sockets().await;
    two.expect_idle_sockets().await;
    moves(&proxy, &mut one, &two).await;
    let log = proxy.log("access.log");
    assert!(log.contains("GET /api/v1/ws/agents/alice") && !log.contains("token="), "the access log holds no query:\n{log}");
}

// proves: C14
#[tokio::test]
#[ignore = "needs nginx: cargo xtask test --only proxies"]
async fn nginx_says_who_the_client_is() {
    let (one, two) = (strict().start().await, strict().start().await);
    believes_nobody(&Proxy::nginx([&one, &two]).await).await;
}

// proves: C14
#[tokio::test]
#[ignore = "needs haproxy: cargo xtask test --only proxies"]
async fn haproxy_passes_everything_on_and_clients_move_when_a_gateway_leaves() {
    let (mut one, two) = (behind().start().await, behind().start().await);
    let proxy = Proxy::haproxy([&one, &two]).await;
    serves(&proxy, [&one, &two]).await;
    keeps_operators_routes(&proxy).await;
    one.expect_idle_sockets().await;
    two.expect_idle_sockets().await;
    moves(&proxy, &mut one, &two).await;
    assert!(!proxy.log("output").contains("token="), "the log holds no query");
}

// proves: C14
#[tokio::test]
#[ignore = "needs haproxy: cargo xtask test --only proxies"]
async fn haproxy_says_who_the_client_is() {
    let (one, two) = (strict().start().await, strict().start().await);
    believes_nobody(&Proxy::haproxy([&one, &two]).await).await;
}
