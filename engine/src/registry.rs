//! What can be plugged into the engine: formats, object stores, functions of arrays, table functions, and
//! what DataFusion itself takes (other functions, formats that COPY writes, rules).
//!
//! In: the lists that `connectors` and `udfs` give. Out: look-ups by name and by file extension, used by
//! `CREATE EXTERNAL TABLE`, `FROM 'path'`, `read_…` functions, `array_info` and completion alike.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::datasource::file_format::FileFormatFactory;
use datafusion::execution::object_store::ObjectStoreRegistry;
use datafusion::logical_expr::{AggregateUDF, CreateExternalTable, ScalarUDF};
use datafusion::optimizer::OptimizerRule;
use datafusion::prelude::SessionContext;
use url::Url;

use crate::array::ArrayDefinition;
use crate::catalog::ArrayRelation;
use crate::formats::{Format, TableOptions};
use crate::{Error, Result};

/// Where files lie: object stores by URL, and what configures them. What it does not give, no query
/// of the session can reach.
pub trait Stores: ObjectStoreRegistry {
    /// How the names of those options of `CREATE EXTERNAL TABLE` begin that concern stores, such as
    /// `aws.`.
    fn option_prefixes(&self) -> &'static [&'static str];

    /// Uses these options for the store of `url` from now on.
    ///
    /// # Errors
    /// `Plan` for an unknown option, naming the known ones; values are never shown.
    fn configure(&self, url: &Url, options: &TableOptions) -> Result<()>;
}

/// A rule that rewrites logical plans.
pub type Rule = Arc<dyn OptimizerRule + Send + Sync>;

/// All that a session has beside the engine. The session of a client, a scheduler's and an executor's are made
/// of the same registry: none can lack a piece that another has.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    formats: Vec<Arc<dyn Format>>,
    stores: Option<Arc<dyn Stores>>,
    relations: Vec<Arc<dyn ArrayRelation>>,
    functions: Vec<Arc<dyn ArrayDefinition>>,
    copy_formats: Vec<Arc<dyn FileFormatFactory>>,
    scalar_functions: Vec<ScalarUDF>,
    aggregate_functions: Vec<AggregateUDF>,
    rules: Vec<Rule>,
}

impl Registry {
    /// A registry of these formats.
    pub fn new(formats: Vec<Arc<dyn Format>>) -> Self {
        Self { formats, ..Self::default() }
    }

    /// The same with these object stores; without them there are only DataFusion's local files.
    #[must_use]
    pub fn with_stores(self, stores: Arc<dyn Stores>) -> Self {
        Self { stores: Some(stores), ..self }
    }

    /// The object stores, if they are not DataFusion's.
    pub fn stores(&self) -> Option<&Arc<dyn Stores>> {
        self.stores.as_ref()
    }

    /// The same with these table functions.
    #[must_use]
    pub fn with_relations(self, relations: Vec<Arc<dyn ArrayRelation>>) -> Self {
        Self { relations, ..self }
    }

    /// The table functions that give arrays.
    pub fn relations(&self) -> &[Arc<dyn ArrayRelation>] {
        &self.relations
    }

    /// The table function with this name, in lower case.
    pub fn relation(&self, name: &str) -> Option<&Arc<dyn ArrayRelation>> {
        self.relations.iter().find(|relation| relation.name() == name)
    }

    /// The same with these functions of arrays.
    #[must_use]
    pub fn with_functions(self, functions: Vec<Arc<dyn ArrayDefinition>>) -> Self {
        Self { functions, ..self }
    }

    /// The functions of arrays.
    pub fn functions(&self) -> &[Arc<dyn ArrayDefinition>] {
        &self.functions
    }

    /// The function of arrays with this name, in lower case.
    pub fn function(&self, name: &str) -> Option<&Arc<dyn ArrayDefinition>> {
        self.functions.iter().find(|function| function.name() == name)
    }

    /// The same with these formats that COPY writes.
    #[must_use]
    pub fn with_copy_formats(self, copy_formats: Vec<Arc<dyn FileFormatFactory>>) -> Self {
        Self { copy_formats, ..self }
    }

    /// The same with these functions of a row.
    #[must_use]
    pub fn with_scalar_functions(self, scalar_functions: Vec<ScalarUDF>) -> Self {
        Self { scalar_functions, ..self }
    }

    /// The same with these aggregates.
    #[must_use]
    pub fn with_aggregate_functions(self, aggregate_functions: Vec<AggregateUDF>) -> Self {
        Self { aggregate_functions, ..self }
    }

    /// The same with these rules, which run after the engine's.
    #[must_use]
    pub fn with_rules(self, rules: Vec<Rule>) -> Self {
        Self { rules, ..self }
    }

    /// Gives a session what DataFusion takes as it is.
    ///
    /// # Errors
    /// `Plan` if two formats have one name.
    pub(crate) fn register(&self, context: &SessionContext) -> Result<()> {
        for format in &self.copy_formats {
            context.state_ref().write().register_file_format(Arc::clone(format), false)?;
        }
        for function in &self.scalar_functions {
            context.register_udf(function.clone());
        }
        for function in &self.aggregate_functions {
            context.register_udaf(function.clone());
        }
        for rule in &self.rules {
            context.add_optimizer_rule(Arc::clone(rule));
        }
        Ok(())
    }

    /// Every format, in the order of registration.
    pub fn formats(&self) -> &[Arc<dyn Format>] {
        &self.formats
    }

    /// The format with this name, in any case.
    pub fn by_name(&self, name: &str) -> Option<&Arc<dyn Format>> {
        self.formats.iter().find(|format| format.name().eq_ignore_ascii_case(name))
    }

    /// The extensions of all formats, for people.
    pub fn extensions(&self) -> String {
        let all = self.formats.iter().flat_map(|format| format.extensions());
        all.map(|extension| format!(".{extension}")).collect::<Vec<_>>().join(", ")
    }

    /// The format that a path's extension names.
    pub fn by_path(&self, path: &str) -> Option<&Arc<dyn Format>> {
        let (_, extension) = path.rsplit_once('.')?;
        let extension = extension.to_ascii_lowercase();
        self.formats.iter().find(|format| format.extensions().contains(&extension.as_str()))
    }
}

impl Registry {
    /// Takes the options for object stores out of a statement and gives them to the store.
    ///
    /// # Errors
    /// `Plan` for options that fit no store.
    pub fn with_stores_configured(
        &self,
        command: &CreateExternalTable,
    ) -> Result<CreateExternalTable> {
        let mut command = command.clone();
        let Some(stores) = &self.stores else { return Ok(command) };
        let concerns_stores =
            |key: &str| stores.option_prefixes().iter().any(|prefix| key.starts_with(prefix));
        let (taken, kept): (HashMap<_, _>, HashMap<_, _>) = std::mem::take(&mut command.options)
            .into_iter()
            .map(|(key, value)| {
                let short = key.trim_start_matches("format.").to_lowercase();
                if concerns_stores(&short) { (short, value) } else { (key, value) }
            })
            .partition(|(key, _)| concerns_stores(key));
        command.options = kept;
        if taken.is_empty() {
            return Ok(command);
        }
        for value in taken.values().filter(|value| !value.is_empty()) {
            // SHOW CREATE TABLE shows the statement
            let hidden = |text: String| text.replace(value.as_str(), "***");
            command.definition = command.definition.map(hidden);
        }
        for location in &command.locations {
            let url = Url::parse(location).map_err(|_| {
                Error::plan(format!(
                    "'{location}' lies on no object store, so it takes no options for one"
                ))
            })?;
            stores.configure(&url, &taken)?;
        }
        Ok(command)
    }
}
