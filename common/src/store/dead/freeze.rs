//! Freezing: what a replay will touch is settled before it starts. Count and hash name the selection; what dies later
//! never joins; a letter belongs to one replay at most; and whoever asks for the same again goes on with what is there.

use std::collections::HashSet;

use super::super::sql::{Arg, Row, Tx, args};
use super::super::{Store, StoreError};
use super::looked::hash_of;
use super::replay::{Frozen, NewReplay, PER_THOUSAND, ReplayRefused};
use super::search::Search;
use super::{DeadFilter, DeadLetter};
use crate::domain::{ConversationId, DeadId, DeadState, Micros, ReplayId, ReplayMode};

/// How often a selection is looked at anew when somebody else took a letter of it at the same moment.
const TRIES: usize = 3;
/// Letters of one replay: each is in memory while they are put in order, and all are marked in one transaction.
const MOST: i64 = 100_000;
/// The fastest and slowest rates, in letters a second.
const RATES: std::ops::RangeInclusive<f64> = 0.001..=10_000.0;

impl NewReplay {
    /// Whether this can be done at all, whatever the letters.
    ///
    /// # Errors
    /// [`ReplayRefused::Impossible`] says what does not fit.
    pub fn check(&self) -> Result<(), ReplayRefused> {
        let impossible = |text: &str| Err(ReplayRefused::Impossible(text.to_owned()));
        if self.why.trim().is_empty() {
            return impossible("a replay needs a reason: say why");
        }
        if self.rate_per_second.is_some_and(|rate| !RATES.contains(&rate)) {
            return impossible("a rate is between 0.001 and 10000 letters a second");
        }
        let noted = self.note.as_ref().is_some_and(|note| !note.trim().is_empty());
        match (self.mode, noted) {
            (ReplayMode::Note, false) => impossible("closing letters with a note needs the note"),
            (ReplayMode::Regenerate | ReplayMode::SendStored, true) => {
                impossible("a note closes letters without sending: it fits the mode 'note' only")
            }
            (ReplayMode::Note, true) | (ReplayMode::Regenerate | ReplayMode::SendStored, false) => Ok(()),
        }
    }
}

impl Store {
    /// Freezes a selection: in one transaction its letters are marked as this replay's, and nothing that dies later
    /// joins. Without ids or a state it means open letters. Asked again for the same while it is under way or halted,
    /// it goes on with what is there.
    ///
    /// # Errors
    /// [`ReplayRefused`]; nothing changed.
    pub async fn freeze_replay(&self, filter: &DeadFilter, new: &NewReplay) -> Result<Frozen, ReplayRefused> {
        filter.check().map_err(|error| ReplayRefused::Impossible(error.to_string()))?;
        new.check()?;
        let mut wish = DeadFilter { limit: 0, after: None, ..filter.clone() };
        wish.ids.sort_unstable();
        wish.ids.dedup();
        for _ in 0..TRIES {
            if let Some(frozen) = self.try_freeze(&wish, new).await? {
                return Ok(frozen);
            }
        }
        Err(StoreError::Unavailable("letters of this selection are being taken by others at this moment".into()).into())
    }

