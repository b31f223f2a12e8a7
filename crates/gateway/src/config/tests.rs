//! The configuration as an operator meets it: sources, aliases, and all problems at once.

use std::collections::BTreeMap;
use std::time::Duration;

use towline_log::Durability;

use super::*;

fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

fn file(text: &str) -> Option<ConfigFile> {
    Some(ConfigFile { path: "towline.toml".into(), text: text.to_owned() })
}

fn flag(key: &str, text: &str) -> Flag {
    Flag { name: format!("--{key}"), key: key.to_owned(), text: text.to_owned() }
}

fn from_env(pairs: &[(&str, &str)]) -> Loaded {
    load(Input { env: env(pairs), ..Input::default() }).unwrap()
}

fn problems(input: Input) -> Vec<String> {
    load(input).map_or_else(|problems| problems.0.iter().map(ToString::to_string).collect(), |_| Vec::new())
}

const SECRET: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn flags_win_over_environment_over_file_over_defaults() {
    let text = "listen = '127.0.0.1:1'\ndata_dir = 'from-file'\nenvironment = 'staging'\n[auth]\ndisabled = false\njwt_secret = '0123456789abcdef0123456789abcdef'";
    let loaded = load(Input {
        file: file(text),
        env: env(&[("TOWLINE_LISTEN", "127.0.0.1:2"), ("TOWLINE_DATA_DIR", "from-env")]),
        flags: vec![flag("listen", "127.0.0.1:3")],
        ..Input::default()
    })
    .unwrap();
    assert_eq!(loaded.config.listen.port(), 3);
    assert_eq!(loaded.config.data_dir.to_str(), Some("from-env"));
    assert_eq!(loaded.config.environment, Environment::Staging);
    assert_eq!(loaded.config.sockets.idle_timeout, Duration::from_secs(60));
    assert_eq!(loaded.sources["listen"], Source::Flag("--listen".into()));
    assert_eq!(loaded.sources["data_dir"], Source::Env("TOWLINE_DATA_DIR".into()));
    assert_eq!(loaded.sources["environment"], Source::File { path: "towline.toml".into(), line: 3 });
    assert!(!loaded.sources.contains_key("sockets.idle_timeout"));
}

// proves: C11
#[test]
fn the_older_names_are_honoured() {
    let loaded = from_env(&[
        ("WEBSOCKET_ALLOWED_ORIGINS", "https://a.example, https://b.example"),
        ("ENVIRONMENT", "Production"),
        ("WEBSOCKET_MAX_CONNECTIONS_PER_USER", "7"),
        ("WEBSOCKET_MAX_MESSAGE_RATE", "90"),
        ("WEBSOCKET_HEARTBEAT_INTERVAL", "15000"),
        ("WEBSOCKET_ENABLE_CORS", "true"),
        ("WEBSOCKET_REQUIRE_AUTH", "true"),
        ("CLERK_DOMAIN", "clerk.example.com"),
        ("CLERK_JWKS_URL", "https://keys.example.com/jwks"),
        ("CLERK_ISSUER", "https://issuer.example.com"),
    ]);
    let config = &loaded.config;
    assert_eq!(config.origins.allowed, ["https://a.example", "https://b.example"]);
    assert!(config.origins.cors);
    assert_eq!(config.environment, Environment::Production);
    assert_eq!((config.users.connections_max, config.users.messages_per_minute_max), (7, 90));
    assert_eq!(config.sockets.heartbeat_interval, Duration::from_secs(15));
    assert_eq!(config.auth.disabled, Some(false));
    let auth = auth_config(config);
    assert_eq!(auth.issuers.len(), 1);
    assert_eq!(auth.issuers[0].issuer.as_deref(), Some("https://issuer.example.com"));
    assert_eq!(auth.issuers[0].jwks_url, "https://keys.example.com/jwks");
    let disabled = from_env(&[("AUTH_DISABLED", "true")]);
    assert!(disabled.config.development);
    assert!(from_env(&[("WEBSOCKET_REQUIRE_AUTH", "false")]).config.development);
}

