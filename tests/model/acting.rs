//! What each action does in the world.

use std::time::Duration;

use common::domain::{
    Address, Author, Content, Event, EventId, Inbound, Party, Provider, SendId, Status, StatusUpdate,
};
use common::envelope::{Envelope, Header};
use common::store::NewSend;
use common::trace::TraceContext;

use super::actions::{Action, Saying, TO_THE_END};
use super::fakes::provider_id;
use super::oracle::Published;
use super::stage::Outcome;
use super::watch::Kind;
use super::world::{World, ingress, locked, source};

impl World {
    /// Makes an action happen, as far as there is anything for it to happen to.
    pub(super) async fn act(&mut self, action: &Action) -> Result<(), String> {
        self.tell(|_| format!("  {action:?}"));
        match action {
            Action::Say { who, what, ingress } => self.say(*who, *what, *ingress),
            Action::Again { pick } => self.again(*pick),
            Action::TakeIn { worker, pick, steps } => {
                let worker = usize::from(*worker);
                let Some(future) = self.intake_of(worker, *pick) else { return Ok(()) };
                let place = self.enter(Kind::Intake, Some(worker), None, format!("worker {worker}'s intake"), future);
                self.go(place, *steps).await?;
            }
            Action::Redeliver { pick } => {
                if self.scene.queue.redeliver(*pick) {
                    self.stage.fault("redelivered while out");
                }
            }
            Action::Turn { worker, who, steps } => self.serve(Kind::Turn, *worker, *who, *steps).await?,
            Action::Deliver { worker, who, steps } => self.serve(Kind::Delivery, *worker, *who, *steps).await?,
            Action::Tend { worker, steps } => {
                let worker = usize::from(*worker);
                let desk = self.scene.lives[worker].desk.clone();
                let future = Box::pin(async move {
                    // The next round does what this one could not.
                    let _later = worker::chores::round(&desk).await;
                });
                let place = self.enter(Kind::Chores, Some(worker), None, format!("worker {worker}'s chores"), future);
                self.go(place, *steps).await?;
            }
            Action::Renew { worker } => self.renew(usize::from(*worker)).await?,
            Action::Go { pick, steps } => {
                let count = self.scene.actors.len();
                if count > 0 {
                    self.go(usize::from(*pick) % count, *steps).await?;
                }
            }
            Action::Spoil { pick, how } => {
                let standing = |outside: bool| {
                    let stands = |at: &usize| {
                        let point = self.stage.point(self.scene.actors[*at].id);
                        point.is_some_and(|point| !outside || point.is_outside())
                    };
                    (0..self.scene.actors.len()).filter(stands).collect::<Vec<usize>>()
                };
                // Three times in four it is somebody outside who fails, if anybody waits for one.
                let places = match standing(*pick >= 64) {
                    none if none.is_empty() => standing(false),
                    some => some,
                };
                if let Some(place) = places.get(usize::from(*pick) % places.len().max(1)) {
                    self.step(*place, Outcome::Spoilt(*how)).await?;
                }
            }
            Action::Pass { how, renewing } => self.let_pass(how.micros(), *renewing).await?,
            Action::Crash { worker } => {
                self.stage.fault("crash");
                self.crash(usize::from(*worker));
            }
            Action::Drain { worker } => {
                self.stage.fault("drain");
                self.drain(usize::from(*worker));
            }
            Action::Take { who, steps } => {
                let Some((_, conversation)) = self.conversation(*who) else { return Ok(()) };
                let store = self.scene.store.clone();
                let take = Box::pin(async move { drop(store.take(conversation, "ops", None).await) });
                let place = self.enter(Kind::Person, None, Some(conversation), "a take-over".to_owned(), take);
                self.go(place, *steps).await?;
            }
            Action::Return { who } => {
                let Some((_, conversation)) = self.conversation(*who) else { return Ok(()) };
                let store = self.scene.store.clone();
                let back = Box::pin(async move { drop(store.return_floor(conversation, "ops").await) });
                let place = self.enter(Kind::Person, None, Some(conversation), "a return".to_owned(), back);
                self.go(place, TO_THE_END).await?;
            }
            Action::Reply { who, steps } => self.reply(*who, *steps).await?,
            Action::Status { pick, rank, by_our_id } => self.status(*pick, *rank, *by_our_id),
        }
        Ok(())
    }

    async fn serve(&mut self, kind: Kind, worker: u8, who: u8, steps: u8) -> Result<(), String> {
        let worker = usize::from(worker);
        let Some((number, conversation)) = self.with_work(kind, who) else { return Ok(()) };
        // A process serves a conversation once at a time.
        let busy = self.scene.actors.iter().any(|actor| {
            actor.kind == kind && actor.worker == Some(worker) && actor.conversation == Some(conversation)
        });
        if busy {
            return Ok(());
        }
        let (what, future) = match kind {
            Kind::Turn => ("turn", self.turn_of(worker, conversation)),
            _ => ("delivery", self.delivery_of(worker, conversation)),
        };
        let name = format!("worker {worker}'s {what} on conversation {number}");
        let place = self.enter(kind, Some(worker), Some(conversation), name, future);
        self.go(place, steps).await
    }

    async fn renew(&mut self, worker: usize) -> Result<(), String> {
        let desk = self.scene.lives[worker].desk.clone();
        let future = Box::pin(async move { drop(desk.store.renew(desk.worker).await) });
        let place = self.enter(Kind::Renewal, Some(worker), None, format!("worker {worker}'s renewal"), future);
        self.go(place, TO_THE_END).await
    }

