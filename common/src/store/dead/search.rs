//! Searching: lists and counts, quick among a million letters.
//!
//! Words (group, class, stage, source, text) are looked for among the causes, which are few; letters are then taken
//! from the index of each cause, eight causes to a statement, each looking no further back than the page that is
//! already full; of many causes, the newest letters are looked at first. Nothing depends on how the engine weighs a filter: every statement has one index that fits it.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use uuid::Uuid;

use super::super::sql::{Tx, args};
use super::super::{Store, StoreError};
use super::letter::{columns, letter, select_letters};
use super::{DeadFilter, DeadLetter};
use crate::domain::{ConversationId, DeadId, DeadState, Micros, SourceName};

/// Where a list begins: after this letter, going back in time.
pub(super) type Place = (Micros, Uuid);

/// Before everything, for a list from the newest.
pub(super) const NEWEST: Place = (Micros(i64::MAX), Uuid::nil());

/// So many causes are asked one by one; of more, the newest letters are looked at first.
const FEW_CAUSES: usize = 24;
/// Letters looked at when there are many causes.
const MOST_LOOKED_AT: i64 = 4_000;

macro_rules! window {
    () => {
        "(created_at, id) < ($1, $2) AND (created_at, id) >= ($3, $4) ORDER BY created_at DESC, id DESC LIMIT $5"
    };
}
macro_rules! page {
    ($($condition:expr),*) => {
        select_letters!("(SELECT ", columns!(), " FROM dead WHERE ", $($condition,)* window!(),
            ") d ORDER BY d.created_at DESC, d.id DESC")
    };
}
macro_rules! arm {
    ($name:literal, $($condition:expr),+) => {
        concat!("SELECT * FROM (SELECT ", columns!(), " FROM dead WHERE ", $($condition,)+ " AND ", window!(), ") ",
            $name)
    };
}
/// The newest of eight causes at once.
macro_rules! arms {
    ($and:literal) => {
        select_letters!(
            "(",
            arm!("a", "cause = $6", $and),
            " UNION ALL ",
            arm!("b", "cause = $7", $and),
            " UNION ALL ",
            arm!("c", "cause = $8", $and),
            " UNION ALL ",
            arm!("e", "cause = $9", $and),
            " UNION ALL ",
            arm!("f", "cause = $10", $and),
            " UNION ALL ",
            arm!("g", "cause = $11", $and),
            " UNION ALL ",
            arm!("h", "cause = $12", $and),
            " UNION ALL ",
            arm!("i", "cause = $13", $and),
            ") d ORDER BY d.created_at DESC, d.id DESC LIMIT $5"
        )
    };
}
/// Causes by what their words say.
macro_rules! causes {
    ($group:literal, $class:literal, $stage:literal, $source:literal, $text:literal) => {
        concat!(
            "SELECT c.id FROM dead_cause c WHERE (",
            $group,
            " IS NULL OR c.fingerprint LIKE ",
            $group,
            ") AND (",
            $class,
            " IS NULL OR c.class = ",
            $class,
            ") AND (",
            $stage,
            " IS NULL OR c.stage = ",
            $stage,
            ") AND (",
            $source,
            " IS NULL OR c.source = ",
            $source,
            ") AND (",
            $text,
            " IS NULL OR lower(c.error) LIKE ",
            $text,
            " ESCAPE '!' OR c.class LIKE ",
            $text,
            " ESCAPE '!' OR c.tags LIKE ",
            $text,
            " ESCAPE '!')"
        )
    };
}
pub(super) use causes;
macro_rules! of_person {
    () => {
        concat!(
            " AND ($7 IS NULL OR state = $7) AND ($8 IS NULL OR conversation_id = $8) AND cause IN (",
            causes!("$9", "$10", "$11", "$12", "$13"),
            ") AND "
        )
    };
}

const PAGE: &str = page!();
const PAGE_OF_STATE: &str = page!("state = $6 AND ");
const PAGE_OF_CONTACT: &str = page!("contact_id = $6", of_person!());
const PAGE_OF_CONVERSATION: &str = page!("conversation_id = $6", of_person!());
const PAGE_OF_CAUSES: &str = arms!("");
const PAGE_OF_CAUSES_AND_STATE: &str = arms!(" AND state = $14");
const PAGE_OF_IDS: &str = select_letters!(
    "(SELECT ",
    columns!(),
    " FROM dead WHERE id IN ($1, $2, $3, $4, $5, $6, $7, \
    $8)) d"
);
const COUNT: &str = "SELECT count(*) AS n FROM dead WHERE created_at >= $1 AND created_at < $2";
const COUNT_OF_STATE: &str = "SELECT count(*) AS n FROM dead WHERE created_at >= $1 AND created_at < $2 AND state = $3";
const COUNT_OF_CAUSES: &str = "SELECT count(*) AS n FROM dead WHERE created_at >= $1 AND created_at < $2 \
    AND cause IN ($3, $4, $5, $6, $7, $8, $9, $10)";
