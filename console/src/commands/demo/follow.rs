//! Following one line: posted over HTTP, then watched in the store and at the stand-in until it has come to its end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::domain::{ConversationId, EventId, Micros, Status};
use common::providers::samples::whatsapp_status;
use common::store::{InboxView, OutboxView, StoreError};
use stand_ins::GraphSend;

use super::screen::{Board, Row};
use super::script::{self, Act, FIRST, FIRST_CUSTOMER, Line};
use super::stage::Stage;
use crate::commands::send::{self, millis};
use crate::failure::Failure;

/// The longest that a line may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// The demo looks on; it is woken by nobody.
const LOOK: Duration = Duration::from_millis(25);

/// Plays a line and tells the board.
pub(super) struct Follower {
    pub(super) stage: Arc<Stage>,
    pub(super) board: Arc<Board>,
    pub(super) number: usize,
}

impl Follower {
    /// Plays the line to its end.
    pub(super) async fn run(&self, line: &Line) {
        let followed = tokio::time::timeout(PATIENCE, self.follow(line)).await;
        self.board.update(self.number, |row| {
            match followed {
                Ok(Ok(())) => {}
                Ok(Err(failure)) => row.wrong.push(failure.text().to_owned()),
                Err(_) => row.wrong.push(format!("not done after {} s", PATIENCE.as_secs())),
            }
            row.judge(line);
            row.done = true;
        });
    }

    async fn follow(&self, line: &Line) -> Result<(), Failure> {
        let bodies = match &line.act {
            Act::Post(bodies) => bodies.clone(),
            Act::Forge(body) => vec![body.clone()],
            Act::Again => {
                self.first_line_is_queued().await;
                vec![script::question()]
            }
            Act::Report => vec![self.report().await],
        };
        let started = Instant::now();
        self.update(|row| row.at = Some(Micros::wall()));
        for body in &bodies {
            self.post(body, matches!(line.act, Act::Forge(_))).await?;
        }
        self.update(|row| row.ms = Some(millis(started)));
        let source = &self.stage.source;
        let events: Vec<EventId> = bodies.iter().flat_map(|body| script::events(source, body)).collect();
        if line.must.http == 200 {
            self.watch(line, &events, started).await?;
        } else {
            self.nothing_came_of(&events).await?;
        }
        Ok(())
    }

    async fn post(&self, body: &str, forged: bool) -> Result<(), Failure> {
        let signed = if forged { format!("{body} ") } else { body.to_owned() };
        let headers = send::sign(&self.stage.source, signed.as_bytes(), "demo")?;
        let answer = self.stage.client.post(&self.stage.url(), &headers, body.as_bytes().to_vec()).await?;
        self.update(|row| {
            row.http.push(answer.status);
            match answer.status {
                // Before a 200 leaves, the queue has confirmed: both stages are behind it.
                200 => ["verified", "queued"].into_iter().for_each(|stage| row.reach(stage)),
                _ => row.reach("refused"),
            }
        });
        Ok(())
    }

    /// Watches the events from the queue to their end.
    async fn watch(&self, line: &Line, events: &[EventId], started: Instant) -> Result<(), Failure> {
        let views = self.taken_in(events, |_| true).await?;
        if matches!(line.act, Act::Again) {
            self.nothing_is_queued().await;
            self.update(|row| row.reach("known already"));
            self.update(|row| row.ms = Some(millis(started)));
        } else {
            self.update(|row| row.reach("taken in"));
        }
        let (mut views, mut conversation) = views;
        if views.iter().any(|view| view.state == "pending") {
            (views, conversation) = self.taken_in(events, |view| view.state != "pending").await?;
        }
        self.update(|row| {
            row.ends = views.iter().map(|view| view.state.clone()).collect();
            row.ends.sort_unstable();
        });
        match line.act {
            // Its time is over since it was known; only its first telling's end was awaited.
            Act::Again => return Ok(()),
            Act::Report => self.reported().await?,
            Act::Post(_) | Act::Forge(_) => {
                if let (Some(conversation), true) = (conversation, views.iter().any(|view| view.turn.is_some())) {
                    self.update(|row| row.reach("turn"));
                    self.sent(line, conversation).await?;
                } else {
                    self.update(|row| row.reach("dead letter"));
                }
            }
        }
        self.update(|row| row.ms = Some(millis(started)));
        Ok(())
    }

