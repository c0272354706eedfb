//! Webhook bodies shaped like the providers' own, all synthetic: for `handrail send`, `demo`, benchmarks and tests.
//!
//! Numbers are of the range +1 555 01xx, which is kept for fiction.

use serde_json::{Value, json};

use crate::domain::Micros;

/// A customer's question on WhatsApp.
pub const WHATSAPP_TEXT: &str = include_str!("samples/whatsapp_text.json");
/// Three messages in one POST.
pub const WHATSAPP_BURST: &str = include_str!("samples/whatsapp_burst.json");
/// A customer asks for a person.
pub const WHATSAPP_PERSON: &str = include_str!("samples/whatsapp_person.json");
/// An image without a caption.
pub const WHATSAPP_IMAGE: &str = include_str!("samples/whatsapp_image.json");
/// An image with a caption.
pub const WHATSAPP_CAPTION: &str = include_str!("samples/whatsapp_caption.json");
/// One message of every other type, and one of a type that does not exist.
pub const WHATSAPP_KINDS: &str = include_str!("samples/whatsapp_kinds.json");
/// A send was delivered; it carries our own id.
pub const WHATSAPP_STATUS: &str = include_str!("samples/whatsapp_status.json");
/// A send failed.
pub const WHATSAPP_FAILED: &str = include_str!("samples/whatsapp_failed.json");
/// A person of the business wrote to the customer from the business's phone.
pub const WHATSAPP_ECHO: &str = include_str!("samples/whatsapp_echo.json");
/// A customer stops marketing messages.
pub const WHATSAPP_PREFERENCES: &str = include_str!("samples/whatsapp_preferences.json");
/// A Messenger message, an echo and a read receipt.
pub const MESSENGER: &str = include_str!("samples/messenger.json");
/// A voice agent's call has ended.
pub const ELEVENLABS_TRANSCRIPTION: &str = include_str!("samples/elevenlabs_transcription.json");
/// A message for an `hmac` source with the default pointers.
pub const GENERIC: &str = include_str!("samples/generic.json");
/// A message for a `standard-webhooks` source with the default pointers.
pub const STANDARD_WEBHOOKS: &str = include_str!("samples/standard_webhooks.json");

/// The business's end in every WhatsApp sample.
pub const PHONE_NUMBER_ID: &str = "155500000000001";

/// One WhatsApp text message of a body made by [`whatsapp_texts`].
#[derive(Clone, Copy, Debug)]
pub struct Text<'a> {
    /// The provider's id of it; the same id again is a duplicate.
    pub id: &'a str,
    /// The customer's number, digits only.
    pub from: &'a str,
    /// What they say.
    pub body: &'a str,
}

/// A WhatsApp body with these messages, said at `at`.
#[must_use]
pub fn whatsapp_texts(texts: &[Text<'_>], at: Micros) -> String {
    let message = |text: &Text<'_>| {
        let said_at = at.seconds().to_string();
        json!({"from": text.from, "id": text.id, "timestamp": said_at, "type": "text", "text": {"body": text.body}})
    };
    let contact = |text: &Text<'_>| json!({"profile": {"name": "Sample Customer"}, "wa_id": text.from});
    let messages: Vec<Value> = texts.iter().map(message).collect();
    let contacts: Vec<Value> = texts.first().map(contact).into_iter().collect();
    whatsapp(&json!({"contacts": contacts, "messages": messages}))
}

/// A WhatsApp body with one status of a send, by the provider's id of it and, where given, our own.
#[must_use]
pub fn whatsapp_status(provider_id: &str, send_id: Option<&str>, to: &str, status: &str, at: Micros) -> String {
    let said_at = at.seconds().to_string();
    let mut one = json!({"id": provider_id, "status": status, "timestamp": said_at, "recipient_id": to});
    if let Some(ours) = send_id {
        one["biz_opaque_callback_data"] = ours.into();
    }
    whatsapp(&json!({ "statuses": [one] }))
}

fn whatsapp(lists: &Value) -> String {
    let metadata = json!({"display_phone_number": "15550199", "phone_number_id": PHONE_NUMBER_ID});
    let mut value = json!({"messaging_product": "whatsapp", "metadata": metadata});
    if let (Some(value), Some(lists)) = (value.as_object_mut(), lists.as_object()) {
        value.extend(lists.clone());
    }
    let changes = json!([{"field": "messages", "value": value}]);
    json!({"object": "whatsapp_business_account", "entry": [{"id": "102290129340398", "changes": changes}]}).to_string()
}
