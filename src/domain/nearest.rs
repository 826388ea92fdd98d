//! "Did you mean …?" for every name that a person or a program can misspell.

/// The known name that `given` most likely means, if any is near.
#[must_use]
pub fn nearest<'a>(given: &str, known: &[&'a str]) -> Option<&'a str> {
    // Below this similarity a proposal is more confusing than none.
    const NEAR: f64 = 0.7;
    known
        .iter()
        .map(|name| (strsim::jaro_winkler(given, name), *name))
        .filter(|(score, _)| *score >= NEAR)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

/// " Did you mean `x`?", or nothing.
#[must_use]
pub fn hint(given: &str, known: &[&str]) -> String {
    nearest(given, known).map(|name| format!(" Did you mean `{name}`?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelling_finds_its_name() {
        let known = ["prompt", "model", "messages"];
        assert_eq!(nearest("promt", &known), Some("prompt"));
        assert_eq!(nearest("mesages", &known), Some("messages"));
        assert_eq!(nearest("zebra", &known), None);
        assert_eq!(hint("modle", &known), " Did you mean `model`?");
    }
}
