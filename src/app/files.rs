//! Open files: each connection is one, and so is each model's answer.
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises this process's limit as far as it may, and says how high that is.
pub(super) fn raise() -> usize {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return usize::MAX };
    let limit = match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        // macOS refuses `unlimited`.
        Err(_) => soft,
    };
    usize::try_from(limit).unwrap_or(usize::MAX)
}
