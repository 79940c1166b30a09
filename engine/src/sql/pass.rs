//! The pass over the syntax tree that turns our SQL into DataFusion's.
//!
//! In: a parsed statement. Out: the same one, where table functions of ours are quoted table names
//! ([`TableCall`], [`RelationCall`]), `'folder'` in FROM is a path, and named arguments are positional. Running it
//! twice changes nothing.

use std::collections::{BTreeSet, HashSet};
use std::ops::ControlFlow;

use datafusion::execution::session_state::SessionState;
use datafusion::sql::parser::{CopyToSource, CopyToStatement, Statement};
use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr,
    GroupByWithModifier, Ident, ObjectName, ObjectNamePart, Query, Select, SetExpr, SetOperator,
    SetQuantifier, Statement as Sql, TableAlias, TableFactor, Value, VisitorMut,
};

use super::relation_call::RelationCall;
use super::subquery_names::tell_apart;
use super::table_call::{READ_PREFIX, TableCall, is_table_function};
use super::visible_ctes::{VisibleCtes, drop_unread};
use super::{arguments, join_words, readings, using};
use crate::registry::Registry;
use crate::rewrite::lambda_parameter_names;
use crate::walk::walk_sql;
use crate::{Error, Result, files};

/// The pass, with what it looks names up in.
pub struct Pass<'a> {
    state: &'a SessionState,
    registry: &'a Registry,
    /// For each SELECT around the current place: the aliases given to calls that had none.
    aliases: Vec<HashSet<String>>,
    ctes: VisibleCtes,
    /// Whether a call took queries out of the statement that WITH queries were for.
    calls_relations: bool,
    /// Why the statement is refused, once it is.
    refused: Option<Error>,
}

impl<'a> Pass<'a> {
    /// A pass with the functions of `state` and the formats of `registry`.
    pub fn new(state: &'a SessionState, registry: &'a Registry) -> Self {
        Self {
            state,
            registry,
            aliases: vec![],
            ctes: VisibleCtes::default(),
            calls_relations: false,
            refused: None,
        }
    }

    /// Rewrites a statement in place.
    ///
    /// # Errors
    /// `Plan` for calls whose arguments do not fit.
    pub fn apply(&mut self, statement: &mut Statement) -> Result<()> {
        let _ = match statement {
            Statement::Statement(statement) => {
                self.described(statement);
                let flow = walk_sql(statement.as_mut(), self);
                if self.calls_relations {
                    drop_unread(statement);
                }
                flow
            }
            Statement::CopyTo(copy) => {
                name_compression(copy);
                match &mut copy.source {
                    CopyToSource::Query(query) => walk_sql(query.as_mut(), self),
                    CopyToSource::Relation(_) => ControlFlow::Continue(()),
                }
            }
            Statement::Explain(explain) => return self.apply(&mut explain.statement),
            Statement::CreateExternalTable(_) | Statement::Reset(_) => ControlFlow::Continue(()),
        };
        self.refused.take().map_or(Ok(()), Err)
    }