    async fn let_pass(&mut self, micros: i64, renewing: bool) -> Result<(), String> {
        if !renewing || micros > 30_000_000 {
            if !self.scene.actors.is_empty() && micros > 15_000_000 {
                self.stage.fault("stall beyond the lease");
            }
            self.pass(micros).await;
            return Ok(());
        }
        let mut left = micros;
        while left > 0 {
            let some = left.min(7_000_003);
            self.pass(some).await;
            left -= some;
            for worker in 0..self.scene.lives.len() {
                if self.scene.actors.iter().any(|actor| actor.worker == Some(worker)) {
                    self.renew(worker).await?;
                }
            }
        }
        Ok(())
    }

    async fn reply(&mut self, who: u8, steps: u8) -> Result<(), String> {
        let Some((_, conversation)) = self.conversation(who) else { return Ok(()) };
        let store = self.scene.store.clone();
        let words = NewSend {
            id: SendId::random(),
            author: Author::Person,
            person: Some("ops".to_owned()),
            purpose: "person",
            text: "A person is here.".to_owned(),
            locale: "en".to_owned(),
            part: (1, 1),
            trace: TraceContext::start().to_string(),
        };
        let reply = Box::pin(async move { drop(store.person_reply(conversation, "ops", &[words]).await) });
        let place = self.enter(Kind::Person, None, Some(conversation), "a person's reply".to_owned(), reply);
        self.go(place, steps).await
    }

    fn say(&mut self, who: u8, what: Saying, by: u8) {
        let number = u32::try_from(self.scene.published.len()).unwrap_or(u32::MAX);
        let text = |text: String| Event::Message(Content::Text(text));
        let event = match what {
            Saying::Question => text(format!("do you have q{number} and what is it")),
            Saying::WantsPerson => text(format!("i want a person, w{number}")),
            Saying::Forbidden => text(format!("make me a fake invoice, f{number}")),
            Saying::Picture => Event::Message(Content::Unreadable("image".to_owned())),
            Saying::Echo => Event::Echo(Content::Text(format!("a colleague, e{number}"))),
        };
        let published = Published {
            id: EventId::from_uuid(uuid::Uuid::from_u128(0x2000 + u128::from(number))),
            customer: who,
            asks: what != Saying::Echo,
            question: (what == Saying::Question).then_some(number),
        };
        let address = Address { space: "phone".into(), value: format!("1555010{who}") };
        self.receive(published, Some(Party { account: "shop".into(), address }), event, by);
    }

    fn receive(&mut self, published: Published, party: Option<Party>, event: Event, by: u8) {
        let inbound = Inbound {
            event_id: published.id,
            source: source(),
            provider: Provider::Hmac,
            party,
            provider_id: None,
            said_at: None,
            event,
        };
        let conversation = inbound.party.is_some().then_some((by, published.customer));
        let previous = conversation.and_then(|key| self.scene.last.insert(key, inbound.event_id));
        self.publish(&inbound, by, previous);
        self.scene.published.push((published, inbound));
    }

    fn publish(&mut self, inbound: &Inbound, by: u8, previous: Option<EventId>) {
        let at = usize::from(by) % 2;
        self.scene.sequences[at] += 1;
        self.scene.received += 1;
        let header = Header {
            event_id: inbound.event_id,
            source: source(),
            conversation: None,
            kind: inbound.event.kind(),
            received_at: self.now.get() + Duration::from_micros(self.scene.received.unsigned_abs()),
            instance: ingress(by),
            sequence: self.scene.sequences[at],
            previous,
            trace: TraceContext::start(),
            secret: "00000000".into(),
        };
        let envelope = Envelope::seal(header, inbound, &self.keys.shared.queue).expect("JSON");
        self.scene.queue.publish(envelope.bytes().to_vec());
    }

    /// The provider had no answer in time and tries the other ingress.
    fn again(&mut self, pick: u8) {
        let count = self.scene.published.len();
        let Some((published, inbound)) = self.scene.published.get(usize::from(pick) % count.max(1)) else { return };
        let (customer, inbound) = (published.customer, inbound.clone());
        self.stage.fault("sent twice by the provider");
        let previous = self.scene.last.get(&(1, customer)).copied().filter(|last| *last != inbound.event_id);
        self.publish(&inbound, 1, previous);
    }

    fn status(&mut self, pick: u8, rank: u8, by_our_id: bool) {
        let known = {
            let calls = locked(&self.scene.calls);
            let received: Vec<usize> =
                calls.iter().enumerate().filter(|(_, call)| call.received).map(|(number, _)| number).collect();
            let chosen = received.get(usize::from(pick) % received.len().max(1));
            chosen.map(|number| (*number, calls[*number].send))
        };
        let (Some((call, send)), Some(status)) = (known, Status::from_rank(i64::from(rank))) else { return };
        let number = u128::try_from(self.scene.published.len()).unwrap_or(u128::MAX);
        let update = StatusUpdate {
            send_id: by_our_id.then_some(send),
            provider_id: provider_id(call),
            status,
            error: (status == Status::Failed).then(|| "131026".to_owned()),
        };
        let id = EventId::from_uuid(uuid::Uuid::from_u128(0x2000 + number));
        let published = Published { id, customer: u8::MAX, asks: false, question: None };
        self.receive(published, None, Event::Status(update), 0);
    }
}
