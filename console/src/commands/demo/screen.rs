//! What the demo shows: on a terminal one table that is drawn anew in place, elsewhere a plain line as each is done.

use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use comfy_table::{Cell, Row as TableRow};
use common::domain::Micros;
use serde_json::{Value, json};

use super::script::Line;
use super::stage::Stage;
use crate::output::{self, Output};

/// How often the table is drawn.
const FRAME: Duration = Duration::from_millis(100);
/// How much of a reply is shown.
const REPLY: usize = 64;
const SPINNER: [&str; 4] = ["|", "/", "-", "\\"];
const HEADINGS: [&str; 7] = ["", "webhook", "HTTP", "way", "ended", "ms", "what the customer hears"];

/// One line's progress.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) source: &'static str,
    pub(super) http: Vec<u16>,
    pub(super) stages: Vec<&'static str>,
    pub(super) ends: Vec<String>,
    pub(super) sends: usize,
    pub(super) reply: String,
    pub(super) note: String,
    pub(super) at: Option<Micros>,
    pub(super) ms: Option<u64>,
    pub(super) wrong: Vec<String>,
    pub(super) done: bool,
}

impl Row {
    /// A stage that the line has come to, once.
    pub(super) fn reach(&mut self, stage: &'static str) {
        if !self.stages.contains(&stage) {
            self.stages.push(stage);
        }
    }

    /// Compares what came with what must come.
    pub(super) fn judge(&mut self, line: &Line) {
        let must = &line.must;
        if self.http.is_empty() || self.http.iter().any(|status| *status != must.http) {
            self.wrong.push(format!("HTTP {:?} instead of {}", self.http, must.http));
        }
        if self.ends.iter().map(String::as_str).ne(must.ends.iter().copied()) {
            self.wrong.push(format!("ended [{}] instead of [{}]", self.ends.join(", "), must.ends.join(", ")));
        }
        if self.sends != must.sends {
            self.wrong.push(format!("{} messages sent instead of {}", self.sends, must.sends));
        }
        if !self.reply.contains(must.says) {
            self.wrong.push(format!("the reply does not say \"{}\"", must.says));
        }
    }

    /// Its end in a word or two.
    fn state(&self) -> String {
        match self.ends.as_slice() {
            [] if self.stages.contains(&"refused") => "refused".to_owned(),
            _ if self.stages.contains(&"known already") => "duplicate".to_owned(),
            ends => {
                let mut distinct = ends.to_vec();
                distinct.dedup();
                let times = |end: &String| match ends.iter().filter(|other| *other == end).count() {
                    1 => end.clone(),
                    n => format!("{n} {end}"),
                };
                distinct.iter().map(times).collect::<Vec<_>>().join(", ")
            }
        }
    }

    fn mark(&self, frame: usize) -> &'static str {
        match (self.done, self.wrong.is_empty()) {
            (false, _) => SPINNER[frame % SPINNER.len()],
            (true, true) => "ok",
            (true, false) => "!!",
        }
    }

    fn way(&self) -> String {
        self.stages.join(" > ")
    }

    fn hears(&self) -> String {
        if self.reply.is_empty() && !self.note.is_empty() {
            return format!("({})", self.note);
        }
        let mut short: String = self.reply.chars().take(REPLY).collect();
        if short.len() < self.reply.len() {
            short.push('…');
        }
        short
    }

    fn cells(&self, frame: usize) -> [String; 7] {
        let http = self.http.iter().map(u16::to_string).collect::<Vec<_>>().join(" ");
        let ms = self.ms.map_or_else(String::new, |ms| ms.to_string());
        [self.mark(frame).to_owned(), self.name.to_owned(), http, self.way(), self.state(), ms, self.hears()]
    }

    fn plain(&self) -> String {
        let [mark, name, http, way, state, ms, hears] = self.cells(0);
        format!("{mark}  {name:<19} {http:<12} {state:<19} {ms:>5} ms  {way:<41} {hears}").trim_end().to_owned()
    }
}

/// Every line's progress, shared by those who follow and those who look.
#[derive(Debug)]
pub(super) struct Board(Mutex<Vec<Row>>);

