//! The rooms of the broker, street to cellar. Arrows mean "may name" and go one way:
//! `main -> assemble -> {grpc, http, scheduler} -> service -> {store, providers, seal} -> domain`.
//!
//! Invariant: nobody but `assemble` knows every room; `tests/tests/walls.rs` keeps the arrows true.

pub mod assemble;
pub mod callers;
pub mod clock;
pub mod config;
pub mod domain;
pub mod entropy;
pub mod failpoint;
pub mod grpc;
pub mod http;
pub mod memory;
pub mod providers;
pub mod scheduler;
pub mod seal;
pub mod service;
pub mod spill;
pub mod store;
pub mod tasks;
pub mod telemetry;
pub mod witness;
