//! How much of a running query is done, read off the metrics of its physical plan.
//!
//! In: a physical plan that runs. Out: [`Work`], as often as someone asks; asking costs the running
//! query nothing. Only scans count, weighed by their bytes: what stands above them cannot say how
//! much is left. Not here: drawing (the shell, Flight and the dashboard each do their own).

use std::sync::Arc;

use datafusion::common::stats::Precision;
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::{ExecutionPlan, StatisticsArgs, StatisticsContext};

use super::ArrayExec;

/// The metrics of an operator that gives what others compute elsewhere: how many of their tasks are done,
/// and how many there are.
pub const TASKS_DONE: &str = "tasks_done";
/// See [`TASKS_DONE`].
pub const TASKS_TOTAL: &str = "tasks_total";

/// The bytes of a row whose size nobody knows.
const ROW_BYTES_GUESS: f64 = 16.0;

/// The scans of a query.
#[derive(Debug)]
pub struct Progress {
    scans: Vec<Scan>,
}

/// How much is done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Work {
    /// The part of the scans' bytes that is read, 0 to 1; absent if a scan cannot say.
    pub fraction: Option<f64>,
    /// Rows that scans have given so far.
    pub rows: u64,
}

#[derive(Debug)]
struct Scan {
    plan: Arc<dyn ExecutionPlan>,
    /// Bytes, if the scan's progress can be told.
    weight: Option<f64>,
}

impl Progress {
    /// The progress of this plan: of the very object that runs, as it holds the metrics.
    pub fn of(plan: &Arc<dyn ExecutionPlan>) -> Self {
        let mut scans = vec![];
        collect(plan, &mut scans);
        Self { scans }
    }

    /// How much is done now.
    pub fn now(&self) -> Work {
        let mut rows = 0;
        let (mut done, mut total, mut known) = (0.0, 0.0, !self.scans.is_empty());
        for Scan { plan, weight } in &self.scans {
            rows += output_rows(plan.as_ref());
            match weight {
                Some(weight) => {
                    done += weight * fraction(plan.as_ref()).clamp(0.0, 1.0);
                    total += weight;
                }
                None => known = false,
            }
        }
        let fraction = (known && total > 0.0).then(|| done / total);
        Work { fraction, rows }
    }
}

fn collect(plan: &Arc<dyn ExecutionPlan>, scans: &mut Vec<Scan>) {
    let children = plan.children();
    // Below an ArrayExec are only the descriptors of what it reads.
    if children.is_empty() || plan.is::<ArrayExec>() {
        scans.push(Scan { plan: Arc::clone(plan), weight: weight(plan.as_ref()) });
    } else {
        children.into_iter().for_each(|child| collect(child, scans));
    }
}

/// The bytes of a scan, if [`fraction`] can tell how far it is.
fn weight(plan: &dyn ExecutionPlan) -> Option<f64> {
    if let Some(files) = files_of(plan) {
        return Some(files.map(|file| file.effective_size() as f64).sum::<f64>().max(1.0));
    }
    if let Some(scan) = plan.downcast_ref::<ArrayExec>() {
        return Some(scan.bytes_total() as f64 + 1.0);
    }
    if has_tasks(plan) {
        return Some(1.0);
    }
    match (plan.is::<DataSourceExec>(), rows_expected(plan)) {
        (true, Some(rows)) => Some(rows * ROW_BYTES_GUESS + 1.0),
        _ => None,
    }
}

