//! The fields that only an upstream of the client's own protocol gets: its body goes up as it came.
//! For a model of another protocol the request is refused, where leaving it out would change the
//! meaning.
use crate::domain::source::WireProtocol;
use crate::http::problem::Problem;

/// Why models of other protocols have to refuse a request.
#[derive(Debug, Default)]
pub(crate) struct Elsewhere {
    /// The first reason that holds for all of them.
    any: Option<Problem>,
    /// The first reason for those that speak one protocol.
    of: Vec<(WireProtocol, Problem)>,
}

impl Elsewhere {
    /// Notes that a model of another protocol has to refuse the request so.
    pub(crate) fn refuse(&mut self, problem: Problem) {
        self.any.get_or_insert(problem);
    }

    /// Notes that a model that speaks `protocol` has to refuse the request so.
    pub(crate) fn refuse_for(&mut self, protocol: WireProtocol, problem: Problem) {
        if !self.of.iter().any(|(of, _)| *of == protocol) {
            self.of.push((protocol, problem));
        }
    }

    /// Refuses what was noted for a model that `speaks` a protocol, unless the body goes up as it
    /// came.
    pub(crate) fn check(
        mut self,
        native: bool,
        speaks: Option<WireProtocol>,
    ) -> Result<(), Problem> {
        if native {
            return Ok(());
        }
        let place = self.of.iter().position(|(of, _)| Some(*of) == speaks);
        let of = place.map(|place| self.of.swap_remove(place).1);
        self.any.or(of).map_or(Ok(()), Err)
    }
}