const COUNT_OF_CAUSES_AND_STATE: &str = "SELECT count(*) AS n FROM dead WHERE created_at >= $1 AND created_at < $2 \
    AND cause IN ($3, $4, $5, $6, $7, $8, $9, $10) AND state = $11";

/// A filter with what it is best looked up by.
pub(super) struct Search<'f> {
    filter: &'f DeadFilter,
    state: Option<DeadState>,
    by: By,
}

enum By {
    Ids,
    Contact(Uuid),
    Conversation(Uuid),
    Causes(Vec<String>),
    Time,
}

/// The words of a filter, as the causes' conditions take them.
pub(super) struct Words<'f> {
    pub(super) group: Option<String>,
    pub(super) text: Option<String>,
    filter: &'f DeadFilter,
}

impl<'f> Words<'f> {
    pub(super) async fn of(tx: &mut Tx, filter: &'f DeadFilter) -> Result<Self, StoreError> {
        let group = match &filter.group {
            Some(group) => Some(one_group(tx, group).await?),
            None => None,
        };
        Ok(Self { group, text: filter.text.as_deref().map(pattern), filter })
    }

    pub(super) fn source(&self) -> Option<&str> {
        self.filter.source.as_ref().map(SourceName::as_str)
    }
}

/// The whole fingerprint of a group from its beginning.
async fn one_group(tx: &mut Tx, group: &str) -> Result<String, StoreError> {
    let sql = "SELECT DISTINCT fingerprint FROM dead_cause WHERE fingerprint LIKE $1 ORDER BY fingerprint LIMIT 2";
    let found = tx.all(sql, args![&format!("{}%", group.to_lowercase())]).await?;
    match found.as_slice() {
        [] => Err(StoreError::Refused(format!("no group of dead letters begins with '{group}'"))),
        [one] => one.get("fingerprint"),
        _ => Err(StoreError::Refused(format!("several groups begin with '{group}': give more of the fingerprint"))),
    }
}

