//! The limits of a key, put on every request made with it. All protocols start generations here.
use super::start::{Start, StartError};
use crate::domain::prompt::PromptError;
use crate::engine::limits::Limits;

/// Refuses what is more than the server or the caller's key takes, and bounds what is left open.
pub(in crate::engine) fn bound(start: &mut Start, server: &Limits) -> Result<(), StartError> {
    let limits = start.caller.limits();
    let request = &mut start.request;
    let (bytes, limit) = (request.prompt.media_bytes(), server.media_bytes);
    if bytes > limit {
        return Err(PromptError::MediaTooLarge { bytes, limit }.into());
    }
    if let Some(limit) = limits.prompt_bytes {
        let (bytes, limit) = (request.prompt.bytes(), limit as usize);
        if bytes > limit {
            return Err(PromptError::TooLong { bytes, limit }.into());
        }
    }
    if let Some(most) = limits.output_tokens {
        let asked = request.prompt.parameters.max_output_tokens.get_or_insert(most);
        if *asked > most {
            let (field, min, max) = ("max_output_tokens", 1.0, f64::from(most));
            return Err(PromptError::OutOfRange { field, min, max }.into());
        }
    }
    request.wall_s = limits.wall_s;
    Ok(())
}