impl Board {
    pub(super) fn of(lines: &[Line]) -> Self {
        let row = |line: &Line| Row { name: line.name, source: "whatsapp", ..Row::default() };
        Self(Mutex::new(lines.iter().map(row).collect()))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Row>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn rows(&self) -> Vec<Row> {
        self.lock().clone()
    }

    pub(super) fn row(&self, number: usize) -> Row {
        self.lock().get(number).cloned().unwrap_or_default()
    }

    pub(super) fn update(&self, number: usize, change: impl FnOnce(&mut Row)) {
        if let Some(row) = self.lock().get_mut(number) {
            change(row);
        }
    }

    /// Every line's result, for programs.
    pub(super) fn told(&self) -> impl Iterator<Item = Value> {
        (1..).zip(self.rows()).map(|(number, row): (u32, Row)| {
            json!({
                "id": number, "line": row.name, "state": row.state(), "source": row.source,
                "at": row.at.map(|at| at.to_string()), "http": row.http, "stages": row.stages, "ends": row.ends,
                "sends": row.sends, "ms": row.ms, "reply": row.reply, "note": row.note, "ok": row.wrong.is_empty(),
                "wrong": row.wrong,
            })
        })
    }
}

/// Shows a board until every line is done.
pub(super) struct Screen {
    board: Arc<Board>,
    way: Way,
}

enum Way {
    Silent,
    Plain,
    Live,
}

impl Screen {
    pub(super) fn of(output: Output, stage: &Stage, board: Arc<Board>) -> Self {
        let way = match (output.json(), output::on_terminal()) {
            (true, _) => Way::Silent,
            (false, false) => Way::Plain,
            (false, true) => Way::Live,
        };
        if !matches!(way, Way::Silent) {
            output::data(&stage.who_plays());
        }
        Self { board, way }
    }

    /// Returns when every line is done.
    pub(super) async fn watch(self) {
        let (mut frame, mut height) = (0, 0);
        let mut shown = vec![false; self.board.rows().len()];
        loop {
            let rows = self.board.rows();
            let all_done = rows.iter().all(|row| row.done);
            match self.way {
                Way::Silent => {}
                Way::Plain => plain(&rows, &mut shown),
                Way::Live => height = redraw(&rows, frame, height, all_done),
            }
            if all_done {
                return;
            }
            frame += 1;
            tokio::time::sleep(FRAME).await;
        }
    }
}

fn plain(rows: &[Row], shown: &mut [bool]) {
    for (row, shown) in rows.iter().zip(shown).filter(|(row, shown)| row.done && !**shown) {
        output::data(&row.plain());
        *shown = true;
    }
}

/// Draws the table over the one before, which was `height` lines high; how high it is now. While it moves each row is
/// one line, so that it fits; at the end it is shown whole.
fn redraw(rows: &[Row], frame: usize, height: usize, all_done: bool) -> usize {
    let mut table = output::bare_table(HEADINGS);
    for row in rows {
        let mut cells = TableRow::from(row.cells(frame).into_iter().map(Cell::new));
        if !all_done {
            cells.max_height(1);
        }
        table.add_row(cells);
    }
    let mut text = Vec::new();
    if height > 0 {
        // Up by so many lines, then clear to the screen's end. Writing to memory cannot fail.
        let _written = write!(text, "\x1b[{height}A\x1b[0J");
    }
    let lines: Vec<String> = table.lines().collect();
    lines.iter().for_each(|line| text.extend_from_slice(format!("{line}\n").as_bytes()));
    output::draw(&String::from_utf8_lossy(&text));
    lines.len()
}

/// What went otherwise than it must, or that nothing did.
pub(super) fn told_wrong(board: &Board) -> String {
    let rows = board.rows();
    let wrong: Vec<String> = rows
        .iter()
        .filter(|row| !row.wrong.is_empty())
        .map(|row| format!("!! {}: {}", row.name, row.wrong.join(", ")))
        .collect();
    if wrong.is_empty() {
        let settle = "An answer waits 1.5 s for the rest of a burst; that is most of the milliseconds.";
        format!("All {} lines went as they must. {settle}", rows.len())
    } else {
        wrong.join("\n")
    }
}
