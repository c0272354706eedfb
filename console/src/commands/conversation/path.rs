//! A turn's decision path as a person reads it: what came in, what each rule that hit found, who answered and why, what
//! models said and cost, what was sent; and between turns, what ended without a commit.

use serde_json::Value;

use super::show::{compact, nested, rows};
use crate::output;

/// Ends without a commit before a turn, one line each.
pub(super) fn notes(notes: &[Value]) -> String {
    let line = |note: &Value| {
        let get = |key: &str| output::text(&note[key]);
        let times = if note["times"] == 1 {
            String::new()
        } else {
            format!(" {} times until {}", get("times"), get("last_at"))
        };
        let class = if note["class"] == "" { String::new() } else { format!(" ({})", get("class")) };
        let again = if note["again_at"].is_null() { String::new() } else { format!(", again at {}", get("again_at")) };
        format!("  {}  {}{class}{times}{again}\n", get("first_at"), get("ending").replace('_', " "))
    };
    if notes.is_empty() {
        return String::new();
    }
    format!("\nWithout a commit\n{}", notes.iter().map(line).collect::<String>())
}

/// One turn: its head, its messages, its steps, its sends.
pub(super) fn turn(turn: &Value, inbox: &[Value], outbox: &[Value], attempts: &[Value]) -> String {
    let get = |key: &str| output::text(&turn[key]);
    let model = if turn["model"].is_null() { "no model".to_owned() } else { format!("model {}", get("model")) };
    let mut text =
        format!("\nTurn {}  {}  {}  (policy {}, {model})\n", get("position"), get("at"), get("outcome"), get("policy"));
    let of_turn = |row: &&Value| row["turn"] == turn["id"];
    for event in inbox.iter().filter(of_turn) {
        let late = if event["late"] == true { ", late" } else { "" };
        let (id, state) = (output::text(&event["id"]), output::text(&event["state"]));
        text += &line("message", &format!("{id}  {state}{late}"));
    }
    for step in rows(&turn["path"]) {
        text += &told(step, attempts);
    }
    for send in outbox.iter().filter(of_turn) {
        let get = |key: &str| output::text(&send[key]);
        let more = [("status", "status"), ("error", "error")].into_iter().filter(|(_, key)| !send[*key].is_null());
        let more: String = more.map(|(what, key)| format!(", {what} {}", get(key))).collect();
        text +=
            &line("send", &format!("{}  {} by {}: {}{more}", get("id"), get("purpose"), get("author"), get("state")));
    }
    text
}

fn line(what: &str, told: &str) -> String {
    format!("  {what:<9} {told}\n")
}

fn told(step: &Value, attempts: &[Value]) -> String {
    let get = |key: &str| output::text(&step[key]);
    let by = if step["rule"].is_null() { String::new() } else { format!(" by {}", get("rule")) };
    match step["step"].as_str() {
        Some(word @ ("screen" | "approve")) => {
            let outcome = match (&step["unreadable"], &step["outcome"]) {
                (Value::String(what), _) => format!("unreadable: {what}"),
                (_, Value::Null) => "read".to_owned(),
                (_, outcome) => output::text(outcome),
            };
            let locale = if step["locale"].is_null() { String::new() } else { format!(", in {}", get("locale")) };
            let (hits, clean): (Vec<&Value>, Vec<&Value>) =
                rows(&step["rules"]).iter().partition(|rule| rule["hit"] == true);
            let quiet = format!(", {} of {} rules hit", hits.len(), hits.len() + clean.len());
            let quiet = if step["unreadable"].is_null() { quiet } else { String::new() };
            let hits: String = hits.into_iter().map(|rule| line("", &hit(rule))).collect();
            line(word, &format!("{outcome}{by}{locale}{quiet}")) + &hits
        }
        Some("route") => line("route", &format!("{} (floor {}, {})", get("route"), get("floor"), get("locale"))),
        Some("model") => line("model", &format!("{}: {}{}", get("model"), get("outcome"), spent(step, attempts))),
        Some("handoff") => {
            let team = if step["team"].is_null() { String::new() } else { format!(" to {}", get("team")) };
            let asked = if step["asked"] == true { ", asked for" } else { "" };
            line("handoff", &format!("{}{team}, priority {}{asked}", get("rule"), get("priority")))
        }
        Some("park") => line("park", &format!("{}: {}", get("class"), get("error"))),
        Some("commit") => line("commit", &format!("{}, {} parts to send", get("outcome"), get("parts"))),
        Some("left_out") => line("…", &format!("{} steps more", get("count"))),
        word => line(word.unwrap_or("step"), &others(step)),
    }
}

/// `injection: block, enforce (injection, score 0.93, 41 µs)`.
fn hit(rule: &Value) -> String {
    let get = |key: &str| output::text(&rule[key]);
    let score = if rule["score"].is_null() { String::new() } else { format!(", score {}", get("score")) };
    format!("{}: {}, {} ({}{score}, {} µs)", get("rule"), get("action"), get("mode"), get("reason"), get("micros"))
}

/// How long a call took, what it read and wrote, and what it cost, where that is known.
fn spent(step: &Value, attempts: &[Value]) -> String {
    let mut parts = Vec::new();
    if !step["ms"].is_null() {
        parts.push(format!("{} ms", output::text(&step["ms"])));
    }
    let attempt = attempts.iter().find(|attempt| !step["attempt"].is_null() && attempt["id"] == step["attempt"]);
    if let Some(attempt) = attempt {
        for (key, what) in [("tokens_in", "tokens in"), ("tokens_out", "out"), ("cost", "")] {
            if !attempt[key].is_null() {
                parts.push(format!("{} {what}", output::text(&attempt[key])).trim_end().to_owned());
            }
        }
    }
    if parts.is_empty() { String::new() } else { format!(", {}", parts.join(", ")) }
}

fn others(step: &Value) -> String {
    let Some(parts) = step.as_object() else { return compact(step) };
    let told = parts.iter().filter(|(name, part)| *name != "step" && !part.is_null());
    told.map(|(name, part)| format!("{name} {}", nested(part))).collect::<Vec<_>>().join(", ")
}