    /// Goes on, or notes why not.
    fn flow(&mut self, outcome: Result<()>) -> ControlFlow<()> {
        match outcome {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.refused = Some(error);
                ControlFlow::Break(())
            }
        }
    }

    /// `DESCRIBE 'folder'` and `SHOW COLUMNS FROM 'folder'`, whose names are no tables in FROM.
    fn described(&self, statement: &mut Sql) {
        let name = match statement {
            Sql::ExplainTable { table_name, .. } => table_name,
            Sql::ShowColumns { show_options, .. } => {
                let of = show_options.show_in.as_mut().and_then(|of| of.parent_name.as_mut());
                let Some(name) = of else { return };
                name
            }
            _ => return,
        };
        if let [ObjectNamePart::Identifier(ident)] = name.0.as_mut_slice()
            && let Some(path) = self.folder(ident)
        {
            ident.value = path;
        }
    }

    fn table(&mut self, table: &mut TableFactor) -> Result<()> {
        let TableFactor::Table { name, alias, args, sample, .. } = table else { return Ok(()) };
        if sample.is_some() {
            // DataFusion would read it and take all rows
            return Err(Error::unsupported(
                "TABLESAMPLE is not supported; WHERE random() < 0.01 takes about one row of a hundred",
            ));
        }
        let [ObjectNamePart::Identifier(ident)] = name.0.as_slice() else { return Ok(()) };
        let ident = ident.clone();
        let (path, qualifier) = match args {
            None => match self.folder(&ident) {
                Some(path) => (path, ident.value.clone()),
                None => return Ok(()),
            },
            Some(arguments) => {
                let function = folded(&ident);
                match self.call_text(&function, &arguments.args)? {
                    Some(text) => (text, function),
                    None => return self.refuse_unknown(&function, &arguments.args),
                }
            }
        };
        let first = self.aliases.last_mut().is_none_or(|taken| taken.insert(qualifier.clone()));
        if alias.is_none() && first {
            let name = Ident::with_quote('"', qualifier);
            *alias = Some(TableAlias { explicit: true, name, columns: vec![], at: None });
        }
        *name = ObjectName::from(vec![Ident::with_quote_and_span('"', ident.span, path)]);
        *args = None;
        Ok(())
    }

    /// The text of a call of one of our table functions.
    fn call_text(&mut self, function: &str, arguments: &[FunctionArg]) -> Result<Option<String>> {
        if let Some(relation) = self.registry.relation(function) {
            self.calls_relations = true;
            return Ok(Some(RelationCall::try_new(relation, arguments, &self.ctes)?.to_string()));
        }
        if !is_table_function(function, self.state, self.registry) {
            return Ok(None);
        }
        Ok(Some(TableCall::try_new(function, arguments, self.registry)?.to_string()))
    }

    /// `FROM 'folder'`: single quotes mean a path, though the name alone does not look like one.
    fn folder(&self, name: &Ident) -> Option<String> {
        let path = &name.value;
        let quoted = name.quote_style == Some('\'') && !files::looks_like_path(path);
        let is_table = || {
            let schema = self.state.schema_for_ref(path.as_str());
            schema.is_ok_and(|schema| schema.table_exist(path))
        };
        let folder = quoted && std::path::Path::new(path).is_dir() && !is_table();
        folder.then(|| format!("{path}/"))
    }

    /// DataFusion names no table function that might have been meant, and fails on named arguments
    /// before it looks for one.
    fn refuse_unknown(&self, function: &str, given: &[FunctionArg]) -> Result<()> {
        let reader = function.starts_with(READ_PREFIX);
        if self.state.table_functions().contains_key(function)
            || !(reader || arguments::any_named(given))
        {
            return Ok(());
        }
        let (which, known): (&str, Vec<String>) = if reader {
            let formats = self.registry.formats().iter().map(|format| format.name().to_lowercase());
            let all = formats.chain(files::FILE_TYPES.iter().map(|name| (*name).to_string()));
            ("those that read files are", all.map(|name| format!("{READ_PREFIX}{name}")).collect())
        } else {
            let all: BTreeSet<&String> = self.state.table_functions().keys().collect();
            ("there are", all.into_iter().cloned().collect())
        };
        Err(Error::plan(format!("no table function '{function}'; {which} {}", known.join(", "))))
    }

    fn call(&self, function: &mut Function) -> Result<()> {
        let [ObjectNamePart::Identifier(ident)] = function.name.0.as_slice() else {
            return Ok(());
        };
        let name = folded(ident);
        let FunctionArguments::List(list) = &mut function.args else { return Ok(()) };
        if !arguments::any_named(&list.args) {
            return Ok(());
        }
        let Some(parameters) = self.parameters(&name)? else { return Ok(()) };
        // the ordering of WITHIN GROUP is the first parameter
        let skipped = usize::from(!function.within_group.is_empty()).min(parameters.len());
        let parameters: Vec<&str> = parameters[skipped..].iter().map(String::as_str).collect();
        let bound = arguments::bind(&name, &parameters, &list.args)?;
        let null = FunctionArgExpr::Expr(Expr::Value(Value::Null.into()));
        let places = bound.into_iter().map(|place| place.unwrap_or_else(|| null.clone()));
        list.args = places.map(FunctionArg::Unnamed).collect();
        Ok(())
    }

    /// The names of a function's parameters; `None` for an unknown function.
    fn parameters(&self, name: &str) -> Result<Option<Vec<String>>> {
        let no_names = || {
            Error::plan(format!(
                "{name} takes no arguments by name; give them in order, without names"
            ))
        };
        let signature = if let Some(function) = self.state.scalar_functions().get(name) {
            function.signature()
        } else if let Some(function) = self.state.aggregate_functions().get(name) {
            function.signature()
        } else if let Some(function) = self.state.window_functions().get(name) {
            function.signature()
        } else if let Some(function) = self.state.higher_order_functions().get(name) {
            let names = lambda_parameter_names(function)
                .map(|names| names.into_iter().map(str::to_string).collect());
            return names.map(Some).ok_or_else(no_names);
        } else {
            return Ok(None); // DataFusion says that there is no such function
        };
        signature.parameter_names.clone().map(Some).ok_or_else(no_names)
    }
}