    /// `None`: another replay took a letter in the same moment; nothing changed.
    async fn try_freeze(&self, wish: &DeadFilter, new: &NewReplay) -> Result<Option<Frozen>, ReplayRefused> {
        let mut tx = self.main.begin().await?;
        let words = serde_json::to_string(wish).map_err(|error| StoreError::Broken(error.to_string()))?;
        let same = "SELECT id, letters, hash FROM replay WHERE state IN ('running', 'halted') AND filter = $1 \
                      AND mode = $2 ORDER BY created_at LIMIT 1";
        if let Some(row) = tx.maybe(same, args![&words, new.mode.as_str()]).await? {
            return Ok(Some(self.join(tx, &row, new).await?));
        }
        let mut letters = select(&mut tx, wish).await?;
        if let Some(row) = held_whole(&mut tx, &letters, new.mode).await? {
            return Ok(Some(self.join(tx, &row, new).await?));
        }
        let edited = edited(&mut tx).await?;
        if wish.ids.is_empty() && wish.state.is_none() {
            // Nobody named these; what is not open or has been edited is not meant.
            letters.retain(|letter| {
                letter.replay.is_some() || (letter.state == DeadState::Open && !edited.contains(&letter.id))
            });
        }
        let refused: Vec<(DeadId, String)> =
            letters.iter().filter_map(|letter| Some((letter.id, refusal(letter, new.mode, &edited)?))).collect();
        if !refused.is_empty() {
            return Err(ReplayRefused::Letters(refused));
        }
        if letters.is_empty() {
            return Err(ReplayRefused::Empty);
        }
        letters.sort_by_key(first_place);
        let ids: Vec<DeadId> = letters.iter().map(|letter| letter.id).collect();
        let (id, hash) = (ReplayId::random(), hash_of(&ids));
        self.write_replay(&mut tx, id, (new, &words), (letters.len(), &hash)).await?;
        if !write_items(&mut tx, id, &letters).await? {
            tx.rollback().await?;
            return Ok(None);
        }
        let count = i64::try_from(letters.len()).unwrap_or(i64::MAX);
        let what = format!("{id}: {count} letters, sha256 {hash}, as {}, filter {words}", new.mode);
        super::super::floor::audit(&mut tx, &new.who, "dead.replay", &what, Some(&new.why)).await?;
        tx.commit().await?;
        Ok(Some(Frozen { id, count, hash, joined: false }))
    }

    async fn write_replay(
        &self,
        tx: &mut Tx,
        id: ReplayId,
        (new, words): (&NewReplay, &str),
        (count, hash): (usize, &str),
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO replay (id, who, why, mode, note, filter, rate, ladder, letters, hash, state, created_at) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'running', $11)";
        let note = new.note.as_ref().map(|note| self.wrapping.seal(&note_context(id), note.as_bytes()));
        #[expect(clippy::cast_possible_truncation, reason = "rates were checked to be small")]
        let rate = new.rate_per_second.map(|rate| (rate * PER_THOUSAND).round() as i64);
        let (now, count) = (tx.now(), i64::try_from(count).unwrap_or(i64::MAX));
        let values = args![
            id.uuid(),
            &new.who,
            &new.why,
            new.mode.as_str(),
            note.as_deref(),
            words,
            rate,
            new.ladder,
            count,
            hash,
            now,
        ];
        tx.run(sql, values).await.map(drop)
    }

    /// Goes on with a replay that is there, unless its letters are to be closed with other words.
    async fn join(&self, mut tx: Tx, row: &Row, new: &NewReplay) -> Result<Frozen, ReplayRefused> {
        let id = ReplayId::from_uuid(row.get("id")?);
        let sql = "SELECT note FROM replay WHERE id = $1";
        let sealed: Option<Vec<u8>> = tx.one(sql, args![id.uuid()]).await?.get("note")?;
        let kept = sealed.map(|sealed| self.wrapping.open(&note_context(id), &sealed)).transpose();
        if kept.map_err(StoreError::from)? != new.note.as_ref().map(|note| note.clone().into_bytes()) {
            return Err(ReplayRefused::Impossible(format!(
                "replay {id} closes these letters with another note: resume it as it is, or cancel it first"
            )));
        }
        go_on(&mut tx, id, &new.who, &new.why).await?;
        tx.commit().await?;
        Ok(Frozen { id, count: row.get("letters")?, hash: row.get("hash")?, joined: true })
    }

    /// Goes on with a replay that was interrupted or halted, as it was asked for.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when it has ended; [`StoreError::Unavailable`].
    pub async fn resume_replay(&self, id: ReplayId, who: &str, why: &str) -> Result<(), StoreError> {
        let mut tx = self.main.begin().await?;
        if !go_on(&mut tx, id, who, why).await? {
            return Err(StoreError::Refused(format!("replay {id} has ended: there is nothing left to resume")));
        }
        tx.commit().await
    }

    /// The note that closed a letter instead of an answer.
    ///
    /// # Errors
    /// [`StoreError::Sealed`], [`StoreError::Unavailable`].
    pub async fn dead_note(&self, dead: DeadId) -> Result<Option<String>, StoreError> {
        let sql = "SELECT r.id AS id, r.note AS note FROM replay r JOIN replay_item i ON i.replay_id = r.id \
                   WHERE r.note IS NOT NULL AND i.dead_id = $1 AND i.state = 'succeeded' \
                   ORDER BY r.created_at DESC LIMIT 1";
        let Some(row) = self.main.read_maybe(sql, args![dead.uuid()]).await? else { return Ok(None) };
        let (id, sealed) = (ReplayId::from_uuid(row.get("id")?), row.get::<Vec<u8>>("note")?);
        let plain = self.wrapping.open(&note_context(id), &sealed)?;
        Ok(String::from_utf8(plain).ok())
    }
}

