//! The fields that only an upstream of the client's own protocol gets: its body goes up as it came.
//! For a model of another protocol the request is refused, where leaving it out would change the
//! meaning.
use crate::http::problem::Problem;

/// The first such thing in a request.
#[derive(Debug, Default)]
pub(crate) struct Elsewhere(Option<Problem>);

impl Elsewhere {
    /// Notes that a model of another protocol has to refuse the request so.
    pub(crate) fn refuse(&mut self, problem: Problem) {
        self.0.get_or_insert(problem);
    }

    /// Refuses what was noted, unless the body goes up as it came.
    pub(crate) fn check(self, native: bool) -> Result<(), Problem> {
        self.0.filter(|_| !native).map_or(Ok(()), Err)
    }
}
