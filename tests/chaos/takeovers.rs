//! People who take the floor and give it back, by the command that an operator would use, and what it told them.

use std::sync::{Mutex, PoisonError};

use common::domain::Micros;
use serde_json::Value;

use super::customers::{digits, event_of};
use super::house::House;

/// One taking of a floor, as the command told it.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    pub(crate) conversation: String,
    /// When the command had ended; its commit was before.
    pub(crate) held_from: Micros,
    /// The sends that it named as begun before.
    pub(crate) begun: Vec<String>,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Takeovers {
    taken: Mutex<Vec<Taken>>,
    failed: Mutex<usize>,
}

impl Takeovers {
    /// Takes the floor of a customer's conversation, or gives it back. A customer who has no conversation yet has no
    /// floor; a command that finds the store away is what an operator would see too.
    pub(crate) async fn hand(&self, house: &House, seed: u64, customer: usize, takes: bool) {
        let event = digits(event_of(seed, customer, 1));
        let Some(conversation) = house.witness.conversation_of(&event).await else { return };
        let word = if takes { "take" } else { "return" };
        let (code, printed, _) = house.handrail(&["conversation", word, &conversation, "--json"]).await;
        let told: Value = serde_json::from_str(&printed).unwrap_or_default();
        if told["id"].is_null() || code > 1 {
            *self.failed.lock().unwrap_or_else(PoisonError::into_inner) += 1;
            return;
        }
        if takes {
            let begun = told["begun"].as_array().into_iter().flatten();
            let begun = begun.filter_map(Value::as_str).map(|id| id.replace('-', "")).collect();
            let taken = Taken { conversation, held_from: Micros::wall(), begun };
            self.taken.lock().unwrap_or_else(PoisonError::into_inner).push(taken);
        }
    }

    /// Every taking that the command confirmed.
    pub(crate) fn taken(&self) -> Vec<Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many commands found the store away.
    pub(crate) fn failed(&self) -> usize {
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
