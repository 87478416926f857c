//! Placeholder door.
fn main() {}
