//! Promises of the signature engine.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use ed25519_dalek::SigningKey;

use super::*;
use crate::config::{Encoding, HmacAlgorithm, HmacConfig, KeyForm, Source};
use crate::domain::{Provider, SourceName};
use crate::providers;

const NOW: Micros = Micros::from_seconds(1_700_000_000);

fn source(provider: Provider) -> Source {
    Source::bare(SourceName::parse("shop").unwrap(), provider)
}

fn scheme(provider: Provider) -> Scheme {
    providers::scheme(&source(provider)).unwrap()
}

fn configured(signed: &str, timestamp_header: Option<&str>, algorithm: HmacAlgorithm, key: KeyForm) -> Scheme {
    let mut source = source(Provider::Hmac);
    source.hmac = Some(HmacConfig {
        header: "X-Sign".into(),
        prefix: "v0=".into(),
        algorithm,
        encoding: Encoding::Base64,
        signed: signed.into(),
        timestamp_header: timestamp_header.map(Into::into),
        key,
    });
    providers::scheme(&source).unwrap()
}

fn secrets(texts: &[&str]) -> Vec<Secret> {
    texts.iter().map(|text| Secret::new(*text)).collect()
}

fn check(
    scheme: &Scheme,
    keys: &[&str],
    headers: &[(String, String)],
    body: &[u8],
    now: Micros,
) -> Result<Verified, Refusal> {
    let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    verify(scheme, &secrets(keys), &headers, Bytes::copy_from_slice(body), now)
}

fn signed(scheme: &Scheme, key: &str, body: &[u8]) -> Vec<(String, String)> {
    sign(scheme, &Secret::new(key), body, "msg_1", NOW).unwrap()
}

fn header(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn whsec(key: &[u8]) -> String {
    format!("whsec_{}", STANDARD.encode(key))
}

fn ed25519(seed: u8) -> (String, String) {
    let key = SigningKey::from_bytes(&[seed; 32]);
    let public = format!("whpk_{}", STANDARD.encode(key.verifying_key().to_bytes()));
    (format!("whsk_{}", STANDARD.encode([seed; 32])), public)
}

fn every_scheme() -> Vec<(Scheme, String, String)> {
    let (private, public) = ed25519(7);
    let text = "an app secret of some length here".to_owned();
    let shared = whsec(&[5; 32]);
    vec![
        (scheme(Provider::Whatsapp), text.clone(), text.clone()),
        (scheme(Provider::Elevenlabs), text.clone(), text.clone()),
        (scheme(Provider::StandardWebhooks), shared.clone(), shared),
        (scheme(Provider::StandardWebhooks), private, public),
        (configured("{body}", None, HmacAlgorithm::Sha1, KeyForm::Text), text.clone(), text.clone()),
        (configured("v0:{timestamp}:{body}", Some("X-Time"), HmacAlgorithm::Sha256, KeyForm::Text), text.clone(), text),
        (
            configured("{body}{timestamp}", Some("X-Time"), HmacAlgorithm::Sha512, KeyForm::Hex),
            "00ff".repeat(16),
            "00ff".repeat(16),
        ),
    ]
}

#[test]
fn published_svix_examples_verify_also_with_an_18_byte_key() {
    let scheme = scheme(Provider::StandardWebhooks);
    for (key, id, time, signature, body) in [
        (
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "1614265330",
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            r#"{"test": 2432232314}"#,
        ),
        (
            "whsec_plJ3nmyCDGBKInavdOK15jsl",
            "msg_loFOjxBNrRLzqYUf",
            "1731705121",
            "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=",
            r#"{"event_type":"ping","data":{"success":true}}"#,
        ),
    ] {
        for family in ["svix", "webhook", "Webhook"] {
            let headers = [
                header(&format!("{family}-id"), id),
                header(&format!("{family}-timestamp"), time),
                header(&format!("{family}-signature"), signature),
            ];
            let now = Micros::from_seconds(time.parse().unwrap());
            let unprefixed = key.trim_start_matches("whsec_");
            for key in [key, unprefixed] {
                let verified = check(&scheme, &[key], &headers, body.as_bytes(), now).unwrap();
                assert_eq!((verified.id(), verified.body()), (Some(id), body.as_bytes()));
                assert_eq!(verified.signed_at(), Some(now));
            }
        }
    }
}

#[test]
fn rfc_4231_hmac_and_rfc_8032_ed25519_vectors_hold() {
    // RFC 4231, test case 2.
    let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    let headers = [header("x-hub-signature-256", &format!("sha256={expected}"))];
    assert!(check(&scheme(Provider::Whatsapp), &["Jefe"], &headers, b"what do ya want for nothing?", NOW).is_ok());
    // RFC 8032, section 7.1, test 1: the empty message.
    let seed = hex::decode("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60").unwrap();
    let made = algorithm::make(Algorithm::Ed25519, &seed, &[]).unwrap();
    assert_eq!(
        hex::encode(made),
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
    );
}

#[test]
fn what_sign_makes_verify_takes_for_every_scheme() {
    for (scheme, private, public) in every_scheme() {
        let headers = signed(&scheme, &private, b"{\"a\":1}");
        let verified = check(&scheme, &["other secret", &public], &headers, b"{\"a\":1}", NOW).unwrap();
        assert_eq!(verified.secret_index(), 1, "{:?}", scheme.names);
        assert_eq!(scheme.check(&Secret::new(public)), Ok(()));
    }
}

#[test]
fn any_flipped_bit_of_body_id_or_timestamp_is_refused() {
    let body = b"{\"text\":\"two of the red ones\"}";
    for (scheme, private, public) in every_scheme() {
        let headers = signed(&scheme, &private, body);
        for bit in 0..body.len() * 8 {
            let mut changed = body.to_vec();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(check(&scheme, &[&public], &headers, &changed, NOW).unwrap_err(), Refusal::Mismatch);
        }
        for (at, (name, value)) in
            headers.iter().enumerate().filter(|(_, (name, _))| !name.to_lowercase().contains("sign"))
        {
            for place in 0..value.len() {
                let mut changed = headers.clone();
                let digit = if value.as_bytes()[place] == b'1' { "2" } else { "1" };
                changed[at].1.replace_range(place..=place, digit);
                assert_eq!(check(&scheme, &[&public], &changed, body, NOW).unwrap_err(), Refusal::Mismatch, "{name}");
            }
        }
    }
}

#[test]
fn any_flipped_bit_of_the_signature_is_refused() {
    for (scheme, private, public) in every_scheme() {
        let headers = signed(&scheme, &private, b"body");
        let (written, encoding) = (headers[0].1.clone(), scheme.proofs[0].encoding);
        let start = written.rfind(['=', ',']).map_or(0, |at| at + 1);
        let start =
            if encoding == Encoding::Base64 { written.find(',').or(written.find('=')).unwrap() + 1 } else { start };
        let decode = |text: &str| match encoding {
            Encoding::Hex => hex::decode(text).unwrap(),
            Encoding::Base64 => STANDARD.decode(text).unwrap(),
        };
        let bytes = decode(&written[start..]);
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let text = if encoding == Encoding::Hex { hex::encode(changed) } else { STANDARD.encode(changed) };
            let mut headers = headers.clone();
            headers[0].1 = format!("{}{text}", &written[..start]);
            assert_eq!(check(&scheme, &[&public], &headers, b"body", NOW).unwrap_err(), Refusal::Mismatch);
        }
    }
}

