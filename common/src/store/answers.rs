//! Answers that are said again for a while: sealed under the deployment's key, named by a keyed hash of what was asked.

use std::time::Duration;

use super::sql::args;
use super::{Store, StoreError};

impl Store {
    /// The answer that was kept for exactly this, and has not ended. One that no key opens any more is none.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn saved_answer(&self, asked: &str) -> Result<Option<String>, StoreError> {
        let question = self.pseudonyms.of_question(asked);
        let now = self.main.now().await?;
        let sql = "SELECT answer FROM saved_answer WHERE question = $1 AND ends_at > $2";
        let Some(row) = self.main.read_maybe(sql, args![&question, now]).await? else { return Ok(None) };
        let sealed: Vec<u8> = row.get("answer")?;
        let plain = self.wrapping.open(&context(&question), &sealed).ok();
        Ok(plain.and_then(|plain| String::from_utf8(plain).ok()))
    }

    /// Keeps an answer for so long; what has ended goes, and of what is more than `most` the oldest.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn save_answer(&self, asked: &str, text: &str, last: Duration, most: u32) -> Result<(), StoreError> {
        let question = self.pseudonyms.of_question(asked);
        let sealed = self.wrapping.seal(&context(&question), text.as_bytes());
        let mut tx = self.main.begin().await?;
        let now = tx.now();
        let keep = "INSERT INTO saved_answer (question, answer, saved_at, ends_at) VALUES ($1, $2, $3, $4) \
                    ON CONFLICT (question) DO UPDATE SET answer = $2, saved_at = $3, ends_at = $4";
        tx.run(keep, args![&question, &sealed, now, now + last]).await?;
        tx.run("DELETE FROM saved_answer WHERE ends_at <= $1", args![now]).await?;
        let surplus = "DELETE FROM saved_answer WHERE question IN \
                         (SELECT question FROM saved_answer ORDER BY saved_at DESC, question LIMIT 1000 OFFSET $1)";
        tx.run(surplus, args![i64::from(most)]).await?;
        tx.commit().await
    }
}

fn context(question: &str) -> Vec<u8> {
    format!("answer/{question}").into_bytes()
}
