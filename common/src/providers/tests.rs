//! Promises of the parsers.

use super::*;
use crate::config::Source;
use crate::domain::{Consent, Content, Kind, SourceName, Status};

fn source(provider: Provider) -> Source {
    Source::bare(SourceName::parse("shop").unwrap(), provider)
}

fn read(provider: Provider, body: &str) -> Vec<Inbound> {
    parse_again(&source(provider), body.as_bytes(), None)
}

fn whatsapp(body: &str) -> Vec<Inbound> {
    read(Provider::Whatsapp, body)
}

fn one(mut events: Vec<Inbound>) -> Inbound {
    assert_eq!(events.len(), 1, "{events:?}");
    events.remove(0)
}

fn text(body: &str) -> Event {
    Event::Message(Content::Text(body.into()))
}

fn unreadable(kind: &str) -> Event {
    Event::Message(Content::Unreadable(kind.into()))
}

fn record(what: &str) -> Event {
    Event::Record { what: what.into() }
}

#[test]
fn a_whatsapp_text_names_its_two_ends_its_id_and_its_time() {
    let event = one(whatsapp(samples::WHATSAPP_TEXT));
    assert!(event.event == text("Do you ship to Lima?"));
    let party = event.party.unwrap();
    assert_eq!((party.account.as_str(), party.address.space.as_str()), (samples::PHONE_NUMBER_ID, "phone"));
    assert_eq!(party.address.value, "15550100");
    assert_eq!(event.provider_id.as_deref(), Some("wamid.SAMPLE0001"));
    assert_eq!(event.said_at, Some(Micros::from_seconds(1_700_000_000)));
    let identity = Identity { kind: "message", id: "wamid.SAMPLE0001".into(), status: None };
    assert_eq!(event.event_id, EventId::derive(&event.source, &identity));
}

#[test]
fn every_entry_change_message_and_status_of_a_post_is_an_event_in_order() {
    let events = whatsapp(samples::WHATSAPP_BURST);
    assert!(events.iter().map(|e| &e.event).eq(&[
        text("Hello"),
        text("one question"),
        text("how long does delivery take?")
    ]));
    let list = |body: &str| {
        let value: serde_json::Value = serde_json::from_str(body).unwrap();
        value["entry"][0].clone()
    };
    let mut burst = list(samples::WHATSAPP_BURST);
    let status = list(samples::WHATSAPP_STATUS);
    burst["changes"].as_array_mut().unwrap().push(status["changes"][0].clone());
    let post = serde_json::json!({"object": "whatsapp_business_account", "entry": [burst, status, list(samples::WHATSAPP_ECHO)]});
    let kinds: Vec<Kind> = whatsapp(&post.to_string()).iter().map(|e| e.event.kind()).collect();
    let (m, s, e) = (Kind::Message, Kind::Status, Kind::Echo);
    assert_eq!(kinds, [m, m, m, s, s, e]);
}

#[test]
fn each_whatsapp_type_means_text_something_unreadable_or_a_record() {
    let events: Vec<Event> = whatsapp(samples::WHATSAPP_KINDS).into_iter().map(|e| e.event).collect();
    let expected = [
        text("Yes, please"),
        text("Track my order"),
        text("Returns"),
        unreadable("audio"),
        unreadable("video"),
        text("my invoice"),
        unreadable("location"),
        unreadable("contacts"),
        record("reaction"),
        record("sticker"),
        record("unsupported"),
        record("order"),
        record("system"),
        record("interactive.nfm_reply"),
        record("hologram"),
    ];
    assert_eq!(events.len(), expected.len());
    for (place, (event, expected)) in events.iter().zip(&expected).enumerate() {
        assert!(event == expected, "message {place} is a {}", event.kind());
    }
    assert!(one(whatsapp(samples::WHATSAPP_IMAGE)).event == unreadable("image"));
    assert!(one(whatsapp(samples::WHATSAPP_CAPTION)).event == text("Is this part in stock?"));
}

