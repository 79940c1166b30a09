//! The one place that names every crate: formats and functions come together in a session.

use almagest_engine::registry::Registry;
use almagest_engine::{Result, Session, SessionOptions};

/// The formats, stores and array functions that Almagest has.
pub fn registry() -> Registry {
    Registry::new(almagest_connectors::formats())
        .with_stores(almagest_connectors::stores())
        .with_relations(almagest_udfs::array_relations())
        .with_functions(almagest_udfs::array_functions())
}

/// A session with everything Almagest has.
///
/// # Errors
/// `Plan` if an option cannot be met.
pub fn session(options: &SessionOptions) -> Result<Session> {
    #[cfg(feature = "cluster")]
    return crate::cluster::session(options);
    #[cfg(not(feature = "cluster"))]
    session_with(&registry(), options)
}

/// A session with the formats, stores and array functions of `registry`, whose queries run where
/// `options.own` says.
///
/// # Errors
/// `Plan` if an option cannot be met.
#[cfg(feature = "flight")]
pub fn session_of(registry: &Registry, options: &SessionOptions) -> Result<Session> {
    crate::cluster::session_of(registry.clone(), options)
}

/// The same, with the formats, stores and array functions of `registry`.
///
/// # Errors
/// `Plan` if an option cannot be met.
pub fn session_with(registry: &Registry, options: &SessionOptions) -> Result<Session> {
    let session = Session::try_new(registry, options)?;
    for format in almagest_connectors::copy_formats() {
        session.context().state_ref().write().register_file_format(format, false)?;
    }
    for function in almagest_udfs::scalar_functions()? {
        session.context().register_udf(function);
    }
    for function in almagest_udfs::aggregate_functions()? {
        session.context().register_udaf(function);
    }
    for rule in almagest_udfs::optimizer_rules() {
        session.context().add_optimizer_rule(rule);
    }
    Ok(session)
}
