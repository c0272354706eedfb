//! `handrail policy explain`: one text, every rule, what each found and what follows.

use clap::Args;
use serde_json::{Value, json};
use worker::pipeline::guardrails::{Explanation, RuleResult, Talk};
use worker::policy::{RuleMode, RuleStage};

use super::Which;
use crate::context::Context;
use crate::failure::Answer;
use crate::output;

#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The text
    text: String,
    #[command(flatten)]
    which: Which,
    /// Whose text it is: input for a customer's, output for a draft
    #[arg(long, default_value = "input", value_parser = super::stage)]
    stage: RuleStage,
    /// The source it comes from
    #[arg(long, default_value = "")]
    channel: String,
}

impl Explain {
    pub(super) fn run(&self, context: &Context) -> Answer {
        let guardrails = self.which.ready(context)?;
        let told = guardrails.explain(self.stage, &self.text, &mut Talk::on(&self.channel));
        let rules: Vec<Value> = told.results.iter().map(|result| self.rule(result)).collect();
        let value = json!({
            "policy": guardrails.policy().version(),
            "stage": self.stage,
            "locale": told.locale,
            "outcome": told.outcome,
            "rule": told.rule,
            "text": told.text,
            "said": told.said,
            "rules": rules,
        });
        context.output.object(&value, || self.words(&told));
        Ok(())
    }

    fn rule(&self, result: &RuleResult) -> Value {
        let mut value = output::row(result);
        value["found"] = self.found(result).into();
        value
    }

    fn found(&self, result: &RuleResult) -> Vec<&str> {
        result.spans.iter().filter_map(|span| self.text.get(span.start..span.end)).collect()
    }

    fn words(&self, told: &Explanation) -> String {
        let columns = ["rule", "kind", "found", "score", "where", "action", "µs"];
        let mut table = output::bare_table(columns);
        for result in &told.results {
            let value = self.rule(result);
            let text = |key: &str| output::text(&value[key]);
            let follows = match (result.hit, result.mode) {
                (false, _) => String::new(),
                (true, RuleMode::Shadow) => format!("({})", text("action")),
                (true, RuleMode::Enforce | RuleMode::Off) => text("action"),
            };
            let seen =
                if result.view.is_some() { format!("{} ({})", text("reason"), text("view")) } else { text("reason") };
            let quoted: Vec<String> = self.found(result).iter().map(|part| format!("“{part:.60}”")).collect();
            let row = [text("rule"), text("kind"), seen, text("score"), quoted.join(" "), follows, text("micros")];
            table.add_row(row.to_vec());
        }
        let outcome = output::text(&json!(told.outcome));
        let by = told.rule.as_ref().map(|rule| format!(" by {rule}")).unwrap_or_default();
        let locale = told.locale.as_deref().unwrap_or("not told");
        let after = match &told.said {
            Some(said) => format!("The customer is told: {said}"),
            None if told.text == self.text => "It goes on as it stands.".to_owned(),
            None => format!("It goes on as: {}", told.text),
        };
        format!("{}\nOutcome: {outcome}{by}; locale: {locale}. {after}", table.trim_fmt())
    }
}
