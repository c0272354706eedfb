//! curtain
fn main() {}
