//! What a statement may do on a server, and what becomes of it.
//!
//! In: the logical plan of a statement. Out: whether it only reads, changes the session, or changes
//! tables that all see; or the reason for which it is refused. What it reads is
//! [`Access`]'s to refuse.

use almagest_engine::walk::WalkPlan;
use almagest_engine::{Error, Result};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::{DdlStatement, LogicalPlan, Statement, WriteOp};

use super::access::Access;

/// Settings of a session that its client may change: those that change neither what the server spends
/// nor where it reads and writes. An entry that ends with a dot stands for all below it.
const SETTINGS: [&str; 12] = [
    "datafusion.catalog.default_catalog",
    "datafusion.catalog.default_schema",
    "datafusion.execution.batch_size",
    "datafusion.execution.collect_statistics",
    "datafusion.execution.keep_partition_by_columns",
    "datafusion.execution.parquet.",
    "datafusion.execution.target_partitions",
    "datafusion.execution.time_zone",
    "datafusion.explain.",
    "datafusion.format.",
    "datafusion.optimizer.",
    "datafusion.sql_parser.",
];
/// Settings among them that are limits.
const LIMITS: [&str; 1] = ["datafusion.sql_parser.recursion_limit"];
/// Rows of a batch at most.
const BATCH_SIZE_MAX: usize = 1 << 17;

/// What becomes of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It gives rows, and changes nothing: it runs when its rows are fetched.
    Reads,
    /// It changes the session, or files: it runs once, when it is sent.
    Changes,
}

/// What the statements of a session may do.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'a> {
    /// What may be read and written.
    pub access: &'a Access,
    /// Whether the user may write at all.
    pub writes: bool,
    /// Threads of the server.
    pub threads: usize,
}

