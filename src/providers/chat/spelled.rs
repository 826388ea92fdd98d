//! A grammar that spells a text, in llama.cpp's own notation (GBNF). Its server then says the text
//! again, whatever the model would have said, and is free behind it. Seen at llama.cpp 11549:
//! a client's own grammar begins behind the text that goes up, and is refused beside tools. Others
//! pass over the field or refuse it.
use crate::domain::source::is_grammar;
use crate::providers::upstream::json_body::Object;

/// The name of the field.
pub(crate) const GRAMMAR: &str = "grammar";

/// Makes the answer to `body` begin with `text`. False where the answer keeps to another grammar,
/// or may call a tool.
pub(crate) fn force(body: &mut Object, text: &str) -> bool {
    if body.names().any(|name| is_grammar(name) || name == "tools") {
        return false;
    }
    body.set(GRAMMAR, &grammar(text));
    true
}

/// The same body without it.
pub(crate) fn without(mut body: Object) -> Object {
    body.remove(GRAMMAR);
    body
}

fn grammar(text: &str) -> String {
    let mut spelled = String::with_capacity(text.len() + 32);
    for c in text.chars() {
        match c {
            '"' | '\\' => spelled.extend(['\\', c]),
            '\n' => spelled.push_str("\\n"),
            '\r' => spelled.push_str("\\r"),
            '\t' => spelled.push_str("\\t"),
            c if c.is_control() => spelled.push_str(&format!("\\x{:02X}", u32::from(c))),
            c => spelled.push(c),
        }
    }
    format!("root ::= \"{spelled}\" [^\\x00]*")
}

#[cfg(test)]
mod tests {
    use crate::providers::chat::spelled::*;

    #[test]
    fn a_text_is_spelled_with_its_marks_and_line_breaks() {
        let mut body = Object::parse(r#"{"model":"m"}"#).unwrap();
        assert!(force(&mut body, "\n\t<li class=\"a\\b\">\u{1b}人🎈"));
        let grammar: String = body.read("grammar").unwrap();
        let spelled = r#"\n\t<li class=\"a\\b\">\x1B人🎈"#;
        assert_eq!(grammar, format!(r#"root ::= "{spelled}" [^\x00]*"#));
        assert!(!without(body).has("grammar"));
    }

    #[test]
    fn an_answer_that_keeps_to_a_grammar_or_calls_tools_is_not_forced() {
        for field in ["response_format", "grammar", "json_schema", "guided_json", "tools"] {
            let mut body = Object::parse(&format!(r#"{{"{field}":[]}}"#)).unwrap();
            assert!(!force(&mut body, "x"), "{field}");
        }
    }
}