#[test]
fn a_hex_signature_verifies_in_either_case() {
    let scheme = scheme(Provider::Whatsapp);
    let headers = signed(&scheme, "a secret", b"x");
    let upper = headers[0].1.to_uppercase().replace("SHA256", "sha256");
    assert!(check(&scheme, &["a secret"], &[header("X-HUB-SIGNATURE-256", &upper)], b"x", NOW).is_ok());
}

#[test]
fn exactly_the_tolerance_is_accepted_both_ways_and_a_second_more_is_not() {
    for (provider, key, tolerance) in
        [(Provider::Elevenlabs, "text secret".to_owned(), 1_800), (Provider::StandardWebhooks, whsec(&[1; 24]), 300)]
    {
        let scheme = scheme(provider);
        let headers = signed(&scheme, &key, b"x");
        let at =
            |seconds: i64| check(&scheme, &[&key], &headers, b"x", Micros(NOW.0 + seconds * 1_000_000)).map(|_| ());
        assert_eq!((at(tolerance), at(-tolerance)), (Ok(()), Ok(())));
        assert_eq!((at(tolerance + 1), at(-tolerance - 1)), (Err(Refusal::TooOld), Err(Refusal::TooNew)));
        // Whole seconds: the fraction of ours does not count.
        let late = Micros(NOW.0 + tolerance * 1_000_000 + 999_999);
        assert!(check(&scheme, &[&key], &headers, b"x", late).is_ok());
    }
}

#[test]
fn age_is_not_told_to_who_cannot_sign_and_extreme_times_do_not_overflow() {
    let scheme = scheme(Provider::Elevenlabs);
    let stale = Micros(NOW.0 + 9_000_000_000);
    let headers = signed(&scheme, "theirs", b"x");
    assert_eq!(check(&scheme, &["ours"], &headers, b"x", stale).unwrap_err(), Refusal::Mismatch);
    for time in [i64::MAX, i64::MIN] {
        let presented = format!(
            "t={time},v0={}",
            hex::encode(
                algorithm::make(Algorithm::Hmac(HmacAlgorithm::Sha256), b"ours", &[format!("{time}.x").as_bytes()])
                    .unwrap()
            )
        );
        let refused = check(&scheme, &["ours"], &[header("ElevenLabs-Signature", &presented)], b"x", NOW).unwrap_err();
        assert_eq!(refused, if time > 0 { Refusal::TooNew } else { Refusal::TooOld });
    }
}

