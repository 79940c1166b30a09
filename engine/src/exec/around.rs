//! Operators that stand around one other and change nothing but how it runs.

/// What operators have in common that are their input in all but how it is run: `run` runs it, and the
/// closure makes the operator again around another input.
macro_rules! stands_around_its_input {
    ($exec:ident, |$this:ident, $child:ident| $again:expr) => {
        impl DisplayAs for $exec {
            fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str(stringify!($exec))
            }
        }

        impl ExecutionPlan for $exec {
            fn name(&self) -> &'static str {
                stringify!($exec)
            }

            fn properties(&self) -> &Arc<PlanProperties> {
                self.input.properties()
            }

            fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
                vec![&self.input]
            }

            fn maintains_input_order(&self) -> Vec<bool> {
                vec![true]
            }

            fn benefits_from_input_partitioning(&self) -> Vec<bool> {
                vec![false]
            }

            fn apply_expressions(
                &self,
                _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
            ) -> DfResult<TreeNodeRecursion> {
                Ok(TreeNodeRecursion::Continue)
            }

            fn with_new_children(
                self: Arc<Self>,
                mut children: Vec<Arc<dyn ExecutionPlan>>,
            ) -> DfResult<Arc<dyn ExecutionPlan>> {
                match (children.pop(), children.is_empty()) {
                    (Some($child), true) => {
                        let $this = self;
                        Ok(Arc::new($again))
                    }
                    _ => Err(Error::bug("an operator that takes exactly one child").into()),
                }
            }

            fn execute(
                &self,
                partition: usize,
                context: Arc<TaskContext>,
            ) -> DfResult<SendableRecordBatchStream> {
                self.run(partition, context)
            }
        }
    };
}

pub(super) use stands_around_its_input;
