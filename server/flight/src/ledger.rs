//! The bytes that sessions keep between requests: statements that are prepared or wait to be fetched,
//! views, and values of parameters.
//!
//! A number of statements says little, as one may have a megabyte and its plan more. So each is weighed
//! and held in the ledger of its session, that of its user or address, and that of the server; what
//! passes the limit of one is refused. Not here: what running queries hold, which the memory pool counts.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use almagest_engine::walk::{Walk, WalkPlan};
use almagest_engine::{Error, Result};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::{Expr, LogicalPlan};
use parking_lot::Mutex;

/// Bytes of a node of a plan, without its expressions.
const NODE_BYTES: usize = 1 << 10;
/// Bytes of a column in the schema of a node.
const COLUMN_BYTES: usize = 64;

/// What is kept by one, of what it may.
#[derive(Debug)]
pub struct Ledger {
    whose: &'static str,
    bytes_max: usize,
    bytes: AtomicUsize,
    above: Option<Arc<Ledger>>,
}

impl Ledger {
    /// That of the whole server.
    pub fn of_server(bytes_max: usize) -> Arc<Self> {
        Self::new("this server", bytes_max, None)
    }

    /// That of a session, below another.
    pub fn of_session(bytes_max: usize, above: Arc<Self>) -> Arc<Self> {
        Self::new("this session", bytes_max, Some(above))
    }

    fn new(whose: &'static str, bytes_max: usize, above: Option<Arc<Self>>) -> Arc<Self> {
        Arc::new(Self { whose, bytes_max, bytes: AtomicUsize::new(0), above })
    }

    /// Holds so many bytes until what is given back is dropped.
    ///
    /// # Errors
    /// `Exhausted` if they are more than this or one above may keep.
    pub fn hold(self: &Arc<Self>, bytes: usize) -> Result<Held> {
        let mut held = Held { of: vec![], bytes };
        let mut next = Some(self);
        while let Some(ledger) = next {
            let before = ledger.bytes.fetch_add(bytes, Ordering::Relaxed);
            held.of.push(Arc::clone(ledger));
            if before.saturating_add(bytes) > ledger.bytes_max {
                return Err(Error::exhausted(format!(
                    "{} keeps {before} bytes of statements, views and values of parameters, and no \
                     more than {} with this one's {bytes}; close prepared statements, fetch or cancel \
                     queries, or drop views",
                    ledger.whose, ledger.bytes_max
                )));
            }
            next = ledger.above.as_ref();
        }
        Ok(held)
    }

    /// Bytes that are held.
    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// Bytes that are kept. Dropped, they are so no more.
#[derive(Debug, Default)]
pub struct Held {
    of: Vec<Arc<Ledger>>,
    bytes: usize,
}

impl Drop for Held {
    fn drop(&mut self) {
        for ledger in &self.of {
            ledger.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}

/// The ledgers of users and addresses that have sessions.
#[derive(Debug)]
pub struct Ledgers {
    server: Arc<Ledger>,
    of_one: Mutex<HashMap<String, Weak<Ledger>>>,
    session_bytes_max: usize,
}

impl Ledgers {
    /// For a session and all of them. Those of one user or address may keep half of that.
    pub fn new(session_bytes_max: usize, bytes_max: usize) -> Self {
        let server = Ledger::of_server(bytes_max);
        Self { server, of_one: Mutex::default(), session_bytes_max }
    }

    /// The ledger of a new session.
    pub fn session(&self, whose: &str) -> Arc<Ledger> {
        let mut of_one = self.of_one.lock();
        of_one.retain(|_, ledger| ledger.strong_count() > 0);
        let known = of_one.get(whose).and_then(Weak::upgrade);
        let known = known.unwrap_or_else(|| {
            let above = Arc::clone(&self.server);
            let half = above.bytes_max / 2;
            let ledger = Ledger::new("this user or address", half, Some(above));
            of_one.insert(whose.into(), Arc::downgrade(&ledger));
            ledger
        });
        Ledger::of_session(self.session_bytes_max, known)
    }
}

/// About how many bytes a plan keeps.
///
/// # Errors
/// `Bug` if a plan cannot be walked.
pub fn weight_of(plan: &LogicalPlan) -> Result<usize> {
    let mut bytes = 0;
    plan.walk_with_subqueries(&mut |node| {
        bytes += NODE_BYTES + node.schema().fields().len() * COLUMN_BYTES;
        node.walk_expressions(&mut |expression| {
            expression.walk(&mut |inner| {
                bytes += match inner {
                    Expr::Literal(value, _) => size_of::<Expr>() + value.size(),
                    _ => size_of::<Expr>(),
                };
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use almagest_engine::registry::Registry;
    use almagest_engine::{Session, SessionOptions};

    #[test]
    fn what_is_kept_is_limited_for_a_session_an_address_and_all() {
        let ledgers = Ledgers::new(60, 200);
        let (one, two) = (ledgers.session("a"), ledgers.session("a"));
        let first = one.hold(50).unwrap();
        let error = one.hold(20).unwrap_err();
        assert!(error.message().starts_with("this session keeps 50 bytes"), "{error}");
        let second = two.hold(50).unwrap();
        let error = two.hold(5).unwrap_err();
        assert!(error.message().starts_with("this user or address keeps 100"), "{error}");
        let (other, last) = (ledgers.session("b"), ledgers.session("c"));
        let third = [other.hold(50).unwrap(), last.hold(50).unwrap()];
        let error = last.hold(1).unwrap_err();
        assert!(error.message().starts_with("this server keeps 200"), "{error}");
        // a refusal takes nothing, and what is dropped is given back to all
        drop(first);
        assert_eq!((one.bytes(), two.bytes(), ledgers.server.bytes()), (0, 50, 150));
        two.hold(10).unwrap();
        drop((second, third));
        assert_eq!(ledgers.server.bytes(), 0);
    }

    #[tokio::test]
    async fn plans_weigh_what_their_statements_do() {
        let session = Session::try_new(&Registry::default(), &SessionOptions::default()).unwrap();
        let weight = async |sql: String| {
            let plan = session.plan_text(&sql).await;
            weight_of(&plan.unwrap()).unwrap()
        };
        assert!(weight("SELECT 1".into()).await < 10_000);
        assert!(weight(format!("SELECT '{}'", "x".repeat(1_000_000))).await > 1_000_000);
        let sums = format!("SELECT value IN ({}1) FROM range(3)", "1, ".repeat(1000));
        assert!(weight(sums).await > 100_000);
        let nested = format!("SELECT (SELECT '{}')", "x".repeat(100_000));
        assert!(weight(nested).await > 100_000);
    }
}