#[test]
fn an_empty_secret_never_verifies_nor_signs() {
    for empty in ["", "   ", "whsec_"] {
        for provider in [Provider::Whatsapp, Provider::Elevenlabs, Provider::StandardWebhooks] {
            let scheme = scheme(provider);
            if provider == Provider::StandardWebhooks || empty.is_empty() {
                assert!(sign(&scheme, &Secret::new(empty), b"x", "m", NOW).is_err());
                assert_eq!(scheme.check(&Secret::new(empty)), Err(BadSecret::Empty));
            }
        }
    }
    // What HMAC under an empty key would give.
    let forged = "sha256=b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad";
    let headers = [header("X-Hub-Signature-256", forged)];
    assert_eq!(check(&scheme(Provider::Whatsapp), &[""], &headers, b"", NOW).unwrap_err(), Refusal::Mismatch);
    assert_eq!(check(&scheme(Provider::Whatsapp), &[], &headers, b"", NOW).unwrap_err(), Refusal::Mismatch);
}

#[test]
fn a_missing_malformed_or_doubled_signature_is_told_apart() {
    let scheme = scheme(Provider::Whatsapp);
    let good = signed(&scheme, "s", b"x")[0].clone();
    let refusal = |headers: &[(String, String)]| check(&scheme, &["s"], headers, b"x", NOW).unwrap_err();
    assert_eq!(refusal(&[]), Refusal::Missing);
    assert_eq!(refusal(&[header("X-Hub-Signature", "sha1=00")]), Refusal::Missing);
    for bad in ["", "sha256=", "sha256=zz", "sha256=00", "sha1=00", &good.1[7..], &format!("{}00", good.1)] {
        assert_eq!(refusal(&[header("X-Hub-Signature-256", bad)]), Refusal::Malformed, "{bad}");
    }
    assert_eq!(refusal(&[good.clone(), good.clone()]), Refusal::Malformed);
    let raw = [("X-Hub-Signature-256", &b"sha256=\xff"[..])].into_iter().collect();
    assert_eq!(verify(&scheme, &secrets(&["s"]), &raw, Bytes::new(), NOW).unwrap_err(), Refusal::Malformed);
}

#[test]
fn elevenlabs_pairs_come_in_any_order_with_spaces_and_several_signatures() {
    let scheme = scheme(Provider::Elevenlabs);
    let written = signed(&scheme, "s", b"x")[0].1.clone();
    let (time, signature) = written.split_once(',').unwrap();
    let wrong = format!("v0={}", "0".repeat(64));
    let result = |value: &str| check(&scheme, &["s"], &[header("elevenlabs-signature", value)], b"x", NOW).map(|_| ());
    for good in [
        format!("{signature},{time}"),
        format!(" {time} , {signature} "),
        format!("{time},{wrong},{signature}"),
        format!("{time},{signature},{wrong}"),
        format!("{time},{signature},v9=later"),
    ] {
        assert_eq!(result(&good), Ok(()), "{good}");
    }
    assert_eq!(result(&format!("{time},{wrong}")), Err(Refusal::Mismatch));
    for bad in [
        signature.to_owned(),
        time.to_owned(),
        format!("{time},{time},{signature}"),
        format!("t=soon,{signature}"),
        "x".into(),
    ] {
        assert_eq!(result(&bad), Err(Refusal::Malformed), "{bad}");
    }
    let many = format!("{time},{}", vec![wrong; 17].join(","));
    assert_eq!(result(&many), Err(Refusal::Malformed));
}

#[test]
fn standard_webhooks_takes_any_match_of_a_list_and_needs_all_three_headers() {
    let scheme = scheme(Provider::StandardWebhooks);
    let key = whsec(&[3; 32]);
    let headers = signed(&scheme, &key, b"x");
    let (private, public) = ed25519(9);
    let other = signed(&scheme, &private, b"x")[0].1.clone();
    let with = |signature: String| [header("webhook-signature", &signature), headers[1].clone(), headers[2].clone()];
    let good = &headers[0].1;
    for list in
        [format!("{other} {good}"), format!("v2,abc {good}"), format!("v1,!! {good}"), format!("untagged {good}")]
    {
        assert!(check(&scheme, &[&key], &with(list.clone()), b"x", NOW).is_ok(), "{list}");
    }
    assert!(check(&scheme, &[&public], &with(format!("{good} {other}")), b"x", NOW).is_ok());
    assert_eq!(check(&scheme, &[&key], &with("v2,abc".into()), b"x", NOW).unwrap_err(), Refusal::Malformed);
    for absent in 0..3 {
        let mut fewer = headers.clone();
        fewer.remove(absent);
        assert_eq!(check(&scheme, &[&key], &fewer, b"x", NOW).unwrap_err(), Refusal::Missing);
    }
    for doubled in 0..3 {
        let mut more = headers.clone();
        more.push(headers[doubled].clone());
        assert_eq!(check(&scheme, &[&key], &more, b"x", NOW).unwrap_err(), Refusal::Malformed);
    }
}

