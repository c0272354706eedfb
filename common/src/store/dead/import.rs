//! Import: an export comes in whole or not at all, under new ids and with a tag that says so. Twice is once, and what
//! this store still has itself is left alone, so that nobody is answered twice.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use uuid::Uuid;

use super::super::contacts::Person;
use super::super::intake::inbox_context;
use super::super::sql::{Tx, args};
use super::super::{Store, StoreError};
use super::export::{DeadExport, ExportedLetter, FORMAT, SealedBody, digest_of, letter_context, seal_context};
use super::record::add_cause;
use super::undeliverable::body_context;
use crate::digest::hex_digest;
use crate::domain::{ContactId, ConversationId, DeadId, Event, EventId, Identity, Inbound, SourceName};
use crate::seal::SealError;

/// The tag of an imported letter.
const IMPORTED: &str = "imported";

/// What an import did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// The new letters.
    pub letters: Vec<DeadId>,
    /// Letters that this store has already.
    pub known: i64,
    /// Letters of people who were erased here: left out.
    pub erased: i64,
    /// New letters that came without a body, and so can be studied but not replayed.
    pub bare: i64,
}

/// Why nothing was imported. Nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum ImportRefused {
    /// Not a file of ours, or a newer one.
    #[error("this is no export that this build reads: its format is '{0}'")]
    Format(String),
    /// Another deployment's.
    #[error("this export was sealed with the key '{0}' of another deployment: import it there")]
    OtherKey(String),
    /// Changed or cut.
    #[error("this export was changed after it was made, or cut: make it again")]
    Changed,
    /// Nothing in it.
    #[error("this export holds no letter: nothing to import")]
    Empty,
    /// One of its letters does not open to an event of ours.
    #[error("letter {0} of this export is not valid: {1}; nothing was imported")]
    Letter(DeadId, String),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A letter of an export, opened and checked.
struct Opened<'e> {
    letter: &'e ExportedLetter,
    id: DeadId,
    what: What,
}

/// What an imported letter will be about.
enum What {
    Event(Box<Inbound>, Option<Box<Person>>),
    Envelope(Vec<u8>),
    Nothing,
}

impl Store {
    /// Takes an export in, all of it or nothing; what is here already is left as it is. A refused reply comes in as the
    /// message that it answered. Audited.
    ///
    /// # Errors
    /// [`ImportRefused`]; nothing changed.
    pub async fn import_dead(&self, export: &DeadExport, who: &str) -> Result<Imported, ImportRefused> {
        self.verify(export)?;
        let mut opened = Vec::with_capacity(export.letters.len());
        for letter in &export.letters {
            opened.push(self.open_letter(export, letter)?);
        }
        let mut imported = Imported::default();
        for letter in &mut opened {
            if let What::Event(inbound, person) = &mut letter.what
                && let Some(party) = &inbound.party
            {
                *person = self.person(&party.address).await?.map(Box::new);
            }
        }
        let mut tx = self.main.begin().await?;
        for letter in &opened {
            self.import_letter(&mut tx, letter, &mut imported).await?;
        }
        let what = format!("{}: {} letters", export.id, imported.letters.len());
        super::super::floor::audit(&mut tx, who, "dead.import", &what, None).await?;
        tx.commit().await?;
        Ok(imported)
    }

    /// Whose it is, and whether it is whole.
    fn verify(&self, export: &DeadExport) -> Result<(), ImportRefused> {
        if export.format != FORMAT {
            return Err(ImportRefused::Format(export.format.chars().take(60).collect()));
        }
        let sealed = STANDARD.decode(&export.seal).map_err(|_| ImportRefused::Changed)?;
        let digest = match self.wrapping.open(&seal_context(export.id), &sealed) {
            Ok(digest) => digest,
            // Another deployment may call its key as we call ours; then its seal does not open.
            Err(SealError::UnknownKey(_) | SealError::Broken) => {
                return Err(ImportRefused::OtherKey(export.key.chars().take(40).collect()));
            }
            Err(SealError::Malformed) => return Err(ImportRefused::Changed),
        };
        if digest != digest_of(&export.letters)?.as_bytes() {
            return Err(ImportRefused::Changed);
        }
        if export.letters.is_empty() { Err(ImportRefused::Empty) } else { Ok(()) }
    }

