//! The one error type of Almagest: who must act, what failed, and where.
//!
//! Context (`file`, `dataset`, `chunk`, …) is added once, at the place that knows it. An [`Error`]
//! travels through DataFusion as `DataFusionError::External` and comes back unchanged.

use std::error::Error as StdError;
use std::fmt;

use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;

/// A result whose error is Almagest's own.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Who must act on an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The statement cannot be parsed: the user.
    Syntax,
    /// The statement cannot be planned: the user.
    Plan,
    /// A table, column, file or dataset does not exist: the user.
    NotFound,
    /// There is one of that name already: the user.
    Exists,
    /// Valid, but whoever asks may not: the operator.
    Denied,
    /// Valid, but not something this version does: the user.
    Unsupported,
    /// A file's content is damaged or contradicts itself: the file's owner.
    DataInvalid,
    /// Storage or a server does not answer, or refuses: operations.
    Unreachable,
    /// A limit on memory, disk or time is used up: operations.
    Exhausted,
    /// The user asked for an end.
    Cancelled,
    /// Our own fault.
    Bug,
}

impl ErrorKind {
    /// Every kind.
    pub const ALL: [Self; 11] = [
        Self::Syntax,
        Self::Plan,
        Self::NotFound,
        Self::Exists,
        Self::Denied,
        Self::Unsupported,
        Self::DataInvalid,
        Self::Unreachable,
        Self::Exhausted,
        Self::Cancelled,
        Self::Bug,
    ];

    /// The words with which an error of this kind begins.
    pub fn label(self) -> &'static str {
        match self {
            Self::Syntax => "syntax error",
            Self::Plan => "invalid query",
            Self::NotFound => "not found",
            Self::Exists => "already there",
            Self::Denied => "not allowed",
            Self::Unsupported => "not supported",
            Self::DataInvalid => "invalid data",
            Self::Unreachable => "unreachable",
            Self::Exhausted => "out of resources",
            Self::Cancelled => "cancelled",
            Self::Bug => "bug in almagest",
        }
    }
}

/// An error with its kind, a message, key-value context and, often, a cause.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    context: Vec<(&'static str, String)>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

macro_rules! constructors {
    ($($name:ident => $kind:ident),* $(,)?) => {$(
        #[doc = concat!("An error of kind [`ErrorKind::", stringify!($kind), "`].")]
        pub fn $name(message: impl Into<String>) -> Self {
            Self::new(ErrorKind::$kind, message)
        }
    )*};
}

impl Error {
    /// An error of `kind`. The message says what failed, what was seen, what was expected and
    /// what to do; it names no place, which is context.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), context: vec![], source: None }))
    }

    constructors! {
        syntax => Syntax,
        plan => Plan,
        not_found => NotFound,
        exists => Exists,
        denied => Denied,
        unsupported => Unsupported,
        data_invalid => DataInvalid,
        unreachable => Unreachable,
        exhausted => Exhausted,
        cancelled => Cancelled,
        bug => Bug,
    }

    /// Adds where it happened. A key that is already there is kept: the innermost place wins.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        if !self.0.context.iter().any(|(seen, _)| *seen == key) {
            self.0.context.push((key, value.to_string()));
        }
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Who must act.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What failed, without kind and context.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Where it happened: the value of a key of the context.
    pub fn context(&self, key: &str) -> Option<&str> {
        let found = self.0.context.iter().find(|(seen, _)| *seen == key);
        found.map(|(_, value)| value.as_str())
    }

    /// The Almagest error inside a DataFusion error, or a classified copy of the latter.
    pub fn from_datafusion(error: DataFusionError) -> Self {
        if let Some(found) = find_in_chain(&error) {
            return found.copy();
        }
        if let Some(explained) = name_of_two(error.find_root()).map(same_names) {
            return explained.caused_by(error);
        }
        let kind = match error.find_root() {
            DataFusionError::SQL(..) => ErrorKind::Syntax,
            DataFusionError::Plan(_) | DataFusionError::SchemaError(..) => ErrorKind::Plan,
            DataFusionError::NotImplemented(_) => ErrorKind::Unsupported,
            DataFusionError::ResourcesExhausted(_) => ErrorKind::Exhausted,
            DataFusionError::ObjectStore(cause) => match cause.as_ref() {
                object_store::Error::NotFound { .. } => ErrorKind::NotFound,
                _ => ErrorKind::Unreachable,
            },
            DataFusionError::IoError(cause) if cause.kind() == std::io::ErrorKind::NotFound => {
                ErrorKind::NotFound
            }
            DataFusionError::IoError(_) => ErrorKind::Unreachable,
            DataFusionError::Internal(_) => ErrorKind::Bug,
            DataFusionError::ParquetError(_) | DataFusionError::ArrowError(..) => {
                ErrorKind::DataInvalid
            }
            _ => ErrorKind::Plan,
        };
        // The root's own words: the names of the layers above it say nothing to a user.
        let message = error.find_root().message().into_owned();
        Self::new(kind, message).caused_by(error)
    }

    /// The same error once more, its cause as text.
    #[must_use]
    pub fn copy(&self) -> Self {
        let Inner { kind, message, context, source } = self.0.as_ref();
        let copy = Self(Box::new(Inner {
            kind: *kind,
            message: message.clone(),
            context: context.clone(),
            source: None,
        }));
        match source {
            Some(cause) => copy.caused_by(cause.to_string()),
            None => copy,
        }
    }
}

