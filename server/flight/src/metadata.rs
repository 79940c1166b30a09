//! What clients ask about: catalogs, schemas, tables, keys, and what the server can do.

use std::sync::Arc;

use almagest_engine::{Error, Result};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use arrow_flight::sql::{
    CommandGetCatalogs, CommandGetDbSchemas, CommandGetSqlInfo, CommandGetTableTypes,
    CommandGetTables, CommandGetXdbcTypeInfo,
};
use datafusion::datasource::TableType;

use super::client::Client;
use super::query::wire_schema;
use super::sql_info::sql_info;
use super::type_info::type_info;

/// The kinds of tables.
const TABLE: &str = "TABLE";
const VIEW: &str = "VIEW";
const TEMPORARY: &str = "LOCAL TEMPORARY";

fn answer(
    rows: Result<RecordBatch, impl std::error::Error + Send + Sync + 'static>,
) -> Result<RecordBatch> {
    rows.map_err(|cause| Error::bug("an answer about tables contradicts itself").caused_by(cause))
}

/// The catalogs of a session.
///
/// # Errors
/// `Bug`.
pub fn catalogs(client: &Client, query: CommandGetCatalogs) -> Result<RecordBatch> {
    let mut builder = query.into_builder();
    let mut names = client.session().context().catalog_names();
    names.sort();
    names.into_iter().for_each(|name| builder.append(name));
    answer(builder.build())
}

/// The schemas of a session, as far as they fit the patterns.
///
/// # Errors
/// `Bug`.
pub fn schemas(client: &Client, query: CommandGetDbSchemas) -> Result<RecordBatch> {
    let mut builder = query.into_builder();
    let context = client.session().context();
    for catalog in context.catalog_names() {
        let Some(provider) = context.catalog(&catalog) else { continue };
        provider.schema_names().iter().for_each(|schema| builder.append(&catalog, schema));
    }
    answer(builder.build())
}

/// The tables of a session, as far as they fit the patterns.
///
/// # Errors
/// Those of opening one whose schema is asked for.
pub async fn tables(client: &Client, query: CommandGetTables) -> Result<RecordBatch> {
    let with_schemas = query.include_schema;
    let mut builder = query.into_builder();
    let context = client.session().context();
    for catalog in context.catalog_names() {
        let Some(provider) = context.catalog(&catalog) else { continue };
        for schema in provider.schema_names() {
            let Some(tables) = provider.schema(&schema) else { continue };
            for name in tables.table_names() {
                // dropped meanwhile
                let Some(table_type) = tables.table_type(&name).await? else { continue };
                let columns = match with_schemas {
                    true => match tables.table(&name).await? {
                        Some(table) => wire_schema(&table.schema(), None),
                        None => continue,
                    },
                    false => Arc::new(Schema::empty()),
                };
                let kind = match table_type {
                    TableType::Base => TABLE,
                    TableType::View => VIEW,
                    TableType::Temporary => TEMPORARY,
                };
                let built = builder.append(&catalog, &schema, &name, kind, &columns);
                built.map_err(|cause| Error::bug("a schema cannot be told").caused_by(cause))?;
            }
        }
    }
    answer(builder.build())
}

/// The kinds of tables that there may be.
///
/// # Errors
/// `Bug`.
pub fn table_types(query: CommandGetTableTypes) -> Result<RecordBatch> {
    let mut builder = query.into_builder();
    [TABLE, VIEW, TEMPORARY].iter().for_each(|kind| builder.append(kind));
    answer(builder.build())
}

/// What the server can do; all of it for an empty list of codes.
///
/// # Errors
/// `Bug`.
pub fn info(client: &Client, query: CommandGetSqlInfo) -> Result<RecordBatch> {
    let time_max = client.shared().limits.time_max;
    let info = sql_info(client.policy().check_writes().is_ok(), time_max)?;
    answer(query.into_builder(&info).build())
}

/// The types of SQL.
///
/// # Errors
/// `Bug`.
pub fn types(query: CommandGetXdbcTypeInfo) -> Result<RecordBatch> {
    answer(query.into_builder(type_info()?).build())
}

/// The schema of an answer about primary keys, of which there are none.
pub fn primary_keys() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("catalog_name", DataType::Utf8, true),
        Field::new("db_schema_name", DataType::Utf8, true),
        Field::new("table_name", DataType::Utf8, false),
        Field::new("column_name", DataType::Utf8, false),
        Field::new("key_name", DataType::Utf8, true),
        Field::new("key_sequence", DataType::Int32, false),
    ]))
}

/// The schema of an answer about keys between tables, of which there are none.
pub fn foreign_keys() -> SchemaRef {
    let side = |side: &str| {
        [
            Field::new(format!("{side}_catalog_name"), DataType::Utf8, true),
            Field::new(format!("{side}_db_schema_name"), DataType::Utf8, true),
            Field::new(format!("{side}_table_name"), DataType::Utf8, false),
            Field::new(format!("{side}_column_name"), DataType::Utf8, false),
        ]
    };
    let fields = side("pk").into_iter().chain(side("fk")).chain([
        Field::new("key_sequence", DataType::Int32, false),
        Field::new("fk_key_name", DataType::Utf8, true),
        Field::new("pk_key_name", DataType::Utf8, true),
        Field::new("update_rule", DataType::UInt8, false),
        Field::new("delete_rule", DataType::UInt8, false),
    ]);
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}
