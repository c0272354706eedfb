//! The data-driven signature engine.
