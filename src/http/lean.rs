//! The page's code as it is sent: comments are a fifth of a first load, and no browser reads them.

/// Code without the lines that only comment. Empty lines stand in their place, so that the line
/// of an error is the line of the source. No text of the page's code may have a line that looks
/// like a comment: `tests/page/weight.test.js` compares every file with its source.
pub(super) fn without_comments(code: &str) -> String {
    let mut lean = String::with_capacity(code.len());
    let mut inside = false;
    for line in code.lines() {
        let (kept, open) = part_of(line, inside);
        lean.push_str(kept);
        lean.push('\n');
        inside = open;
    }
    lean
}

/// The part of a line that is no comment, and whether a comment is open behind it.
fn part_of(line: &str, inside: bool) -> (&str, bool) {
    let text = line.trim_start();
    if !inside && text.starts_with("//") {
        return ("", false);
    }
    if !inside && !text.starts_with("/*") {
        return (line, false);
    }
    match text.split_once("*/") {
        None => ("", true),
        Some((_, rest)) if inside => (rest.trim(), false),
        // A type before the code that it belongs to.
        Some((_, rest)) => (if rest.trim().is_empty() { "" } else { line }, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_comments_go_and_every_line_keeps_its_number() {
        let code = "// @ts-check\n/**\n * Why.\n */\nlet a = 1; // one\n  /* x */ f();\n  /** @type {number} */\nlet b = '/* no */';\n/* a\n b */ g();\n";
        let lean = "\n\n\n\nlet a = 1; // one\n  /* x */ f();\n\nlet b = '/* no */';\n\ng();\n";
        assert_eq!(without_comments(code), lean);
    }
}
