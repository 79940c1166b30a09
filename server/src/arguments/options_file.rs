//! Options from a file: `almagest serve --config FILE.toml`.
//!
//! In: the words of the command line. Out: the same, with those of the file before them. Not here: which
//! options there are ([`super::ServeArguments`]).

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use almagest::{Error, Result};

/// The words of the command line with those of the file that `serve --config FILE` names.
///
/// # Errors
/// What is wrong with the file.
pub fn with_config(words: Vec<OsString>) -> Result<Vec<OsString>> {
    let Some(command) = words.iter().position(|word| word == "serve") else { return Ok(words) };
    let after = &words[command + 1..];
    let path = after.iter().enumerate().find_map(|(position, word)| {
        let text = word.to_str()?;
        match text.strip_prefix("--config=") {
            Some(path) => Some(PathBuf::from(path)),
            None if text == "--config" => after.get(position + 1).map(PathBuf::from),
            None => None,
        }
    });
    let Some(path) = path else { return Ok(words) };
    let text = fs::read_to_string(&path).map_err(|cause| {
        Error::not_found(format!("cannot read the file of options: {cause}"))
            .with("file", path.display())
    })?;
    let options: toml::Table = text.parse().map_err(|cause: toml::de::Error| {
        Error::plan(format!("the options are not TOML: {}", cause.message()))
            .with("file", path.display())
    })?;
    let mut all = words[..=command].to_vec();
    for (name, value) in options {
        all.extend(words_of(&name, value).map_err(|error| error.with("file", path.display()))?);
    }
    all.extend(after.iter().cloned());
    Ok(all)
}

/// An option of the file as words.
fn words_of(name: &str, value: toml::Value) -> Result<Vec<OsString>> {
    let option = OsString::from(format!("--{}", name.replace('_', "-")));
    let one = |value: toml::Value| match value {
        toml::Value::String(text) => Ok(text.into()),
        toml::Value::Integer(number) => Ok(number.to_string().into()),
        other => Err(Error::plan(format!(
            "option {name} is a {}; write a text, a number, true, or a list of texts",
            other.type_str()
        ))),
    };
    match value {
        toml::Value::Boolean(true) => Ok(vec![option]),
        toml::Value::Boolean(false) => Ok(vec![]),
        toml::Value::Array(values) => {
            let words = values.into_iter().map(|value| Ok([option.clone(), one(value)?]));
            Ok(words.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
        }
        value => Ok(vec![option, one(value)?]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<OsString> {
        text.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn a_file_of_options_comes_before_the_command_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("o.toml");
        fs::write(&path, "data = [\"a\", \"b\"]\nanonymous = true\ninsecure = false\ngrace = 3\n")
            .unwrap();
        let given = words(&format!("almagest serve --config {} --grace 4", path.display()));
        let all = with_config(given.clone()).unwrap();
        let expected = format!(
            "almagest serve --anonymous --data a --data b --grace 3 --config {} --grace 4",
            path.display()
        );
        assert_eq!(all, words(&expected));
        fs::write(&path, "grace = 1.5\n").unwrap();
        let error = with_config(given).unwrap_err();
        assert!(error.message().contains("grace"), "{error}");
        assert_eq!(with_config(words("almagest -c x")).unwrap(), words("almagest -c x"));
    }
}
