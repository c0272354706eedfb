//! What is answered without the model or with what another customer was told, who gets which prompt, and what becomes of
//! an answer that has not its form.

use common::domain::{EventId, Floor};
use serde_json::{Value, json};
use stand_ins::ModelBehaviour;

use super::answers::with_policy;
use crate::stack::{Doors, Plan, Stack};

const TRUTH: [(&str, &str, &str); 3] = [
    ("15550111", "Hi! Are you a bot?", "I am an automated assistant, not a person."),
    ("15550112", "Hola, ¿eres un robot?", "Soy un asistente automático, no una persona."),
    ("15550113", "Oi, você é um robô?", "Sou um assistente automático, não uma pessoa."),
];
const SHADOW: &str = "mode = \"shadow\"\nhours = 12";
const ENFORCED: &str = "mode = \"enforce\"\nhours = 12";
const LIMA: &str = "Do you ship to Lima?";

/// Says something and returns when its reply is out.
async fn heard(stack: &Stack, customer: &str, text: &str) -> (EventId, String) {
    let event = stack.say(customer, text).await;
    let end = stack.end_of(event).await;
    stack.settled().await;
    (event, end)
}

/// The steps of the last turn over a message, by their word.
async fn steps(stack: &Stack, event: EventId, word: &str) -> Vec<Value> {
    let conversation = stack.conversation_of(event).await;
    let turn = stack.view(conversation).await.turns.pop().expect("a turn");
    let path = turn.path.as_array().cloned().expect("a list of steps");
    path.into_iter().filter(|step| step["step"] == word).collect()
}

async fn the_policys_own_questions_never_reach_the_model(doors: Doors) {
    let stack = Plan::on(doors).await.start().await;
    for customer in ["15550101", "15550102"] {
        let (event, end) = heard(&stack, customer, "Hello, which payment methods do you accept, please?").await;
        assert_eq!(end, "replied");
        assert_eq!(steps(&stack, event, "faq").await[0]["faq"], "payment");
        let expected = "You can pay like this: Cards, bank transfer, or cash in the shop.";
        assert_eq!(stack.received_by(customer), [expected]);
    }
    assert!(stack.model.calls().is_empty());
    // Two questions in one turn are no single question, and one with a word more is another.
    let (event, _) = heard(&stack, "15550103", "Which payment methods do you accept in Lima?").await;
    assert!(steps(&stack, event, "faq").await.is_empty());
    assert_eq!(stack.model.calls().len(), 1);
}

async fn who_asks_whether_it_is_a_machine_is_told_so_and_no_draft_says_otherwise(doors: Doors) {
    let stack = Plan::on(doors).await.start().await;
    for (customer, question, truth) in TRUTH {
        assert_eq!(heard(&stack, customer, question).await.1, "replied");
        let received = stack.received_by(customer);
        assert!(received.len() == 1 && received[0].starts_with(truth), "{received:?}");
    }
    assert!(stack.model.calls().is_empty());
    for (draft, truth) in [("Of course I am a real person!", TRUTH[0].2), ("No, no soy un robot.", TRUTH[1].2)] {
        stack.model.next(ModelBehaviour::Answer(draft.to_owned()));
        let question = if truth == TRUTH[0].2 { "Who is this, please?" } else { "¿Quién es el que me habla?" };
        let customer = if truth == TRUTH[0].2 { "15550114" } else { "15550115" };
        assert_eq!(heard(&stack, customer, question).await.1, "blocked");
        let received = stack.received_by(customer);
        assert!(received.len() == 1 && received[0].starts_with(truth), "{received:?}");
    }
}

