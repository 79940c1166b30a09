//! Settings of a session by Flight's own actions: SetSessionOptions, GetSessionOptions, CloseSession.
//!
//! arrow-flight has no types for their messages, so they are written out here, after Flight.proto.

use std::collections::HashMap;
use std::sync::Arc;

use almagest_engine::Result;
use datafusion::common::config::ConfigOptions;
use prost::{Enumeration, Message, Oneof};

use super::client::Client;

/// The names that Flight gives to two of the settings.
const CATALOG: (&str, &str) = ("catalog", "datafusion.catalog.default_catalog");
const SCHEMA: (&str, &str) = ("schema", "datafusion.catalog.default_schema");

/// A value.
#[derive(Clone, PartialEq, Message)]
pub struct SessionOptionValue {
    /// Of one of these types.
    #[prost(oneof = "OptionValue", tags = "1, 2, 3, 4, 5")]
    pub option_value: Option<OptionValue>,
}

/// The types of values.
#[derive(Clone, PartialEq, Oneof)]
pub enum OptionValue {
    /// Text.
    #[prost(string, tag = "1")]
    Text(String),
    /// Yes or no.
    #[prost(bool, tag = "2")]
    Bool(bool),
    /// A whole number.
    #[prost(sfixed64, tag = "3")]
    Int(i64),
    /// A number.
    #[prost(double, tag = "4")]
    Double(f64),
    /// Several texts.
    #[prost(message, tag = "5")]
    List(StringList),
}

/// Several texts.
#[derive(Clone, PartialEq, Message)]
pub struct StringList {
    /// In order.
    #[prost(string, repeated, tag = "1")]
    pub values: Vec<String>,
}

/// What to set.
#[derive(Clone, PartialEq, Message)]
pub struct SetSessionOptionsRequest {
    /// By name.
    #[prost(map = "string, message", tag = "1")]
    pub session_options: HashMap<String, SessionOptionValue>,
}

/// What could not be set.
#[derive(Clone, PartialEq, Message)]
pub struct SetSessionOptionsResult {
    /// By name.
    #[prost(map = "string, message", tag = "1")]
    pub errors: HashMap<String, SetError>,
}

/// Why.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct SetError {
    /// The reason.
    #[prost(enumeration = "ErrorValue", tag = "1")]
    pub value: i32,
}

/// The reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum ErrorValue {
    /// None told.
    Unspecified = 0,
    /// No such setting, or not one of a session.
    InvalidName = 1,
    /// Not a value of the setting.
    InvalidValue = 2,
    /// Any other.
    Error = 3,
}

/// The settings.
#[derive(Clone, PartialEq, Message)]
pub struct GetSessionOptionsResult {
    /// By name.
    #[prost(map = "string, message", tag = "1")]
    pub session_options: HashMap<String, SessionOptionValue>,
}

/// Whether a session was closed.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct CloseSessionResult {
    /// `1`: it is.
    #[prost(int32, tag = "1")]
    pub status: i32,
}

/// A session that is closed.
pub const CLOSED: i32 = 1;

/// Sets what can be set.
pub async fn set(
    client: &Arc<Client>,
    request: SetSessionOptionsRequest,
) -> SetSessionOptionsResult {
    let mut errors = HashMap::new();
    for (name, value) in request.session_options {
        let reason = match set_one(client, &name, value).await {
            Ok(()) => continue,
            Err(reason) => reason as i32,
        };
        errors.insert(name, SetError { value: reason });
    }
    SetSessionOptionsResult { errors }
}

async fn set_one(
    client: &Arc<Client>,
    name: &str,
    value: SessionOptionValue,
) -> Result<(), ErrorValue> {
    let setting = match name {
        name if name == CATALOG.0 => CATALOG.1,
        name if name == SCHEMA.0 => SCHEMA.1,
        name => name,
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    if !setting.chars().all(is_name) || client.policy().check_name(setting).is_err() {
        return Err(ErrorValue::InvalidName);
    }
    let statement = match value.option_value {
        // no value: back to the first
        None => format!("RESET {setting}"),
        Some(OptionValue::Text(text)) => format!("SET {setting} = '{}'", text.replace('\'', "''")),
        Some(OptionValue::Bool(value)) => format!("SET {setting} = {value}"),
        Some(OptionValue::Int(value)) => format!("SET {setting} = '{value}'"),
        Some(OptionValue::Double(value)) => format!("SET {setting} = '{value}'"),
        Some(OptionValue::List(_)) => return Err(ErrorValue::InvalidValue),
    };
    let begun = client.begin(&statement).await;
    begun.map(|query| client.told(&query)).map_err(|_| ErrorValue::InvalidValue)
}

/// The settings that a session may change, with their values.
pub fn get(client: &Client) -> GetSessionOptionsResult {
    let state = client.session().context().state();
    let options: &ConfigOptions = state.config_options();
    let policy = client.policy();
    let text = |value: String| SessionOptionValue { option_value: Some(OptionValue::Text(value)) };
    let mut session_options = HashMap::new();
    for entry in options.entries() {
        let Some(value) = entry.value else { continue };
        if policy.check_name(&entry.key).is_err() {
            continue;
        }
        for (short, name) in [CATALOG, SCHEMA] {
            if entry.key == name {
                session_options.insert(short.into(), text(value.clone()));
            }
        }
        session_options.insert(entry.key, text(value));
    }
    GetSessionOptionsResult { session_options }
}
