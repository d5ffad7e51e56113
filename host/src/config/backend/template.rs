//! Texts with places for secrets: `${secret:NAME}`.

use crate::config::lower::Lower;
use crate::config::raw::Text;
use crate::config::types::{Piece, Template};
use crate::config::units;

const PLACE: &str = "${secret:";

impl Lower<'_, '_> {
    /// Reads a text in which `${secret:NAME}` stands for one of `secrets`, and `${NAME}` for an environment variable as
    /// anywhere. None: an error was noted.
    pub(super) fn template(&mut self, key: &str, text: &Text, secrets: &[&str]) -> Option<Template> {
        let parsed = parse(&text.text, self.around.env, secrets);
        parsed.map_err(|problem| self.errors.add(text.at, key, problem)).ok()
    }
}

fn parse(text: &str, env: &dyn Fn(&str) -> Option<String>, secrets: &[&str]) -> Result<Template, units::Problem> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(at) = place(rest) {
        let inside = &rest[at + PLACE.len()..];
        let end = inside.find('}').ok_or("a ${secret: has no }: close it, or write $${ for a literal ${")?;
        push(&mut pieces, &rest[..at], env)?;
        pieces.push(Piece::Secret(known(&inside[..end], secrets)?));
        rest = &inside[end + 1..];
    }
    push(&mut pieces, rest, env)?;
    Ok(Template(pieces))
}

/// Where the first place for a secret is; `$${` is none.
fn place(text: &str) -> Option<usize> {
    text.match_indices(PLACE).map(|(at, _)| at).find(|at| !text[..*at].ends_with('$'))
}

fn push(pieces: &mut Vec<Piece>, text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<(), units::Problem> {
    if !text.is_empty() {
        pieces.push(Piece::Text(units::expand(text, env)?));
    }
    Ok(())
}

/// `name`, if it is one of `secrets`.
pub(super) fn known(name: &str, secrets: &[&str]) -> Result<String, units::Problem> {
    if secrets.contains(&name) {
        return Ok(name.to_owned());
    }
    let there = if secrets.is_empty() { "none".to_owned() } else { secrets.join(", ") };
    Err(format!("names no secret of this backend (there: {there}): add it to secrets, or name one of them"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_variables() {
        let env = |name: &str| (name == "USER").then(|| "ann".to_owned());
        let parsed = |text: &str| parse(text, &env, &["pass", "p.2"]);
        let text = |text: &str| Piece::Text(text.to_owned());
        let secret = |name: &str| Piece::Secret(name.to_owned());
        assert_eq!(parsed("plain"), Ok(Template(vec![text("plain")])));
        assert_eq!(parsed(""), Ok(Template(vec![])));
        assert_eq!(
            parsed("${USER}:${secret:pass}/${secret:p.2}!"),
            Ok(Template(vec![text("ann:"), secret("pass"), text("/"), secret("p.2"), text("!")]))
        );
        assert_eq!(parsed("$${secret:pass}"), Ok(Template(vec![text("${secret:pass}")])));
        for (bad, problem) in [
            ("${secret:pass", "has no }"),
            ("${secret:other}", "names no secret of this backend (there: pass, p.2)"),
            ("${NOPE}", "NOPE is not set"),
        ] {
            assert!(parsed(bad).unwrap_err().contains(problem), "{bad}");
        }
        assert_eq!(format!("{:?}", parsed("hidden${secret:pass}").unwrap()), "[\"..\", \"pass\"]");
    }
}