async fn an_answer_is_said_again_only_to_the_same_question_under_the_same_policy(doors: Doors) {
    let (folder, plan) = with_policy(doors, &[(SHADOW, ENFORCED)]).await;
    let mut stack = plan.start().await;
    let asked = |stack: &Stack| stack.model.calls().len();
    let (first, _) = heard(&stack, "15550101", LIMA).await;
    assert_eq!(steps(&stack, first, "saved").await[0]["outcome"], "miss");
    let (second, end) = heard(&stack, "15550102", "hello, do you ship to Lima").await;
    assert_eq!((end.as_str(), asked(&stack)), ("replied", 1));
    assert_eq!(steps(&stack, second, "saved").await[0]["outcome"], "hit");
    assert_eq!(stack.received_by("15550102"), stack.received_by("15550101"));

    // What holds a person's number is asked each time, and so is what follows in a conversation.
    for customer in ["15550103", "15550104"] {
        heard(&stack, customer, "Do you ship to Lima? Call 300 555 0100").await;
    }
    assert_eq!(asked(&stack), 3);
    heard(&stack, "15550103", LIMA).await;
    assert_eq!(asked(&stack), 4);

    // One word of the policy more, and it is another policy.
    let path = folder.path().join("policy.toml");
    let policy = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{policy}\n# edited\n")).unwrap();
    assert!(stack.workers.remove(0).stop().await.success());
    stack.add_worker();
    stack.ready().await;
    let (third, _) = heard(&stack, "15550105", LIMA).await;
    assert_eq!(steps(&stack, third, "saved").await[0]["outcome"], "miss");
    assert_eq!(asked(&stack), 5);
}

async fn a_saved_answer_in_shadow_is_told_and_the_model_asked(doors: Doors) {
    let stack = Plan::on(doors).await.start().await;
    heard(&stack, "15550101", LIMA).await;
    let (second, _) = heard(&stack, "15550102", LIMA).await;
    assert_eq!(steps(&stack, second, "saved").await[0]["outcome"], "would_hit");
    assert_eq!(stack.model.calls().len(), 2);
}

const TEXT: (&str, &str) =
    ("[answer]\nformat = \"text\"", "[answer]\nformat = \"json\"\nfields = { order = \"string\" }");

fn in_form(reply: &str, handoff: bool) -> ModelBehaviour {
    let answer = json!({ "reply": reply, "handoff": handoff, "reason": null, "order": null });
    ModelBehaviour::Answer(answer.to_string())
}

async fn an_answer_without_its_form_is_repaired_once_and_then_a_person_takes_over(doors: Doors) {
    let (_folder, plan) = with_policy(doors, &[TEXT]).await;
    let stack = plan.start().await;
    stack.model.next(ModelBehaviour::Answer("We ship to Lima.".to_owned()));
    stack.model.next(in_form("Yes, we ship to Lima.", false));
    let (_, end) = heard(&stack, "15550101", LIMA).await;
    assert_eq!(end, "replied");
    assert_eq!(stack.received_by("15550101"), ["Yes, we ship to Lima."]);
    let calls = stack.model.calls();
    assert_eq!(calls.len(), 2);
    let schema = &calls[0].body["response_format"]["json_schema"];
    assert_eq!(schema["schema"]["required"], json!(["handoff", "order", "reason", "reply"]));
    assert_eq!(calls[1].lines[1].1, "We ship to Lima.");
    assert!(calls[1].lines[2].1.contains("it is not one JSON object"));

    stack.model.next(ModelBehaviour::Answer("{}".to_owned()));
    stack.model.next(ModelBehaviour::Answer("[]".to_owned()));
    let (event, end) = heard(&stack, "15550102", LIMA).await;
    assert_eq!(end, "handed_off");
    let received = stack.received_by("15550102");
    assert!(received.len() == 1 && received[0].starts_with("Sorry, I could not answer"), "{received:?}");
    assert!(received[0].contains("passed your conversation to a person"), "{received:?}");
    let conversation = stack.conversation_of(event).await;
    assert_eq!(stack.view(conversation).await.summary.floor, Floor::Queued);
    assert_eq!(stack.model.calls().len(), 4, "one repair, and no more");
}

