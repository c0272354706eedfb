//! Notices by e-mail: the only file that knows SMTP. A notice's id is its `Message-ID`, the same for every try, by which
//! mail systems drop a second one.

use std::time::Duration;

use async_trait::async_trait;
use common::config::Secret;
use common::store::BegunNotice;
use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::transport::smtp;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message as Mail, Tokio1Executor};

use super::{Message, Notifier, refused};
use crate::channels::{RefusalClass, SendOutcome};

/// A mail server and who gets mail through it.
pub(super) struct Email {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    to: Vec<Mailbox>,
    timeout: Duration,
}

impl Email {
    pub(super) fn new(server: &Secret, from: &str, to: &[String], timeout: Duration) -> Result<Self, String> {
        // The error may quote the URL, and with it the password.
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(server.expose())
            .map_err(|_| "server cannot be used: write it like smtps://user:password@host".to_owned())?;
        let mailbox =
            |key: &str, text: &str| text.parse::<Mailbox>().map_err(|_| format!("{key} is no e-mail address"));
        Ok(Self {
            transport: transport.timeout(Some(timeout)).build(),
            from: mailbox("from", from)?,
            to: to.iter().map(|text| mailbox("to", text)).collect::<Result<_, _>>()?,
            timeout,
        })
    }

    fn mail(&self, notice: &BegunNotice, message: &Message) -> Result<Mail, lettre::error::Error> {
        let host = self.from.email.domain();
        let to = self.to.iter().fold(Mail::builder().from(self.from.clone()), |mail, to| mail.to(to.clone()));
        to.subject(&message.subject)
            .message_id(Some(format!("<{}@{host}>", notice.id)))
            .header(ContentType::TEXT_PLAIN)
            .body(message.text.clone())
    }
}

#[async_trait]
impl Notifier for Email {
    async fn tell(&self, notice: &BegunNotice, message: &Message) -> SendOutcome {
        let Ok(mail) = self.mail(notice, message) else { return refused(RefusalClass::Rejected, "unwritable") };
        match tokio::time::timeout(self.timeout, self.transport.send(mail)).await {
            Ok(Ok(_)) => SendOutcome::Accepted { provider_id: None },
            Ok(Err(error)) => outcome(&error),
            Err(_) => SendOutcome::Unknown { why: "timeout" },
        }
    }
}

/// What the server said decides; its words may quote an address, so only its code is kept.
fn outcome(error: &smtp::Error) -> SendOutcome {
    let code = error.status().map_or_else(|| "smtp".to_owned(), |code| code.to_string());
    match () {
        // 530 to 538: our login.
        () if error.is_permanent() && code.starts_with("53") => refused(RefusalClass::NotConfigured, &code),
        () if error.is_permanent() => refused(RefusalClass::Rejected, &code),
        () if error.is_transient() => refused(RefusalClass::Unavailable, &code),
        () if error.is_client() || error.is_tls() => refused(RefusalClass::NotConfigured, "smtp_client"),
        () if error.is_timeout() => SendOutcome::Unknown { why: "timeout" },
        () => refused(RefusalClass::Unavailable, "not_connected"),
    }
}