    fn open_letter<'e>(&self, export: &DeadExport, letter: &'e ExportedLetter) -> Result<Opened<'e>, ImportRefused> {
        let invalid = |what: &str| ImportRefused::Letter(letter.id, what.to_owned());
        let source = SourceName::parse(&letter.source).map_err(|error| invalid(&error.to_string()))?;
        // The same letter gets the same new id in whichever export it comes.
        let id = hex_digest(format!("import/{}", letter.id).as_bytes(), 32);
        let id = Uuid::parse_str(&id).map(DeadId::from_uuid).map_err(|_| invalid("its id"))?;
        let Some(sealed) = &letter.body else { return Ok(Opened { letter, id, what: What::Nothing }) };
        let sealed = STANDARD.decode(sealed).map_err(|_| invalid("its body is not base64"))?;
        let plain = self.wrapping.open(&letter_context(export.id, letter.id), &sealed);
        let plain = plain.map_err(|_| invalid("its body does not open"))?;
        let body: SealedBody = serde_json::from_slice(&plain).map_err(|_| invalid("its body has another shape"))?;
        let inbound = match body {
            SealedBody::Envelope { bytes } => {
                let bytes = STANDARD.decode(bytes).map_err(|_| invalid("its body is not base64"))?;
                return Ok(Opened { letter, id, what: What::Envelope(bytes) });
            }
            SealedBody::Event { inbound } => Some(*inbound),
            SealedBody::Send { answers, .. } => answers.into_iter().next(),
        };
        let Some(inbound) = inbound else { return Ok(Opened { letter, id, what: What::Nothing }) };
        if inbound.source != source {
            return Err(invalid("its event came in by another source"));
        }
        if !matches!(inbound.event, Event::Message(_) | Event::Unparsed { .. }) {
            return Err(invalid("its event is neither a message nor an unread webhook"));
        }
        let identity = Identity { kind: "import", id: letter.id.to_string(), status: None };
        let inbound = Inbound { event_id: EventId::derive(&source, &identity), ..inbound };
        Ok(Opened { letter, id, what: What::Event(Box::new(inbound), None) })
    }

    async fn import_letter(
        &self,
        tx: &mut Tx,
        opened: &Opened<'_>,
        imported: &mut Imported,
    ) -> Result<(), ImportRefused> {
        let (letter, id) = (opened.letter, opened.id);
        let known = "SELECT 1 AS found FROM dead WHERE id = $1 OR id = $2";
        if tx.maybe(known, args![id.uuid(), letter.id.uuid()]).await?.is_some() {
            imported.known += 1;
            return Ok(());
        }
        let place = match &opened.what {
            What::Event(inbound, person) => match self.import_event(tx, letter, inbound, person.as_deref()).await? {
                Some(place) => place,
                None => {
                    imported.erased += 1;
                    return Ok(());
                }
            },
            What::Envelope(_) => Placed::default(),
            What::Nothing => {
                imported.bare += 1;
                Placed::default()
            }
        };
        let body = match &opened.what {
            What::Envelope(bytes) => Some(self.wrapping.seal(&body_context(id), bytes)),
            What::Event(..) | What::Nothing => None,
        };
        insert_letter(tx, letter, id, &place, body.as_deref()).await?;
        history(tx, letter, id).await?;
        imported.letters.push(id);
        Ok(())
    }

    /// The event behind an imported letter, dead from the start; `None` when its person was erased here.
    async fn import_event(
        &self,
        tx: &mut Tx,
        letter: &ExportedLetter,
        inbound: &Inbound,
        person: Option<&Person>,
    ) -> Result<Option<Placed>, StoreError> {
        let erased = match person {
            Some(person) => person.is_erased(tx).await?,
            None => inbound.party.is_some(),
        };
        if erased {
            return Ok(None);
        }
        let conversation = match (person, &inbound.party) {
            (Some(person), Some(party)) => Some(self.conversation(tx, inbound, party, person).await?),
            _ => None,
        };
        let key = person.map_or(&self.wrapping, |person| &person.key);
        let plain = serde_json::to_vec(inbound).map_err(|error| StoreError::Broken(error.to_string()))?;
        let body = key.seal(&inbox_context(inbound.event_id), &plain);
        let (now, instance) = (tx.now(), Uuid::new_v4());
        let sql = "INSERT INTO inbox (id, source, kind, contact_id, conversation_id, state, reason, received_at, \
                     instance, sequence, accepted_at, ended_at, said_at, trace, secret, body) \
                   VALUES ($1, $2, $3, $4, $5, 'dead', 'imported', $6, $7, 1, $8, $8, $9, '', 'imported', $10) \
                   ON CONFLICT DO NOTHING";
        let contact = person.map(|person| person.id);
        let values = args![
            inbound.event_id.uuid(),
            inbound.source.as_str(),
            inbound.event.kind().as_str(),
            contact.map(ContactId::uuid),
            conversation.map(ConversationId::uuid),
            letter.created_at,
            instance,
            now,
            inbound.said_at,
            &body,
        ];
        tx.run(sql, values).await?;
        Ok(Some(Placed { event: Some(inbound.event_id), contact, conversation, instance: Some(instance) }))
    }
}

