//! The environment of recall.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use common::config::{Config, ConfigError, Findings, Mode, Problem, Room, Timing, Vars};

/// Everything that recall is told at start.
#[derive(Clone, Debug)]
pub struct RecallConfig {
    /// `RECALL_BIND`: where calls ask.
    pub bind: SocketAddr,
    /// `RECALL_ADMIN_BIND`: health and metrics.
    pub admin_bind: SocketAddr,
    /// The protocol's constants.
    pub timing: Timing,
    /// What is unsafe, yet allowed in development.
    pub warnings: Vec<Problem>,
}

impl RecallConfig {
    /// Reads and checks it all.
    ///
    /// # Errors
    /// [`ConfigError`] tells every problem at once, each with its setting and fix.
    pub fn load(vars: &Vars) -> Result<Self, ConfigError> {
        let mut findings = Findings::new(Mode::Development);
        let config = Config::load(vars, Room::Recall, &mut findings);
        let bind = vars.parsed("RECALL_BIND", local(8082), &mut findings);
        let admin_bind = vars.parsed("RECALL_ADMIN_BIND", local(9082), &mut findings);
        let config = config.checked(findings)?;
        Ok(Self { bind, admin_bind, timing: config.timing, warnings: config.warnings })
    }
}

const fn local(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}
