//! A rehearsal: what a dead letter's replay would come to, without doing it.
//!
//! The turn runs through its real stages, with this build, this policy and the conversation as it stands. Nothing is
//! claimed, written, queued or sent, and no network is touched: where the store holds an answer that was paid for with
//! exactly this prompt, that one is judged; else the scripted stand-in speaks, and the report says so. What only the
//! model's or the channel's side can know, whether they will take it this time, no rehearsal tells.

pub mod comparison;
mod judge;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use common::config::{Config, Keys, ModelConfig, Protocol, Source};
use common::domain::{Circumstances, DeadState, End, Event, EventId, Floor, ReplayMode, SourceName};
use common::envelope::Envelope;
use common::providers;
use common::seal::Keyring;
use common::store::{DeadBody, DeadLetter, Scene, SceneMessage, Store, StoreError};

use crate::StartError;
use crate::channels::{Channels, split};
use crate::models::{self, Answer, Model};
use crate::pipeline::guardrails::{Approved, Guardrails, Screened, Talk};
use crate::pipeline::handoff::{Plan, Route};
use crate::pipeline::llm::{self, Draft};
use crate::pipeline::prompt::{Audience, Prompt};
use crate::recovery::{Class, normalise};
use crate::turn::draft::HISTORY_LINES;

/// Who would have spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voice {
    /// A model's answer that the store holds for exactly this prompt.
    Recorded,
    /// The scripted stand-in: the real model's words will differ.
    Scripted,
    /// The policy's own texts.
    Policy,
    /// The reply that was approved and refused.
    Stored,
    /// Nobody: there is nothing to say.
    Nobody,
}

impl Voice {
    /// Its word in lists.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Recorded => "recorded",
            Self::Scripted => "scripted",
            Self::Policy => "policy",
            Self::Stored => "stored",
            Self::Nobody => "nobody",
        }
    }
}

/// A rehearsal that went through to its end. Holds personal data.
#[derive(Clone, PartialEq, Eq)]
pub struct Success {
    /// How each message would end.
    pub ends: Vec<(EventId, End)>,
    /// What would be sent, part by part.
    pub reply: Vec<String>,
    /// Who would have said it.
    pub voice: Voice,
}

impl std::fmt::Debug for Success {
    /// Never the text (P7).
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Success({:?} {} parts by {})", self.ends, self.reply.len(), self.voice.as_str())
    }
}

/// What a replay would come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It would go through.
    WouldSucceed(Success),
    /// It would fail as it did.
    SameError {
        /// The error, normalised.
        error: String,
    },
    /// It would fail in another way.
    NewError {
        /// Its class.
        class: String,
        /// The error, normalised.
        error: String,
    },
    /// The channel's window for free text has closed: a reply would be refused.
    Stale,
    /// There is nothing left to replay, by a constant word: `answered`, `replaying`, `discarded`, `replaced`, `erased`,
    /// `nothing_left`, `person_has_floor`.
    Superseded(&'static str),
}

impl Verdict {
    /// Its word in lists.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::WouldSucceed(_) => "would_succeed",
            Self::SameError { .. } => "same_error",
            Self::NewError { .. } => "new_error",
            Self::Stale => "stale",
            Self::Superseded(_) => "superseded",
        }
    }
}

/// The stage for rehearsals: read-only, and offline.
pub struct Rehearsal {
    store: Store,
    guardrails: Guardrails,
    model: Arc<dyn Model>,
    /// By whose names answers were recorded.
    names: Vec<String>,
    channels: Channels,
    sources: HashMap<SourceName, Source>,
    queue_keys: Keyring,
    deadline: Duration,
}

impl Rehearsal {
    /// Prepares the policy and the stand-in that a configuration describes.
    ///
    /// # Errors
    /// [`StartError`] names what a worker could not start with either.
    pub fn of(store: Store, config: &Config, keys: &Keys) -> Result<Self, StartError> {
        let model = config.models.first().ok_or_else(|| StartError::Model("none is configured".into()))?;
        let stand_in = ModelConfig { protocol: Protocol::Scripted, base_url: None, api_key: None, ..model.clone() };
        let deadline = config.timing.model_deadline;
        Ok(Self {
            store,
            guardrails: crate::guardrails(config)?,
            model: models::connect(&stand_in, deadline).map_err(|error| StartError::Model(error.to_string()))?,
            channels: Channels::of(&config.sources, &config.timing),
            names: config.models.iter().map(|model| model.name.clone()).collect(),
            sources: config.sources.clone(),
            queue_keys: keys.shared.queue.clone(),
            deadline,
        })
    }

