//! The store door.
