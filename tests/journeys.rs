//! A deployment of real processes, seen from outside.

mod one_reply; // a webhook becomes one reply, whatever is repeated
