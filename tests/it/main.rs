//! One binary for all tests that need more than one module: real servers, real sockets, a real
//! Postgres; only the model is scripted.
// `cfg(test)` tells clippy that helpers may unwrap, too.
#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod check;
#[cfg(test)]
mod client;
#[cfg(test)]
mod cpu;
#[cfg(test)]
mod database;
#[cfg(test)]
mod demo;
#[cfg(test)]
mod docs;
#[cfg(test)]
mod embedded;
#[cfg(test)]
mod events;
#[cfg(test)]
mod fence;
#[cfg(test)]
mod first_run;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod instances;
#[cfg(test)]
mod lifecycle;
#[cfg(test)]
mod log_contract;
#[cfg(test)]
mod loss;
#[cfg(test)]
mod outage;
#[cfg(test)]
mod process;
#[cfg(test)]
mod providers;
#[cfg(test)]
mod proxy;
#[cfg(test)]
mod raw;
#[cfg(test)]
mod readers;
#[cfg(test)]
mod resume;
#[cfg(test)]
mod simulators;
#[cfg(test)]
mod start;
#[cfg(test)]
mod startup;
#[cfg(test)]
mod timeouts;
#[cfg(test)]
mod torture;
#[cfg(test)]
mod upstream;
#[cfg(test)]
mod wrong;
