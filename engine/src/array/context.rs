//! What is shared by the reads of one read box: counters, blocks already read, the chunk cache.
//!
//! Every array is read through [`ReadContext::read`], so that an array that several functions of a
//! query read is read once, and a stored chunk that lies under the halos of several boxes is
//! decoded once.

use std::sync::Arc;

use datafusion::execution::runtime_env::RuntimeEnv;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use parking_lot::Mutex;

use super::{ArraySource, Block, ChunkCache, Fetched, ReadCounters, Region};
use crate::{Error, Result};

/// Fetches that are under way at once for one array. All of a box is held before it is decoded, so that
/// more at once take no more memory; but each may take a connection.
pub const FETCHES_AT_ONCE: usize = 32;

/// The reads of one read box.
#[derive(Debug, Default)]
pub struct ReadContext {
    /// What reading has cost so far.
    pub counters: ReadCounters,
    cache: Option<Arc<ChunkCache>>,
    runtime: Option<Arc<RuntimeEnv>>,
    /// Blocks that were read, with what they were read of.
    read: Mutex<Vec<(Arc<dyn ArraySource>, Block)>>,
}

impl ReadContext {
    /// A context whose reads go through `cache`, if there is one, and to the stores of `runtime`.
    pub fn new(cache: Option<Arc<ChunkCache>>, runtime: Arc<RuntimeEnv>) -> Self {
        Self { cache, runtime: Some(runtime), ..Self::default() }
    }

    /// Where files lie.
    ///
    /// # Errors
    /// `Bug` outside of a session.
    pub fn runtime(&self) -> Result<&RuntimeEnv> {
        self.runtime.as_deref().ok_or_else(|| Error::bug("a file is opened outside of a session"))
    }

    /// Brings what `region` of `source` needs from remote stores.
    ///
    /// # Errors
    /// Those of [`ArraySource::fetch`].
    pub async fn fetch(&self, source: &Arc<dyn ArraySource>, region: &Region) -> Result<Fetched> {
        if !source.is_remote() {
            return Ok(Fetched::default());
        }
        source.open(self).await?;
        match self.cache_for(source, region) {
            Some(cache) => cache.fetch(source, region, self).await,
            None => source.fetch(region, self).await,
        }
    }

    /// Brings what these regions need, several at once. What comes is in their order.
    ///
    /// # Errors
    /// Those of [`ArraySource::fetch`]: that of the first region that has one.
    pub async fn fetch_all(
        &self,
        wanted: Vec<(Arc<dyn ArraySource>, Region)>,
    ) -> Result<Vec<Fetched>> {
        // boxed, as compilers do not see that their closure takes references of any lifetime
        let fetches: Vec<BoxFuture<'_, Result<Fetched>>> =
            wanted.iter().map(|(source, region)| self.fetch(source, region).boxed()).collect();
        stream::iter(fetches).buffered(FETCHES_AT_ONCE).try_collect().await
    }

    /// The elements of `region` of `source`.
    ///
    /// # Errors
    /// Those of [`ArraySource::decode`].
    pub fn read(
        &self,
        source: &Arc<dyn ArraySource>,
        region: &Region,
        fetched: Fetched,
    ) -> Result<Block> {
        if let Some(block) = self.already_read(source, region) {
            return block.crop(region);
        }
        let block = match self.cache_for(source, region) {
            Some(cache) => cache.read(source, region, fetched, self)?,
            None => source.decode(region, fetched, self)?,
        };
        self.read.lock().push((Arc::clone(source), block.clone()));
        Ok(block)
    }

    fn already_read(&self, source: &Arc<dyn ArraySource>, region: &Region) -> Option<Block> {
        let read = self.read.lock();
        let found = read
            .iter()
            .find(|(seen, block)| Arc::ptr_eq(seen, source) && block.region().contains(region));
        found.map(|(_, block)| block.clone())
    }

    fn cache_for(&self, source: &Arc<dyn ArraySource>, region: &Region) -> Option<&ChunkCache> {
        self.cache.as_deref().filter(|_| source.decodes_whole_chunks(region))
    }
}
