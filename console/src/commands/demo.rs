//! `handrail demo`: a newcomer's first sight. Real rooms, real doors, real HTTP, real signatures; only the outside is
//! played by stand-ins, and they say so: the model is `scripted`, and WhatsApp's API is a fake on a loopback port.
//!
//! Each line is a webhook with one rightful outcome, and the demo says when it went otherwise.

mod follow;
mod screen;
mod script;
mod stage;

use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use common::domain::SendState;
use common::shutdown;
use common::store::Ledger;
use serde_json::Value;

use crate::commands::ledger;
use crate::context::Context;
use crate::failure::{Answer, Failure};
use crate::output;
use follow::Follower;
use screen::{Board, Screen};
use stage::Stage;

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// End when every line is done, within 60 s; exit code 1 if one went otherwise than it must
    #[arg(long)]
    exit: bool,
}

/// How long everything may take to come to rest after the last line.
const REST_PATIENCE: Duration = Duration::from_secs(8);
const REST_POLL: Duration = Duration::from_millis(50);

impl Demo {
    pub(crate) async fn run(&self, context: &Context) -> Answer {
        let signals = shutdown::on_signals();
        let mut stop = signals.map_err(|error| Failure::cannot_run(format!("cannot listen for signals: {error}")))?;
        let stage = Arc::new(Stage::set().await?);
        let played = tokio::select! {
            played = play(context, &stage) => Some(played),
            () = stop.wait() => None,
        };
        let wrong = match played {
            Some(Ok((board, ledger))) => {
                show(context, &stage, &board, &ledger, self.exit);
                board.wrong(&ledger)
            }
            Some(Err(failure)) => return Err(failure),
            None => Vec::new(),
        };
        if !self.exit {
            stop.wait().await;
            output::say("Draining, then removing the demo's folder.");
        }
        // The followers have ended, so this is the last holder; if not, dropping the folder is all that is left to do.
        if let Ok(stage) = Arc::try_unwrap(stage) {
            stage.strike().await;
        }
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(Failure::found(format!("the demo went wrong: {}", wrong.join("; "))))
        }
    }
}

/// Plays every line at once and waits until everything has come to rest.
async fn play(context: &Context, stage: &Arc<Stage>) -> Result<(Arc<Board>, Ledger), Failure> {
    let lines = script::lines();
    let board = Arc::new(Board::of(&lines));
    let screen = Screen::of(context.output, stage, board.clone());
    let followers = lines.into_iter().enumerate().map(|(number, line)| {
        let follower = Follower { stage: stage.clone(), board: board.clone(), number };
        tokio::spawn(async move { follower.run(&line).await })
    });
    let followers: Vec<_> = followers.collect();
    screen.watch().await;
    for follower in followers {
        // A follower that panicked has left its line unfinished, and the board says so.
        let _ended = follower.await;
    }
    let ledger = rest(stage).await?;
    count_sends(stage, &board);
    Ok((board, ledger))
}

/// The ledger, once nothing is pending, queued or on its way.
async fn rest(stage: &Stage) -> Result<Ledger, Failure> {
    let started = Instant::now();
    loop {
        let ledger = stage.house.store.ledger(None).await?;
        let at_rest = ledger.pending == 0 && ledger.sends.open == 0 && stage.queue_is_empty().await;
        if at_rest || started.elapsed() > REST_PATIENCE {
            return Ok(ledger);
        }
        tokio::time::sleep(REST_POLL).await;
    }
}

/// Now that nothing moves any more: each customer has heard exactly as often as their lines say.
fn count_sends(stage: &Stage, board: &Board) {
    let lines = script::lines();
    for (number, line) in lines.iter().enumerate() {
        let wanted: usize =
            lines.iter().filter(|other| other.customer == line.customer).map(|other| other.must.sends).sum();
        let heard = stage.api.sends().iter().filter(|send| send.to == line.customer).count();
        if heard != wanted {
            board
                .update(number, |row| row.wrong.push(format!("{heard} messages to this customer instead of {wanted}")));
        }
    }
}

fn show(context: &Context, stage: &Stage, board: &Board, ledger: &Ledger, exit: bool) {
    if context.output.json() {
        context.output.list(&board.told().collect::<Vec<Value>>(), &[], "");
        return;
    }
    output::data(&format!("\n{}", ledger::words(ledger)));
    output::data(&screen::told_wrong(board));
    if !exit {
        output::data(&stage.what_next());
    }
}

impl Board {
    /// Everything that went otherwise than it must.
    fn wrong(&self, ledger: &Ledger) -> Vec<String> {
        let mut wrong: Vec<String> = self
            .rows()
            .into_iter()
            .filter(|row| !row.wrong.is_empty())
            .map(|row| format!("{}: {}", row.name, row.wrong.join(", ")))
            .collect();
        if !ledger.balances() {
            let found: Vec<&str> = ledger.imbalances.iter().map(|imbalance| imbalance.what.as_str()).collect();
            wrong.push(format!("the ledger does not balance: {}", found.join(", ")));
        }
        if ledger.pending > 0 || ledger.sends.open > 0 {
            wrong.push("something was still on its way".to_owned());
        }
        wrong
    }
}

/// Whether a send has ended, by its state's word.
fn ended(state: &str) -> bool {
    state.parse::<SendState>().is_ok_and(|state| !state.is_open())
}
