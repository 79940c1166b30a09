//! Every specification and behaviour test, in one binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod cluster_faults;
mod cluster_key;
mod cluster_scheduler;
mod cluster_storage;
mod connect;
mod copied_files;
mod damaged_files;
mod documented_examples;
mod embedding;
mod filters_golden;
mod flight;
mod flight_safety;
mod hdf5_corpus;
mod hdf5_reads;
mod hdf5_real;
mod hdf5_remote;
mod hidden_places;
mod hostile_clients;
mod hostile_rows;
mod lazy_arrays;
mod mutated_files;
mod object_stores;
mod one_build;
mod relations;
mod shuffled_join;
mod spilling;
mod tidy;