// proves: C11
#[test]
fn an_own_name_wins_over_its_alias_and_says_so_only_where_they_differ() {
    let loaded = from_env(&[("WEBSOCKET_HEARTBEAT_INTERVAL", "15000"), ("TOWLINE_SOCKETS_HEARTBEAT_INTERVAL", "20s")]);
    assert_eq!(loaded.config.sockets.heartbeat_interval, Duration::from_secs(20));
    assert!(loaded.warnings.iter().any(|text| text.contains("WEBSOCKET_HEARTBEAT_INTERVAL is ignored")), "{:?}", loaded.warnings);
    let agreeing = from_env(&[("WEBSOCKET_HEARTBEAT_INTERVAL", "20000"), ("TOWLINE_SOCKETS_HEARTBEAT_INTERVAL", "20s")]);
    assert!(!agreeing.warnings.iter().any(|text| text.contains("ignored")), "{:?}", agreeing.warnings);
    let contradiction =
        problems(Input { env: env(&[("AUTH_DISABLED", "true"), ("WEBSOCKET_REQUIRE_AUTH", "true")]), ..Input::default() });
    assert!(contradiction.iter().any(|text| text.contains("contradicts AUTH_DISABLED")), "{contradiction:?}");
}

#[test]
fn the_fixed_names_set_what_they_say() {
    let loaded = from_env(&[
        ("TOWLINE_LISTEN", "127.0.0.1:9"),
        ("TOWLINE_DATA_DIR", "/data"),
        ("TOWLINE_SERVICE_KEYS", "service-key-one, service-key-two"),
        ("TOWLINE_JWT_SECRET", SECRET),
    ]);
    let auth = auth_config(&loaded.config);
    assert_eq!(
        auth.service_keys.iter().map(|key| key.secret.expose()).collect::<Vec<_>>(),
        ["service-key-one", "service-key-two"]
    );
    assert_eq!(auth.shared_secrets[0].secret.expose(), SECRET);
    assert!(!loaded.config.development);
}

#[test]
fn all_problems_come_at_once_with_where_and_what_is_allowed() {
    let text = "listen = 'nowhere'\n\n[sockets]\nidle_timeout = 60\nwindow_events = 0\nidle_time_out = '1m'\n\n[log]\ndurability = 'maybe'\n\n[[log.topics]]\npattern = 'a b'\nages = '1d'\n\n[[auth.rules]]\nsubscribe = ['x{']\n\n[[auth.issuers]]\nissuer = 'x'\nalgorithms = ['none']\n";
    let found = problems(Input {
        file: file(text),
        env: env(&[("TOWLINE_EVENTS_DEPTH_MAX", "deep"), ("WEBSOCKET_HEARTBEAT_INTERVAL", "30s")]),
        flags: vec![flag("sockets.worker", "1"), flag("drain.timeout", "0s")],
        ..Input::default()
    });
    for expected in [
        "listen (towline.toml:1): expected an IP address and a port",
        "sockets.idle_timeout (towline.toml:4): expected a duration with its unit",
        "sockets.window_events (towline.toml:5): 0 is out of range: from 1 to 100000",
        "sockets.idle_time_out (towline.toml:6): no such setting; did you mean sockets.idle_timeout?",
        "log.durability (towline.toml:9): expected fsync, relaxed or memory",
        "log.topics.pattern (towline.toml:11): expected a topic",
        "log.topics.ages (towline.toml:11): no such setting; did you mean age?",
        "auth.rules (towline.toml:15): rules[0].subscribe",
        "auth.issuers.jwks_url (towline.toml:18): is missing",
        "events.depth_max (environment TOWLINE_EVENTS_DEPTH_MAX): expected a whole number",
        "sockets.heartbeat_interval (environment WEBSOCKET_HEARTBEAT_INTERVAL): expected a whole number of milliseconds",
        "sockets.worker (flag --sockets.worker): no such setting; did you mean sockets.workers?",
        "drain.timeout (flag --drain.timeout): 0s is out of range: from 1s to 1h",
    ] {
        assert!(found.iter().any(|text| text.contains(expected)), "{expected} is missing in\n{}", found.join("\n"));
    }
}