    /// Rehearses one letter's replay.
    ///
    /// # Errors
    /// [`StoreError`]: the store could not be read; it says nothing about the letter.
    pub async fn run(&self, letter: &DeadLetter, mode: ReplayMode) -> Result<Verdict, StoreError> {
        match letter.state {
            DeadState::Open => {}
            DeadState::Replaying => return Ok(Verdict::Superseded("replaying")),
            DeadState::Resolved => return Ok(Verdict::Superseded("answered")),
            DeadState::Discarded => return Ok(Verdict::Superseded("discarded")),
            DeadState::Replaced => return Ok(Verdict::Superseded("replaced")),
        }
        let played = match (mode, letter.class.as_str()) {
            (ReplayMode::Note, _) => Ok(recorded(letter)),
            (ReplayMode::Regenerate, "unparsed") => self.read_again(letter).await,
            (ReplayMode::Regenerate, "undeliverable") => self.open_again(letter).await,
            (ReplayMode::Regenerate | ReplayMode::SendStored, _) => self.turn(letter, mode).await,
        };
        match played {
            Err(StoreError::Erased) => Ok(Verdict::Superseded("erased")),
            // The letter's own trouble, and no reason not to rehearse the others.
            Err(error @ (StoreError::Sealed(_) | StoreError::Broken(_))) => {
                Ok(fails(letter, Class::Poison.as_str(), &normalise(&error.to_string())))
            }
            played => played,
        }
    }

    /// Bytes that no build could read, read by this one.
    async fn read_again(&self, letter: &DeadLetter) -> Result<Verdict, StoreError> {
        let kept = self.store.dead_event(letter).await?;
        let Event::Unparsed { raw, .. } = &kept.event else {
            return Ok(Verdict::Superseded("nothing_left"));
        };
        let Some(source) = self.sources.get(&kept.source) else {
            return Ok(fails(letter, Class::Misconfigured.as_str(), SOURCE_UNKNOWN));
        };
        let events = providers::parse_again(source, raw, kept.provider_id.as_deref());
        let still = events.iter().find_map(|inbound| match &inbound.event {
            Event::Unparsed { problem, .. } => Some(problem),
            Event::Message(_)
            | Event::Status(_)
            | Event::Echo(_)
            | Event::Consent(_)
            | Event::Record { .. }
            | Event::Tally(_) => None,
        });
        Ok(still.map_or_else(|| recorded(letter), |problem| fails(letter, "unparsed", problem)))
    }

    /// An envelope that no worker could open, opened with the keys and the build at hand.
    async fn open_again(&self, letter: &DeadLetter) -> Result<Verdict, StoreError> {
        let bytes = match self.store.dead_body(letter).await? {
            DeadBody::Envelope(bytes) => bytes,
            DeadBody::Closed(why) => return Ok(fails(letter, Class::Poison.as_str(), &normalise(&why))),
            DeadBody::Event(_) | DeadBody::Send { .. } | DeadBody::Nothing => {
                return Ok(Verdict::Superseded("nothing_left"));
            }
        };
        let opened = Envelope::decode(bytes).and_then(|envelope| envelope.open(&self.queue_keys));
        Ok(match opened {
            Ok(_inbound) => recorded(letter),
            Err(error) => fails(letter, "undeliverable", &normalise(&error.to_string())),
        })
    }

    /// One turn over the letter's messages, or its stored reply once more.
    async fn turn(&self, letter: &DeadLetter, mode: ReplayMode) -> Result<Verdict, StoreError> {
        let Some(mut scene) = self.store.scene(letter).await? else { return Ok(Verdict::Superseded("nothing_left")) };
        let left: Vec<SceneMessage> = scene.messages.iter().filter(|message| is_dead(message)).cloned().collect();
        if left.is_empty() {
            return Ok(Verdict::Superseded(gone(&scene.messages)));
        }
        scene.messages = left;
        if scene.floor != Floor::Assistant {
            return Ok(Verdict::Superseded("person_has_floor"));
        }
        let Some(channel) = self.channels.for_source(&scene.source) else {
            return Ok(fails(letter, Class::Misconfigured.as_str(), SOURCE_UNKNOWN));
        };
        let closed = |window: Duration| scene.last_inbound_at.is_some_and(|last| scene.at.since(last) >= window);
        if channel.window().is_some_and(closed) {
            return Ok(Verdict::Stale);
        }
        if mode == ReplayMode::SendStored {
            return self.stored(letter, &scene).await;
        }
        let mut talk = self.talk(&scene).await?;
        match self.plan(&scene, &mut talk) {
            None => Ok(fails(letter, Class::Poison.as_str(), "its body cannot be opened as a message")),
            Some(plan) => self.play(letter, &scene, (plan, &mut talk), channel.limit()).await,
        }
    }

    /// The reply that was refused, as it was approved.
    async fn stored(&self, letter: &DeadLetter, scene: &Scene) -> Result<Verdict, StoreError> {
        let parts = match self.store.dead_body(letter).await? {
            DeadBody::Send { parts, .. } => parts,
            DeadBody::Closed(why) => return Ok(fails(letter, Class::Poison.as_str(), &normalise(&why))),
            DeadBody::Event(_) | DeadBody::Envelope(_) | DeadBody::Nothing => {
                return Ok(fails(letter, "impossible", "there is no stored reply to send"));
            }
        };
        let ends = scene.messages.iter().map(|message| (message.event_id, End::Replied)).collect();
        Ok(Verdict::WouldSucceed(Success { ends, reply: parts, voice: Voice::Stored }))
    }

