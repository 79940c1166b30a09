//! What the launcher asks of a scheduler: who joined, what they do, what waits.

use async_trait::async_trait;

/// An executor that joined the scheduler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// What it is called.
    pub name: String,
    /// Tasks that it can run at once.
    pub cores: usize,
    /// Tasks that it runs.
    pub running_tasks: usize,
    /// Whether it keeps shuffled data that a running query still needs.
    pub holds_needed_data: bool,
}

/// A scheduler, as the launcher sees it.
#[async_trait]
pub trait Members: Send + Sync {
    /// The executors that can take tasks.
    async fn executors(&self) -> Vec<Member>;

    /// The tasks that wait for a place.
    async fn pending_tasks(&self) -> usize;
}
