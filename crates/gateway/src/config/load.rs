//! From file, environment and flags to one configuration. Nothing is read from the process here: the caller passes it in.

use std::collections::BTreeMap;
use std::path::PathBuf;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::lists::{self, ListEntry};
use super::problem::{Problem, Problems, Source, nearest};
use super::setting::{Given, Setting};
use super::{Config, check, table};

/// All that a configuration is made of. Later ones win: `base`, `file`, `env`, `flags`.
#[derive(Debug, Clone, Default)]
pub struct Input {
    /// The defaults.
    pub base: Config,
    /// A TOML file, if there is one.
    pub file: Option<ConfigFile>,
    /// The process's environment.
    pub env: BTreeMap<String, String>,
    /// Flags of the command line, in order.
    pub flags: Vec<Flag>,
}

/// A configuration file that was read.
#[derive(Debug, Clone)]
pub struct ConfigFile {
    /// Where it was, for messages.
    pub path: PathBuf,
    /// What stands in it.
    pub text: String,
}

/// A flag that sets a value.
#[derive(Debug, Clone)]
pub struct Flag {
    /// As it was typed, for messages.
    pub name: String,
    /// The setting's key.
    pub key: String,
    /// The value.
    pub text: String,
}

/// A configuration without problems.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    /// Where each value came from; what is not named is the default.
    pub sources: BTreeMap<String, Source>,
    /// What is allowed but looks wrong.
    pub warnings: Vec<String>,
}

/// Names in the environment that begin with `TOWLINE_` and are not settings: those of the client commands, and where the file is.
const OTHER_NAMES: [&str; 4] = ["TOWLINE_CONFIG", "TOWLINE_URL", "TOWLINE_TOKEN", "TOWLINE_KEY"];

/// Puts a configuration together.
///
/// # Errors
/// Everything that is wrong, at once.
pub fn load(input: Input) -> Result<Loaded, Problems> {
    let settings = table::settings();
    let mut work = Work {
        settings: &settings,
        config: input.base,
        sources: BTreeMap::new(),
        problems: Vec::new(),
        warnings: Vec::new(),
        entries: Vec::new(),
    };
    if let Some(file) = &input.file {
        work.file(file);
    }
    work.environment(&input.env);
    for flag in &input.flags {
        work.flag(flag);
    }
    lists::apply(&work.entries, &mut work.config, &mut work.problems);
    check::check(&mut work.config, &work.sources, &mut work.problems, &mut work.warnings);
    if work.problems.is_empty() {
        Ok(Loaded { config: work.config, sources: work.sources, warnings: work.warnings })
    } else {
        Err(Problems(work.problems))
    }
}

struct Work<'a> {
    settings: &'a [Setting],
    config: Config,
    sources: BTreeMap<String, Source>,
    problems: Vec<Problem>,
    warnings: Vec<String>,
    entries: Vec<ListEntry>,
}

