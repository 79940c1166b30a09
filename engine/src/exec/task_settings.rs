//! Other settings for the operators below one.

use datafusion::execution::TaskContext;
use datafusion::prelude::SessionConfig;

/// The same context with other settings.
pub fn with_settings(context: &TaskContext, settings: SessionConfig) -> TaskContext {
    TaskContext::new(
        context.task_id(),
        context.session_id(),
        settings,
        context.scalar_functions().clone(),
        context.higher_order_functions().clone(),
        context.aggregate_functions().clone(),
        context.window_functions().clone(),
        context.runtime_env(),
    )
}
