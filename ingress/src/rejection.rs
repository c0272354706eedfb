//! The only place where an error becomes a status.

use axum::http::StatusCode;
use common::queue::PublishError;
use common::signature::Refusal;
use face::Problem;

use crate::spool::Refused;

/// Seconds until a refused provider may try again, at most; spread, so that they do not all come at once.
const RETRY_WITHIN: u64 = 5;

/// Why a request does not get its 200.
#[derive(Debug)]
pub(crate) enum Rejection {
    /// No source of this name.
    UnknownSource,
    /// The source takes webhooks only by POST.
    MethodNotAllowed(&'static str),
    /// The client's network is not on the source's list.
    AddressNotAllowed,
    /// The client's rate is used up.
    TooManyRequests { retry_after: u64 },
    /// More bytes than the source's limit.
    BodyTooLarge,
    /// The body did not come in time.
    SlowBody,
    /// The connection broke within the body.
    BrokenBody,
    /// Not proved.
    Signature(Refusal),
    /// Not the token that we know.
    HandshakeRefused,
    /// One event is larger than the queue takes.
    EventTooLarge,
    /// The queue did not confirm everything.
    Queue(PublishError),
    /// The queue did not, and the spool could not keep it either.
    Spool(Refused),
    /// Ours, and not supposed to happen.
    Internal,
}

impl Rejection {
    /// What the answer says.
    pub(crate) fn problem(&self) -> Problem {
        let problem = |status, code, detail| Problem::new(status, code, detail);
        match self {
            Self::UnknownSource => {
                problem(StatusCode::NOT_FOUND, "unknown_source", "No source of this name is configured.")
            }
            Self::MethodNotAllowed(allow) => Problem {
                allow: Some(*allow),
                ..problem(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "This method has no meaning here.")
            },
            Self::AddressNotAllowed => {
                problem(StatusCode::FORBIDDEN, "address_not_allowed", "This address may not post to this source.")
            }
            Self::TooManyRequests { retry_after } => Problem {
                retry_after: Some(*retry_after),
                ..problem(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", "This address has used up its rate.")
            },
            Self::BodyTooLarge => {
                problem(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "The body is larger than this source takes.")
            }
            Self::SlowBody => problem(StatusCode::REQUEST_TIMEOUT, "slow_body", "The body did not arrive in time."),
            Self::BrokenBody => problem(StatusCode::BAD_REQUEST, "broken_body", "The body did not arrive whole."),
            Self::Signature(refusal) => problem(StatusCode::UNAUTHORIZED, refusal.code(), refused(*refusal)),
            Self::HandshakeRefused => problem(
                StatusCode::FORBIDDEN,
                "handshake_refused",
                "The handshake does not carry the token of this source.",
            ),
            Self::EventTooLarge => {
                problem(StatusCode::PAYLOAD_TOO_LARGE, "event_too_large", "One event is larger than the queue takes.")
            }
            Self::Queue(_) => {
                later("queue_unavailable", "The events could not be queued for certain: send them again.")
            }
            Self::Spool(refused) => {
                later(refused.code(), "The events could be neither queued nor kept: send them again.")
            }
            Self::Internal => later("internal", "The request could not be handled: send it again."),
        }
    }

    /// What may be said in the log and no further: a constant word.
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Self::Queue(error) => error.reason(),
            Self::Spool(refused) => refused.code(),
            Self::UnknownSource
            | Self::MethodNotAllowed(_)
            | Self::AddressNotAllowed
            | Self::TooManyRequests { .. }
            | Self::BodyTooLarge
            | Self::SlowBody
            | Self::BrokenBody
            | Self::Signature(_)
            | Self::HandshakeRefused
            | Self::EventTooLarge
            | Self::Internal => "rejected",
        }
    }
}

/// Our own fault: 503, and when to come again.
fn later(code: &'static str, detail: &'static str) -> Problem {
    let retry_after = Some(rand::random_range(1..=RETRY_WITHIN));
    Problem { retry_after, ..Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, detail) }
}

const fn refused(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Missing => "A header of the signature is missing.",
        Refusal::Malformed => "The signature is malformed or given twice.",
        Refusal::Mismatch => "The signature does not match.",
        Refusal::TooOld => "The signed timestamp is too old.",
        Refusal::TooNew => "The signed timestamp is too new.",
    }
}

impl From<Refusal> for Rejection {
    fn from(refusal: Refusal) -> Self {
        Self::Signature(refusal)
    }
}
