//! Our errors in gRPC's codes.

use almagest_engine::{Error, ErrorKind};
use tonic::{Code, Status};

use super::access::Access;

/// The status for an error: its kind as a code, and its sentence without paths of the server.
pub fn status_of(error: &Error, access: &Access) -> Status {
    let code = match error.kind() {
        ErrorKind::Syntax | ErrorKind::Plan => Code::InvalidArgument,
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::Exists => Code::AlreadyExists,
        ErrorKind::Denied => Code::PermissionDenied,
        ErrorKind::Unsupported => Code::Unimplemented,
        // a file that is damaged, or values that do not fit what is asked
        ErrorKind::DataInvalid if error.context("file").is_some() => Code::DataLoss,
        ErrorKind::DataInvalid => Code::InvalidArgument,
        ErrorKind::Unreachable => Code::Unavailable,
        ErrorKind::Exhausted => Code::ResourceExhausted,
        ErrorKind::Cancelled => Code::Cancelled,
        ErrorKind::Bug => Code::Internal,
    };
    Status::new(code, access.hide(&error.to_string()))
}
