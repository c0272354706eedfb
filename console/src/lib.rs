//! The operator's hand: every command of `handrail`, one file per noun.
//!
//! Exit codes are a contract: 0 done, 1 found a problem, 2 could not run. stdout is data, stderr is talk. Only [`up`]
//! runs ingress and worker; every other command speaks with the doors. (`dead` asks the worker's pure parts what a
//! replay would come to, and `policy` its rules what they make of a text.)

mod commands;
mod consent;
mod context;
mod failure;
mod http;
mod output;
mod progress;
mod up;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use commands::{conversation, dead, demo, keys, ledger, migrate, policy, queue, send, snapshot};
use context::Context;
use failure::{Answer, Failure};
use output::Output;

/// Answers a business's customers with a language model, inside guardrails, with a person always within reach.
#[derive(Debug, Parser)]
#[command(name = "handrail", version, max_term_width = 100, arg_required_else_help = true)]
pub struct Cli {
    /// Print JSON instead of tables
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// See it work: everything embedded, in a temporary folder, with sample webhooks over real HTTP
    Demo(demo::Demo),
    /// Run ingress and worker in one process, embedded by default
    Up,
    /// Sign a sample webhook and post it to a running ingress
    Send(send::Send),
    /// Bring the store's schema up to date, and make the embedded files
    Migrate,
    /// What waits in the queue
    #[command(subcommand)]
    Queue(queue::Queue),
    /// Add up everything accepted, how it ended, and what was sent
    Ledger(ledger::LedgerOf),
    /// Messages that could not be answered, and why
    #[command(subcommand)]
    Dead(dead::Dead),
    /// Conversations, and who holds the floor
    #[command(subcommand)]
    Conversation(conversation::Conversation),
    /// What may be said: check a policy, explain what it makes of a text, measure a rule, compare two over the past
    #[command(subcommand)]
    Policy(policy::Policy),
    /// The last hour in figures: messages, answers, handoffs, errors, times, tokens, and what waits now
    Snapshot(snapshot::Snapshot),
    /// Keys for production
    #[command(subcommand)]
    Keys(keys::Keys),
}

/// Runs one command to its end.
#[must_use]
pub fn run(cli: Cli) -> ExitCode {
    start_logging(&cli.command);
    let answer = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(dispatch(cli)),
        Err(error) => Err(Failure::cannot_run(format!("cannot start threads: {error}"))),
    };
    match answer {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::say(failure.text());
            failure.exit_code()
        }
    }
}

async fn dispatch(cli: Cli) -> Answer {
    let context = Context::of_process(Output::new(cli.json));
    match cli.command {
        Command::Demo(demo) => demo.run(&context).await,
        Command::Up => up::run(&context).await,
        Command::Send(send) => send.run(&context).await,
        Command::Migrate => migrate::run(&context).await,
        Command::Queue(queue) => queue.run(&context).await,
        Command::Ledger(ledger) => ledger.run(&context).await,
        Command::Dead(dead) => dead.run(&context).await,
        Command::Conversation(conversation) => conversation.run(&context).await,
        Command::Policy(policy) => policy.run(&context).await,
        Command::Snapshot(snapshot) => snapshot.run(&context).await,
        Command::Keys(keys) => keys.run(&context),
    }
}

/// A process that serves logs what it does; a command talks only when something is wrong, and the demo's table is not
/// to be torn by log lines.
fn start_logging(command: &Command) {
    match command {
        Command::Up => common::telemetry::start(),
        Command::Demo(_) => common::telemetry::start_filtered("error"),
        Command::Send(_)
        | Command::Migrate
        | Command::Queue(_)
        | Command::Ledger(_)
        | Command::Dead(_)
        | Command::Conversation(_)
        | Command::Policy(_)
        | Command::Snapshot(_)
        | Command::Keys(_) => common::telemetry::start_filtered("warn"),
    }
}
