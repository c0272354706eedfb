//! Recovery: what a failure means, as a pure function.
