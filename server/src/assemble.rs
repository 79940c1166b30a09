//! The one place that names every crate: formats, stores, functions and rules come together in a registry.

use almagest_engine::registry::Registry;
use almagest_engine::{Result, Session, SessionOptions};

/// Everything that Almagest has: formats, stores, functions, rules.
///
/// # Errors
/// `Bug` if a function is not well described.
pub fn registry() -> Result<Registry> {
    Ok(Registry::new(almagest_connectors::formats())
        .with_stores(almagest_connectors::stores())
        .with_copy_formats(almagest_connectors::copy_formats())
        .with_relations(almagest_udfs::array_relations())
        .with_functions(almagest_udfs::array_functions())
        .with_scalar_functions(almagest_udfs::scalar_functions()?)
        .with_aggregate_functions(almagest_udfs::aggregate_functions()?)
        .with_rules(almagest_udfs::optimizer_rules()))
}

/// A session with everything Almagest has.
///
/// # Errors
/// `Plan` if an option cannot be met.
pub fn session(options: &SessionOptions) -> Result<Session> {
    let registry = registry()?;
    #[cfg(feature = "cluster")]
    return almagest_cluster::session(&registry, options);
    #[cfg(not(feature = "cluster"))]
    Session::try_new(&registry, options)
}
