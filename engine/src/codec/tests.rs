//! What an executor knows of the arrays that it is sent.

use std::sync::Arc;

use arrow::array::StringArray;
use async_trait::async_trait;
use datafusion::catalog::TableProvider;
use datafusion::execution::TaskContext;
use datafusion::execution::runtime_env::RuntimeEnv;

use super::PhysicalCodec;
use super::read::Reader;
use super::write::Writer;
use crate::Result;
use crate::array::{ArraySource, CountedArray, ELEMENT_BYTES, MemoryArray, ReadContext, Region};
use crate::catalog::{ArrayTable, FileRecipe, Recorded, TableRecipe};
use crate::formats::{Format, NamedAttributes, TableOptions};
use crate::registry::Registry;

/// A format whose every file is a row of four texts.
#[derive(Debug)]
struct Texts;

fn texts() -> Arc<dyn ArraySource> {
    let texts = Arc::new(StringArray::from(vec!["a", "b", "c", "d"]));
    let array = MemoryArray::try_new(vec!["x".into()], vec![4], texts).unwrap();
    Arc::new(CountedArray::new(Arc::new(array), &Arc::default()))
}

fn table() -> ArrayTable {
    ArrayTable::try_new("texts", vec![("text".into(), texts())]).unwrap()
}

#[async_trait]
impl Format for Texts {
    fn name(&self) -> &'static str {
        "TEXTS"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["texts"]
    }

    fn summary(&self) -> &'static str {
        "texts"
    }

    fn options(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    async fn open(
        &self,
        _: &RuntimeEnv,
        _: &str,
        _: &TableOptions,
    ) -> Result<Arc<dyn TableProvider>> {
        Ok(Arc::new(table()))
    }

    async fn arrays(
        &self,
        _: &RuntimeEnv,
        _: &str,
    ) -> Result<Vec<(String, Result<Arc<dyn ArraySource>>)>> {
        Ok(vec![("text".into(), Ok(texts()))])
    }

    async fn attributes(
        &self,
        _: &RuntimeEnv,
        _: &str,
        _: Option<&str>,
    ) -> Result<NamedAttributes> {
        Ok(vec![])
    }
}

/// The array of a file of texts, as it comes to an executor.
fn sent() -> Arc<dyn ArraySource> {
    let registry = Registry::new(vec![Arc::new(Texts)]);
    let codec = PhysicalCodec::new(registry.clone());
    let recipe = TableRecipe::File(FileRecipe::new("TEXTS", "/a.texts", &TableOptions::new()));
    let table = Recorded::table(table(), recipe);
    let mut writer = Writer::new(&codec);
    let number = writer.array(table.variables().next().unwrap().1).unwrap();
    let context = TaskContext::default();
    let reader = Reader::try_new(&writer.into_nodes(), &registry, &context, &codec).unwrap();
    reader.array(number).unwrap()
}

#[tokio::test]
async fn an_executor_counts_the_memory_that_the_format_says() {
    let (array, four) = (sent(), Region::whole(&[4]));
    let context = ReadContext::new(None, Arc::new(RuntimeEnv::default()));
    context.fetch(&array, &four).await.unwrap();
    assert_eq!(array.working_bytes(&four), 4 * ELEMENT_BYTES);
}

#[tokio::test]
async fn an_executor_knows_of_an_array_what_its_format_knows() {
    let (array, one, whole) = (sent(), texts(), Region::whole(&[4]));
    assert!(array.is_remote(), "it is opened before it is read");
    array.open(&ReadContext::new(None, Arc::new(RuntimeEnv::default()))).await.unwrap();
    assert_eq!(array.meta(), one.meta());
    assert_eq!(array.storage(), one.storage());
    assert_eq!(array.cut_shape(), one.cut_shape());
    assert!(array.is_remote() && array.is_uniform(&whole) && array.reads_more_than(&whole));
    assert!(array.decodes_whole_chunks(&whole));
}