    /// The conversation as a turn over it would hear it: with what else is so and its earlier lines, if a rule asks.
    async fn talk(&self, scene: &Scene) -> Result<Talk, StoreError> {
        let earlier = match self.guardrails.looks_back() {
            true => self.store.scene_history(scene, crate::turn::EARLIER_LINES).await?,
            false => Vec::new(),
        };
        let known = match self.guardrails.looks_around() {
            true => self.store.scene_circumstances(scene).await?,
            false => Circumstances::default(),
        };
        Ok(judge::talk(&self.guardrails, scene.source.as_str(), known, &earlier))
    }

    fn plan(&self, scene: &Scene, talk: &mut Talk) -> Option<Plan> {
        let messages = scene.messages.iter().map(|message| (message.event_id, message.content.as_ref()));
        judge::plan(&self.guardrails, messages, (scene.floor, scene.locale.as_deref()), talk).map(|(_, plan)| plan)
    }

    async fn play(
        &self,
        letter: &DeadLetter,
        scene: &Scene,
        (plan, talk): (Plan, &mut Talk),
        limit: usize,
    ) -> Result<Verdict, StoreError> {
        let questions = match plan.route() {
            Route::Assistant(questions) => questions.clone(),
            Route::Policy | Route::Queue(_) => return Ok(self.end(&plan, None, Voice::Policy, limit)),
            Route::Person => return Ok(Verdict::Superseded("person_has_floor")),
        };
        if let ([question], [_]) = (questions.as_slice(), scene.messages.as_slice())
            && let Some((_, own)) = self.guardrails.faq(question, plan.locale())
        {
            return Ok(self.end(&plan, Some(own), Voice::Policy, limit));
        }
        let (answer, voice) = self.ask(scene, (&questions, plan.locale()), talk).await?;
        let draft = match answer.and_then(|answer| Draft::in_form(&answer, self.guardrails.policy().answer_form())) {
            Ok(draft) => draft,
            Err(error) => return Ok(fails(letter, Class::from(&error).as_str(), &normalise(&error.to_string()))),
        };
        let drafted = judge::draft(&self.guardrails, plan, &draft, talk);
        Ok(self.end(&drafted.plan, drafted.answer, voice, limit))
    }

    async fn ask(
        &self,
        scene: &Scene,
        (questions, locale): (&[Screened], &str),
        talk: &mut Talk,
    ) -> Result<(Result<Answer, models::ModelError>, Voice), StoreError> {
        let history = self.store.scene_history(scene, HISTORY_LINES).await?;
        let past = judge::recall(&self.guardrails, &history, talk);
        let policy = self.guardrails.policy();
        let variant = policy.variant_of(&scene.conversation.to_string()).map(|variant| variant.name.as_str());
        let prompt = Prompt::build_for(policy, Audience { locale, variant }, &past, questions);
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        if let Some(paid) = self.store.scene_answer(scene, &names, &prompt.hash()).await? {
            let answer = Answer { text: paid.text, tokens_in: None, tokens_out: None, tokens_cached: None, cut: false };
            return Ok((Ok(answer), Voice::Recorded));
        }
        Ok((llm::ask(&*self.model, &prompt, self.deadline).await, Voice::Scripted))
    }

    fn end(&self, plan: &Plan, answer: Option<Approved>, voice: Voice, limit: usize) -> Verdict {
        let reply = self.guardrails.compose(answer, plan.notices(), plan.locale());
        let reply = reply.map(|reply| split(reply.text(), limit)).unwrap_or_default();
        let voice = if reply.is_empty() { Voice::Nobody } else { voice };
        Verdict::WouldSucceed(Success { ends: plan.ends(), reply, voice })
    }
}

/// As the worker says it of a send whose source is gone.
const SOURCE_UNKNOWN: &str = "source_not_configured";

fn is_dead(message: &SceneMessage) -> bool {
    message.state == End::Dead.as_str()
}

/// What became of messages of which none is dead any more.
fn gone(messages: &[SceneMessage]) -> &'static str {
    let all = |end: End| messages.iter().all(|message| message.state == end.as_str());
    match () {
        () if messages.is_empty() => "nothing_left",
        () if all(End::Discarded) => "discarded",
        () if all(End::Erased) => "erased",
        () if messages.iter().any(|message| message.state == "pending") => "replaying",
        () => "answered",
    }
}

/// What could be read at last ends as `recorded`; its events are accepted anew.
fn recorded(letter: &DeadLetter) -> Verdict {
    let ends = letter.event_id.map(|event| (event, End::Recorded)).into_iter().collect();
    Verdict::WouldSucceed(Success { ends, reply: Vec::new(), voice: Voice::Nobody })
}

fn fails(letter: &DeadLetter, class: &str, error: &str) -> Verdict {
    if letter.class == class && letter.error == error {
        return Verdict::SameError { error: error.to_owned() };
    }
    Verdict::NewError { class: class.to_owned(), error: error.to_owned() }
}
