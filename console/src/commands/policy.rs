//! `handrail policy`: a policy is read, asked, measured and held against the past before it is trusted. Only `diff`, which
//! reads what customers wrote, opens a door and needs a key.

mod bench;
mod diff;
mod explain;

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use worker::pipeline::guardrails::Guardrails;
use worker::policy::{Policy as Rules, PolicyError, RuleMode, RuleStage};

use crate::context::Context;
use crate::failure::{Answer, Failure};

#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// Read a policy whole and run its fixtures; exit 1 with every reason if it cannot be used
    Check {
        /// The policy file
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
        #[command(flatten)]
        which: Which,
    },
    /// Tell what every rule makes of a text, where, and what follows
    Explain(explain::Explain),
    /// Measure one rule on labelled texts
    Bench(bench::Bench),
    /// Judge past messages again under two policies: who would be blocked, answered or handed off by the other; exit 1 when
    /// a limit is passed
    Diff(diff::Diff),
}

/// Which policy is meant.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// The policy file [default: the one of HANDRAIL_CONFIG, else the compiled-in one]
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
}

impl Policy {
    pub(crate) async fn run(self, context: &Context) -> Answer {
        match self {
            Self::Diff(diff) => diff.run(context).await,
            Self::Check { file, which } => check(context, &Which { policy: file.or(which.policy) }),
            Self::Explain(explain) => explain.run(context),
            Self::Bench(bench) => bench.run(context),
        }
    }
}

impl Which {
    /// The policy's file; `None` for the compiled-in one.
    fn file(&self, context: &Context) -> Result<Option<PathBuf>, Failure> {
        match &self.policy {
            Some(file) => Ok(Some(file.clone())),
            None => Ok(context.config()?.policy),
        }
    }

    fn read(&self, context: &Context) -> Result<Rules, Failure> {
        let Some(file) = self.file(context)? else { return Rules::starter().map_err(|error| refused(&error)) };
        if !file.is_file() {
            return Err(Failure::cannot_run(format!("{}: there is no such file", file.display())));
        }
        Rules::load(&file).map_err(|error| refused(&error))
    }

    /// The policy's rules, ready to judge.
    fn ready(&self, context: &Context) -> Result<Guardrails, Failure> {
        let policy = self.read(context)?;
        Guardrails::new(Arc::new(policy)).map_err(|error| Failure::found(error.to_string()))
    }
}

fn refused(error: &PolicyError) -> Failure {
    Failure::found(error.to_string())
}

fn check(context: &Context, which: &Which) -> Answer {
    let guardrails = which.ready(context)?;
    let policy = guardrails.policy();
    let count = |mode: RuleMode| policy.rules().iter().filter(|rule| rule.mode == mode).count();
    let rule = |rule: &worker::policy::Rule| json!({ "name": rule.name, "kind": rule.kind.name(), "stage": rule.stage, "action": rule.action, "mode": rule.mode });
    let rules: Vec<Value> = policy.rules().iter().map(rule).collect();
    let fixtures = policy.fixtures().len();
    let value = json!({ "file": policy.file(), "version": policy.version(), "locales": policy.locales(), "rules": rules,
                        "fixtures": fixtures });
    context.output.object(&value, || {
        let (enforced, shadow, off) = (count(RuleMode::Enforce), count(RuleMode::Shadow), count(RuleMode::Off));
        let modes = format!("{enforced} enforced, {shadow} in shadow, {off} off");
        format!("{}: sound, version {}\n{modes}; {fixtures} fixtures hold", policy.file(), policy.version())
    });
    Ok(())
}

/// A stage as it is written on the command line.
fn stage(word: &str) -> Result<RuleStage, String> {
    match word {
        "input" => Ok(RuleStage::Input),
        "output" => Ok(RuleStage::Output),
        _ => Err("a stage is input or output".to_owned()),
    }
}
