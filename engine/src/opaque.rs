//! A shared value into which the compiler does not look when it proves that a future may change
//! threads.
//!
//! A plan or a session has some thousand types inside. Whether all of them are `Send` is asked again
//! for each method of a trait that gives a future, as `async_trait` gives each of them bounds of its own:
//! seconds for each. Behind `dyn`, the answer stands in the type. `docs/build.md` has the figures.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// A value that is shared, and read as if it were there itself.
pub struct Opaque<T: 'static>(Arc<dyn Deref<Target = T> + Send + Sync>);

impl<T: Send + Sync> Opaque<T> {
    /// Shares the value.
    pub fn new(value: T) -> Self {
        Self(Arc::new(Box::new(value)))
    }
}

impl<T> Clone for Opaque<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for Opaque<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: fmt::Debug> fmt::Debug for Opaque<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(formatter)
    }
}
