//! Tables over the network, by Arrow Flight SQL: notebooks, BI tools and services.
//!
//! A request comes to the [`endpoint`], which finds its client's session at the [`gate`]; the
//! [`service`] answers it from that session ([`client`]): statements are judged ([`policy`]), run once
//! if they change something, or give a ticket under which their rows are fetched ([`query`]). Files
//! are reached through [`access`] alone, as statements come from strangers. Sessions share memory,
//! threads and tables ([`shared`]).
//!
//! Where queries run is not known here: whoever opens a server gives it what makes sessions ([`Sessions`]).

mod access;
mod client;
mod connections;
mod credentials;
mod data;
mod descriptions;
mod endpoint;
mod failures;
mod gate;
mod kept;
mod known_versions;
mod layered;
mod ledger;
mod logins;
mod metadata;
mod metrics;
mod named_files;
mod paths;
mod places;
mod policy;
mod prepared;
mod query;
mod query_pool;
mod query_threads;
mod received;
mod requests;
mod seats;
mod server;
mod service;
mod session_options;
mod sessions;
mod shared;
mod sql_info;
mod status;
mod stored;
mod tickets;
mod type_info;
mod users;

pub use gate::Entrance;
pub use server::{FlightOptions, FlightServer, TlsFiles};
pub use sessions::{Processes, Sessions};
pub use shared::{FlightLimits, Served, Shared};
pub use users::{Users, make_user as new_user};