/// A text as LIKE takes it: anywhere, every character for itself.
fn pattern(text: &str) -> String {
    let mut pattern = String::from("%");
    for c in text.trim().to_lowercase().chars() {
        if matches!(c, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

impl<'f> Search<'f> {
    /// Looks the filter's words up. `state` stands for the filter's own.
    pub(super) async fn new(tx: &mut Tx, filter: &'f DeadFilter, state: Option<DeadState>) -> Result<Self, StoreError> {
        let by = if !filter.ids.is_empty() {
            By::Ids
        } else if let Some(contact) = filter.contact {
            By::Contact(contact.uuid())
        } else if let Some(conversation) = filter.conversation {
            By::Conversation(conversation.uuid())
        } else if filter.names_causes() {
            let words = Words::of(tx, filter).await?;
            let sql = causes!("$1", "$2", "$3", "$4", "$5");
            let (class, stage) = (filter.class.as_deref(), filter.stage.as_deref());
            let values = args![words.group.as_deref(), class, stage, words.source(), words.text.as_deref()];
            By::Causes(tx.all(sql, values).await?.iter().map(|row| row.get("id")).collect::<Result<_, _>>()?)
        } else {
            By::Time
        };
        Ok(Self { filter, state, by })
    }

    /// The next letters after `place`, newest first.
    pub(super) async fn page(&self, tx: &mut Tx, place: Place, limit: i64) -> Result<Vec<DeadLetter>, StoreError> {
        let until = (self.filter.until.unwrap_or(NEWEST.0), Uuid::nil());
        let before = place.min(until);
        let from = (self.filter.since.unwrap_or(Micros(0)), Uuid::nil());
        let state = self.state.map(DeadState::as_str);
        match &self.by {
            By::Ids => self.of_ids(tx, before, from, limit).await,
            By::Contact(id) => self.of_person(tx, PAGE_OF_CONTACT, *id, (before, from, limit)).await,
            By::Conversation(id) => self.of_person(tx, PAGE_OF_CONVERSATION, *id, (before, from, limit)).await,
            By::Causes(causes) => of_causes(tx, causes, state, (before, from, limit)).await,
            By::Time => of_time(tx, state, (before, from, limit)).await,
        }
    }

    async fn of_person(
        &self,
        tx: &mut Tx,
        sql: &'static str,
        id: Uuid,
        (before, from, limit): (Place, Place, i64),
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let words = Words::of(tx, self.filter).await?;
        let values = args![
            before.0,
            before.1,
            from.0,
            from.1,
            limit,
            id,
            self.state.map(DeadState::as_str),
            self.filter.conversation.map(ConversationId::uuid),
            words.group.as_deref(),
            self.filter.class.as_deref(),
            self.filter.stage.as_deref(),
            words.source(),
            words.text.as_deref(),
        ];
        tx.all(sql, values).await?.iter().map(letter).collect()
    }

    async fn of_ids(&self, tx: &mut Tx, before: Place, from: Place, limit: i64) -> Result<Vec<DeadLetter>, StoreError> {
        let wanted: BTreeSet<DeadId> = self.filter.ids.iter().copied().collect();
        let ids: Vec<Uuid> = wanted.iter().map(|id| id.uuid()).collect();
        let mut letters = Vec::with_capacity(ids.len());
        for chunk in ids.chunks(8) {
            let id = |at: usize| chunk.get(at).copied();
            let values = args![id(0), id(1), id(2), id(3), id(4), id(5), id(6), id(7)];
            for row in tx.all(PAGE_OF_IDS, values).await? {
                letters.push(letter(&row)?);
            }
        }
        let found: HashSet<DeadId> = letters.iter().map(|letter| letter.id).collect();
        if let Some(missing) = wanted.iter().find(|id| !found.contains(*id)) {
            return Err(StoreError::Absent("dead letter", missing.to_string()));
        }
        let words = Words::of(tx, self.filter).await?;
        letters.retain(|letter| {
            let place = (letter.created_at, letter.id.uuid());
            place < before && place >= from && self.fits(letter, &words)
        });
        letters.sort_by_key(|letter| std::cmp::Reverse((letter.created_at, letter.id)));
        letters.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(letters)
    }

    /// Whether a letter that was named fits the rest of the filter too.
    fn fits(&self, letter: &DeadLetter, words: &Words<'_>) -> bool {
        let filter = self.filter;
        let text = filter.text.as_ref().map(|text| text.trim().to_lowercase());
        let says = |text: &String| {
            letter.error.to_lowercase().contains(text)
                || letter.class.contains(text)
                || letter.tags.iter().any(|tag| tag.contains(text))
        };
        self.state.is_none_or(|state| letter.state == state)
            && words.group.as_ref().is_none_or(|group| letter.fingerprint == *group)
            && filter.class.as_ref().is_none_or(|class| letter.class == *class)
            && filter.stage.as_ref().is_none_or(|stage| letter.stage == *stage)
            && filter.source.as_ref().is_none_or(|source| letter.source == source.as_str())
            && filter.contact.is_none_or(|contact| letter.contact == Some(contact))
            && filter.conversation.is_none_or(|conversation| letter.conversation == Some(conversation))
            && text.as_ref().is_none_or(says)
    }

    /// Every letter, whatever the filter's limit.
    pub(super) async fn all(&self, tx: &mut Tx) -> Result<Vec<DeadLetter>, StoreError> {
        let mut letters = Vec::new();
        self.each(tx, |letter| letters.push(letter)).await?;
        Ok(letters)
    }

    /// Every letter, page by page, whatever the filter's limit.
    pub(super) async fn each(&self, tx: &mut Tx, mut see: impl FnMut(DeadLetter)) -> Result<(), StoreError> {
        const STEP: i64 = 1_000;
        let mut place = NEWEST;
        loop {
            let page = self.page(tx, place, STEP).await?;
            let full = i64::try_from(page.len()) == Ok(STEP);
            if let Some(last) = page.last() {
                place = (last.created_at, last.id.uuid());
            }
            page.into_iter().for_each(&mut see);
            if !full {
                return Ok(());
            }
        }
    }

    pub(super) async fn count(&self, tx: &mut Tx) -> Result<i64, StoreError> {
        let (since, until) = (self.filter.since.unwrap_or(Micros(0)), self.filter.until.unwrap_or(NEWEST.0));
        let state = self.state.map(DeadState::as_str);
        match &self.by {
            // A person's or a conversation's letters are few, and named ones are counted.
            By::Ids | By::Contact(_) | By::Conversation(_) => {
                Ok(i64::try_from(self.all(tx).await?.len()).unwrap_or(i64::MAX))
            }
            By::Causes(causes) => {
                let mut sum = 0;
                for chunk in causes.chunks(8) {
                    let c = |at: usize| chunk.get(at).map(String::as_str);
                    let row = match state {
                        Some(state) => {
                            let values = args![since, until, c(0), c(1), c(2), c(3), c(4), c(5), c(6), c(7), state];
                            tx.one(COUNT_OF_CAUSES_AND_STATE, values).await?
                        }
                        None => {
                            let values = args![since, until, c(0), c(1), c(2), c(3), c(4), c(5), c(6), c(7)];
                            tx.one(COUNT_OF_CAUSES, values).await?
                        }
                    };
                    sum += row.get::<i64>("n")?;
                }
                Ok(sum)
            }
            By::Time => match state {
                Some(state) => tx.one(COUNT_OF_STATE, args![since, until, state]).await?.get("n"),
                None => tx.one(COUNT, args![since, until]).await?.get("n"),
            },
        }
    }
}

/// Many causes are likely among the newest letters, whatever they died of: a page that is full of those is the answer,
/// and so is all that there is. `None`: neither, and each cause must be asked.
async fn among_the_newest(
    tx: &mut Tx,
    causes: &[String],
    state: Option<&str>,
    (before, from, limit): (Place, Place, i64),
) -> Result<Option<Vec<DeadLetter>>, StoreError> {
    let looked_at = (limit.saturating_mul(8)).min(MOST_LOOKED_AT);
    let rows = of_time(tx, state, (before, from, looked_at)).await?;
    let all = i64::try_from(rows.len()).unwrap_or(i64::MAX) < looked_at;
    let wanted: HashSet<&str> = causes.iter().map(String::as_str).collect();
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut letters: Vec<_> = rows.into_iter().filter(|letter| wanted.contains(letter.cause.as_str())).collect();
    letters.truncate(most);
    Ok((all || letters.len() == most).then_some(letters))
}

async fn of_time(
    tx: &mut Tx,
    state: Option<&str>,
    (before, from, limit): (Place, Place, i64),
) -> Result<Vec<DeadLetter>, StoreError> {
    let (sql, values): (_, &[_]) = match state {
        Some(state) => (PAGE_OF_STATE, args![before.0, before.1, from.0, from.1, limit, state]),
        None => (PAGE, args![before.0, before.1, from.0, from.1, limit]),
    };
    tx.all(sql, values).await?.iter().map(letter).collect()
}

async fn of_causes(
    tx: &mut Tx,
    causes: &[String],
    state: Option<&str>,
    (before, mut from, limit): (Place, Place, i64),
) -> Result<Vec<DeadLetter>, StoreError> {
    if causes.len() > FEW_CAUSES
        && let Some(letters) = among_the_newest(tx, causes, state, (before, from, limit)).await?
    {
        return Ok(letters);
    }
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut newest: BTreeMap<(Micros, Uuid), DeadLetter> = BTreeMap::new();
    for chunk in causes.chunks(8) {
        let c = |at: usize| chunk.get(at).map(String::as_str);
        let rows = match state {
            Some(state) => {
                let values = args![
                    before.0,
                    before.1,
                    from.0,
                    from.1,
                    limit,
                    c(0),
                    c(1),
                    c(2),
                    c(3),
                    c(4),
                    c(5),
                    c(6),
                    c(7),
                    state
                ];
                tx.all(PAGE_OF_CAUSES_AND_STATE, values).await?
            }
            None => {
                let values =
                    args![before.0, before.1, from.0, from.1, limit, c(0), c(1), c(2), c(3), c(4), c(5), c(6), c(7)];
                tx.all(PAGE_OF_CAUSES, values).await?
            }
        };
        for row in &rows {
            let letter = letter(row)?;
            newest.insert((letter.created_at, letter.id.uuid()), letter);
        }
        while newest.len() > most {
            newest.pop_first();
        }
        // The page is full: whatever is older than its last letter is of no use.
        if newest.len() == most
            && let Some((oldest, _)) = newest.first_key_value()
        {
            from = from.max(*oldest);
        }
    }
    Ok(newest.into_values().rev().collect())
}

impl Store {
    /// Dead letters, newest first.
    ///
    /// # Errors
    /// [`StoreError::Refused`], [`StoreError::Absent`], [`StoreError::Unavailable`].
    pub async fn dead_letters(&self, filter: &DeadFilter) -> Result<Vec<DeadLetter>, StoreError> {
        filter.check()?;
        let mut tx = self.main.snapshot().await?;
        let place = filter.after.map_or(NEWEST, |(at, id)| (at, id.uuid()));
        let search = Search::new(&mut tx, filter, filter.state).await?;
        search.page(&mut tx, place, filter.page()).await
    }

    /// How many letters a filter means, its limit and page apart.
    ///
    /// # Errors
    /// As [`dead_letters`](Self::dead_letters).
    pub async fn dead_count(&self, filter: &DeadFilter) -> Result<i64, StoreError> {
        filter.check()?;
        let mut tx = self.main.snapshot().await?;
        let search = Search::new(&mut tx, filter, filter.state).await?;
        search.count(&mut tx).await
    }
}
