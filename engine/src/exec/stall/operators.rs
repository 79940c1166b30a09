//! Which operators of a plan have begun and not ended, for an error.

use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::{MetricValue, MetricsSet};

/// Names are given up to so many.
const NAMES_MAX: usize = 12;

/// The unfinished operators, from the root down, with the rows that each has given.
pub fn unfinished(plan: &dyn ExecutionPlan) -> String {
    let mut names = vec![];
    collect(plan, &mut names);
    if names.is_empty() {
        return "operators that do not tell".into();
    }
    let more = names.len().saturating_sub(NAMES_MAX);
    names.truncate(NAMES_MAX);
    let names = names.join(", ");
    if more == 0 { names } else { format!("{names} and {more} more") }
}

fn collect(plan: &dyn ExecutionPlan, names: &mut Vec<String>) {
    if let Some(metrics) = plan.metrics() {
        let count = |kind: fn(&MetricValue) -> bool| {
            metrics.iter().filter(|metric| kind(metric.value())).count()
        };
        let begun = count(
            |value| matches!(value, MetricValue::StartTimestamp(time) if time.value().is_some()),
        );
        let ended = count(
            |value| matches!(value, MetricValue::EndTimestamp(time) if time.value().is_some()),
        );
        if begun > ended {
            let rows = MetricsSet::output_rows(&metrics).unwrap_or(0);
            names.push(format!(
                "{} ({} of {begun} parts, {rows} rows)",
                plan.name(),
                begun - ended
            ));
        }
    }
    plan.children().into_iter().for_each(|child| collect(child.as_ref(), names));
}
