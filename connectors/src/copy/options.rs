//! The options of a COPY statement: `OPTIONS ('key' 'value', …)`.
//!
//! In: DataFusion's map, keys in lower case behind `format.`. Out: values of the kinds that formats
//! ask for, or an error that names the option and what it takes.

use std::collections::HashMap;

use almagest_engine::{Error, Result};

/// The options that a statement gives.
#[derive(Clone, Debug)]
pub struct Options {
    format: &'static str,
    given: HashMap<String, String>,
}

impl Options {
    /// No options for this format.
    pub fn none(format: &'static str) -> Self {
        Self { format, given: HashMap::new() }
    }

    /// The options `given` to this format, which has the `known` ones.
    ///
    /// # Errors
    /// `Plan` for one that the format does not have.
    pub fn try_new(
        format: &'static str,
        known: &[(&str, &str)],
        given: &HashMap<String, String>,
    ) -> Result<Self> {
        let mut options = Self::none(format);
        for (key, value) in given {
            let short = key.strip_prefix("format.").unwrap_or(key);
            if !known.iter().any(|(name, _)| *name == short) {
                let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
                return Err(Error::plan(format!(
                    "COPY to {format} has no option '{short}'; use {}",
                    names.join(", ")
                )));
            }
            options.given.insert(short.into(), value.trim().into());
        }
        Ok(options)
    }

    /// The text of an option.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.given.get(key).map(String::as_str)
    }

    /// The words of an option, between commas.
    pub fn words(&self, key: &str) -> Option<Vec<&str>> {
        self.text(key).map(|text| text.split(',').map(str::trim).collect())
    }

    /// An option that is true or false, false if it is absent.
    ///
    /// # Errors
    /// `Plan`.
    pub fn flag(&self, key: &str) -> Result<bool> {
        match self.text(key).map(str::to_ascii_lowercase).as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(self.wrong(key, "true or false")),
        }
    }

    /// An option of as many lengths as there are dimensions, 1 or more each.
    ///
    /// # Errors
    /// `Plan`.
    pub fn lengths(&self, key: &str, dims: usize) -> Result<Option<Vec<u64>>> {
        let Some(words) = self.words(key) else { return Ok(None) };
        let lengths = words.iter().map(|word| word.parse().ok());
        let lengths: Option<Vec<u64>> = lengths.collect();
        let fits = |lengths: &Vec<u64>| {
            lengths.len() == dims
                && lengths.iter().all(|length| (1..=i64::MAX as u64).contains(length))
        };
        match lengths.filter(fits) {
            Some(lengths) => Ok(Some(lengths)),
            None => Err(self.wrong(
                key,
                &format!("a length of 1 or more for each of {dims} dimensions, between commas"),
            )),
        }
    }

    /// The error for an option whose value is not what it takes.
    pub fn wrong(&self, key: &str, expected: &str) -> Error {
        let value = self.text(key).unwrap_or_default();
        Error::plan(format!("'{key}' '{value}' of COPY to {}: it takes {expected}", self.format))
    }
}
