//! Tokens that an earlier owner has said. The log has texts and no counts, so the upstream is asked
//! for theirs; an estimate would let the answer outgrow its limit.
use super::generate::Generation;
use super::meter::Meter;

impl Generation {
    /// Counts the answer so far anew, where an earlier owner has made it and a limit holds.
    pub(super) async fn recount(&self, meter: &mut Meter) {
        let limited = self.request.prompt.parameters.max_output_tokens.is_some();
        if !self.taken_over || !limited || self.resume().is_some() {
            return;
        }
        let answer = &self.transcript.answer;
        let given = self.request.continues.map_or(0, |earlier| earlier.bytes);
        let text = answer.text.get(given..).unwrap_or_default();
        let said = format!("{}{text}", answer.reasoning);
        if said.is_empty() {
            return;
        }
        if let Some(tokens) = self.model.provider.count(&said).await {
            meter.recounted(tokens);
        }
    }
}