#[test]
fn a_broken_file_says_where_and_the_rest_is_still_checked() {
    let found = problems(Input { file: file("listen = \n[sockets]\nworkers = 0\n"), ..Input::default() });
    assert!(found.iter().any(|text| text.contains("towline.toml:1") && text.contains("not TOML")), "{found:?}");
    assert!(found.iter().any(|text| text.contains("sockets.workers (towline.toml:3)")), "{found:?}");
}

// proves: A10
#[test]
fn without_an_issuer_it_is_development_mode_on_loopback_only() {
    let alone = from_env(&[]);
    assert!(alone.config.development);
    assert!(alone.warnings.iter().any(|text| text.contains("development mode")));
    assert!(from_env(&[("TOWLINE_SERVICE_KEYS", "service-key")]).config.development);
    assert!(!from_env(&[("TOWLINE_JWT_SECRET", SECRET)]).config.development);
    assert!(!from_env(&[("CLERK_ISSUER", "https://clerk.example.com")]).config.development);
    for (pairs, key) in [
        (&[("TOWLINE_LISTEN", "0.0.0.0:80"), ("AUTH_DISABLED", "1")][..], "auth.disabled"),
        (&[("AUTH_DISABLED", "1"), ("ENVIRONMENT", "production")], "auth.disabled"),
        (&[("TOWLINE_LISTEN", "0.0.0.0:80")], "auth (default)"),
        (&[("ENVIRONMENT", "production")], "auth (default)"),
        (&[("WEBSOCKET_REQUIRE_AUTH", "true")], "auth (default)"),
    ] {
        let found = problems(Input { env: env(pairs), ..Input::default() });
        assert!(found.iter().any(|text| text.starts_with(key)), "{pairs:?}: {found:?}");
    }
}

#[test]
fn a_short_secret_is_for_loopback_in_development_and_signs_the_same() {
    let loaded = from_env(&[("TOWLINE_JWT_SECRET", "short")]);
    assert!(loaded.warnings.iter().any(|text| text.contains("auth.jwt_secret has 5 bytes")));
    assert_eq!(auth_config(&loaded.config).shared_secrets[0].secret.expose().trim_end_matches('\0'), "short");
    let claims = towline_auth::MintClaims { subject: "u".into(), ttl: Duration::from_secs(60), ..Default::default() };
    let token = towline_auth::mint(&towline_auth::Secret::new("short"), &claims, 1_000).unwrap();
    let auth = towline_auth::Authenticator::new(auth_config(&loaded.config), towline_clock::Clock::manual(1_000)).unwrap();
    assert_eq!(&*auth.try_authenticate(&token).unwrap().unwrap().subject, "u");
    let far =
        problems(Input { env: env(&[("TOWLINE_JWT_SECRET", "short"), ("TOWLINE_LISTEN", "0.0.0.0:80")]), ..Input::default() });
    assert!(far.iter().any(|text| text.starts_with("auth.jwt_secret (environment TOWLINE_JWT_SECRET)")), "{far:?}");
}

#[test]
fn a_short_service_key_is_for_loopback_in_development() {
    let loaded = from_env(&[("TOWLINE_SERVICE_KEYS", "test"), ("TOWLINE_JWT_SECRET", "x")]);
    assert!(loaded.warnings.iter().any(|text| text.contains("auth.service_keys has a key of 4 bytes")), "{:?}", loaded.warnings);
    assert!(!loaded.config.development, "who configures a secret wants tokens to be asked for");
    let auth = towline_auth::Authenticator::new(auth_config(&loaded.config), towline_clock::Clock::manual(1_000)).unwrap();
    assert_eq!(&*auth.try_authenticate("test").unwrap().unwrap().subject, "service-1");
    for elsewhere in [("TOWLINE_LISTEN", "0.0.0.0:80"), ("ENVIRONMENT", "production"), ("ENVIRONMENT", "staging")] {
        let found = problems(Input { env: env(&[("TOWLINE_SERVICE_KEYS", "test"), elsewhere]), ..Input::default() });
        let expected = "auth.service_keys (environment TOWLINE_SERVICE_KEYS): service_keys[0].secret must have 8 to";
        assert!(found.iter().any(|text| text.starts_with(expected)), "{elsewhere:?}: {found:?}");
    }
}