/// Where an imported letter belongs here.
#[derive(Default)]
struct Placed {
    event: Option<EventId>,
    contact: Option<ContactId>,
    conversation: Option<ConversationId>,
    instance: Option<Uuid>,
}

async fn insert_letter(
    tx: &mut Tx,
    letter: &ExportedLetter,
    id: DeadId,
    place: &Placed,
    body: Option<&[u8]>,
) -> Result<(), StoreError> {
    let mut tags = letter.tags.clone();
    tags.push(IMPORTED.to_owned());
    let tags = tags.join(" ");
    let fingerprint = hex_digest(format!("{}\n{}\n{}", letter.class, letter.stage, letter.error).as_bytes(), 16);
    let cause = format!("{fingerprint} {} {tags}", letter.source);
    let sql = "INSERT INTO dead (id, event_id, conversation_id, contact_id, source, stage, class, error, fingerprint, \
                 attempts, policy, prompt, build, state, body, created_at, updated_at, cause, tags, received_at, \
                 instance, sequence) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 'open', $14, $15, $15, $16, $17, $18, \
                 $19, 1)";
    let now = tx.now();
    let values = args![
        id.uuid(),
        place.event.map(EventId::uuid),
        place.conversation.map(ConversationId::uuid),
        place.contact.map(ContactId::uuid),
        &letter.source,
        &letter.stage,
        &letter.class,
        &letter.error,
        &fingerprint,
        letter.attempts,
        &letter.policy,
        letter.prompt.as_deref(),
        &letter.build,
        body,
        now,
        &cause,
        &tags,
        letter.created_at,
        place.instance,
    ];
    tx.run(sql, values).await?;
    let words = [&fingerprint, &letter.class, &letter.stage, &letter.error, &letter.source, &tags];
    add_cause(tx, &cause, words.map(String::as_str)).await
}

async fn history(tx: &mut Tx, letter: &ExportedLetter, id: DeadId) -> Result<(), StoreError> {
    for line in &letter.history {
        let sql = "INSERT INTO failure (id, subject, dead_id, at, last_at, times, worker, build, stage, class, error, \
                     outcome) VALUES ($1, $2, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
        let values = args![
            Uuid::new_v4(),
            id.uuid(),
            line.at,
            line.last_at,
            line.times,
            line.worker.map(crate::domain::WorkerId::uuid),
            &line.build,
            &line.stage,
            &line.class,
            &line.error,
            &line.outcome,
        ];
        tx.run(sql, values).await?;
    }
    Ok(())
}
