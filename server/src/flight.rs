//! Tables over the network, by Arrow Flight SQL: the crate `almagest-flight`, over sessions that have everything
//! that Almagest has, and whose queries may run on a cluster.

use std::sync::Arc;

use almagest_engine::registry::Registry;
use async_trait::async_trait;
use futures::future::BoxFuture;

pub use almagest_flight::{
    Entrance, FlightLimits, FlightOptions, FlightServer, Processes, Served, Sessions, Shared,
    TlsFiles, Users, new_user,
};

use crate::cluster::{LocalCluster, Place};
use crate::{AlmagestOptions, Result, Session, SessionOptions};

/// Opens what is served. Queries run in this process, or where `place` says.
///
/// # Errors
/// Those of opening tables and of the statements at the start.
pub fn open<'a>(
    options: &'a SessionOptions,
    place: Option<AlmagestOptions>,
    served: &'a Served,
    limits: FlightLimits,
) -> BoxFuture<'a, Result<Arc<Shared>>> {
    Box::pin(async move {
        let sessions = Arc::new(ClusterSessions { registry: crate::registry()? });
        Shared::open(sessions, options, place, served, limits).await
    })
}

/// Makes sessions whose queries may run on a cluster.
struct ClusterSessions {
    registry: Registry,
}

#[async_trait]
impl Sessions for ClusterSessions {
    fn registry(&self) -> &Registry {
        &self.registry
    }

    fn session(&self, registry: &Registry, options: &SessionOptions) -> Result<Session> {
        almagest_cluster::session(registry, options)
    }

    async fn start_processes(&self, options: &SessionOptions, count: usize) -> Result<Processes> {
        let options = almagest_cluster::local_options(&self.registry, options, count)?;
        let cluster = LocalCluster::start(&options).await?;
        let settings = Place::At(cluster.address().clone()).settings();
        Ok(Processes { settings, held: Box::new(cluster) })
    }
}
