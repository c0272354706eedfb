//! Answers in JSON: what is asked of the model, and whether what came back is that and nothing else.
//!
//! One object, with every key that was asked for and no other, each of its type; a fence of code around it is all that
//! is forgiven. What is wrong is said by key, never by what the model wrote, so that it can be told back to the model.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::policy::{AnswerForm, AnswerFormat, FieldType};

/// An answer, taken apart.
#[derive(Clone, PartialEq)]
pub struct Structured {
    /// What the customer is to read.
    pub reply: String,
    /// Whether the model asks for a person.
    pub handoff: bool,
    /// What it gave of the declared fields that say nothing of a person: numbers and yes or no. Of text only that it was
    /// given.
    pub fields: BTreeMap<String, Value>,
}

impl std::fmt::Debug for Structured {
    /// Never the text (P7).
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Structured({} bytes, handoff: {}, {} fields)", self.reply.len(), self.handoff, self.fields.len())
    }
}

/// The types that a key may have.
fn allowed(form: &AnswerForm) -> BTreeMap<&str, (&'static str, bool)> {
    let mut keys =
        BTreeMap::from([("reply", ("string", false)), ("handoff", ("boolean", false)), ("reason", ("string", true))]);
    keys.extend(form.fields.iter().map(|(name, of)| (name.as_str(), (of.as_str(), true))));
    keys
}

/// The schema of an answer, strict; `None` for one that is text.
#[must_use]
pub fn schema(form: &AnswerForm) -> Option<Value> {
    if form.format == AnswerFormat::Text {
        return None;
    }
    let keys = allowed(form);
    let property =
        |(of, null): &(&str, bool)| if *null { json!({ "type": [of, "null"] }) } else { json!({ "type": of }) };
    let properties: Map<String, Value> = keys.iter().map(|(key, of)| ((*key).to_owned(), property(of))).collect();
    let required: Vec<&str> = keys.keys().copied().collect();
    Some(json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false }))
}

/// What a model is told of the form, for providers that take no schema.
#[must_use]
pub fn told(schema: &Value) -> String {
    format!(
        "Answer with one JSON object and nothing else, by this schema: {schema}\n`reply` is what the customer reads. Set \
         `handoff` to true, with a short `reason`, only where a person must take over; write null where a key has no value."
    )
}

/// What came back.
///
/// # Errors
/// What is wrong with it, in words that hold nothing of it.
pub fn read(text: &str, form: &AnswerForm) -> Result<Structured, String> {
    let text = unfenced(text.trim());
    let value: Value = serde_json::from_str(text).map_err(|_| "it is not one JSON object".to_owned())?;
    let object = value.as_object().ok_or("it is not one JSON object")?;
    let keys = allowed(form);
    if object.keys().any(|key| !keys.contains_key(key.as_str())) {
        return Err("it has a key that was not asked for".to_owned());
    }
    for (key, (of, null)) in &keys {
        let value = object.get(*key).ok_or_else(|| format!("the key '{key}' is missing"))?;
        let fits = type_of(value) == *of || (*null && value.is_null());
        if !fits {
            return Err(format!("the key '{key}' must be a {of}"));
        }
    }
    let reply = object["reply"].as_str().unwrap_or_default().trim().to_owned();
    let handoff = object["handoff"].as_bool().unwrap_or_default();
    if reply.is_empty() && !handoff {
        return Err("the key 'reply' is empty".to_owned());
    }
    let known = |(name, of): (&String, &FieldType)| {
        let value = object.get(name).filter(|value| !value.is_null())?;
        Some((name.clone(), if *of == FieldType::String { json!("given") } else { value.clone() }))
    };
    Ok(Structured { reply, handoff, fields: form.fields.iter().filter_map(known).collect() })
}

fn unfenced(text: &str) -> &str {
    let inside = text.strip_prefix("```json").or_else(|| text.strip_prefix("```")).and_then(|t| t.strip_suffix("```"));
    inside.unwrap_or(text).trim()
}

const fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form() -> AnswerForm {
        let fields =
            BTreeMap::from([("order".to_owned(), FieldType::String), ("pieces".to_owned(), FieldType::Number)]);
        AnswerForm { format: AnswerFormat::Json, fields }
    }

    #[test]
    fn what_was_asked_for_is_taken_apart_and_no_text_of_it_is_kept_but_the_reply() {
        let text = r#"{"reply": " Hola ", "handoff": false, "reason": null, "order": "A-1", "pieces": 2}"#;
        let read_it = read(text, &form()).unwrap();
        assert_eq!((read_it.reply.as_str(), read_it.handoff), ("Hola", false));
        assert_eq!(read_it.fields, BTreeMap::from([("order".into(), json!("given")), ("pieces".into(), json!(2))]));
        assert!(!format!("{read_it:?}").contains("Hola"));
        assert_eq!(read(&format!("```json\n{text}\n```"), &form()).unwrap(), read_it);
    }

    #[test]
    fn anything_else_is_refused_with_a_reason_that_holds_nothing_of_it() {
        for (text, reason) in [
            ("Hola", "not one JSON object"),
            ("[1]", "not one JSON object"),
            (r#"{"reply": "secret", "handoff": false, "reason": null, "order": null}"#, "'pieces' is missing"),
            (
                r#"{"reply": 3, "handoff": false, "reason": null, "order": null, "pieces": null}"#,
                "'reply' must be a string",
            ),
            (
                r#"{"reply": "a", "handoff": "no", "reason": null, "order": null, "pieces": null}"#,
                "'handoff' must be a",
            ),
            (
                r#"{"reply": "a", "handoff": false, "reason": null, "order": null, "pieces": null, "secret": 1}"#,
                "not asked",
            ),
            (r#"{"reply": " ", "handoff": false, "reason": null, "order": null, "pieces": null}"#, "'reply' is empty"),
        ] {
            let told = read(text, &form()).unwrap_err();
            assert!(told.contains(reason) && !told.contains("secret"), "{text}: {told}");
        }
    }

    #[test]
    fn a_schema_asks_for_every_key_and_no_other() {
        let schema = schema(&form()).unwrap();
        assert_eq!(schema["required"], json!(["handoff", "order", "pieces", "reason", "reply"]));
        assert_eq!(schema["properties"]["pieces"]["type"], json!(["number", "null"]));
        assert_eq!(schema["additionalProperties"], false);
        assert!(told(&schema).contains("\"reply\""));
        assert_eq!(super::schema(&AnswerForm::default()), None);
    }
}
