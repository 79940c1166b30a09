//! Holds no code: the specifications are in `spec/`, what runs them in `almagest/`.
