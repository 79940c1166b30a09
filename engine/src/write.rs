//! COPY and INSERT: nothing is written of rows that fail ([`guarding_sinks`]), and many processes write into one
//! folder.
//!
//! Of these, each task of the last stage writes files of its own into a folder of its own, below one whose
//! name begins with a dot within the folder that COPY names, and gives back a row that says where.
//! The session moves the files of the rows that it received, and removes the rest: what a task left
//! that failed, was repeated or cancelled is named by no row. Tables over the folder do not see what
//! is unfinished, as they look at no folders but those of partitions.
//!
//! In a plan: [`WriteParts`] (logical) becomes [`PartsExec`] on the scheduler, and [`CommitExec`]
//! reads its rows in the session. Files of this machine that must be whole or not there are
//! [`WholeFile`]s. Not here: how a format is written, which is DataFusion's.

mod commit_exec;
mod copy_target;
mod guarded_sink;
mod partition_columns;
mod parts;
mod parts_exec;
mod unfinished;
mod whole_file;

pub use commit_exec::CommitExec;
pub(crate) use copy_target::check as check_copy;
pub use guarded_sink::guarding_sinks;
pub use parts::{PartsPlanner, Target, WriteParts};
pub use parts_exec::PartsExec;
pub use whole_file::{WholeFile, create_folders, rename_for_good, sync_folder, write_whole};
