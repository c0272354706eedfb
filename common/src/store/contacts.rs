//! People: found by any pseudonym of their address, or made; each with a data key of their own.

use super::sql::{Tx, args};
use super::{Store, StoreError};
use crate::domain::{Address, ContactId};
use crate::seal::{Key, Keyring, Pseudonym};

/// A contact with the key that seals what is theirs.
pub(super) struct Person {
    pub(super) id: ContactId,
    pub(super) key: Keyring,
    pub(super) aliases: Vec<Pseudonym>,
}

impl Store {
    /// The person behind an address, made when new. The key row is committed before anything is sealed with it, so
    /// that no crash leaves sealed bytes without a key.
    /// `None`: nobody is known by this address because its person was erased, so nothing of them is made anew.
    pub(super) async fn person(&self, address: &Address) -> Result<Option<Person>, StoreError> {
        let aliases = self.pseudonyms.of_address(address);
        let id = match self.known_contact(&aliases).await? {
            Some(id) => id,
            None => match self.new_contact(&aliases).await? {
                Some(id) => id,
                None => return Ok(None),
            },
        };
        Ok(Some(Person { id, key: self.find_or_create_key(id).await?, aliases }))
    }

    async fn known_contact(&self, aliases: &[Pseudonym]) -> Result<Option<ContactId>, StoreError> {
        for (age, alias) in aliases.iter().enumerate() {
            let row =
                self.main.read_maybe("SELECT contact_id FROM alias WHERE digest = $1", args![alias.digest()]).await?;
            let Some(row) = row else { continue };
            let id = ContactId::from_uuid(row.get("contact_id")?);
            if age > 0 {
                self.add_alias(id, &aliases[0]).await?;
            }
            return Ok(Some(id));
        }
        Ok(None)
    }

    async fn add_alias(&self, id: ContactId, alias: &Pseudonym) -> Result<(), StoreError> {
        let now = self.main.now().await?;
        let sql = "INSERT INTO alias (digest, key_id, contact_id, created_at) VALUES ($1, $2, $3, $4) \
                   ON CONFLICT DO NOTHING";
        self.main.write(sql, args![alias.digest(), alias.key_id(), id.uuid(), now]).await.map(drop)
    }

    /// Makes a person known by every pseudonym we can compute: in the middle of a rotation a worker that has only the
    /// older key must find them too. `None`: they were erased.
    async fn new_contact(&self, aliases: &[Pseudonym]) -> Result<Option<ContactId>, StoreError> {
        let id = ContactId::random();
        let mut tx = self.main.begin().await?;
        if is_tombstoned(&mut tx, aliases).await? {
            return Ok(None);
        }
        let now = tx.now();
        tx.run("INSERT INTO contact (id, created_at) VALUES ($1, $2)", args![id.uuid(), now]).await?;
        let sql = "INSERT INTO alias (digest, key_id, contact_id, created_at) VALUES ($1, $2, $3, $4) \
                   ON CONFLICT DO NOTHING";
        let mut ours = 0;
        for alias in aliases {
            ours += tx.run(sql, args![alias.digest(), alias.key_id(), id.uuid(), now]).await?;
        }
        if ours == aliases.len() as u64 {
            tx.commit().await?;
            return Ok(Some(id));
        }
        // Another worker made this person first; theirs stands.
        tx.rollback().await?;
        let known = self.known_contact(aliases).await?;
        known.map(Some).ok_or_else(|| StoreError::Unavailable("a contact vanished while it was looked up".into()))
    }

    async fn find_or_create_key(&self, contact: ContactId) -> Result<Keyring, StoreError> {
        if let Some(key) = self.find_key(contact).await? {
            return Ok(key);
        }
        let wrapped = self.wrapping.seal(&key_context(contact), Key::generate().expose());
        let now = self.main.now().await?;
        let sql =
            "INSERT INTO contact_key (contact_id, wrapped, created_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
        self.keys.write(sql, args![contact.uuid(), &wrapped, now]).await?;
        self.find_key(contact).await?.ok_or(StoreError::Erased)
    }

    async fn find_key(&self, contact: ContactId) -> Result<Option<Keyring>, StoreError> {
        let sql = "SELECT wrapped FROM contact_key WHERE contact_id = $1";
        let Some(row) = self.keys.read_maybe(sql, args![contact.uuid()]).await? else { return Ok(None) };
        let wrapped: Vec<u8> = row.get("wrapped")?;
        let bytes = self.wrapping.open(&key_context(contact), &wrapped)?;
        let key =
            Key::from_bytes(&bytes).ok_or_else(|| StoreError::Broken("a contact key of another length".into()))?;
        Ok(Some(Keyring::single(contact.uuid().simple().to_string(), key)))
    }

    /// A known contact's key.
    pub(super) async fn contact_key(&self, contact: ContactId) -> Result<Keyring, StoreError> {
        self.find_key(contact).await?.ok_or(StoreError::Erased)
    }
}

impl Person {
    /// Whether this person was erased, asked inside the transaction that would take something in for them.
    pub(super) async fn is_erased(&self, tx: &mut Tx) -> Result<bool, StoreError> {
        is_tombstoned(tx, &self.aliases).await
    }
}

async fn is_tombstoned(tx: &mut Tx, aliases: &[Pseudonym]) -> Result<bool, StoreError> {
    for alias in aliases {
        let sql = "SELECT 1 AS found FROM tombstone WHERE digest = $1";
        if tx.maybe(sql, args![alias.digest()]).await?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn key_context(contact: ContactId) -> Vec<u8> {
    format!("contact_key/{contact}").into_bytes()
}
