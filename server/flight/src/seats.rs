//! The sessions that there may be: of all, and of one user or address.
//!
//! In: whose session is to be made. Out: a seat, which the session has until nobody holds it any more; or
//! a refusal. Asking and taking are one step, so that of many that come at once no more get in than may.
//! Not here: who comes ([`super::gate`]), and when a session ends.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// The seats.
#[derive(Debug)]
pub struct Seats {
    all_max: usize,
    of_one_max: usize,
    taken: Mutex<HashMap<String, usize>>,
}

/// One that is taken. Dropped, it is free.
#[derive(Debug)]
pub struct Seat {
    seats: Arc<Seats>,
    whose: String,
}

impl Seats {
    /// So many for all, and for one.
    pub fn new(all_max: usize, of_one_max: usize) -> Arc<Self> {
        Arc::new(Self { all_max, of_one_max, taken: Mutex::default() })
    }

    /// A seat for one more session of a user or address.
    ///
    /// # Errors
    /// Why there is none.
    pub fn take(self: &Arc<Self>, whose: &str) -> Result<Seat, String> {
        let mut taken = self.taken.lock();
        let (all, most) = (taken.values().sum::<usize>(), self.all_max);
        if all >= most {
            return Err(format!(
                "{most} sessions are open, and more this server does not take; try again later"
            ));
        }
        let (own, most) = (taken.get(whose).copied().unwrap_or(0), self.of_one_max);
        if own >= most {
            return Err(format!(
                "{most} sessions of this user or address are open, and more of one this server does \
                 not take; close some"
            ));
        }
        taken.insert(whose.into(), own + 1);
        Ok(Seat { seats: Arc::clone(self), whose: whose.into() })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken.lock();
        let left = taken.remove(&self.whose).unwrap_or(0);
        if left > 1 {
            taken.insert(std::mem::take(&mut self.whose), left - 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_and_one_have_so_many_and_no_more() {
        let seats = Seats::new(3, 2);
        let first = [seats.take("a").unwrap(), seats.take("a").unwrap()];
        assert!(seats.take("a").unwrap_err().contains("2 sessions of this user or address"));
        let other = seats.take("b").unwrap();
        assert!(seats.take("b").unwrap_err().starts_with("3 sessions are open"));
        drop(other);
        assert!(seats.take("a").is_err());
        drop(first);
        let _again = seats.take("a").unwrap();
        assert_eq!(seats.taken.lock().values().sum::<usize>(), 1);
    }
}
