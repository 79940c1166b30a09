//! What a server counts, in the text format of Prometheus.

use std::fmt;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// Seconds of the shortest bucket of query times, their growth and number.
const BUCKETS: (f64, f64, u16) = (0.001, 4.0, 10);

/// How a query ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// All of its rows were sent.
    Done,
    /// With an error.
    Failed,
    /// The client ended it, or left.
    Cancelled,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByOutcome {
    outcome: String,
}

/// The counts.
#[derive(Debug)]
pub struct Metrics {
    /// Sessions of clients.
    pub sessions: Gauge,
    /// Queries that run or wait for their turn.
    pub running: Gauge,
    /// Log-ins that were refused.
    pub refused: Counter,
    queries: Family<ByOutcome, Counter>,
    rows: Counter,
    bytes: Counter,
    seconds: Histogram,
    registry: Registry,
}

impl Default for Metrics {
    fn default() -> Self {
        let (first, growth, count) = BUCKETS;
        let mut metrics = Self {
            sessions: Gauge::default(),
            running: Gauge::default(),
            refused: Counter::default(),
            queries: Family::default(),
            rows: Counter::default(),
            bytes: Counter::default(),
            seconds: Histogram::new(exponential_buckets(first, growth, count)),
            registry: Registry::with_prefix("almagest"),
        };
        let registry = &mut metrics.registry;
        registry.register("sessions", "Sessions of clients", metrics.sessions.clone());
        let help = "Queries that run or wait for their turn";
        registry.register("queries_running", help, metrics.running.clone());
        registry.register("logins_refused", "Log-ins that were refused", metrics.refused.clone());
        registry.register("queries", "Queries that ended", metrics.queries.clone());
        registry.register("rows_sent", "Rows of answers", metrics.rows.clone());
        let help = "Bytes of answers in memory";
        registry.register_with_unit("sent", help, Unit::Bytes, metrics.bytes.clone());
        let help = "Time from the first fetch of a query to its end";
        registry.register_with_unit("query_time", help, Unit::Seconds, metrics.seconds.clone());
        metrics
    }
}

impl Metrics {
    /// Counts a query that ended.
    pub fn ended(&self, outcome: Outcome, rows: u64, bytes: u64, took: Duration) {
        let labels = ByOutcome { outcome: outcome.to_string() };
        self.queries.get_or_create(&labels).inc();
        self.rows.inc_by(rows);
        self.bytes.inc_by(bytes);
        self.seconds.observe(took.as_secs_f64());
    }

    /// The counts as Prometheus reads them.
    pub fn text(&self) -> String {
        let mut text = String::new();
        match encode(&mut text, &self.registry) {
            Ok(()) => text,
            Err(_) => String::new(), // a String takes everything
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_is_told() {
        let metrics = Metrics::default();
        metrics.sessions.inc();
        metrics.ended(Outcome::Done, 7, 100, Duration::from_millis(3));
        metrics.ended(Outcome::Failed, 0, 0, Duration::from_millis(3));
        let text = metrics.text();
        for line in [
            "almagest_sessions 1",
            "almagest_queries_total{outcome=\"done\"} 1",
            "almagest_queries_total{outcome=\"failed\"} 1",
            "almagest_rows_sent_total 7",
            "almagest_query_time_seconds_count 2",
        ] {
            assert!(text.lines().any(|seen| seen == line), "{line}\n{text}");
        }
    }
}
