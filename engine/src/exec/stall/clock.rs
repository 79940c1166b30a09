//! The thread that looks at the clock for all queries.
//!
//! A thread of its own, as a runtime may have no timers, or none that is free to look.

use std::sync::{Arc, Once, Weak};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::Watch;

/// A query is looked at so often in the time that it may rest.
const LOOKS: u32 = 4;
/// The longest time between two looks.
const PAUSE_LONGEST: Duration = Duration::from_secs(1);
/// The shortest.
const PAUSE_SHORTEST: Duration = Duration::from_millis(10);

static WATCHES: Mutex<Vec<Weak<Watch>>> = Mutex::new(vec![]);
static FIRST: Condvar = Condvar::new();

/// Looks at a query from time to time, until nobody waits for it.
pub fn look_at(watch: &Arc<Watch>) {
    static BEGUN: Once = Once::new();
    BEGUN.call_once(|| {
        // without the thread queries run as well, and wait for ever if they stall
        let _ = std::thread::Builder::new().name("stall-clock".into()).spawn(look);
    });
    let mut watches = WATCHES.lock();
    let is_first = watches.is_empty();
    watches.push(Arc::downgrade(watch));
    drop(watches);
    if is_first {
        FIRST.notify_one();
    }
}

fn look() {
    let mut watches = WATCHES.lock();
    loop {
        watches.retain(|watch| watch.strong_count() > 0);
        if watches.is_empty() {
            FIRST.wait(&mut watches);
        }
        let living: Vec<_> = watches.iter().filter_map(Weak::upgrade).collect();
        let shortest = living.iter().map(|watch| watch.timeout / LOOKS).min();
        let pause = shortest.unwrap_or(PAUSE_LONGEST).clamp(PAUSE_SHORTEST, PAUSE_LONGEST);
        parking_lot::MutexGuard::unlocked(&mut watches, || {
            living.iter().for_each(|watch| watch.look());
            drop(living);
            std::thread::sleep(pause);
        });
    }
}
