//! The policy: what may be said, as data.
