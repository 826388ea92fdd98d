//! One binary for all tests that need more than one module.
// `cfg(test)` tells clippy that helpers may unwrap, too.
#[cfg(test)]
mod cpu;
#[cfg(test)]
mod demo;
#[cfg(test)]
mod embedded;
#[cfg(test)]
mod providers;
#[cfg(test)]
mod upstream;
