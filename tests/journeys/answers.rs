//! What the model is asked, by which protocol, and how its answer leaves.

use stand_ins::{ModelBehaviour, ModelProtocol};

use crate::stack::{Doors, Plan, Stack, WHATSAPP};

const CUSTOMER: &str = "15550101";
const QUESTIONS: [&str; 3] = ["Do you ship to Lima?", "And what does it cost?", "When would it arrive?"];
const STARTER: &str = include_str!("../../policies/shop.toml");

/// A plan whose policy is the starter with these lines replaced; the folder holds the policy.
pub(super) async fn with_policy(doors: Doors, changes: &[(&str, &str)]) -> (tempfile::TempDir, Plan) {
    let mut policy = STARTER.to_owned();
    for (line, other) in changes {
        assert!(policy.contains(line), "{line}");
        policy = policy.replace(line, other);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.toml");
    std::fs::write(&path, policy).unwrap();
    let file = format!("policy = \"{}\"\n{WHATSAPP}", path.display());
    (folder, Plan::on(doors).await.file(&file))
}

/// Asks the three questions, each after the answer to the one before.
async fn ask_in_turn(stack: &Stack) {
    for question in QUESTIONS {
        let event = stack.say(CUSTOMER, question).await;
        assert_eq!(stack.end_of(event).await, "replied");
        stack.settled().await;
    }
}

fn said(question: &str) -> String {
    format!("[fake model stand-in] You said: {question}")
}

async fn a_question_comes_with_what_was_said_before(doors: Doors) {
    let stack = Plan::on(doors).await.with("LLM_API_KEY", "a-model-key").start().await;
    ask_in_turn(&stack).await;
    let calls = stack.model.calls();
    let [first, second] = [said(QUESTIONS[0]), said(QUESTIONS[1])];
    let expected = [
        ("user", QUESTIONS[0]),
        ("assistant", first.as_str()),
        ("user", QUESTIONS[1]),
        ("assistant", second.as_str()),
        ("user", QUESTIONS[2]),
    ];
    let lines: Vec<_> = calls[2].lines.iter().map(|(role, text)| (role.as_str(), text.as_str())).collect();
    assert_eq!(lines, expected);
    assert_eq!(calls[2].protocol, ModelProtocol::Openai);
    assert_eq!(calls[2].credential.as_deref(), Some("Bearer a-model-key"));
    assert!(calls[2].system.contains("Monday to Friday 9:00 to 18:00"), "the facts come from the policy");
    assert_eq!(stack.received_by(CUSTOMER), QUESTIONS.map(said));
}

async fn the_oldest_words_are_left_out_when_history_outgrows_its_budget(doors: Doors) {
    // Room for the last exchange, some 12 and 25 tokens by the worker's estimate, and not for the one before it.
    let (_policy, plan) = with_policy(doors, &[("history_tokens = 2000", "history_tokens = 45")]).await;
    let stack = plan.start().await;
    ask_in_turn(&stack).await;
    let calls = stack.model.calls();
    let lines: Vec<&str> = calls[2].lines.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(lines, [QUESTIONS[1], &said(QUESTIONS[1]), QUESTIONS[2]]);
}

async fn a_long_answer_arrives_in_ordered_parts(doors: Doors) {
    let room = [("max_characters = 3000", "max_characters = 20000")];
    let (_policy, plan) = with_policy(doors, &room).await;
    let stack = plan.start().await;
    let sentence = |n: usize| format!("Sentence {n} tells you more about the blue shirt.");
    let long = (0..220).map(sentence).collect::<Vec<_>>().join(" ");
    stack.model.next(ModelBehaviour::Answer(long.clone()));
    let event = stack.say(CUSTOMER, "Tell me everything about the blue shirt").await;
    assert_eq!(stack.end_of(event).await, "replied");
    let ledger = stack.settled().await;
    let parts = stack.received_by(CUSTOMER);
    assert_eq!((ledger.sends.accepted, parts.len()), (3, 3));
    assert!(parts.iter().all(|part| part.chars().count() <= 4_096 && part.ends_with("shirt.")));
    assert_eq!(parts.join(" "), long);
}

async fn anthropics_protocol_answers_as_well(doors: Doors) {
    let plan = Plan::on(doors).await.with("LLM_PROTOCOL", "anthropic").with("LLM_API_KEY", "a-model-key");
    let stack = plan.start().await;
    ask_in_turn(&stack).await;
    let calls = stack.model.calls();
    assert!(calls.iter().all(|call| call.protocol == ModelProtocol::Anthropic));
    assert_eq!(calls[2].credential.as_deref(), Some("a-model-key"));
    assert_eq!(calls[2].lines.len(), 5);
    assert!(calls[2].system.contains("Monday to Friday 9:00 to 18:00"));
    assert_eq!(stack.received_by(CUSTOMER), QUESTIONS.map(said));
}

async fn the_scripted_model_says_that_it_is_a_stand_in(doors: Doors) {
    let stack = Plan::on(doors).await.with("LLM_PROTOCOL", "scripted").start().await;
    let event = stack.say(CUSTOMER, "Hola, ¿cuánto cuesta el envío?").await;
    assert_eq!(stack.end_of(event).await, "replied");
    stack.settled().await;
    let received = stack.received_by(CUSTOMER);
    assert!(received[0].starts_with("[scripted stand-in] Gracias"), "{received:?}");
    assert!(stack.model.calls().is_empty());
}

on_every_backend!(
    a_question_comes_with_what_was_said_before,
    the_oldest_words_are_left_out_when_history_outgrows_its_budget,
    a_long_answer_arrives_in_ordered_parts,
);

// Which store or queue stands behind a model's protocol cannot matter.
mod any_backend {
    use crate::stack::Doors;

    #[tokio::test]
    async fn anthropics_protocol_answers_as_well() {
        super::anthropics_protocol_answers_as_well(Doors::Embedded).await;
    }

    #[tokio::test]
    async fn the_scripted_model_says_that_it_is_a_stand_in() {
        super::the_scripted_model_says_that_it_is_a_stand_in(Doors::Embedded).await;
    }
}