fn fraction(plan: &dyn ExecutionPlan) -> f64 {
    if let Some(scan) = plan.downcast_ref::<ArrayExec>() {
        let (done, total) = scan.work();
        return done as f64 / total.max(1) as f64;
    }
    if has_tasks(plan) {
        return counter(plan, TASKS_DONE) as f64 / counter(plan, TASKS_TOTAL).max(1) as f64;
    }
    let by_rows = match rows_expected(plan) {
        Some(rows) => output_rows(plan) as f64 / rows.max(1.0),
        None => 0.0,
    };
    let Some(files) = files_of(plan) else { return by_rows };
    // Each undercounts in its own way: filters drop rows, projections spare bytes, and a file
    // counts only at its end.
    let (count, bytes) = files.fold((0.0, 0.0), |(count, bytes), file| {
        (count + 1.0, bytes + file.effective_size() as f64)
    });
    let by_files = counter(plan, "files_processed") as f64 / f64::max(count, 1.0);
    let by_bytes = counter(plan, "bytes_scanned") as f64 / f64::max(bytes, 1.0);
    by_rows.max(by_files).max(by_bytes)
}

fn files_of(
    plan: &dyn ExecutionPlan,
) -> Option<impl Iterator<Item = &datafusion::datasource::listing::PartitionedFile>> {
    let source = plan.downcast_ref::<DataSourceExec>()?.data_source();
    let scan = source.downcast_ref::<FileScanConfig>()?;
    Some(scan.file_groups.iter().flat_map(|group| group.iter()))
}

fn rows_expected(plan: &dyn ExecutionPlan) -> Option<f64> {
    match StatisticsContext::new().compute(plan, &StatisticsArgs::new()).ok()?.num_rows {
        Precision::Exact(rows) | Precision::Inexact(rows) => Some(rows as f64),
        Precision::Absent => None,
    }
}

/// Whether an operator counts tasks elsewhere.
fn has_tasks(plan: &dyn ExecutionPlan) -> bool {
    plan.metrics().is_some_and(|metrics| metrics.sum_by_name(TASKS_TOTAL).is_some())
}

fn output_rows(plan: &dyn ExecutionPlan) -> u64 {
    plan.metrics().and_then(|metrics| metrics.output_rows()).unwrap_or(0) as u64
}

fn counter(plan: &dyn ExecutionPlan, name: &str) -> u64 {
    let sum = plan.metrics().and_then(|metrics| metrics.sum_by_name(name));
    sum.map_or(0, |value| value.as_usize() as u64)
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::{ParquetReadOptions, SessionContext};
    use futures::TryStreamExt;

    use super::*;

    async fn fractions(context: &SessionContext, sql: &str) -> Vec<Option<f64>> {
        let frame = context.sql(sql).await.unwrap();
        let task = Arc::new(frame.task_ctx());
        let plan = frame.create_physical_plan().await.unwrap();
        let progress = Progress::of(&plan);
        let mut seen = vec![progress.now().fraction];
        let mut stream = datafusion::physical_plan::execute_stream(plan, task).unwrap();
        while stream.try_next().await.unwrap().is_some() {
            seen.push(progress.now().fraction);
        }
        seen.push(progress.now().fraction);
        seen
    }

    #[tokio::test]
    async fn a_scan_of_files_goes_from_none_to_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("n.parquet").display().to_string();
        let context = SessionContext::new();
        let copy = format!("COPY (SELECT * FROM generate_series(1, 100000) AS t(n)) TO '{path}'");
        context.sql(&copy).await.unwrap().collect().await.unwrap();
        context.register_parquet("n", &path, ParquetReadOptions::default()).await.unwrap();
        let seen = fractions(&context, "SELECT n + 1 FROM n").await;
        let seen: Vec<f64> = seen.into_iter().map(Option::unwrap).collect();
        assert_eq!(seen[0], 0.0);
        assert_eq!(seen.last(), Some(&1.0));
        assert!(seen.is_sorted(), "{seen:?}");
        assert!(seen.iter().any(|part| *part > 0.0 && *part < 1.0), "{seen:?}");
    }

    #[tokio::test]
    async fn a_generated_series_cannot_say() {
        let context = SessionContext::new();
        let seen = fractions(&context, "SELECT * FROM generate_series(1, 100)").await;
        assert!(seen.iter().all(Option::is_none), "{seen:?}");
    }
}
