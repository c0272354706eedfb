//! What became of a replay: counts for everybody, letter by letter where a person can read it or a program wants it.

use common::domain::{ItemState, ReplayId};
use common::store::{Replay, ReplayItem, Store};
use serde_json::{Value, json};

use super::drive::Left;
use crate::context::Context;
use crate::failure::{Answer, Failure};
use crate::output::{self, table};

/// Letters that a table on a screen names.
const NAMED: usize = 50;
/// Items read at once.
const PAGE: i64 = 500;

/// A replay as lists give it.
pub(super) fn summary(kept: &Replay) -> Value {
    let progress = &kept.progress;
    json!({
        "id": kept.id,
        "state": kept.state.as_str(),
        "at": kept.created_at.to_string(),
        "ended_at": kept.ended_at.map(|at| at.to_string()),
        "mode": kept.mode.as_str(),
        "who": kept.who,
        "why": kept.why,
        "hash": kept.hash,
        "count": kept.count,
        "rate_per_second": kept.rate_per_second,
        "ladder": kept.ladder,
        "ended": progress.ended(),
        "waiting": progress.waiting,
        "running": progress.running,
        "succeeded": progress.succeeded,
        "failed": progress.failed,
        "superseded": progress.superseded,
        "refused": progress.refused,
        "left": progress.left,
    })
}

/// Tells the end, and fails where something failed.
pub(super) async fn tell(context: &Context, store: &Store, id: ReplayId, joined: bool, left: Left) -> Answer {
    let kept = store.replay_of(id).await?;
    let mut value = summary(&kept);
    value["joined"] = joined.into();
    value["interrupted"] = (left == Left::Interrupted).into();
    let items = items(store, id, context.output.json()).await?;
    value["items"] = items.iter().map(item).collect();
    context.output.object(&value, || words(&value, &items));
    verdict(&kept, left)
}

/// Every item for a program; for a person all of a few, or what did not end well.
async fn items(store: &Store, id: ReplayId, all: bool) -> Result<Vec<ReplayItem>, Failure> {
    let (mut kept, mut after) = (Vec::new(), 0);
    loop {
        let page = store.replay_items(id, after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(kept) };
        after = last.ordinal;
        let few = usize::try_from(after).is_ok_and(|count| count <= NAMED);
        let bad = |item: &ReplayItem| item.state != ItemState::Succeeded;
        kept.extend(page.into_iter().filter(|item| all || few || bad(item)));
        if !all && !few {
            kept.retain(bad);
            kept.truncate(NAMED);
        }
    }
}

fn item(item: &ReplayItem) -> Value {
    json!({
        "id": item.dead,
        "state": item.state.as_str(),
        "at": item.ended_at.or(item.dispatched_at).map(|at| at.to_string()),
        "ordinal": item.ordinal,
        "conversation": item.conversation,
        "result": item.result,
        "dispatched_at": item.dispatched_at.map(|at| at.to_string()),
        "ended_at": item.ended_at.map(|at| at.to_string()),
    })
}

fn words(value: &Value, items: &[ReplayItem]) -> String {
    let count = |key: &str| value[key].as_i64().unwrap_or(0);
    let told = [
        ("succeeded", "ended well"),
        ("failed", "failed again"),
        ("superseded", "left to a person"),
        ("refused", "had nothing left to run"),
        ("running", "under way"),
        ("waiting", "not begun"),
        ("left", "left undone"),
    ];
    let parts: Vec<String> = told
        .into_iter()
        .filter(|(key, _)| count(key) > 0)
        .map(|(key, words)| format!("{} {words}", count(key)))
        .collect();
    let (id, state) = (output::text(&value["id"]), output::text(&value["state"]));
    let summary = format!("Replay {id} is {state}: {}.", parts.join(", "));
    let rows: Vec<Value> = items.iter().map(item).collect();
    if rows.is_empty() {
        return summary;
    }
    let columns =
        [("#", "ordinal"), ("dead letter", "id"), ("state", "state"), ("result", "result"), ("ended", "ended_at")];
    format!("{}\n{summary}", table(&rows, &columns).trim_fmt())
}

fn verdict(kept: &Replay, left: Left) -> Answer {
    let id = kept.id;
    let resume = format!("`handrail dead replay --resume {id}` goes on with it");
    let bad = kept.progress.failed + kept.progress.refused;
    match left {
        Left::Halted { failed, of } => {
            Err(Failure::found(format!("halted: {failed} of {of} in this step failed. Mend the cause; {resume}")))
        }
        Left::Interrupted => {
            let (ended, total) = (kept.progress.ended(), kept.progress.total);
            Err(Failure::cannot_run(format!("interrupted: {ended} of {total} have ended; {resume}")))
        }
        Left::EndedElsewhere => Err(Failure::found(format!("replay {id} was {} by somebody else", kept.state))),
        Left::Done if bad > 0 => {
            Err(Failure::found(format!("{bad} of {} did not end well: `handrail dead show` says why", kept.count)))
        }
        Left::Done => Ok(()),
    }
}
