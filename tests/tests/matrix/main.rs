//! Callers x accounts x scopes x calls: the broker's answer against a model of the rules that shares no line with it.
//!
//! Once at the domain, a hundred thousand cases; once over the doors of a real broker. Each is shown to be able to fail: with
//! a rule broken on purpose it finds a case.

#[cfg(test)]
mod contract;
#[cfg(test)]
mod domain;
mod doors;
mod model;
mod raw;
