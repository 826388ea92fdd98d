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

/// The beginning of a name that somebody sent, short enough for an error message.
#[must_use]
pub fn shown(given: &str) -> String {
    given.chars().take(64).filter(|c| !c.is_control()).collect()
}

/// The name that serde does not know, from its message "unknown field `x`, expected one of `a`,
/// `b`", and the most similar known one.
#[must_use]
pub fn unknown_name(message: &str) -> Option<(&str, Option<&str>)> {
    let rest = message
        .strip_prefix("unknown field `")
        .or_else(|| message.strip_prefix("unknown variant `"))?;
    let mut names = rest.split('`').step_by(2);
    let unknown = names.next()?;
    let known: Vec<&str> = names.filter(|name| !name.starts_with(" at line")).collect();
    Some((unknown, nearest(unknown, &known)))
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

    /// Serde's words are not promised to stay: this test notices when they change.
    #[test]
    fn serde_names_what_it_does_not_know() {
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        #[expect(dead_code, reason = "only its names matter")]
        struct Known {
            prompt: Option<String>,
            model: Option<String>,
        }
        let error = serde_json::from_str::<Known>(r#"{"promt":"x"}"#).unwrap_err().to_string();
        assert_eq!(unknown_name(&error), Some(("promt", Some("prompt"))));
        let error = toml::from_str::<Known>("modell = 'x'").unwrap_err();
        assert_eq!(unknown_name(error.message()), Some(("modell", Some("model"))));
    }
}
