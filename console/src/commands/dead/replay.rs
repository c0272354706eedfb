//! A dead letter once more. A message goes back to its conversation; bytes that could not be read are read again and
//! queued as if they had just come in. Whatever is refused changes nothing.

use std::time::Duration;

use clap::Args;
use common::config::Source;
use common::domain::{DeadId, DeadState, Event, Inbound, InstanceId, Micros, SourceName};
use common::envelope::{Envelope, Header};
use common::providers;
use common::queue::{PublishError, Publisher};
use common::store::{DeadLetter, ReplayRefused, Store};
use common::trace::TraceContext;
use serde_json::json;

use crate::commands::Actor;
use crate::context::{Context, Settings};
use crate::failure::{Answer, Failure};

#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// The dead letter
    id: DeadId,
    #[command(flatten)]
    actor: Actor,
}

/// The class of a webhook that could not be read.
const UNPARSED: &str = "unparsed";
/// What stands where an ingress names the secret that proved a webhook: this one was proved when it came in.
const REPLAYED: &str = "replayed";
const PUBLISH_TRIES: usize = 50;
const PUBLISH_PAUSE: Duration = Duration::from_millis(100);

impl From<ReplayRefused> for Failure {
    fn from(refused: ReplayRefused) -> Self {
        match refused {
            ReplayRefused::NotOpen(..)
            | ReplayRefused::NothingLeft(_)
            | ReplayRefused::Empty
            | ReplayRefused::Letters(_)
            | ReplayRefused::Impossible(_) => Self::found(refused.to_string()),
            ReplayRefused::Store(error) => error.into(),
        }
    }
}

impl Replay {
    pub(super) async fn run(&self, context: &Context) -> Answer {
        let settings = context.settings()?;
        let store = settings.open_store().await?;
        let letter = store.dead_letter(self.id).await?;
        let who = self.actor.name();
        if letter.class == UNPARSED {
            let events = self.read_again(&settings, &store, &letter, &who).await?;
            let value = json!({"id": self.id, "state": DeadState::Resolved.as_str(), "events": events});
            let words = || format!("Read: {} event(s) queued anew; dead letter {} is resolved.", events.len(), self.id);
            context.output.object(&value, words);
        } else {
            let conversation = store.replay(self.id, &who).await?;
            let state = DeadState::Replaying.as_str();
            let value = json!({"id": self.id, "state": state, "conversation": conversation});
            let words = || format!("Its messages are back in conversation {conversation}; a worker will answer them.");
            context.output.object(&value, words);
        }
        Ok(())
    }

    async fn read_again(
        &self,
        settings: &Settings,
        store: &Store,
        letter: &DeadLetter,
        who: &str,
    ) -> Result<Vec<common::domain::EventId>, Failure> {
        if letter.state != DeadState::Open {
            return Err(ReplayRefused::NotOpen(self.id, letter.state).into());
        }
        let source = source_of(settings, letter)?;
        let kept = store.dead_event(letter).await?;
        let Event::Unparsed { raw, .. } = kept.event else {
            return Err(Failure::found(format!("dead letter {} holds no bytes to read again", self.id)));
        };
        let events = providers::parse_again(source, &raw, kept.provider_id.as_deref());
        let still = events.iter().find_map(|inbound| match &inbound.event {
            Event::Unparsed { problem, .. } => Some(problem),
            _ => None,
        });
        if let Some(problem) = still {
            return Err(Failure::found(format!("still unparsed: {problem}; dead letter {} is unchanged", self.id)));
        }
        let received_at = match letter.event_id {
            Some(event) => store.event(event).await?.0.received_at,
            None => letter.created_at,
        };
        publish(settings, &events, received_at).await?;
        store.resolve_unparsed(letter, who).await?;
        Ok(events.iter().map(|inbound| inbound.event_id).collect())
    }
}

fn source_of<'a>(settings: &'a Settings, letter: &DeadLetter) -> Result<&'a Source, Failure> {
    let name = SourceName::parse(&letter.source).map_err(|error| Failure::found(error.to_string()))?;
    settings.config.sources.get(&name).ok_or_else(|| {
        Failure::cannot_run(format!(
            "source '{name}' is not configured here: its provider's parser must be known to replay"
        ))
    })
}

/// Queues events as an ingress would, in its order: they carry the moment at which the bytes first came in.
async fn publish(settings: &Settings, events: &[Inbound], received_at: Micros) -> Answer {
    let queue = settings.open_queue().await?;
    let publisher = queue.publisher().await?;
    let (instance, trace) = (InstanceId::random(), TraceContext::start());
    let shared = &settings.keys.shared;
    for (sequence, inbound) in (1..).zip(events) {
        let conversation = inbound.party.as_ref().map(|p| shared.pseudonyms.of_conversation(&inbound.source, p));
        let header = Header {
            event_id: inbound.event_id,
            source: inbound.source.clone(),
            conversation,
            kind: inbound.event.kind(),
            received_at,
            instance,
            sequence,
            previous: None,
            trace,
            secret: REPLAYED.to_owned(),
        };
        let sealed = Envelope::seal(header, inbound, &shared.queue)
            .map_err(|error| Failure::found(format!("an event cannot be written: {error}")))?;
        publish_one(publisher.as_ref(), &sealed).await?;
    }
    queue.close().await;
    Ok(())
}

/// A broker that has just been connected may take a moment until it confirms.
async fn publish_one(publisher: &dyn Publisher, envelope: &Envelope) -> Result<(), PublishError> {
    for _ in 1..PUBLISH_TRIES {
        match publisher.publish(envelope).await {
            Err(PublishError::Disconnected) => tokio::time::sleep(PUBLISH_PAUSE).await,
            settled => return settled,
        }
    }
    publisher.publish(envelope).await
}