#[test]
fn a_status_carries_our_send_id_where_it_is_one_and_the_error_code() {
    let Event::Status(delivered) = one(whatsapp(samples::WHATSAPP_STATUS)).event else { panic!("no status") };
    assert_eq!(delivered.status, Status::Delivered);
    assert_eq!(delivered.send_id.unwrap().to_string(), "0b0b0b0b-0000-4000-8000-000000000001");
    assert_eq!((delivered.provider_id.as_str(), delivered.error), ("wamid.SAMPLE9001", None));
    let Event::Status(failed) = one(whatsapp(samples::WHATSAPP_FAILED)).event else { panic!("no status") };
    assert_eq!((failed.status, failed.error.as_deref(), failed.send_id), (Status::Failed, Some("131047"), None));
    let foreign = samples::whatsapp_status("wamid.X", Some("order 66"), "15550100", "read", Micros(0));
    let Event::Status(foreign) = one(whatsapp(&foreign)).event else { panic!("no status") };
    assert_eq!((foreign.status, foreign.send_id), (Status::Read, None));
    let played = samples::whatsapp_status("wamid.X", None, "15550100", "played", Micros(0));
    assert!(one(whatsapp(&played)).event == record("status.played"));
}

#[test]
fn each_status_of_one_message_is_an_event_of_its_own_and_the_same_one_is_not() {
    let id = |status| one(whatsapp(&samples::whatsapp_status("wamid.X", None, "15550100", status, Micros(0)))).event_id;
    assert_ne!(id("sent"), id("delivered"));
    assert_eq!(id("sent"), id("sent"));
}