impl Work<'_> {
    fn problem(&mut self, key: &str, source: Source, message: impl Into<String>) {
        self.problems.push(Problem { key: key.to_owned(), source, message: message.into() });
    }

    fn set(&mut self, setting: &Setting, given: &Given, source: Source) {
        match setting.apply(&mut self.config, given) {
            Ok(()) => {
                self.sources.insert(setting.key.to_owned(), source);
            }
            Err(message) => self.problem(setting.key, source, message),
        }
    }

    fn file(&mut self, file: &ConfigFile) {
        let (document, errors) = DeTable::parse_recoverable(&file.text);
        let at = |offset: usize| Source::File { path: file.path.clone(), line: line_of(&file.text, offset) };
        for error in &errors {
            let source = at(error.span().map_or(0, |span| span.start));
            self.problem("file", source, format!("not TOML: {}", error.message()));
        }
        for (name, value) in document.get_ref().iter() {
            let section = name.get_ref().as_ref();
            match value.get_ref() {
                DeValue::Table(inside) => {
                    for (name, value) in inside.iter() {
                        self.file_value(&format!("{section}.{}", name.get_ref()), value, &at);
                    }
                }
                _ => self.file_value(section, value, &at),
            }
        }
    }

    fn file_value(&mut self, key: &str, value: &Spanned<DeValue<'_>>, at: &dyn Fn(usize) -> Source) {
        let source = at(value.span().start);
        if lists::KEYS.contains(&key) {
            match value.get_ref() {
                DeValue::Array(tables) => {
                    let entries = tables.iter().map(|entry| ListEntry::new(key, entry, at(entry.span().start)));
                    self.entries.extend(entries);
                    self.sources.insert(key.to_owned(), source);
                }
                _ => self.problem(key, source, format!("expected a list of tables, written [[{key}]]")),
            }
            return;
        }
        let settings = self.settings;
        let Some(setting) = settings.iter().find(|setting| setting.key == key) else {
            let known = settings.iter().map(|setting| setting.key).chain(lists::KEYS);
            let hint = nearest(key, known).map_or_else(String::new, |near| format!("; did you mean {near}?"));
            return self.problem(key, source, format!("no such setting{hint}"));
        };
        match given(value.get_ref()) {
            Some(given) => self.set(setting, &given, source),
            None => self.problem(key, source, "expected a single value or a list of texts"),
        }
    }

    fn environment(&mut self, env: &BTreeMap<String, String>) {
        // An empty variable counts as unset: compose files and shells produce them all the time.
        let value = |name: &str| env.get(name).filter(|text| !text.is_empty());
        for setting in self.settings {
            let mut chosen: Option<(String, String)> = None;
            for alias in &setting.aliases {
                let Some(text) = value(alias.env) else { continue };
                let source = Source::Env(alias.env.to_owned());
                let text = match alias.translate(text) {
                    Ok(text) => text,
                    Err(message) => {
                        self.problem(setting.key, source, message);
                        continue;
                    }
                };
                match &chosen {
                    Some((other, earlier)) if !self.same(setting, earlier, &text) => {
                        let message = format!("contradicts {other}; set only one of them");
                        self.problem(setting.key, source, message);
                    }
                    Some(_) => {}
                    None => chosen = Some((alias.env.to_owned(), text)),
                }
            }
            if let Some(text) = value(&setting.env) {
                if let Some((alias, other)) = &chosen
                    && !self.same(setting, other, text)
                {
                    self.warnings.push(format!("{alias} is ignored, because {} is set and differs", setting.env));
                }
                chosen = Some((setting.env.clone(), text.clone()));
            }
            if let Some((name, text)) = chosen {
                self.set(setting, &Given::Text(text), Source::Env(name));
            }
        }
        for name in env.keys().filter(|name| name.starts_with("TOWLINE_")) {
            if self.settings.iter().any(|setting| setting.env == *name) || OTHER_NAMES.contains(&name.as_str()) || injected(name)
            {
                continue;
            }
            let near = nearest(name, self.settings.iter().map(|setting| setting.env.as_str()));
            let hint = near.map_or_else(String::new, |near| format!("; did you mean {near}?"));
            self.warnings.push(format!("{name} in the environment is no setting and has no effect{hint}"));
        }
    }

    /// Whether two texts mean the same value for a setting (`30s` and `30000ms` do).
    fn same(&self, setting: &Setting, a: &str, b: &str) -> bool {
        let read = |text: &str| {
            let mut config = self.config.clone();
            setting.apply(&mut config, &Given::Text(text.to_owned())).ok().map(|()| setting.show(&config))
        };
        a == b || read(a).zip(read(b)).is_some_and(|(a, b)| a == b)
    }

    fn flag(&mut self, flag: &Flag) {
        let source = Source::Flag(flag.name.clone());
        let settings = self.settings;
        match settings.iter().find(|setting| setting.key == flag.key) {
            Some(setting) => self.set(setting, &Given::Text(flag.text.clone()), source),
            None => {
                let near = nearest(&flag.key, settings.iter().map(|setting| setting.key));
                let hint = near.map_or_else(String::new, |near| format!("; did you mean {near}?"));
                self.problem(&flag.key, source, format!("no such setting{hint}"));
            }
        }
    }
}

/// Kubernetes injects such names into every pod beside a service that is called `towline`; they are nobody's mistake.
fn injected(name: &str) -> bool {
    let rest = name.trim_start_matches("TOWLINE_");
    rest == "PORT" || rest.starts_with("PORT_") || rest.starts_with("SERVICE_HOST") || rest.starts_with("SERVICE_PORT")
}

fn given(value: &DeValue<'_>) -> Option<Given> {
    match value {
        DeValue::Array(values) => values.iter().map(|value| scalar(value.get_ref())).collect::<Option<_>>().map(Given::List),
        other => scalar(other).map(Given::Text),
    }
}

/// A scalar's text, so that file, environment and flags share one reader.
pub(super) fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        DeValue::Boolean(value) => Some(value.to_string()),
        _ => None,
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count() + 1
}