    /// The events once the store has them all and all are as `wanted`.
    async fn taken_in(
        &self,
        events: &[EventId],
        wanted: impl Fn(&InboxView) -> bool,
    ) -> Result<(Vec<InboxView>, Option<ConversationId>), Failure> {
        loop {
            let (mut views, mut conversation) = (Vec::new(), None);
            for event in events {
                match self.stage.house.store.event(*event).await {
                    Ok((view, of)) => {
                        conversation = conversation.or(of);
                        views.push(view);
                    }
                    Err(StoreError::Absent(..)) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            if views.len() == events.len() && views.iter().all(&wanted) {
                return Ok((views, conversation));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until every part of the answer has ended, and looks at what the stand-in has received.
    async fn sent(&self, line: &Line, conversation: ConversationId) -> Result<(), Failure> {
        loop {
            let sends = self.stage.house.store.outbox_of(conversation).await?;
            if !sends.is_empty() && sends.iter().all(|send| super::ended(&send.state)) {
                let heard = self.heard(line.customer);
                self.update(|row| tell_sends(row, &sends, &heard));
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn heard(&self, customer: &str) -> Vec<GraphSend> {
        self.stage.api.sends().into_iter().filter(|send| send.to == customer).collect()
    }

    /// The first line's post has been answered: whatever is posted after it comes second.
    async fn first_line_is_queued(&self) {
        while self.board.row(FIRST).http.is_empty() && !self.board.row(FIRST).done {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// A delivery report for the answer to the first line, by both ids, as WhatsApp sends it.
    async fn report(&self) -> String {
        loop {
            let send = self.heard(FIRST_CUSTOMER).into_iter().find_map(|send| Some((send.wamid?, send.callback_data)));
            match send {
                // The worker must have committed the provider's answer, so that the report finds an accepted send.
                Some((wamid, ours)) if self.board.row(FIRST).done => {
                    let to = FIRST_CUSTOMER;
                    return whatsapp_status(&wamid, ours.as_deref(), to, "delivered", Micros::wall());
                }
                _ => tokio::time::sleep(LOOK).await,
            }
        }
    }

    /// Waits until the send that was reported on says so.
    async fn reported(&self) -> Result<(), Failure> {
        let source = &self.stage.source;
        let events = script::events(source, &script::question());
        let (_, conversation) = self.taken_in(&events, |_| true).await?;
        let Some(conversation) = conversation else { return Ok(()) };
        loop {
            let sends = self.stage.house.store.outbox_of(conversation).await?;
            if sends.iter().any(|send| send.status == Some(Status::Delivered)) {
                self.update(|row| {
                    row.reach("applied");
                    row.note = "its send is now marked delivered".to_owned();
                });
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn nothing_is_queued(&self) {
        while !self.stage.queue_is_empty().await {
            tokio::time::sleep(LOOK).await;
        }
        self.update(|row| row.note = "answered once already: nothing more is sent".to_owned());
    }

    /// A refused webhook leaves no trace in the store.
    async fn nothing_came_of(&self, events: &[EventId]) -> Result<(), Failure> {
        for event in events {
            match self.stage.house.store.event(*event).await {
                Err(StoreError::Absent(..)) => {}
                Ok(_) => return Err(Failure::found("what was refused reached the store")),
                Err(error) => return Err(error.into()),
            }
        }
        self.update(|row| row.note = "nothing was queued".to_owned());
        Ok(())
    }

    fn update(&self, change: impl FnOnce(&mut Row)) {
        self.board.update(self.number, change);
    }
}

fn tell_sends(row: &mut Row, sends: &[OutboxView], heard: &[GraphSend]) {
    row.sends = heard.len();
    row.reply = heard.iter().map(|send| send.text.as_str()).collect::<Vec<_>>().join(" / ");
    if sends.iter().all(|send| send.state == "accepted") {
        row.reach("sent");
    }
}