/// False: it has ended, and nothing was written.
async fn go_on(tx: &mut Tx, id: ReplayId, who: &str, why: &str) -> Result<bool, StoreError> {
    let sql = "UPDATE replay SET state = 'running' WHERE id = $1 AND state IN ('running', 'halted')";
    if tx.run(sql, args![id.uuid()]).await? != 1 {
        return Ok(false);
    }
    super::super::floor::audit(tx, who, "dead.replay.join", &id.to_string(), Some(why)).await?;
    Ok(true)
}

/// Statements that mark several letters each, since one for every letter would keep the transaction long: the
/// placeholders of a row's letter and conversation, and its ordinal's distance from the first.
macro_rules! insert_items {
    ($dead:literal $conversation:literal $(, $more_dead:literal $more_conversation:literal $offset:literal)*) => {
        concat!(
            "INSERT INTO replay_item (replay_id, ordinal, dead_id, conversation_id, state) VALUES ($1, $2, ",
            $dead, ", ", $conversation, ", 'waiting')"
            $(, ", ($1, $2 + ", $offset, ", ", $more_dead, ", ", $more_conversation, ", 'waiting')")*,
            " ON CONFLICT DO NOTHING"
        )
    };
}
const INSERT_ONE: &str = insert_items!("$3" "$4");
const INSERT_SIXTEEN: &str = insert_items!(
    "$3" "$4", "$5" "$6" "1", "$7" "$8" "2", "$9" "$10" "3", "$11" "$12" "4", "$13" "$14" "5", "$15" "$16" "6",
    "$17" "$18" "7", "$19" "$20" "8", "$21" "$22" "9", "$23" "$24" "10", "$25" "$26" "11", "$27" "$28" "12",
    "$29" "$30" "13", "$31" "$32" "14", "$33" "$34" "15"
);

/// Marks letters as a replay's, in this order. False: another replay has one of them.
async fn write_items(tx: &mut Tx, id: ReplayId, letters: &[DeadLetter]) -> Result<bool, StoreError> {
    let mut ordinal = 1_i64;
    let (many, rest) = letters.as_chunks::<16>();
    let many = many.iter().map(|chunk| (INSERT_SIXTEEN, chunk.as_slice()));
    for (sql, chunk) in many.chain(rest.chunks(1).map(|one| (INSERT_ONE, one))) {
        let mut values = vec![Arg::from(id.uuid()), Arg::from(ordinal)];
        for letter in chunk {
            values.push(Arg::from(letter.id.uuid()));
            values.push(Arg::from(letter.conversation.map(ConversationId::uuid)));
        }
        let count = i64::try_from(chunk.len()).unwrap_or(i64::MAX);
        if tx.run(sql, &values).await? != chunk.len() as u64 {
            return Ok(false);
        }
        ordinal += count;
    }
    Ok(true)
}

