//! What rules may know of a turn besides its texts: the clock, and what happened in the conversation lately.
//!
//! One plain value, read once when a turn begins and recorded in its decision path, so that the turn can be judged again
//! under another policy as it was judged then. Apart from the clock, everything is an age: how long before the turn.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Micros, Priority};

/// What is known of a turn besides its texts. The default is that nothing is: no rule about the clock or the past hits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Circumstances {
    /// When it began, by the store's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Micros>,
    /// How long the conversation had been silent when its oldest pending message came; `None` if that one is the first.
    #[serde(with = "millis::maybe", skip_serializing_if = "Option::is_none")]
    pub silent_for: Option<Duration>,
    /// How long the oldest pending message has waited.
    #[serde(with = "millis")]
    pub waiting: Duration,
    /// How long ago this contact's messages of the last minute came, pending ones included, the newest first.
    #[serde(with = "millis::many", skip_serializing_if = "Vec::is_empty")]
    pub arrivals: Vec<Duration>,
    /// How long ago turns of the last day left a message without an answer: blocked, a draft refused, or dead.
    #[serde(with = "millis::many", skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<Duration>,
    /// How long ago the floor came back from people; `None` if it never did.
    #[serde(with = "millis::maybe", skip_serializing_if = "Option::is_none")]
    pub returned: Option<Duration>,
    /// How urgent the call was that people had answered then; `None` if they came uncalled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub returned_from: Option<Priority>,
}

/// Ages as whole milliseconds.
mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    fn of(age: Duration) -> u64 {
        u64::try_from(age.as_millis()).unwrap_or(u64::MAX)
    }

    pub(super) fn serialize<S: Serializer>(age: &Duration, to: S) -> Result<S::Ok, S::Error> {
        of(*age).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_millis)
    }

    pub(super) mod maybe {
        use super::{Deserialize, Deserializer, Duration, Serialize, Serializer, of};

        // The shape is serde's.
        #[expect(clippy::ref_option, reason = "serde hands the field by reference")]
        pub(in super::super) fn serialize<S: Serializer>(age: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
            age.map(of).serialize(to)
        }

        pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
            Ok(Option::<u64>::deserialize(from)?.map(Duration::from_millis))
        }
    }

    pub(super) mod many {
        use super::{Deserialize, Deserializer, Duration, Serializer, of};

        pub(in super::super) fn serialize<S: Serializer>(ages: &[Duration], to: S) -> Result<S::Ok, S::Error> {
            to.collect_seq(ages.iter().copied().map(of))
        }

        pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Duration>, D::Error> {
            Ok(Vec::<u64>::deserialize(from)?.into_iter().map(Duration::from_millis).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn circumstances_are_recorded_in_milliseconds_and_come_back_as_they_were() {
        let circumstances = Circumstances {
            at: Some(Micros::from_seconds(1_767_225_600)),
            silent_for: Some(Duration::from_secs(90)),
            waiting: Duration::from_millis(1_500),
            arrivals: vec![Duration::ZERO, Duration::from_secs(7)],
            failures: vec![Duration::from_secs(60)],
            returned: None,
            returned_from: Some(Priority::High),
        };
        let recorded = serde_json::to_string(&circumstances).unwrap();
        assert!(
            recorded.contains(r#""silent_for":90000,"waiting":1500,"arrivals":[0,7000],"failures":[60000]"#),
            "{recorded}"
        );
        assert_eq!(serde_json::from_str::<Circumstances>(&recorded).unwrap(), circumstances);
        assert_eq!(serde_json::from_str::<Circumstances>("{}").unwrap(), Circumstances::default());
    }
}