/// The name that two expressions have, if that is what is wrong.
fn name_of_two(error: &DataFusionError) -> Option<&str> {
    match error {
        DataFusionError::SchemaError(error, _) => match error.as_ref() {
            SchemaError::DuplicateUnqualifiedField { name } => Some(name),
            _ => None,
        },
        DataFusionError::Plan(message)
            if message.starts_with("Projections require unique expression names") =>
        {
            message.split('"').nth(1)
        }
        _ => None,
    }
}

/// DataFusion leaves casts out of names, so sum(a) and sum(CAST(a AS DOUBLE)) have one.
fn same_names(name: &str) -> Error {
    Error::unsupported(format!(
        "two expressions of the query are both called {name}, and that is not supported: names have no CASTs; name \
         one with AS, or, inside of a query, write one of two that differ by a CAST with arrow_cast(…, 'Float64'), and \
         leave out one of two constants"
    ))
}

fn find_in_chain(error: &DataFusionError) -> Option<&Error> {
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(current) = next {
        if let Some(DataFusionError::External(inner)) = current.downcast_ref::<DataFusionError>()
            && let Some(found) = inner.downcast_ref::<Error>()
        {
            return Some(found);
        }
        if let Some(found) = current.downcast_ref::<Error>() {
            return Some(found);
        }
        // its source is the source of what it wraps
        if let Some(wrapped) = current.downcast_ref::<std::io::Error>().and_then(|io| io.get_ref())
        {
            if let Some(found) = wrapped.downcast_ref::<Error>() {
                return Some(found);
            }
            if let Some(inner) = wrapped.downcast_ref::<DataFusionError>() {
                return find_in_chain(inner);
            }
        }
        next = current.source();
    }
    None
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.kind.label(), self.0.message)?;
        for (position, (key, value)) in self.0.context.iter().enumerate() {
            write!(f, "{}{key} {value}", if position == 0 { " (" } else { ", " })?;
        }
        if !self.0.context.is_empty() {
            f.write_str(")")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        let mut next = self.source();
        while let Some(cause) = next {
            write!(f, "\n  caused by: {cause}")?;
            next = cause.source();
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_ref().map(|cause| cause.as_ref() as &(dyn StdError + 'static))
    }
}

impl From<Error> for DataFusionError {
    fn from(error: Error) -> Self {
        DataFusionError::External(Box::new(error))
    }
}

impl From<DataFusionError> for Error {
    fn from(error: DataFusionError) -> Self {
        Self::from_datafusion(error)
    }
}

impl From<object_store::Error> for Error {
    fn from(error: object_store::Error) -> Self {
        // a store of ours that refuses
        if let object_store::Error::PermissionDenied { source, .. } = &error
            && let Some(found) = source.downcast_ref::<Error>()
        {
            return found.copy();
        }
        let kind = match &error {
            object_store::Error::NotFound { .. } => ErrorKind::NotFound,
            _ => ErrorKind::Unreachable,
        };
        Self::new(kind, error.to_string()).caused_by(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_survives_the_way_through_datafusion() {
        let error = Error::data_invalid("chunk ends past the file").with("file", "a.h5");
        let wrapped = DataFusionError::from(error).context("while scanning");
        let back = Error::from(wrapped);
        assert_eq!(back.kind(), ErrorKind::DataInvalid);
        assert_eq!(back.to_string(), "invalid data: chunk ends past the file (file a.h5)");
    }

    #[test]
    fn the_innermost_place_wins() {
        let error = Error::not_found("no such dataset").with("file", "inner").with("file", "outer");
        assert_eq!(error.to_string(), "not found: no such dataset (file inner)");
    }

    #[test]
    fn an_error_is_one_pointer_wide() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }
}
