//! What every request meets: the configured sources with their schemes, the keys, the queue, the count.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use common::config::{QueueSecrets, Source};
use common::domain::Micros;
use common::providers;
use common::queue::Publisher;
use common::signature::Scheme;

use crate::admission::Admission;
use crate::config::IngressConfig;
use crate::outlet::Outlet;
use crate::sequence::Sequencer;
use crate::spool::Spool;

/// A configured source, ready to judge requests.
pub(crate) struct Entrance {
    pub(crate) source: Source,
    pub(crate) scheme: Scheme,
    /// One for each of the source's secrets, in their order.
    pub(crate) fingerprints: Vec<String>,
    pub(crate) admission: Admission,
    /// Whether its events may wait on disk while the queue takes none, if there is a spool.
    pub(crate) spools: bool,
}

/// The state behind every route.
pub(crate) struct Door {
    entrances: HashMap<String, Entrance>,
    pub(crate) keys: QueueSecrets,
    pub(crate) outlet: Outlet,
    pub(crate) spool: Option<Spool>,
    pub(crate) sequencer: Sequencer,
    pub(crate) clock: fn() -> Micros,
    pub(crate) read_timeout: Duration,
}

impl Door {
    pub(crate) fn new(config: IngressConfig, publisher: Arc<dyn Publisher>, spool: Option<Spool>) -> Self {
        let IngressConfig { secrets: keys, sources, timing, clock, read_timeout, .. } = config;
        let entrance = |source: Source| {
            let scheme = providers::scheme(&source)?;
            let fingerprint = |secret: &common::config::Secret| keys.pseudonyms.fingerprint(secret.expose().as_bytes());
            let fingerprints = source.secrets.iter().map(fingerprint).collect();
            let admission = Admission::of(&source);
            let spools = source.spool.unwrap_or(true);
            Some((source.name.to_string(), Entrance { source, scheme, fingerprints, admission, spools }))
        };
        let entrances = sources.into_values().filter_map(entrance).collect();
        let outlet = Outlet::new(publisher, timing.confirm);
        Self { entrances, keys, outlet, spool, sequencer: Sequencer::start(), clock, read_timeout }
    }

    /// The spool, if this source's events may wait there.
    pub(crate) fn spool_of(&self, entrance: &Entrance) -> Option<&Spool> {
        self.spool.as_ref().filter(|_| entrance.spools)
    }

    pub(crate) fn entrance(&self, name: &str) -> Option<&Entrance> {
        self.entrances.get(name)
    }
}
