//! Named profiles: `[profiles.big]` in the site's file and in the user's.
//!
//! A key is a flag's name. The user's file goes over the site's, key by key. The profile `default`
//! counts if no --profile is given.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::options::Options;
use almagest_engine::{Error, Result};

const SITE_FILE: &str = "/etc/almagest/cluster.toml";
const SITE_VARIABLE: &str = "ALMAGEST_SITE_CONFIG";
const DEFAULT: &str = "default";
/// How alike two words are that may be meant for each other.
const LIKENESS_MIN: f64 = 0.75;

/// The files of profiles, the site's first: those that count more come later.
pub fn files() -> Vec<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let site = set(SITE_VARIABLE).unwrap_or_else(|| SITE_FILE.into());
    let config = set("XDG_CONFIG_HOME").or_else(|| Some(set("HOME")?.join(".config")));
    let user = config.map(|folder| folder.join("almagest").join("cluster.toml"));
    [Some(site), user].into_iter().flatten().collect()
}

/// The options of a profile, or of the profile `default` where there is one.
///
/// # Errors
/// `NotFound` if no file has the profile, `Plan` if a file is wrong.
pub fn options(name: Option<&str>, files: &[PathBuf]) -> Result<Options> {
    let (mut found, mut known) = (None, vec![]);
    for path in files {
        let profiles = read(path)?;
        known.extend(profiles.keys().cloned());
        if let Some(options) = profiles.get(name.unwrap_or(DEFAULT)) {
            let options = parse(path, options)?;
            found = Some(options.over(found.unwrap_or_default()));
        }
    }
    match (found, name) {
        (Some(options), _) => Ok(options),
        (None, None) => Ok(Options::default()),
        (None, Some(name)) => Err(unknown(name, &known, files)),
    }
}

/// The profiles of a file, each checked; none if there is no such file.
fn read(path: &Path) -> Result<Table> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(Table::new()),
        Err(cause) => {
            let error = Error::unreachable(format!("cannot read profiles: {cause}"));
            return Err(error.with("file", path.display()));
        }
    };
    let table: Table = text.parse().map_err(|cause| wrong(path, cause))?;
    if let Some(key) = table.keys().find(|key| *key != "profiles") {
        return Err(no_key(path, key, &["profiles".into()]));
    }
    match table.get("profiles") {
        None => Ok(Table::new()),
        Some(Value::Table(profiles)) => Ok(profiles.clone()),
        Some(_) => Err(wrong(path, "profiles is no table; write [profiles.NAME]")),
    }
}

fn parse(path: &Path, profile: &Value) -> Result<Options> {
    let Value::Table(table) = profile else {
        return Err(wrong(path, "a profile is no table; write [profiles.NAME]"));
    };
    let names = Options::names();
    if let Some(key) = table.keys().find(|key| !names.contains(key)) {
        return Err(no_key(path, key, &names));
    }
    // one key at a time, so that the error can name it
    for (key, value) in table {
        let single = Table::from_iter([(key.clone(), value.clone())]);
        if let Err(cause) = single.try_into::<Options>() {
            return Err(wrong(path, format!("{key}: {}", cause.message())));
        }
    }
    table.clone().try_into().map_err(|cause| wrong(path, cause))
}

fn wrong(path: &Path, cause: impl std::fmt::Display) -> Error {
    Error::plan(format!("the profiles are wrong: {cause}")).with("file", path.display())
}

fn no_key(path: &Path, key: &str, known: &[String]) -> Error {
    Error::plan(format!(
        "there is no key '{key}'{}; the keys are {}",
        meant(key, known),
        known.join(", ")
    ))
    .with("file", path.display())
}

fn unknown(name: &str, known: &[String], files: &[PathBuf]) -> Error {
    let known = match known.is_empty() {
        true => "there are none".into(),
        false => format!("there are {}", known.join(", ")),
    };
    let files: Vec<String> = files.iter().map(|path| path.display().to_string()).collect();
    Error::not_found(format!("no profile '{name}'; {known}")).with("files", files.join(" and "))
}

/// `; did you mean 'x'?` if a known word is like it.
fn meant(word: &str, known: &[String]) -> String {
    let likeness = |known: &String| strsim::jaro_winkler(word, known);
    let best = known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    match best.filter(|best| likeness(best) >= LIKENESS_MIN) {
        Some(best) => format!("; did you mean '{best}'?"),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amounts::{Bytes, Walltime};

    fn written(folder: &Path, name: &str, text: &str) -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn the_users_file_goes_over_the_sites() {
        let folder = tempfile::tempdir().unwrap();
        let site = "[profiles.big]\ncores = 16\nmemory = '64GB'\nprologue = ['module load x']\n\
                    [profiles.default]\nqueue = 'short'\n";
        let user = "[profiles.big]\nmemory = '32GB'\nwalltime = '4h'\n[profiles.own]\nport = 7\n";
        let files = [written(folder.path(), "site", site), written(folder.path(), "user", user)];
        let big = options(Some("big"), &files).unwrap();
        assert_eq!((big.cores, big.memory), (Some(16), Some(Bytes(32_000_000_000))));
        assert_eq!((big.walltime, big.queue), (Some(Walltime(14_400)), None));
        assert_eq!(big.prologue, ["module load x"]);
        assert_eq!(options(None, &files).unwrap().queue.as_deref(), Some("short"));
        assert_eq!(options(Some("own"), &files).unwrap().port, Some(7));
        let missing = folder.path().join("none");
        assert_eq!(options(None, &[missing]).unwrap().queue, None);
    }

    #[test]
    fn a_wrong_file_names_what_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let fails = |text: &str, name: &str| {
            let path = written(folder.path(), "cluster.toml", text);
            options(Some(name), &[path]).unwrap_err().to_string()
        };
        let said = fails("[profiles.a]\nwaltime = '4h'", "a");
        for part in ["'waltime'", "did you mean 'walltime'?", "cores, memory", "cluster.toml"] {
            assert!(said.contains(part), "{said}");
        }
        let said = fails("[profiles.a]\nmemory = '4 parsecs'", "a");
        assert!(said.contains("memory: '4 parsecs' is no size"), "{said}");
        assert!(fails("[profiles.a]\nworkers = 'x'", "a").contains("workers: "));
        assert!(fails("[profile.a]", "a").contains("did you mean 'profiles'?"));
        assert!(fails("profiles = 3", "a").contains("[profiles.NAME]"));
        assert!(fails("[profiles]\na = 3", "a").contains("[profiles.NAME]"));
        assert!(fails("[", "a").contains("cluster.toml"));
        assert!(fails("[profiles.a]", "b").contains("no profile 'b'; there are a"));
    }
}
