//! Notices by a channel of ours: a WhatsApp message to a colleague's own number.
//!
//! WhatsApp lets a business write freely only within 24 hours of what that number wrote last: a colleague who is told
//! this way writes to the business's number once a day. A refusal that comes later, as a status, is noted on the notice.

use std::sync::Arc;

use async_trait::async_trait;
use common::config::Secret;
use common::domain::SendId;
use common::store::BegunNotice;

use super::{Message, Notifier};
use crate::channels::{Channel, Outgoing, SendOutcome, split};

/// A colleague's number, through a source's channel.
pub(super) struct Mouth {
    channel: Arc<dyn Channel>,
    to: Secret,
}

impl Mouth {
    pub(super) const fn new(channel: Arc<dyn Channel>, to: Secret) -> Self {
        Self { channel, to }
    }
}

#[async_trait]
impl Notifier for Mouth {
    async fn tell(&self, notice: &BegunNotice, message: &Message) -> SendOutcome {
        let text = format!("{}\n\n{}", message.subject, message.text);
        // One notice is one message: what does not fit is in `conversation take`.
        let text = split(&text, self.channel.limit()).into_iter().next().unwrap_or_default();
        let id = SendId::from_uuid(notice.id.uuid());
        self.channel.send(&Outgoing::to_colleague(id, notice.conversation, self.to.expose(), text)).await
    }
}
