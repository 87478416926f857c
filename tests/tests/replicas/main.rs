//! Several brokers on one database, and what outages, clocks and cut cables do to them, by the provider's own account.
//!
//! Real processes where several are needed; where hours have to pass, one broker inside this process on a clock that is moved.

mod app_secret;
mod at_once;
mod clock_jumps;
mod cut_off;
mod joiners;
mod keys;
mod outage;
mod silence;