impl Policy<'_> {
    /// What becomes of a statement.
    ///
    /// # Errors
    /// `Plan` for what is not allowed here, `Unsupported` for transactions.
    pub fn judge(&self, plan: &LogicalPlan) -> Result<Effect> {
        let mut effect = Effect::Reads;
        let mut refusal = None;
        plan.walk_with_subqueries(&mut |node| {
            match self.judge_node(node) {
                Ok(Effect::Reads) => {}
                Ok(Effect::Changes) => effect = Effect::Changes,
                Err(error) => refusal = Some(error),
            }
            Ok(match refusal {
                Some(_) => TreeNodeRecursion::Stop,
                None => TreeNodeRecursion::Continue,
            })
        })?;
        match (refusal, plan, effect) {
            (Some(error), _, _) => Err(error),
            // EXPLAIN shows what it does not do
            (None, LogicalPlan::Explain(_), _) => Ok(Effect::Reads),
            // and this does it, which would go past what is done for each of them here
            (None, LogicalPlan::Analyze(_), Effect::Changes) => Err(Error::unsupported(
                "EXPLAIN ANALYZE runs its statement, and on a server only one that reads; leave out \
                 ANALYZE, or explain the SELECT in it",
            )),
            (None, _, effect) => Ok(effect),
        }
    }

    fn judge_node(&self, node: &LogicalPlan) -> Result<Effect> {
        match node {
            LogicalPlan::Copy(copy) => {
                self.check_writes()?;
                self.access.check_write(&copy.output_url)?;
                Ok(Effect::Changes)
            }
            LogicalPlan::Dml(dml) => {
                self.check_writes()?;
                match dml.op {
                    WriteOp::Insert(_) => Ok(Effect::Changes),
                    _ => Err(Error::unsupported(format!(
                        "{} is not done here; make the table anew: CREATE OR REPLACE TABLE … AS \
                         SELECT …",
                        dml.op.name()
                    ))),
                }
            }
            LogicalPlan::Ddl(ddl) => self.judge_ddl(ddl),
            LogicalPlan::Statement(statement) => self.judge_statement(statement),
            _ => Ok(Effect::Reads),
        }
    }

    fn judge_ddl(&self, ddl: &DdlStatement) -> Result<Effect> {
        match ddl {
            // tables that all see
            DdlStatement::CreateMemoryTable(table) if !table.temporary => self.check_writes()?,
            DdlStatement::CreateMemoryTable(_) => {
                return Err(Error::unsupported(
                    "this server keeps no temporary tables; make a view: CREATE VIEW … AS SELECT …",
                ));
            }
            // DataFusion's own reads and writes past all stores; ours has none
            DdlStatement::CreateExternalTable(table) if table.unbounded => {
                return Err(Error::denied("UNBOUNDED tables are not made on a server"));
            }
            DdlStatement::CreateExternalTable(_)
            | DdlStatement::CreateView(_)
            | DdlStatement::DropView(_)
            | DdlStatement::DropTable(_)
            | DdlStatement::CreateCatalogSchema(_)
            | DdlStatement::DropCatalogSchema(_) => {}
            DdlStatement::CreateCatalog(_)
            | DdlStatement::CreateIndex(_)
            | DdlStatement::CreateFunction(_)
            | DdlStatement::DropFunction(_) => {
                return Err(Error::denied(format!("{} is not done on a server", ddl.name())));
            }
        }
        Ok(Effect::Changes)
    }

    fn judge_statement(&self, statement: &Statement) -> Result<Effect> {
        match statement {
            Statement::SetVariable(set) => self.check_setting(&set.variable, Some(&set.value))?,
            Statement::ResetVariable(reset) => self.check_setting(&reset.variable, None)?,
            Statement::TransactionStart(_) | Statement::TransactionEnd(_) => {
                return Err(Error::unsupported(
                    "there are no transactions: each statement takes effect at once",
                ));
            }
            // an EXECUTE gives the rows of what was prepared
            Statement::Execute(_) => return Ok(Effect::Reads),
            Statement::Prepare(_) | Statement::Deallocate(_) => {}
        }
        Ok(Effect::Changes)
    }

    /// Refuses settings that are not the client's, and values of those that are which the server does not
    /// take; without a value a setting is to be what it was before any was given.
    ///
    /// # Errors
    /// `Denied`.
    pub fn check_setting(&self, name: &str, value: Option<&str>) -> Result<()> {
        self.check_name(name)?;
        let name = name.trim().to_ascii_lowercase();
        let most = match name.as_str() {
            "datafusion.execution.batch_size" => BATCH_SIZE_MAX,
            "datafusion.execution.target_partitions" => self.threads,
            _ => return Ok(()),
        };
        match value.map(|value| (value, value.trim().parse::<usize>())) {
            // all cores of the machine is what DataFusion would take
            None if name == "datafusion.execution.target_partitions" => {
                Err(Error::denied(format!(
                    "{name} is not reset on this server; say how many threads: SET {name} = {most}"
                )))
            }
            None => Ok(()),
            Some((_, Ok(number))) if (1..=most).contains(&number) => Ok(()),
            Some((value, _)) => Err(Error::denied(format!(
                "{name} is at least 1 and at most {most} on this server, not {value}"
            ))),
        }
    }

    /// Refuses settings that are not the client's, whatever their values.
    ///
    /// # Errors
    /// `Denied`.
    pub fn check_name(&self, name: &str) -> Result<()> {
        let name = name.trim().to_ascii_lowercase();
        let is_allowed = SETTINGS.iter().any(|allowed| {
            name == *allowed || (allowed.ends_with('.') && name.starts_with(allowed))
        });
        if !is_allowed || LIMITS.contains(&name.as_str()) {
            return Err(Error::denied(format!(
                "'{name}' is not a session's to set on a server; those are {}",
                SETTINGS.map(|name| name.trim_end_matches('.')).join(", ")
            )));
        }
        Ok(())
    }

    /// Refuses to change tables and files.
    ///
    /// # Errors
    /// `Denied`, with what the operator can do.
    pub fn check_writes(&self) -> Result<()> {
        match self.access.writable() {
            None => Err(super::stored::read_only()),
            Some(_) if !self.writes => Err(Error::denied(
                "this user may only read; the server's operator can say writable = true in its \
                 file of users",
            )),
            Some(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use almagest_engine::registry::Registry;
    use almagest_engine::{Session, SessionOptions};

    async fn judged(sql: &str, access: &Access, writes: bool) -> Result<Effect> {
        let session = Session::try_new(&Registry::default(), &SessionOptions::default()).unwrap();
        let plan = session.plan_text(sql).await?;
        Policy { access, writes, threads: 2 }.judge(&plan)
    }

    #[tokio::test]
    async fn what_reads_runs_when_it_is_fetched_and_what_changes_at_once() {
        let access = Access::default();
        for sql in ["SELECT 1", "SHOW TABLES", "EXPLAIN SELECT 1", "VALUES (1)"] {
            assert_eq!(judged(sql, &access, false).await.unwrap(), Effect::Reads, "{sql}");
        }
        for sql in [
            "CREATE VIEW v AS SELECT 1",
            "SET datafusion.execution.batch_size = 17",
            "SET datafusion.optimizer.max_passes = 3",
            "DROP VIEW IF EXISTS v",
            "PREPARE p AS SELECT $1 + 1",
            "SET datafusion.execution.target_partitions = 2",
            "SET datafusion.execution.target_partitions = 1",
            "RESET datafusion.execution.batch_size",
        ] {
            assert_eq!(judged(sql, &access, false).await.unwrap(), Effect::Changes, "{sql}");
        }
    }

    #[tokio::test]
    async fn what_a_stranger_must_not_do_is_refused() {
        let access = Access::default();
        for (sql, reason) in [
            ("SET datafusion.runtime.memory_limit = '100G'", "not a session's to set"),
            ("SET datafusion.runtime.temp_directory = '/'", "not a session's to set"),
            ("SET almagest.cluster = 'http://elsewhere:1'", "not a session's to set"),
            ("SET almagest.scheduler = 'processes'", "not a session's to set"),
            ("SET datafusion.catalog.location = '/etc'", "not a session's to set"),
            ("SET datafusion.sql_parser.recursion_limit = 100000", "not a session's to set"),
            ("SET datafusion.execution.target_partitions = 3", "at most 2"),
            ("SET datafusion.execution.target_partitions = 0", "at least 1"),
            ("SET datafusion.execution.target_partitions = 'many'", "at least 1"),
            ("RESET datafusion.execution.target_partitions", "target_partitions = 2"),
            ("SET datafusion.execution.batch_size = 1000000000", "at most"),
            ("SET datafusion.execution.batch_size = 0", "at least 1"),
            ("COPY (SELECT 1) TO '/tmp/x.csv'", "makes no tables"),
            ("EXPLAIN ANALYZE COPY (SELECT 1) TO '/tmp/x.csv'", "makes no tables"),
            ("CREATE TABLE t AS SELECT 1", "makes no tables"),
            ("CREATE DATABASE d", "not done on a server"),
            (
                "CREATE UNBOUNDED EXTERNAL TABLE t (a VARCHAR) STORED AS CSV LOCATION '/etc/passwd'",
                "UNBOUNDED",
            ),
            ("START TRANSACTION", "no transactions"),
        ] {
            let error = judged(sql, &access, true).await.unwrap_err();
            assert!(error.message().contains(reason), "{sql}: {error}");
        }
    }

    #[tokio::test]
    async fn writing_needs_a_folder_and_leave() {
        let folder = tempfile::tempdir().unwrap();
        let access = Access::try_new(&[], Some(folder.path()), &[]).unwrap();
        let inside = format!("COPY (SELECT 1) TO '{}/x.csv'", folder.path().display());
        assert_eq!(judged(&inside, &access, true).await.unwrap(), Effect::Changes);
        let shown = judged(&format!("EXPLAIN {inside}"), &access, true).await.unwrap();
        assert_eq!(shown, Effect::Reads);
        let error = judged(&format!("EXPLAIN ANALYZE {inside}"), &access, true).await.unwrap_err();
        assert!(error.message().contains("only one that reads"), "{error}");
        let error = judged(&inside, &access, false).await.unwrap_err();
        assert!(error.message().contains("may only read"), "{error}");
        let outside = format!("COPY (SELECT 1) TO '{}/../x.csv'", folder.path().display());
        let error = judged(&outside, &access, true).await.unwrap_err();
        assert!(error.message().contains("outside of the folder"), "{error}");
    }
}