async fn a_model_that_asks_for_a_person_gets_one(doors: Doors) {
    let (_folder, plan) = with_policy(doors, &[TEXT]).await;
    let stack = plan.start().await;
    stack.model.next(in_form("Somebody will see to it.", true));
    let (event, end) = heard(&stack, "15550101", LIMA).await;
    assert_eq!(end, "handed_off");
    assert!(stack.received_by("15550101")[0].starts_with("I have passed your conversation to a person"));
    assert_eq!(steps(&stack, event, "form").await[0]["handoff"], true);
}

async fn a_price_that_is_no_fact_does_not_leave(doors: Doors) {
    let rule = "kind = \"grounding\"\nstage = \"output\"\naction = \"handoff\"\nmode = ";
    let changes = [(&*format!("{rule}\"shadow\""), &*format!("{rule}\"enforce\""))];
    let (_folder, plan) = with_policy(doors, &changes).await;
    let stack = plan.start().await;
    stack.model.next(ModelBehaviour::Answer("The blue shirt costs $19.".to_owned()));
    let (event, end) = heard(&stack, "15550101", "What does the blue shirt cost?").await;
    assert_eq!(end, "handed_off");
    assert_eq!(steps(&stack, event, "approve").await[0]["rule"], "grounding");
    assert!(!stack.received_by("15550101").iter().any(|text| text.contains("$19")));
}

/// Which prompt a conversation gets is drawn once: 120 conversations, each of which says two things.
async fn a_conversation_keeps_the_prompt_that_it_began_with(doors: Doors) {
    let variant = "[[variant]]\nname = \"short\"\nshare = 0.3\nprompt = \"short.txt\"\n\n[answer]";
    let (folder, plan) = with_policy(doors, &[("[answer]", variant)]).await;
    std::fs::write(folder.path().join("short.txt"), "You are {name}. Answer in one sentence.").unwrap();
    let stack = plan.start().await;
    let mut last = Vec::new();
    for round in ["Do you have blue shirts?", "And red ones?"] {
        last.clear();
        for customer in 0..120 {
            last.push(stack.say(&format!("1555010{customer:04}"), round).await);
        }
        for event in &last {
            assert_eq!(stack.end_of(*event).await, "replied");
        }
        stack.settled().await;
    }
    let mut short = 0;
    for event in last {
        let conversation = stack.conversation_of(event).await;
        let turns = stack.view(conversation).await.turns;
        let variants: Vec<Value> = turns.iter().map(|turn| prompt_of(&turn.path)["variant"].clone()).collect();
        assert_eq!((variants.len(), &variants[0]), (2, &variants[1]));
        short += usize::from(variants[0] == "short");
    }
    assert!((18..=54).contains(&short), "{short} of 120");
    let told = stack.model.calls().iter().filter(|call| call.system.contains("Answer in one sentence.")).count();
    assert_eq!(told, 2 * short);
}

fn prompt_of(path: &Value) -> Value {
    let steps = path.as_array().cloned().unwrap_or_default();
    steps.into_iter().find(|step| step["step"] == "prompt").expect("a prompt")
}

on_every_backend!(
    the_policys_own_questions_never_reach_the_model,
    an_answer_is_said_again_only_to_the_same_question_under_the_same_policy,
    an_answer_without_its_form_is_repaired_once_and_then_a_person_takes_over,
    who_asks_whether_it_is_a_machine_is_told_so_and_no_draft_says_otherwise,
);

// Which store or queue stands behind these cannot matter.
mod any_backend {
    use crate::stack::Doors;

    macro_rules! embedded {
        ($($promise:ident),+ $(,)?) => {
            $(#[tokio::test] async fn $promise() { super::$promise(Doors::Embedded).await; })+
        };
    }

    embedded!(
        a_saved_answer_in_shadow_is_told_and_the_model_asked,
        a_model_that_asks_for_a_person_gets_one,
        a_price_that_is_no_fact_does_not_leave,
        a_conversation_keeps_the_prompt_that_it_began_with,
    );
}