#[test]
fn admin_keys_are_long_everywhere_and_open_nothing_else() {
    let key = "an-admin-key-0123456789";
    assert!(problems(Input { env: env(&[("TOWLINE_ADMIN_KEYS_FULL", key)]), ..Input::default() }).is_empty());
    for (pairs, expected) in [
        (vec![("TOWLINE_ADMIN_KEYS_READ", "short")], "admin.keys_read (environment TOWLINE_ADMIN_KEYS_READ): a key must have 16"),
        (vec![("TOWLINE_ADMIN_KEYS_FULL", key), ("TOWLINE_ADMIN_KEYS_READ", key)], "admin.keys_full"),
        (vec![("TOWLINE_ADMIN_KEYS_FULL", key), ("TOWLINE_SERVICE_KEYS", key)], "admin.keys_full"),
    ] {
        let found = problems(Input { env: env(&pairs), ..Input::default() });
        assert!(found.iter().any(|text| text.starts_with(expected)), "{pairs:?}: {found:?}");
        assert!(!found.concat().contains(key));
    }
}

#[test]
fn lists_are_read_and_print_shows_sources_and_no_secret() {
    let text = "[auth]\nservice_keys = ['key-one-secret', 'key-two-secret']\njwt_secret = '0123456789abcdef0123456789abcdef'\n\n[[auth.issuers]]\nissuer = 'https://i.example'\njwks_url = 'https://i.example/keys'\nalgorithms = ['ES256']\n\n[[auth.rules]]\nsubscribe = ['ops:events']\nclaim = 'role'\nequals = 'admin'\n\n[[log.topics]]\npattern = 'presence:*'\ndurability = 'memory'\nage = '5m'\nbytes = 'none'\n";
    let loaded = load(Input { file: file(text), ..Input::default() }).unwrap();
    let policy = loaded.config.log.policies().of("presence:1");
    assert_eq!(policy.durability, Durability::Memory);
    assert_eq!((policy.retention.age_max, policy.retention.bytes_max), (Some(Duration::from_secs(300)), None));
    assert_eq!(policy.retention.events_max, Some(1_000_000), "what a rule leaves out is the default");
    let printed = print(&loaded);
    assert!(printed.contains("# towline.toml:2; ") && printed.contains("# default; "), "{printed}");
    assert!(!printed.contains("key-one-secret") && !printed.contains("0123456789abcdef"), "{printed}");
    let again = load(Input { file: file(&printed), env: env(&[("TOWLINE_JWT_SECRET", SECRET)]), ..Input::default() }).unwrap();
    assert_eq!(again.config.auth.issuers[0].algorithms.len(), 1);
    let secrets_apart = |loaded: &Loaded| -> Vec<String> {
        settings().iter().filter(|s| s.key != "auth.service_keys").map(|s| s.show(&loaded.config)).collect()
    };
    assert_eq!(secrets_apart(&again), secrets_apart(&loaded), "what is printed can be read back");
}

#[test]
fn names_that_mean_nothing_are_pointed_out_unless_kubernetes_injected_them() {
    let loaded = from_env(&[
        ("TOWLINE_LISTN", "x"),
        ("TOWLINE_PORT", "tcp://10.0.0.1:80"),
        ("TOWLINE_PORT_80_TCP", "tcp://10.0.0.1:80"),
        ("TOWLINE_SERVICE_HOST", "10.0.0.1"),
        ("TOWLINE_DATA_DIR", ""),
    ]);
    let strangers: Vec<_> = loaded.warnings.iter().filter(|text| text.contains("no setting")).collect();
    assert_eq!(strangers.len(), 1, "{strangers:?}");
    assert!(strangers[0].contains("did you mean TOWLINE_LISTEN?"));
    assert!(!loaded.sources.contains_key("data_dir"), "an empty variable counts as unset");
}

