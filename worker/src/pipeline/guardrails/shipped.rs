//! What the shipped policies make of LUISA's rows and of everyday sentences that sound like them.

use std::sync::Arc;

use super::{Guardrails, Outcome, Talk};
use crate::policy::Policy;

fn sewing() -> Guardrails {
    let source = include_str!("../../../../policies/sewing.toml");
    Guardrails::new(Arc::new(Policy::parse(source, "sewing.toml").unwrap())).unwrap()
}

fn shop() -> Guardrails {
    Guardrails::new(Arc::new(Policy::starter().unwrap())).unwrap()
}

/// Who is called after these lines, and how urgently.
fn called(guardrails: &Guardrails, lines: &[&str]) -> Option<(String, Option<String>, &'static str)> {
    let mut talk = Talk::default();
    let (last, earlier) = lines.split_last().unwrap();
    earlier.iter().for_each(|line| talk.said(line));
    match guardrails.screen(last, &mut talk).outcome {
        Outcome::Handoff(call) => Some((call.rule, call.team, call.priority.as_str())),
        Outcome::Pass(_) | Outcome::Block { .. } => None,
    }
}

#[test]
fn every_row_of_the_older_system_calls_its_team_with_its_priority() {
    let sewing = sewing();
    for (lines, rule, team, priority) in [
        (&["Es urgente, la máquina echa chispas"][..], "urgent", "taller", "urgent"),
        (&["Voy a hablar con mi abogado por esta máquina"], "urgent", "taller", "urgent"),
        (&["La máquina llegó dañada"], "urgent", "taller", "urgent"),
        (&["Quiero poner una queja"], "complaint", "ventas", "high"),
        (&["Quiero cancelar el pedido"], "complaint", "ventas", "high"),
        (&["Quiero abrir un taller de costura"], "starts-a-business", "ventas", "high"),
        (&["¿Pueden venir a instalar la máquina?"], "visit", "taller", "high"),
        (&["Necesito una capacitación en la fileteadora"], "visit", "taller", "high"),
        (&["Vivo en una vereda y quiero comprar una máquina"], "other-place", "ventas", "high"),
        (&["Estoy en Pasto", "me interesa la Alba 50"], "other-place", "ventas", "high"),
        (&["Necesito arreglar mi máquina"], "repair", "taller", "medium"),
        (&["Soy de Bogotá", "ok", "¿cuánto cuesta la Alba 20?"], "place-and-price", "ventas", "high"),
        (&["Soy de Bogotá", "¿puedo pagar la máquina a cuotas?"], "place-and-price", "ventas", "high"),
        (&["Hago camisetas y gorras", "es para producción de telas"], "volume", "ventas", "medium"),
        (&["Apártemela, ya hice el pago de la máquina"], "ready-to-buy", "ventas", "high"),
        (&["Necesito cincuenta máquinas"], "high-value", "ventas", "high"),
        (&["La máquina no cose y es urgente, quiero reparar mi máquina"], "urgent", "taller", "urgent"),
    ] {
        let call = called(&sewing, lines);
        assert_eq!(call, Some((rule.to_owned(), Some(team.to_owned()), priority)), "{lines:?}");
    }
}

#[test]
fn everyday_questions_call_nobody() {
    let sewing = sewing();
    for lines in [
        &["No es urgente, es para la máquina"][..],
        &["¿El servicio de reparación está incluido en la garantía?"],
        &["¿Hacen envíos a otra ciudad?"],
        &["¿Cuánto vale el envío de la máquina a Cali?"],
        &["¿Cuánto vale arreglar mi máquina?"],
        &["¿La instalación está incluida?"],
        &["No quiero cancelar, solo pregunto por mi pedido"],
        &["¿Tienen máquinas para gorras?"],
        &["¿Venden al por mayor?"],
        &["Soy de Bogotá"],
        &["¿Cuánto cuesta la Alba 20?"],
        &["Necesito dos agujas y un prensatela"],
        &["HOLA BUENAS TARDES!!!", "CUANTO VALE LA MAQUINA!!!"],
        &["¿Cuánto cuesta la Alba 20?", "¿Cuánto cuesta la Alba 50?", "¿Cuánto cuesta la Delta 4?"],
    ] {
        assert_eq!(called(&sewing, lines), None, "{lines:?}");
    }
    let shop = shop();
    for line in [
        "Is the repair service included?",
        "It's not urgent at all",
        "no es urgente",
        "não é urgente",
        "¿Hacen envíos a otra ciudad?",
        "Can I cancel my order?",
        "How do refunds work?",
        "It arrived broken, can I return it?",
        "Do you have emergency lights?",
        "I need 3 units",
    ] {
        assert_eq!(called(&shop, &[line]), None, "{line}");
    }
}