/// A name as SQL reads it: unquoted ones in lower case.
pub fn folded(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

/// `COPY … TO 'x.csv.gz'` without a format: says what the name means.
fn name_compression(copy: &mut CopyToStatement) {
    if copy.stored_as.is_none()
        && let Some((kind, (option, value))) = files::of_compressed_target(&copy.target)
    {
        copy.stored_as = Some(kind.to_string());
        if !copy.options.iter().any(|(name, _)| name.eq_ignore_ascii_case(option)) {
            let value = Value::SingleQuotedString(value.to_string());
            copy.options.push((option.to_string(), value));
        }
    }
}

/// Refuses what is parsed, and what DataFusion would leave out or take for something else.
fn check_query(query: &Query) -> Result<()> {
    if !query.locks.is_empty() {
        return Err(Error::unsupported("FOR UPDATE and FOR SHARE: nothing is locked here"));
    }
    if query.settings.is_some() {
        return Err(Error::unsupported("SETTINGS in a query; use SET before it"));
    }
    if query.format_clause.is_some() {
        return Err(Error::unsupported("FORMAT in a query; COPY (query) TO a file has a format"));
    }
    check_set(&query.body)
}

fn check_set(body: &SetExpr) -> Result<()> {
    let SetExpr::SetOperation { left, op, set_quantifier, right } = body else { return Ok(()) };
    let all = matches!(set_quantifier, SetQuantifier::All | SetQuantifier::AllByName);
    if all && *op != SetOperator::Union {
        // DataFusion counts no repetitions
        return Err(Error::unsupported(format!(
            "{op} ALL; number equal rows on both sides with row_number() OVER (PARTITION BY …) and use {op}"
        )));
    }
    check_set(left)?;
    check_set(right)
}

fn check_select(select: &Select) -> Result<()> {
    if select.prewhere.is_some() {
        return Err(Error::unsupported("PREWHERE; write WHERE"));
    }
    if !select.connect_by.is_empty() {
        return Err(Error::unsupported("CONNECT BY; use WITH RECURSIVE"));
    }
    let (GroupByExpr::All(modifiers) | GroupByExpr::Expressions(_, modifiers)) = &select.group_by;
    let ignored =
        |modifier: &&GroupByWithModifier| !matches!(modifier, GroupByWithModifier::GroupingSets(_));
    match modifiers.iter().find(ignored) {
        None => Ok(()),
        Some(modifier) => Err(Error::unsupported(format!(
            "GROUP BY … {modifier}; write GROUP BY ROLLUP (…), CUBE (…) or GROUPING SETS (…)"
        ))),
    }
}

impl VisitorMut for Pass<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.ctes.enter(query);
        self.flow(check_query(query).and_then(|()| readings::query(query)))
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.ctes.leave();
        self.flow(using::in_order(query))
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        self.aliases.push(HashSet::new());
        tell_apart(select);
        let checked = check_select(select).and_then(|()| readings::select(select));
        self.flow(checked.and_then(|()| join_words::check(&mut select.from)))
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        self.aliases.pop();
        self.flow(using::in_select(select))
    }

    fn pre_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<()> {
        let outcome = readings::table(table).and_then(|()| self.table(table));
        self.flow(outcome)
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let outcome = match expr {
            Expr::Function(function) => self.call(function),
            _ => readings::expr(expr),
        };
        self.flow(outcome)
    }
}
