//! stand_ins
