//! Envelopes made by hand and put straight into a deployment's queue, as another ingress might have.

use std::sync::Arc;

use common::config::{Findings, Keys, Mode, QueueUrl, Vars};
use common::domain::{
    Address, Content, Event, EventId, Inbound, InstanceId, Kind, Micros, Party, Provider, SourceName, Tally,
};
use common::envelope::{Envelope, Header};
use common::providers::samples::PHONE_NUMBER_ID;
use common::queue::{Queue, QueueTiming};
use common::seal::Keyring;
use common::trace::TraceContext;

use crate::contracts::eventually;
use crate::stack::{Stack, message_id};

/// One life of an ingress that is played by a test.
pub(super) struct Post {
    queue: Arc<dyn Queue>,
    keys: Keys,
    instance: InstanceId,
}

/// What a letter says.
#[derive(Clone, Copy)]
pub(super) struct Letter<'a> {
    /// The provider's id of it.
    pub(super) id: &'a str,
    pub(super) from: &'a str,
    pub(super) text: &'a str,
    /// Its number at this ingress, which is also its time.
    pub(super) sequence: i64,
    pub(super) previous: Option<EventId>,
}

impl Post {
    /// An ingress of the deployment's own, with its keys.
    pub(super) async fn of(stack: &Stack) -> Self {
        let vars = Vars::from_map(stack.settings.clone());
        let mut findings = Findings::new(Mode::Development);
        let keys = Keys::load(&vars, &mut findings).expect("keys");
        let url = QueueUrl::load(&vars, &mut findings);
        let queue = common::queue::connect(&url, QueueTiming::default()).await.expect("the queue");
        eventually("the queue answers", async || queue.probe().await.is_ok()).await;
        Self { queue, keys, instance: InstanceId::random() }
    }

    /// Seals a letter with the deployment's key.
    pub(super) fn seal(&self, letter: Letter<'_>) -> Envelope {
        self.seal_with(letter, &self.keys.shared.queue)
    }

    /// Seals a letter with a key of the caller's.
    pub(super) fn seal_with(&self, letter: Letter<'_>, key: &Keyring) -> Envelope {
        let source = SourceName::parse("whatsapp").expect("a source name");
        let event_id = message_id("whatsapp", letter.id);
        let address = Address { space: "phone".into(), value: letter.from.into() };
        let party = Party { account: PHONE_NUMBER_ID.into(), address };
        let header = Header {
            event_id,
            source: source.clone(),
            conversation: Some(self.keys.shared.pseudonyms.of_conversation(&source, &party)),
            kind: Kind::Message,
            received_at: Micros(Micros::wall().seconds() * 1_000_000 + letter.sequence),
            instance: self.instance,
            sequence: letter.sequence,
            previous: letter.previous,
            trace: TraceContext::start(),
            secret: "00000000".into(),
        };
        let inbound = Inbound {
            event_id,
            source,
            provider: Provider::Whatsapp,
            party: Some(party),
            provider_id: Some(letter.id.into()),
            said_at: None,
            event: Event::Message(Content::Text(letter.text.into())),
        };
        Envelope::seal(header, &inbound, key).expect("a letter")
    }

    /// A tally, sealed with a key of the caller's.
    pub(super) fn tally_with(&self, key: &Keyring) -> Envelope {
        let (event_id, source) = (EventId::random(), SourceName::parse("whatsapp").expect("a source name"));
        let tally = Tally { from: 0, upto: 0, given_up: Vec::new(), recovered: Vec::new(), last: false };
        let header = Header {
            event_id,
            source: source.clone(),
            conversation: None,
            kind: Kind::Tally,
            received_at: Micros::wall(),
            instance: self.instance,
            sequence: 0,
            previous: None,
            trace: TraceContext::start(),
            secret: "00000000".into(),
        };
        let inbound = Inbound {
            event_id,
            source,
            provider: Provider::Whatsapp,
            party: None,
            provider_id: None,
            said_at: None,
            event: Event::Tally(tally),
        };
        Envelope::seal(header, &inbound, key).expect("a tally")
    }

    /// Publishes until it is confirmed.
    pub(super) async fn publish(&self, envelope: &Envelope) {
        let publisher = self.queue.publisher().await.expect("a publisher");
        eventually("a letter is confirmed", async || publisher.publish(envelope).await.is_ok()).await;
    }

    /// How many wait to be delivered in the queues whose names begin so.
    pub(super) async fn ready(&self, name: &str) -> u64 {
        let depths = self.queue.depths().await.expect("depths");
        depths.iter().filter(|depth| depth.name.starts_with(name)).map(|depth| depth.ready).sum()
    }
}