#[test]
fn a_longer_heartbeat_takes_the_idle_timeout_along_unless_that_was_given() {
    let loaded = from_env(&[("WEBSOCKET_HEARTBEAT_INTERVAL", "60000")]);
    assert_eq!(loaded.config.sockets.idle_timeout, Duration::from_secs(120));
    let found = problems(Input {
        env: env(&[("WEBSOCKET_HEARTBEAT_INTERVAL", "60000"), ("TOWLINE_SOCKETS_IDLE_TIMEOUT", "60s")]),
        ..Input::default()
    });
    assert!(found.iter().any(|text| text.starts_with("sockets.idle_timeout (environment TOWLINE_SOCKETS_IDLE_TIMEOUT)")));
}

// proves: C5
#[test]
fn origins_are_checked_when_they_are_read() {
    let text = "environment = 'production'\n[auth]\njwt_secret = '0123456789abcdef0123456789abcdef'\n[origins]\nallowed = ['https://a.example', 'b.example', 'https://*.com']\nstaging = ['https://c.example/']\n";
    let found = problems(Input { file: file(text), ..Input::default() });
    for expected in [
        "origins.allowed (towline.toml:5): \"b.example\": it must begin with a scheme",
        "origins.allowed (towline.toml:5): \"https://*.com\": would let a whole top-level domain in",
        "origins.staging (towline.toml:6): \"https://c.example/\": it is scheme, host and port only",
    ] {
        assert!(found.iter().any(|text| text.contains(expected)), "{expected} is missing in\n{}", found.join("\n"));
    }
    let warned = |environment: &str, allowed: &str, word: &str| {
        let pairs = [("ENVIRONMENT", environment), ("WEBSOCKET_ALLOWED_ORIGINS", allowed), ("TOWLINE_JWT_SECRET", SECRET)];
        from_env(&pairs).warnings.iter().any(|text| text.contains(word))
    };
    assert!(warned("production", "", "no web page may connect") && !warned("development", "", "no web page may connect"));
    assert!(warned("production", "http://a.example", "is not https") && !warned("production", "https://a.example", "https"));
}

#[test]
fn one_developer_has_room_for_all_users_unless_it_is_said() {
    let users = |pairs: &[(&str, &str)]| {
        let users = from_env(pairs).config.users;
        (users.connections_max, users.messages_per_minute_max)
    };
    assert_eq!(users(&[]), (1_000, 60_000));
    assert_eq!(users(&[("WEBSOCKET_MAX_MESSAGE_RATE", "60")]), (1_000, 60));
    assert_eq!(users(&[("TOWLINE_JWT_SECRET", SECRET)]), (5, 60), "with authentication users are told apart");
}

#[test]
fn not_everybody_can_be_a_trusted_proxy() {
    let loaded =
        load(Input { file: file("[proxies]\ntrusted = ['10.0.0.0/8', '::1']\nheader = 'Forwarded'\n"), ..Input::default() });
    let proxies = loaded.unwrap().config.proxies.trusted_proxies();
    assert!(proxies.is_trusted("10.9.9.9".parse().unwrap()) && !proxies.is_trusted("127.0.0.1".parse().unwrap()));
    for (text, expected) in [
        ("10.0.0.0/8, ::/0", "must not be the whole Internet"),
        ("10.0.0.0/33", "expected addresses or networks such as"),
        ("nginx", "expected addresses or networks such as"),
    ] {
        let found = problems(Input { env: env(&[("TOWLINE_PROXIES_TRUSTED", text)]), ..Input::default() });
        assert!(found.iter().any(|problem| problem.contains(expected)), "{text}: {found:?}");
    }
}

#[test]
fn every_setting_has_one_name_and_its_default_is_in_range() {
    let all = settings();
    let mut names: Vec<&str> = all.iter().flat_map(|s| s.aliases.iter().map(|a| a.env).chain([s.env.as_str()])).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
    for setting in &all {
        let mut config = Config::default();
        let text = setting.show(&config);
        if text != "none" {
            assert_eq!(setting.apply(&mut config, &Given::Text(text)), Ok(()), "{}", setting.key);
        }
    }
}
