//! What a dispatched letter leaves the console to do: bytes that no build could read are read again, envelopes that
//! nobody could take in go back to the queue. Both may be done twice: ids are derived, so intake finds a duplicate.

use std::sync::Arc;
use std::time::Duration;

use common::config::Source;
use common::domain::{Event, Inbound, InstanceId, Micros, SourceName};
use common::envelope::{Envelope, Header};
use common::providers;
use common::queue::{PublishError, Publisher, Queue};
use common::store::{DeadLetter, Dispatch, Dispatched, Store, StoreError};
use common::trace::TraceContext;

use crate::context::Settings;
use crate::failure::{Answer, Failure};

/// What stands where an ingress names the secret that proved a webhook: this one was proved when it came in.
const REPLAYED: &str = "replayed";
const PUBLISH_TRIES: usize = 50;
const PUBLISH_PAUSE: Duration = Duration::from_millis(100);

/// The console's half of a dispatch.
pub(super) struct Handing<'a> {
    settings: &'a Settings,
    store: &'a Store,
    who: String,
    queue: Option<(Arc<dyn Queue>, Arc<dyn Publisher>)>,
    instance: InstanceId,
    sequence: i64,
}

impl<'a> Handing<'a> {
    pub(super) fn of(settings: &'a Settings, store: &'a Store, who: String) -> Self {
        Self { settings, store, who, queue: None, instance: InstanceId::random(), sequence: 0 }
    }

    /// Does what is left to do for a letter.
    pub(super) async fn finish(&mut self, dispatched: Dispatched) -> Answer {
        match dispatched.how {
            Dispatch::Pending(_) | Dispatch::Queued(_) | Dispatch::Noted | Dispatch::Refused(_) => Ok(()),
            Dispatch::Publish(bytes) => {
                let letter = self.store.dead_letter(dispatched.dead).await?;
                self.hand_back(&letter, bytes).await
            }
            Dispatch::ReadAgain(letter) => self.read_again(&letter).await,
        }
    }

    /// Closes the queue, if it was needed.
    pub(super) async fn close(self) {
        if let Some((queue, _)) = self.queue {
            queue.close().await;
        }
    }

    /// An envelope that still does not open stays where it is: the broker would only bring it back.
    async fn hand_back(&mut self, letter: &DeadLetter, bytes: Vec<u8>) -> Answer {
        let keys = self.settings.keys.shared.queue.clone();
        let opened = Envelope::decode(bytes).and_then(|envelope| envelope.open(&keys).map(|_| envelope));
        match opened {
            Ok(envelope) => self.publish(&envelope).await,
            Err(error) => {
                let error = worker::recovery::normalise(&error.to_string());
                Ok(self.store.reopen_unparsed(letter, &error, &self.who).await?)
            }
        }
    }

    async fn read_again(&mut self, letter: &DeadLetter) -> Answer {
        let events = match self.events_of(letter).await {
            Ok(events) => events,
            Err(StillUnread::Because(problem)) => {
                return Ok(self.store.reopen_unparsed(letter, &problem, &self.who).await?);
            }
            Err(StillUnread::Store(error)) => return Err(error.into()),
        };
        let received_at = match letter.event_id {
            Some(event) => self.store.event(event).await?.0.received_at,
            None => letter.created_at,
        };
        for inbound in &events {
            let envelope = self.envelope(inbound, received_at)?;
            self.publish(&envelope).await?;
        }
        Ok(self.store.resolve_unparsed(letter, &self.who).await?)
    }

    async fn events_of(&self, letter: &DeadLetter) -> Result<Vec<Inbound>, StillUnread> {
        let source = self.source_of(letter)?;
        let kept = self.store.dead_event(letter).await?;
        let Event::Unparsed { raw, .. } = kept.event else {
            return Err(StillUnread::Because("it holds no bytes to read again".to_owned()));
        };
        let events = providers::parse_again(source, &raw, kept.provider_id.as_deref());
        let still = events.iter().find_map(|inbound| match &inbound.event {
            Event::Unparsed { problem, .. } => Some(problem.clone()),
            Event::Message(_)
            | Event::Status(_)
            | Event::Echo(_)
            | Event::Consent(_)
            | Event::Record { .. }
            | Event::Tally(_) => None,
        });
        still.map_or(Ok(events), |problem| Err(StillUnread::Because(problem)))
    }

    fn source_of(&self, letter: &DeadLetter) -> Result<&'a Source, StillUnread> {
        let name = SourceName::parse(&letter.source).ok();
        let source = name.and_then(|name| self.settings.config.sources.get(&name));
        source.ok_or_else(|| StillUnread::Because(SOURCE_UNKNOWN.to_owned()))
    }

    /// An event as an ingress would queue it, with the moment at which its bytes first came in.
    fn envelope(&mut self, inbound: &Inbound, received_at: Micros) -> Result<Envelope, Failure> {
        self.sequence += 1;
        let shared = &self.settings.keys.shared;
        let conversation = inbound.party.as_ref().map(|p| shared.pseudonyms.of_conversation(&inbound.source, p));
        let header = Header {
            event_id: inbound.event_id,
            source: inbound.source.clone(),
            conversation,
            kind: inbound.event.kind(),
            received_at,
            instance: self.instance,
            sequence: self.sequence,
            previous: None,
            trace: TraceContext::start(),
            secret: REPLAYED.to_owned(),
        };
        Envelope::seal(header, inbound, &shared.queue)
            .map_err(|error| Failure::found(format!("an event cannot be written: {error}")))
    }

    /// A broker that has just been connected may take a moment until it confirms.
    async fn publish(&mut self, envelope: &Envelope) -> Answer {
        let publisher = self.publisher().await?;
        for _ in 1..PUBLISH_TRIES {
            match publisher.publish(envelope).await {
                Err(PublishError::Disconnected) => tokio::time::sleep(PUBLISH_PAUSE).await,
                settled => return Ok(settled?),
            }
        }
        Ok(publisher.publish(envelope).await?)
    }

    async fn publisher(&mut self) -> Result<Arc<dyn Publisher>, Failure> {
        if let Some((_, publisher)) = &self.queue {
            return Ok(publisher.clone());
        }
        let queue = self.settings.open_queue().await?;
        let publisher = queue.publisher().await?;
        self.queue = Some((queue, publisher.clone()));
        Ok(publisher)
    }
}

/// As a worker says it of a send whose source is gone.
const SOURCE_UNKNOWN: &str = "source_not_configured";

/// Why bytes were not read.
enum StillUnread {
    Because(String),
    Store(StoreError),
}

impl From<StoreError> for StillUnread {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}
