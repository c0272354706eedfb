//! Fixed texts with named variables. Which variables a text may hold is known when it is read, so that a
//! misspelt one is refused at load and not seen by a customer.

/// A text with holes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Variable(String),
}

impl Template {
    /// Reads `{name}` as a variable, `{{` and `}}` as braces.
    pub(super) fn parse(text: &str, variables: &[&str]) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text.trim();
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let brace = &rest[at..];
            if brace.starts_with("{{") || brace.starts_with("}}") {
                plain.push_str(&brace[..1]);
                rest = &brace[2..];
                continue;
            }
            let name = brace.strip_prefix('{').and_then(|inside| inside.split_once('}'));
            let Some((name, after)) = name else {
                return Err("has a brace without its partner; write '{{' or '}}' for a brace".to_owned());
            };
            if !variables.contains(&name) {
                return Err(unknown(name, variables));
            }
            pieces.push(Piece::Text(std::mem::take(&mut plain)));
            pieces.push(Piece::Variable(name.to_owned()));
            rest = after;
        }
        plain.push_str(rest);
        pieces.push(Piece::Text(plain));
        Ok(Self(pieces))
    }

    /// Whether it says nothing at all.
    pub(super) fn is_blank(&self) -> bool {
        self.0.iter().all(|piece| matches!(piece, Piece::Text(text) if text.trim().is_empty()))
    }

    /// The text, every variable replaced; one without a value leaves nothing.
    pub(super) fn render(&self, values: &[(&str, &str)]) -> String {
        let value = |name: &str| values.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| *value);
        self.0
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => text.as_str(),
                Piece::Variable(name) => value(name),
            })
            .collect()
    }
}

/// A text whose variables were checked when it was read.
pub(super) fn fill(text: &str, values: &[(&str, &str)]) -> String {
    let names: Vec<&str> = values.iter().map(|(name, _)| *name).collect();
    Template::parse(text, &names).map_or_else(|_| text.trim().to_owned(), |template| template.render(values))
}

fn unknown(name: &str, variables: &[&str]) -> String {
    let name: String = name.chars().take(40).collect();
    match variables {
        [] => format!("has the unknown variable '{{{name}}}'; this text has none"),
        known => format!("has the unknown variable '{{{name}}}'; it may hold {{{}}}", known.join("}, {")),
    }
}

#[cfg(test)]
mod tests {
    use super::Template;

    #[test]
    fn variables_are_filled_and_doubled_braces_are_braces() {
        let template = Template::parse(" I can't read {what}: {{sorry}} ", &["what"]).unwrap();
        assert_eq!(template.render(&[("what", "videos {x}")]), "I can't read videos {x}: {sorry}");
    }

    #[test]
    fn an_unknown_variable_or_a_lone_brace_is_refused_by_name() {
        assert!(Template::parse("Hello {nmae}", &["name"]).unwrap_err().contains("'{nmae}'; it may hold {name}"));
        assert!(Template::parse("Hello {name}", &[]).unwrap_err().contains("this text has none"));
        for lone in ["Hello {name", "Hello name}", "{"] {
            assert!(Template::parse(lone, &["name"]).unwrap_err().contains("brace"), "{lone}");
        }
    }
}
