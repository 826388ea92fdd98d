//! One binary for all tests that need more than one module: real servers, real sockets, a real
//! Postgres; only the model is scripted.
// `cfg(test)` tells clippy that helpers may unwrap, too.
#[cfg(test)]
mod admin;
#[cfg(test)]
mod anthropic;
#[cfg(test)]
mod ask;
#[cfg(test)]
mod assets;
#[cfg(test)]
mod auth;
#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod balancer;
#[cfg(test)]
mod check;
#[cfg(test)]
mod client;
#[cfg(test)]
mod completions;
#[cfg(test)]
mod connections;
#[cfg(test)]
mod contents;
#[cfg(test)]
mod conversation;
#[cfg(test)]
mod conversations;
#[cfg(test)]
mod cpu;
#[cfg(test)]
mod database;
#[cfg(test)]
mod demo;
#[cfg(test)]
mod dialects;
#[cfg(test)]
mod docs;
#[cfg(test)]
mod door;
#[cfg(test)]
mod doubled;
#[cfg(test)]
mod edge;
#[cfg(test)]
mod embedded;
#[cfg(test)]
mod events;
#[cfg(test)]
mod eventually;
#[cfg(test)]
mod examples;
#[cfg(test)]
mod extras;
#[cfg(test)]
mod failover;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod fence;
#[cfg(test)]
mod first_run;
#[cfg(test)]
mod fleet;
mod flushes;
#[cfg(test)]
mod hand_over;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod history;
#[cfg(test)]
mod horizon;
#[cfg(test)]
mod instances;
#[cfg(test)]
mod isolation;
#[cfg(test)]
mod journal;
#[cfg(test)]
mod kept;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod lanes;
#[cfg(test)]
mod large_events;
#[cfg(test)]
mod large_requests;
#[cfg(test)]
mod leaving;
#[cfg(test)]
mod lifecycle;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod links;
#[cfg(test)]
mod log_contract;
#[cfg(test)]
mod logs;
#[cfg(test)]
mod loss;
#[cfg(test)]
mod metrics;
#[cfg(test)]
mod migrations;
#[cfg(test)]
mod nats;
#[cfg(test)]
mod neighbours;
#[cfg(test)]
mod openapi;
#[cfg(test)]
mod operators;
#[cfg(feature = "otel")]
#[cfg(test)]
mod otel;
#[cfg(test)]
mod outage;
#[cfg(test)]
mod page;
#[cfg(test)]
mod partner;
#[cfg(test)]
mod parts;
#[cfg(test)]
mod pictures;
#[cfg(test)]
mod poison;
#[cfg(test)]
mod process;
#[cfg(test)]
mod program;
#[cfg(test)]
mod providers;
#[cfg(test)]
mod proxies;
#[cfg(test)]
mod proxy;
#[cfg(test)]
mod public;
#[cfg(test)]
mod raw;
#[cfg(test)]
mod readers;
#[cfg(test)]
mod references;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod remote;
#[cfg(test)]
mod repeats;
#[cfg(test)]
mod reports;
#[cfg(test)]
mod restarts;
#[cfg(test)]
mod resume;
#[cfg(test)]
mod retention;
#[cfg(test)]
mod reuse;
#[cfg(test)]
mod sdk;
#[cfg(test)]
mod sealed;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod settings;
#[cfg(test)]
mod signals;
#[cfg(test)]
mod simulators;
#[cfg(test)]
mod six_readers;
#[cfg(test)]
mod socket;
#[cfg(test)]
mod start;
#[cfg(test)]
mod startup;
#[cfg(test)]
mod statuses;
#[cfg(test)]
mod tenants;
#[cfg(test)]
mod terminal;
#[cfg(test)]
mod thinking;
#[cfg(test)]
mod timeouts;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod torture;
#[cfg(test)]
mod trace;
#[cfg(test)]
mod twin;
#[cfg(test)]
mod unknown;
#[cfg(test)]
mod unlike;
#[cfg(test)]
mod upgrade;
#[cfg(test)]
mod upstream;
#[cfg(test)]
mod watch;
#[cfg(test)]
mod without;
#[cfg(test)]
mod wrong;
#[cfg(test)]
mod ws;