#[test]
fn an_echo_belongs_to_the_conversation_of_the_customer_it_was_sent_to() {
    let (echo, message) = (one(whatsapp(samples::WHATSAPP_ECHO)), one(whatsapp(samples::WHATSAPP_TEXT)));
    assert!(echo.party == message.party);
    assert!(echo.event == Event::Echo(Content::Text("Hi, this is the shop. I will look into it.".into())));
    let of_type = |what: &str, rest: &str| {
        let text = r#""type": "text","#;
        let body = serde_json::from_str::<serde_json::Value>(samples::WHATSAPP_ECHO).unwrap().to_string();
        let body = body.replace(r#""type":"text""#, &format!(r#""type":"{what}"{rest}"#));
        assert!(!body.contains(text));
        one(whatsapp(&body)).event
    };
    assert!(of_type("sticker", "") == Event::Echo(Content::Unreadable("sticker".into())));
    assert!(of_type("reaction", "") == record("echo.reaction"));
}

#[test]
fn a_preference_is_consent_given_or_withdrawn() {
    let stop = one(whatsapp(samples::WHATSAPP_PREFERENCES));
    assert!(stop.event == Event::Consent(Consent { scope: "marketing_messages".into(), given: false }));
    assert_eq!(stop.party.unwrap().address.value, "15550100");
    let resume = one(whatsapp(&samples::WHATSAPP_PREFERENCES.replace("\"stop\"", "\"resume\"")));
    assert!(resume.event == Event::Consent(Consent { scope: "marketing_messages".into(), given: true }));
}

#[test]
fn an_unknown_field_or_object_is_recorded_and_an_empty_post_is_nothing() {
    let field = samples::WHATSAPP_TEXT.replace("\"messages\",", "\"account_alerts\",");
    assert!(one(whatsapp(&field)).event == record("account_alerts"));
    assert!(one(whatsapp(r#"{"object":"permissions","entry":[]}"#)).event == record("permissions"));
    assert!(one(whatsapp(r#"{"object":"no word at all","entry":[]}"#)).event == record("unknown"));
    let errors = samples::WHATSAPP_TEXT.replace("\"messages\": [", "\"errors\": [");
    assert!(one(whatsapp(&errors)).event == record("errors"));
    assert!(whatsapp(r#"{"object":"whatsapp_business_account","entry":[]}"#).is_empty());
}

#[test]
fn one_bad_element_spoils_no_other_and_can_be_parsed_again_alone() {
    let mut post: serde_json::Value = serde_json::from_str(samples::WHATSAPP_BURST).unwrap();
    post["entry"][0]["changes"][0]["value"]["messages"][1] =
        serde_json::json!({"id": "wamid.BAD", "type": "text", "from": "15550101"});
    let events = whatsapp(&post.to_string());
    let kinds: Vec<Kind> = events.iter().map(|e| e.event.kind()).collect();
    assert_eq!(kinds, [Kind::Message, Kind::Unparsed, Kind::Message]);
    let Event::Unparsed { raw, .. } = &events[1].event else { panic!("parsed") };
    let raw = String::from_utf8(raw.clone()).unwrap();
    assert!(raw.contains("wamid.BAD") && !raw.contains("one question") && !raw.contains("delivery"));
    let again = one(whatsapp(&raw));
    assert_eq!(again.event.kind(), Kind::Unparsed);
    // After a fix, here of the bytes, it is the message it always was, in its conversation.
    let mended = one(whatsapp(&raw.replace(r#""type":"text""#, r#""type":"text","text":{"body":"mended"}"#)));
    assert!(mended.event == text("mended") && mended.party == events[0].party);
}

#[test]
fn bad_elements_of_every_level_are_unparsed_where_they_stand() {
    for (bad, good) in [
        (r#"{"object":"whatsapp_business_account"}"#, 0),
        (r#"{"object":"whatsapp_business_account","entry":{}}"#, 0),
        (r#"{"object":"whatsapp_business_account","entry":[5]}"#, 0),
        (r#"{"object":"whatsapp_business_account","entry":[{"changes":[null]}]}"#, 0),
        (
            r#"{"object":"whatsapp_business_account","entry":[{"changes":[{"field":"messages","value":{"messages":[]}}]}]}"#,
            0,
        ),
        (
            r#"{"object":"whatsapp_business_account","entry":[{"changes":[{"field":"messages","value":{"metadata":{"phone_number_id":"1"},"messages":[{"id":"\ud800"}]}}]}]}"#,
            0,
        ),
        (
            r#"{"object":"whatsapp_business_account","entry":[{"changes":[{"field":"messages","value":{"metadata":{"phone_number_id":"1"},"letters":[]}}]}]}"#,
            0,
        ),
        (r#"{"object":"page","entry":[{"messaging":[{"sender":1},{"timestamp":1}]}]}"#, 1),
        (r#"{"object":"page","entry":[{"letters":[]}]}"#, 0),
        ("[]", 0),
        ("{}", 0),
        ("7", 0),
    ] {
        let events = whatsapp(bad);
        let unparsed = events.iter().filter(|e| e.event.kind() == Kind::Unparsed).count();
        assert_eq!((unparsed, events.len()), (1, good + 1), "{bad}");
    }
}

#[test]
fn what_is_not_json_not_utf_8_or_too_deep_is_kept_whole() {
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let mut cases: Vec<(Vec<u8>, &str)> = vec![
        (b"hello".to_vec(), "not JSON"),
        (b"".to_vec(), "not JSON"),
        (b"{} {}".to_vec(), "not JSON"),
        (b"{\"a\":\"\xff\"}".to_vec(), "not UTF-8"),
        (deep(65).into_bytes(), "nested deeper than 64 levels"),
        (deep(10_000).into_bytes(), "nested deeper than 64 levels"),
        ("{\"a\":".repeat(10_000).into_bytes(), "nested deeper than 64 levels"),
    ];
    cases.push((deep(64).into_bytes(), "no object"));
    for (body, expected) in cases {
        let event = one(parse_again(&source(Provider::Whatsapp), &body, None)).event;
        let Event::Unparsed { problem, raw } = event else { panic!("{expected}") };
        assert_eq!((problem.as_str(), raw), (expected, body));
    }
    // Brackets in a text are no nesting.
    let quoted = format!(r#"{{"id":"1","contact":"c","text":"\"{}"}}"#, "[".repeat(100));
    assert_eq!(one(read(Provider::Hmac, &quoted)).event.kind(), Kind::Message);
}

#[test]
fn no_cut_or_changed_byte_of_a_sample_makes_a_parser_fail() {
    let samples = [
        (Provider::Whatsapp, samples::WHATSAPP_KINDS),
        (Provider::Whatsapp, samples::WHATSAPP_STATUS),
        (Provider::Messenger, samples::MESSENGER),
        (Provider::Elevenlabs, samples::ELEVENLABS_TRANSCRIPTION),
        (Provider::StandardWebhooks, samples::STANDARD_WEBHOOKS),
    ];
    for (provider, body) in samples {
        let source = source(provider);
        let body = serde_json::from_str::<serde_json::Value>(body).unwrap().to_string();
        for at in (0..body.len()).step_by(3) {
            assert_eq!(one(parse_again(&source, &body.as_bytes()[..at], None)).event.kind(), Kind::Unparsed);
            for with in [b'"', b'{', b'0', b'x', 0xff] {
                let mut changed = body.as_bytes().to_vec();
                changed[at] = with;
                assert!(!parse_again(&source, &changed, None).is_empty());
            }
        }
    }
}

#[test]
fn messenger_and_instagram_are_recorded_one_event_for_each_element() {
    let events = read(Provider::Messenger, samples::MESSENGER);
    let expected = [record("message"), record("echo"), record("messaging")];
    assert!(events.iter().map(|e| &e.event).eq(&expected));
    assert_eq!(events[0].provider_id.as_deref(), Some("m_SAMPLE1"));
    assert!(events[0].party == events[1].party, "an echo's ends change places");
    assert_eq!(events[0].party.as_ref().unwrap().address.space, "messenger");
    let instagram = samples::MESSENGER.replace("\"page\"", "\"instagram\"");
    assert_eq!(read(Provider::Instagram, &instagram)[0].party.as_ref().unwrap().address.space, "instagram");
}

#[test]
fn elevenlabs_calls_are_recorded_by_conversation_and_type() {
    let transcription = one(read(Provider::Elevenlabs, samples::ELEVENLABS_TRANSCRIPTION));
    assert!(transcription.event == record("post_call_transcription"));
    assert_eq!(transcription.provider_id.as_deref(), Some("conv_sample_1"));
    let audio = samples::ELEVENLABS_TRANSCRIPTION.replace("post_call_transcription", "post_call_audio");
    assert_ne!(one(read(Provider::Elevenlabs, &audio)).event_id, transcription.event_id);
    assert!(one(read(Provider::Elevenlabs, r#"{"type":"new_thing","data":{}}"#)).event == record("new_thing"));
    for bad in [r#"{"data":{}}"#, r#"{"type":"post_call_audio","data":{}}"#, r#"{"type":"post_call_audio"}"#] {
        assert_eq!(one(read(Provider::Elevenlabs, bad)).event.kind(), Kind::Unparsed, "{bad}");
    }
}

#[test]
fn a_generic_event_is_read_by_its_pointers_and_without_contact_or_text_recorded() {
    let event = one(read(Provider::Hmac, samples::GENERIC));
    assert!(event.event == text("Is the red one back in stock?"));
    let party = event.party.unwrap();
    assert_eq!((party.account.as_str(), party.address.space.as_str()), ("", "source:shop"));
    assert_eq!(party.address.value, "customer-7");
    assert_eq!(event.said_at, Some(Micros::from_seconds(1_700_000_000)));
    assert_eq!(
        event.event_id,
        EventId::derive(&event.source, &Identity { kind: "event", id: "evt_sample_1".into(), status: None })
    );
    for body in
        [r#"{"id":"1","text":"x"}"#, r#"{"id":"1","contact":"c"}"#, r#"{"id":"1","contact":"","text":"x"}"#, "{}"]
    {
        assert!(one(read(Provider::Hmac, body)).event == record("event"), "{body}");
    }
    assert!(one(read(Provider::Hmac, r#"{"type":"ping"}"#)).event == record("ping"));
}

#[test]
fn without_an_id_the_bodys_digest_is_the_identity() {
    let id = |body: &str| one(read(Provider::Hmac, body)).event_id;
    assert_eq!(id(r#"{"contact":"c","text":"x"}"#), id(r#"{"contact":"c","text":"x"}"#));
    assert_ne!(id(r#"{"contact":"c","text":"x"}"#), id(r#"{"contact":"c","text":"y"}"#));
}

#[test]
fn a_standard_webhook_has_the_id_of_its_header() {
    let source = source(Provider::StandardWebhooks);
    let read = |id| one(parse_again(&source, samples::STANDARD_WEBHOOKS.as_bytes(), Some(id)));
    assert!(read("msg_1").event == text("Can I change my order?"));
    assert_eq!(read("msg_1").provider_id.as_deref(), Some("msg_1"));
    assert_ne!(read("msg_1").event_id, read("msg_2").event_id);
    assert_eq!(read("msg_1").event_id, read("msg_1").event_id);
}

#[test]
fn an_unparsed_standard_webhook_keeps_the_id_of_its_header_for_the_next_try() {
    for body in [&b"not json"[..], b"[]"] {
        let event = one(parse_again(&source(Provider::StandardWebhooks), body, Some("msg_1")));
        assert_eq!((event.event.kind(), event.provider_id.as_deref()), (Kind::Unparsed, Some("msg_1")));
    }
}

#[test]
fn made_samples_read_back_as_what_they_say() {
    let texts = ["one", "two"].map(|body| samples::Text { id: body, from: "15550100", body });
    let events = whatsapp(&samples::whatsapp_texts(&texts, Micros::from_seconds(5)));
    assert!(events.iter().map(|e| &e.event).eq(&[text("one"), text("two")]));
    assert!(one(whatsapp(samples::WHATSAPP_PERSON)).event == text("I want to talk to a person"));
}