/// What a wish means: the letters named, those of a state, or those that wait or are being replayed.
async fn select(tx: &mut Tx, wish: &DeadFilter) -> Result<Vec<DeadLetter>, ReplayRefused> {
    let states = match wish.state {
        None if wish.ids.is_empty() => vec![Some(DeadState::Open), Some(DeadState::Replaying)],
        state => vec![state],
    };
    let (mut searches, mut count) = (Vec::new(), 0);
    for state in states {
        let search = Search::new(tx, wish, state).await?;
        count += search.count(tx).await?;
        searches.push(search);
    }
    if count > MOST {
        return Err(ReplayRefused::Impossible(format!(
            "{count} letters match, and one replay takes {MOST} at most: narrow them by time, group or source, and run \
             one replay after the other"
        )));
    }
    let mut letters = Vec::new();
    for search in searches {
        letters.extend(search.all(tx).await?);
    }
    Ok(letters)
}

/// The replay that holds exactly this selection, whatever words it was asked for with: all that it has left to do.
async fn held_whole(tx: &mut Tx, letters: &[DeadLetter], mode: ReplayMode) -> Result<Option<Row>, StoreError> {
    let Some(replay) = letters.first().and_then(|letter| letter.replay) else { return Ok(None) };
    if letters.iter().any(|letter| letter.replay != Some(replay)) {
        return Ok(None);
    }
    let sql = "SELECT r.id AS id, r.letters AS letters, r.hash AS hash, \
                 (SELECT count(*) FROM replay_item i WHERE i.replay_id = r.id AND i.state IN ('waiting', 'running')) \
                   AS unfinished \
               FROM replay r WHERE r.id = $1 AND r.mode = $2 AND r.state IN ('running', 'halted')";
    let Some(row) = tx.maybe(sql, args![replay.uuid(), mode.as_str()]).await? else { return Ok(None) };
    let whole = row.get::<i64>("unfinished")? == i64::try_from(letters.len()).unwrap_or(i64::MAX);
    Ok(whole.then_some(row))
}

/// Letters that have been edited: their edits stand for them.
async fn edited(tx: &mut Tx) -> Result<HashSet<DeadId>, StoreError> {
    let sql = "SELECT edited_from FROM dead WHERE edited_from IS NOT NULL AND state <> 'discarded'";
    let rows = tx.all(sql, &[]).await?;
    rows.iter().map(|row| row.get("edited_from").map(DeadId::from_uuid)).collect()
}

/// Why a letter cannot be replayed, in words that follow its name.
fn refusal(letter: &DeadLetter, mode: ReplayMode, edited: &HashSet<DeadId>) -> Option<String> {
    if let Some(replay) = letter.replay {
        return Some(format!("is part of replay {replay}: let it end, or cancel it"));
    }
    if letter.state != DeadState::Open {
        return Some(format!("is {}: only an open one can be replayed", letter.state));
    }
    if edited.contains(&letter.id) {
        return Some("has been edited: replay its edit".to_owned());
    }
    match mode {
        ReplayMode::SendStored if letter.stage != "send" || letter.send_id.is_none() => {
            Some("has no stored reply: regenerate it".to_owned())
        }
        ReplayMode::Regenerate if letter.stage == "send" && letter.event_id.is_none() => {
            Some("answers no message: send its stored text".to_owned())
        }
        ReplayMode::Regenerate | ReplayMode::SendStored | ReplayMode::Note => None,
    }
}

/// Where its message first stood, in the order in which the ingress received it.
fn first_place(letter: &DeadLetter) -> (Micros, Option<(uuid::Uuid, i64)>, Micros, DeadId) {
    (letter.received_at.unwrap_or(letter.created_at), letter.numbered, letter.created_at, letter.id)
}

fn note_context(id: ReplayId) -> Vec<u8> {
    format!("replay/{id}").into_bytes()
}
