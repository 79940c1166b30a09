//! An array of a file that another process has opened, and that this one opens when it reads.
//!
//! In: what the other process found out about the file. Out: the same array. A plan that travels
//! can be read back without touching a file; the first read opens it, once for all its arrays.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use datafusion::catalog::TableProvider;
use tokio::sync::OnceCell;

use super::{ArrayTable, FileRecipe, RecordTable};
use crate::array::{ArrayMeta, ArraySource, Block, Fetched, ReadContext, Region, Storage};
use crate::formats::Format;
use crate::{Error, Result};

/// A file that is opened when it is first read.
#[derive(Debug)]
pub struct UnopenedFile {
    format: Arc<dyn Format>,
    recipe: FileRecipe,
    opened: OnceCell<Arc<dyn TableProvider>>,
}

impl UnopenedFile {
    /// The file of `recipe`, of `format`.
    pub fn new(format: Arc<dyn Format>, recipe: FileRecipe) -> Self {
        Self { format, recipe, opened: OnceCell::new() }
    }

    async fn variable(
        &self,
        variable: usize,
        context: &ReadContext,
    ) -> Result<Arc<dyn ArraySource>> {
        let open = async || {
            let FileRecipe { location, options, .. } = &self.recipe;
            self.format.open(context.runtime()?, location, options).await
        };
        let table = self.opened.get_or_try_init(open).await?;
        let found = match table.downcast_ref::<ArrayTable>() {
            Some(table) => table.variables().nth(variable).map(|(_, source)| source),
            None => table.downcast_ref::<RecordTable>().map(RecordTable::source),
        };
        found.cloned().ok_or_else(|| {
            Error::data_invalid("the file no longer holds the array; was it replaced?")
                .with("file", &self.recipe.location)
        })
    }
}

/// An array of such a file.
#[derive(Debug)]
pub struct FileArray {
    file: Arc<UnopenedFile>,
    variable: usize,
    fields: Option<Vec<usize>>,
    meta: ArrayMeta,
    opened: OnceLock<Arc<dyn ArraySource>>,
}

impl FileArray {
    /// Variable number `variable` of `file`, which was found to be like `meta`.
    pub fn new(file: Arc<UnopenedFile>, variable: usize, meta: ArrayMeta) -> Self {
        Self { file, variable, fields: None, meta, opened: OnceLock::new() }
    }

    fn source(&self) -> Result<&Arc<dyn ArraySource>> {
        self.opened.get().ok_or_else(|| Error::bug("an array is read before its file is opened"))
    }
}

#[async_trait]
impl ArraySource for FileArray {
    fn meta(&self) -> &ArrayMeta {
        &self.meta
    }

    fn select(&self, fields: &[usize]) -> Option<Arc<dyn ArraySource>> {
        let arrow::datatypes::DataType::Struct(all) = &self.meta.data_type else { return None };
        let chosen = fields.iter().map(|index| all.get(*index).cloned());
        let chosen = chosen.collect::<Option<Vec<_>>>()?;
        let data_type = arrow::datatypes::DataType::Struct(chosen.into());
        let outer = |index: &usize| match &self.fields {
            None => Some(*index),
            Some(fields) => fields.get(*index).copied(),
        };
        Some(Arc::new(Self {
            file: Arc::clone(&self.file),
            variable: self.variable,
            fields: Some(fields.iter().map(outer).collect::<Option<_>>()?),
            meta: ArrayMeta { data_type, ..self.meta.clone() },
            opened: OnceLock::new(),
        }))
    }

    fn storage(&self) -> Storage {
        self.opened.get().map_or_else(Storage::default, |source| source.storage())
    }

    fn location(&self) -> String {
        self.file.recipe.location.clone()
    }

    fn is_remote(&self) -> bool {
        // so that it is opened before it is read
        self.opened.get().is_none_or(|source| source.is_remote())
    }

    async fn open(&self, context: &ReadContext) -> Result<()> {
        if self.opened.get().is_some() {
            return Ok(());
        }
        let source = self.file.variable(self.variable, context).await?;
        let source = match &self.fields {
            None => source,
            Some(fields) => source.select(fields).ok_or_else(|| self.changed(source.meta()))?,
        };
        let (was, is) = (&self.meta, source.meta());
        let same = was.shape == is.shape
            && was.data_type == is.data_type
            && was.chunk_shape == is.chunk_shape;
        if !same {
            return Err(self.changed(is));
        }
        self.opened.get_or_init(|| source);
        Ok(())
    }

    async fn fetch(&self, region: &Region, context: &ReadContext) -> Result<Fetched> {
        self.open(context).await?;
        let source = self.source()?;
        match source.is_remote() {
            true => source.fetch(region, context).await,
            false => Ok(Fetched::default()),
        }
    }

    fn reads_more_than(&self, region: &Region) -> bool {
        self.opened.get().is_some_and(|source| source.reads_more_than(region))
    }

    fn is_uniform(&self, region: &Region) -> bool {
        self.opened.get().is_some_and(|source| source.is_uniform(region))
    }

    fn cut_shape(&self) -> Option<Vec<u64>> {
        self.opened.get().and_then(|source| source.cut_shape())
    }

    /// Until the file is open, only what the elements take is known.
    fn working_bytes(&self, region: &Region) -> u64 {
        let opened = self.opened.get().map(|source| source.working_bytes(region));
        opened.unwrap_or_else(|| self.meta.bytes_of(region))
    }

    fn decodes_whole_chunks(&self, region: &Region) -> bool {
        self.opened.get().is_some_and(|source| source.decodes_whole_chunks(region))
    }

    fn decode(&self, region: &Region, fetched: Fetched, context: &ReadContext) -> Result<Block> {
        self.source()?.decode(region, fetched, context)
    }
}

impl FileArray {
    fn changed(&self, is: &ArrayMeta) -> Error {
        let was = &self.meta;
        Error::data_invalid(format!(
            "the file has changed since the query was planned: {:?} of {} in chunks of {:?}, not \
             {:?} of {} in chunks of {:?}; run the query again",
            is.shape, is.data_type, is.chunk_shape, was.shape, was.data_type, was.chunk_shape
        ))
        .with("file", self.location())
    }
}
