//! WhatsApp bodies beyond the samples: any message of any type, in as many entries and changes as a test wants.

use common::domain::{EventId, Identity};
use common::domain::{Micros, SourceName};
use common::providers::samples::PHONE_NUMBER_ID;
use serde_json::{Value, json};

/// One message: `content` is what stands under its type's own key.
pub(crate) fn message(id: &str, from: &str, kind: &str, content: &Value) -> Value {
    let at = Micros::wall().seconds().to_string();
    let mut message = json!({"from": from, "id": id, "timestamp": at, "type": kind});
    message[kind] = content.clone();
    message
}

/// A text message.
pub(crate) fn text(id: &str, from: &str, body: &str) -> Value {
    message(id, from, "text", &json!({"body": body}))
}

/// One status of a send.
pub(crate) fn status(provider_id: &str, send_id: Option<&str>, to: &str, status: &str, code: Option<i64>) -> Value {
    let at = Micros::wall().seconds().to_string();
    let mut one = json!({"id": provider_id, "status": status, "timestamp": at, "recipient_id": to});
    if let Some(ours) = send_id {
        one["biz_opaque_callback_data"] = ours.into();
    }
    if let Some(code) = code {
        one["errors"] = json!([{"code": code, "title": "no"}]);
    }
    one
}

/// One change of a field, with these lists in its value.
pub(crate) fn change(field: &str, lists: &Value) -> Value {
    let metadata = json!({"display_phone_number": "15550199", "phone_number_id": PHONE_NUMBER_ID});
    let mut value = json!({"messaging_product": "whatsapp", "metadata": metadata});
    let lists = lists.as_object().expect("lists by their names").clone();
    value.as_object_mut().expect("an object").extend(lists);
    json!({"field": field, "value": value})
}

/// A POST of these entries, each a list of changes.
pub(crate) fn post(entries: &[Vec<Value>]) -> String {
    let entry = |changes: &Vec<Value>| json!({"id": "102290129340398", "changes": changes});
    let entries: Vec<Value> = entries.iter().map(entry).collect();
    json!({"object": "whatsapp_business_account", "entry": entries}).to_string()
}

/// A POST of messages in one change.
pub(crate) fn messages(messages: &[Value]) -> String {
    post(&[vec![change("messages", &json!({ "messages": messages }))]])
}

/// A POST of statuses in one change.
pub(crate) fn statuses(statuses: &[Value]) -> String {
    post(&[vec![change("messages", &json!({ "statuses": statuses }))]])
}

/// A person of the business wrote to a customer from the business's own phone.
pub(crate) fn echo(id: &str, to: &str, body: &str) -> String {
    let mut echo = text(id, "15550199", body);
    echo["to"] = to.into();
    post(&[vec![change("smb_message_echoes", &json!({ "message_echoes": [echo] }))]])
}

/// The event id of anything with an id of its provider's.
pub(crate) fn event(source: &str, kind: &'static str, id: &str, status: Option<&str>) -> EventId {
    let source = SourceName::parse(source).expect("a source name");
    EventId::derive(&source, &Identity { kind, id: id.to_owned(), status: status.map(str::to_owned) })
}