#[test]
fn hmac_made_with_the_public_key_proves_nothing() {
    let scheme = scheme(Provider::StandardWebhooks);
    let (_, public) = ed25519(4);
    for forged_key in [public.replace("whpk_", "whsec_"), public.replace("whpk_", "")] {
        let headers = signed(&scheme, &forged_key, b"x");
        assert_eq!(check(&scheme, &[&public], &headers, b"x", NOW).unwrap_err(), Refusal::Mismatch);
    }
    let as_text =
        algorithm::make(Algorithm::Hmac(HmacAlgorithm::Sha256), public.as_bytes(), &[b"msg_1.1700000000.x"]).unwrap();
    let mut headers = signed(&scheme, &whsec(&[1; 24]), b"x");
    headers[0].1 = format!("v1,{}", STANDARD.encode(as_text));
    assert_eq!(check(&scheme, &[&public], &headers, b"x", NOW).unwrap_err(), Refusal::Mismatch);
    assert_eq!(sign(&scheme, &Secret::new(public), b"x", "m", NOW).unwrap_err(), BadSecret::VerifiesOnly);
}

#[test]
fn a_template_reads_its_marks_and_keeps_the_rest() {
    let literal = |text: &str| Piece::Literal(text.into());
    assert_eq!(
        Piece::template("v0:{timestamp}:{body}!"),
        [literal("v0:"), Piece::Timestamp, literal(":"), Piece::Body, literal("!")]
    );
    assert_eq!(Piece::template("{body}{timestamp}"), [Piece::Body, Piece::Timestamp]);
    assert_eq!(Piece::template("{other}"), [literal("{other}")]);
}

#[test]
fn a_token_matches_itself_or_one_of_its_list_and_an_empty_one_nothing() {
    let token = Secret::new("old-token, new-token");
    assert!(token_matches(&token, "old-token") && token_matches(&token, "new-token"));
    for wrong in ["", "old", "old-token,", "NEW-TOKEN"] {
        assert!(!token_matches(&token, wrong), "{wrong}");
    }
    assert!(!token_matches(&Secret::new(","), "") && !token_matches(&Secret::new(""), ""));
}

#[test]
fn milliseconds_count_in_whole_seconds_too() {
    let scheme = Scheme {
        unit: TimestampUnit::Millis,
        tolerance: Duration::from_secs(5),
        ..configured("{body}{timestamp}", Some("X-Time"), HmacAlgorithm::Sha256, KeyForm::Text)
    };
    let headers = signed(&scheme, "k", b"x");
    assert_eq!(headers[1].1, "1700000000000");
    assert!(check(&scheme, &["k"], &headers, b"x", Micros(NOW.0 + 5_900_000)).is_ok());
    assert_eq!(check(&scheme, &["k"], &headers, b"x", Micros(NOW.0 + 6_000_000)).unwrap_err(), Refusal::TooOld);
}

#[test]
fn a_reply_is_signed_by_standard_webhooks_with_the_sources_own_secret() {
    let mut text_source = source(Provider::Hmac);
    text_source.hmac = Some(HmacConfig {
        header: "X-Sign".into(),
        prefix: String::new(),
        algorithm: HmacAlgorithm::Sha1,
        encoding: Encoding::Hex,
        signed: "{body}".into(),
        timestamp_header: None,
        key: KeyForm::Text,
    });
    for (source, key) in
        [(text_source, "a secret, as text".to_owned()), (source(Provider::StandardWebhooks), whsec(&[8; 24]))]
    {
        let scheme = providers::reply_scheme(&source);
        let headers = signed(&scheme, &key, b"{}");
        assert_eq!(
            headers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
            ["webhook-signature", "webhook-timestamp", "webhook-id"]
        );
        assert!(headers[0].1.starts_with("v1,"));
        let read_as_text = STANDARD.encode(key.as_bytes());
        let theirs = if key.starts_with("whsec_") { key.clone() } else { format!("whsec_{read_as_text}") };
        let receiver = self::scheme(Provider::StandardWebhooks);
        assert_eq!(check(&receiver, &[&theirs], &headers, b"{}", NOW).unwrap().id(), Some("msg_1"));
    }
}
