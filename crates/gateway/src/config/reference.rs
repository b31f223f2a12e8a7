//! The reference of all settings, made from the table, for `docs/configuration.md`.

use std::fmt::Write as _;

use super::{Config, Meaning, settings};

const HEAD: &str = "# Configuration

Values come from the defaults, then a TOML file (`--config`, `TOWLINE_CONFIG`, or `./towline.toml` if it is there), then the environment,
then flags (`--listen`, `--data-dir`, `--set key=value`). Later ones win. `towline config check` reports everything that is wrong at once, each
with where the value came from and what is allowed, and ends with 78; `towline config print` shows what is in force and where it came from.

A key is `section.name`: in the file it stands as `name` under `[section]`. Durations have a unit (`500ms`, `30s`, `5m`, `12h`, `7d`); bytes may have
one (`64KiB`, `1MiB`). An empty environment variable counts as unset. Where a setting's own name and an older name are both set and differ, the own
name wins and a warning says so; two older names that contradict each other are refused.

";

const LISTS: &str = "
## Lists of tables, in the file only

```toml
# Issuers of tokens beside the Clerk settings.
[[auth.issuers]]
issuer = \"https://issuer.example.com\"          # what `iss` must be
jwks_url = \"https://issuer.example.com/keys\"   # https, or http on loopback
audiences = [\"towline\"]                        # what `aud` must hold; left out: not checked
algorithms = [\"RS256\", \"ES256\"]                # left out: RS256 to RS512, PS256 to PS512, ES256, ES384, EdDSA

# Topics beyond `user:{sub}` and `org:{org_id}`. The first rule given replaces the default one, by which everybody with a token may follow `system`.
[[auth.rules]]
subscribe = [\"thread:*\", \"inbox:{sub}\"]        # claims in braces are filled in from the token
publish = [\"presence:{sub}\"]
claim = \"role\"                                 # the rule is for tokens in which this claim …
equals = \"member\"                              # … is this text; or `contains`, for a list or words. Left out: everybody with a token

# Durability and retention by topic. The first pattern that matches decides; what is left out is as in [log].
[[log.topics]]
pattern = \"presence:*\"
durability = \"memory\"                          # fsync: on the device; relaxed: with the operating system; memory: gone with the process
age = \"5m\"
events = 1000
bytes = \"none\"
```

## Development mode

Without an issuer and a secret, on loopback, and with `environment` development, nobody is asked for a token and the user id is taken from the URL
(`?user_id=`, or the path of the feed). `auth.disabled = true` says so explicitly, and is refused on any other address and in production.
Requests whose `Host` or `Origin` is not this machine are refused then, so that no page on the web can reach through a browser on it.
";

/// The reference as Markdown.
#[must_use]
pub fn reference() -> String {
    let mut out = HEAD.to_owned();
    let mut section = None;
    for setting in settings() {
        let this = setting.key.split_once('.').map_or("", |(section, _)| section);
        if section != Some(this) {
            section = Some(this);
            let title = if this.is_empty() { "General".to_owned() } else { format!("`[{this}]`") };
            let _ = write!(out, "\n## {title}\n\n| key | environment | default | what it does |\n|---|---|---|---|\n");
        }
        let mut names = format!("`{}`", setting.env);
        for alias in &setting.aliases {
            let meaning = match alias.meaning {
                Meaning::Same => "",
                Meaning::Milliseconds => " (in ms)",
                Meaning::Opposite => " (the opposite)",
            };
            let _ = write!(names, ", older `{}`{meaning}", alias.env);
        }
        // The number of cores differs from machine to machine.
        let default = if setting.key == "sockets.workers" {
            "one for two cores".to_owned()
        } else {
            format!("`{}`", setting.show(&Config::default()))
        };
        let _ = writeln!(out, "| `{}` | {names} | {default} | {} |", setting.key, setting.help);
    }
    out.push_str(LISTS);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checked_in_reference_is_that_of_the_table() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
        let stored = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            stored == reference(),
            "docs/configuration.md is out of date; make it anew with\n  cargo run -p towline -- config reference > docs/configuration.md"
        );
    }

    #[test]
    fn the_example_in_the_reference_is_a_good_file() {
        let text = LISTS.split("```toml").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let file = crate::config::ConfigFile { path: "example.toml".into(), text: text.to_owned() };
        let loaded = crate::config::load(crate::config::Input { file: Some(file), ..Default::default() }).unwrap();
        assert_eq!((loaded.config.auth.rules.len(), loaded.config.log.topics.len()), (1, 1));
    }
}
