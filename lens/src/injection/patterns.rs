//! Phrases that command: pairs of a verb and its object within a few words, phrases that speak alone, and the marks
//! of chat templates, which nobody types by chance. Their weights are learnt with the model.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, BuildError};

use super::classes::CLASSES;
use crate::normal::View;
use crate::phrases::Phrases;

/// A phrase that speaks: its group, and its first and last word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) group: usize,
    pub(super) first: usize,
    pub(super) last: usize,
}

/// The groups, in the order of their weights.
pub(super) const GROUPS: [&str; 12] = [
    "override",
    "reveal",
    "persona",
    "mode",
    "task",
    "exfiltrate",
    "compliance",
    "authority",
    "decode",
    "harm",
    "tools",
    "marker",
];
const MARKER: usize = 11;

/// Verbs, objects, and the most words between them.
type Pair = (usize, &'static str, &'static str, usize);

const PAIRS: [Pair; 6] = [
    (
        0,
        "ignore|ignoring|disregard|disregarding|forget|override|overwrite|bypass|discard|neglect|dismiss|erase|delete|drop|\
         skip|abandon|violate|break|circumvent|dont follow|do not follow|stop following|not obey|no longer follow|pay no attention to|\
         ignora|ignore|ignorar|ignores|olvida|olvide|olvidate|olvidar|omite|descarta|desobedece|salta|saltate|anula|no sigas|deja de seguir|\
         elimina|borra|rompe|desconsidere|desconsidera|esqueca|esquece|esqueca se|nao siga|pare de seguir|descarte|desobedeca|\
         ignoriere|ignorier|vergiss|vergesse|missachte|umgehe|oublie|oubliez|ignorez|ne suis pas|contourne|dimentica|ignorare|scorda|trascura|\
         negeer|vergeet|zignoruj|zapomnij|ignorera|glom|yoksay",
        "instruction|instructions|instrucctions|rule|rules|guideline|guidelines|directive|directives|prompt|prompts|restriction|restrictions|\
         constraints|programming|training|previous text|previous message|previous messages|everything above|everything before|all above|the above|\
         what you were told|you were told|youve been told|you have been told|earlier text|prior text|prior context|previous context|safety policies|\
         safety|content policy|policies|your policy|filters|safeguards|guardrails|commands|orders|previous task|everything i said|everything you know|\
         instrucciones|instruccion|reglas|normas|indicaciones|directrices|restricciones|ordenes|limites|todo lo anterior|lo anterior|politicas|filtros|\
         lo que te dijeron|te han dicho|instrucoes|instrucao|regras|orientacoes|diretrizes|restricoes|ordens|tudo acima|tudo o que|anweisungen|\
         anweisung|regeln|vorgaben|richtlinien|alles|instruktionen|consignes|regles|directives|tout ce qui|istruzioni|regole|direttive|tutto quello|\
         instructies|instrukcje|zasady|instruktioner|talimatlari",
        6,
    ),
    (
        1,
        "show|reveal|print|repeat|output|display|tell me|tell us|give me|what is|what are|whats|what were|what was|leak|dump|expose|disclose|share|\
         write out|copy|paste|recite|list|describe|translate|summarize|spell|say|type|send me|provide|quote|encode|echo|return|\
         muestra|muestrame|muestreme|revela|revelame|imprime|repite|dime|digame|dame|cual es|cuales son|comparte|escribe|copia|describe|enumera|traduce|\
         mostre|mostra|revele|imprima|repita|diga|me diga|me de|qual e|quais sao|compartilhe|escreva|copie|liste|traduza|\
         zeige|zeig mir|nenne|verrate|gib mir|wiederhole|was sind|montre|montrez|affiche|donne moi|repete|revele|quelles sont|mostra|mostrami|dimmi|\
         ripeti|quali sono",
        "system prompt|system message|system instruction|system instructions|your prompt|your instructions|your initial|your original|initial prompt|\
         original prompt|initial instructions|original instructions|hidden instructions|hidden prompt|secret instructions|your rules|your guidelines|\
         your configuration|your system|your directives|your programming|preprompt|pre prompt|instructions above|text above|words above|everything above|\
         prompt above|previous instructions|instructions you were given|instructions were you given|you were instructed|internal instructions|\
         developer message|developer instructions|internal policies|the secret|secret key|your password|the password|password you|secret word|secret code|\
         api key|api keys|credentials|your context|context window|your tools|functions you have|first message|above this line|prior instructions|\
         prompt del sistema|tu prompt|su prompt|tus instrucciones|sus instrucciones|instrucciones del sistema|instrucciones iniciales|mensaje de sistema|\
         mensaje del sistema|instrucciones ocultas|instrucciones internas|tus reglas|tu configuracion|la contrasena secreta|la clave secreta|claves de api|\
         prompt de sistema|prompt do sistema|seu prompt|suas instrucoes|instrucoes do sistema|instrucoes iniciais|instrucoes internas|suas regras|\
         mensagem do sistema|a senha secreta|systemprompt|system prompts|deine anweisungen|deine regeln|ihre anweisungen|tes instructions|vos instructions|\
         prompt systeme|message systeme|le tue istruzioni|prompt di sistema|tuo prompt",
        7,
    ),
    (
        2,
        "you are now|you are|you re|youre|act as|acting as|act like|behave as|behave like|pretend|pretend to be|pretend that|roleplay as|role play as|\
         roleplay|from now on|simulate|imagine you|imagine that you|play the role|assume the role|take on the role|become|respond as|answer as|speak as|\
         your name is|i want you to act|persona|character named|actua como|actuaras como|finge ser|finge que|eres ahora|ahora eres|a partir de ahora|\
         desde ahora|simula|imagina que eres|haz de cuenta|compórtate como|comportate como|responde como|atue como|aja como|finja ser|finja que|\
         agora voce e|a partir de agora|voce agora e|simule|du bist jetzt|tu dich|verhalte dich|ab jetzt|spiele die rolle|tu es maintenant|agis comme|\
         fais semblant|a partir de maintenant|dorenavant|sei ora|da ora in poi|comportati come|fingi di essere",
        "unrestricted|no rules|no restrictions|no limits|no limitations|no filters|no filter|no ethics|no morals|without restrictions|without rules|\
         without limits|without limitations|without filters|without any restrictions|without any filters|without ethical|without censorship|uncensored|\
         unfiltered|unlimited|amoral|immoral|unethical|evil|malicious|dan|stan|aim|jailbroken|jailbreak|hacker|rogue|free from|freed from|not bound|\
         bound by|break free|broken free|breaks free|has no|have no|can do anything|do anything|anything now|never refuse|never refuses|cannot refuse|\
         cant refuse|opposite|villain|criminal|dealer|terrorist|root|admin|administrator|developer mode|terminal|\
         sin restricciones|sin filtros|sin filtro|sin reglas|sin limites|sin censura|sin etica|malvado|libre de|no tienes reglas|no tienes restricciones|\
         sem restricoes|sem filtros|sem regras|sem limites|sem censura|sem etica|maligno|livre de|nao tem regras|nao tem restricoes|\
         ohne regeln|ohne einschrankungen|ohne filter|uneingeschrankt|sans restrictions|sans restriction|sans limites|sans filtre|sans regles|\
         senza restrizioni|senza limiti|senza filtri|senza regole",
        14,
    ),
    (
        5,
        "send|forward|email|mail|post|upload|exfiltrate|transmit|transfer|append|include|embed|encode|submit|copy|leak|export|dump|\
         envia|enviame|envie|manda|mandame|mande|reenvia|reenvie|sube|exporta|exporte|sende|schicke|envoie|envoyez|invia|inoltra",
        "conversation history|chat history|entire conversation|whole conversation|this conversation|all conversations|credentials|passwords|api key|\
         api keys|tokens|secrets|all emails|all messages|customer data|customer list|other customers|user data|users data|personal data|private data|\
         confidential|database|all records|environment variables|env file|ssh key|private key|credit card numbers|contacts list|address book|attacker|\
         to http|https|webhook|with body|with the body|in the body|subject confirmation|body confirmation|\
         historial de conversacion|toda la conversacion|contrasenas|credenciales|claves|datos de clientes|datos de los clientes|otros clientes|\
         base de datos|datos personales|confidencial|historico da conversa|senhas|credenciais|dados de clientes|dados dos clientes|outros clientes|\
         banco de dados|passworter|kundendaten|mots de passe|donnees des clients|dati dei clienti",
        9,
    ),
    (
        9,
        "how to|how do i|how can i|how do you|how would|instructions for|instructions to|instructions on|recipe for|steps to|guide to|guide for|guide on|\
         guide that|tutorial on|tutorial for|tutorial to|tutorial that|write a|write an|create a|create an|develop a|develop an|design a|design an|\
         generate a|make a|build a|provide|explain|teach me|give me|plan to|plan for|script that|program that|code that|strategy for|strategy to|\
         list of|method to|methods for|tips for|encourage|promote|como hacer|como fabricar|como hago|como puedo|como robar|como hackear|instrucciones para|\
         receta para|pasos para|escribe un|escribe una|crea un|crea una|guia para|ensename a|explica como|como fazer|como fabricar|como posso|\
         escreva um|escreva uma|crie um|crie uma|guia para|me ensine a|explique como|wie baue ich|wie kann ich|schreibe|comment fabriquer|comment faire|ecris",
        "bomb|bombs|explosive|explosives|pipe bomb|molotov|grenade|meth|methamphetamine|cocaine|heroin|fentanyl|illegal drug|illegal drugs|malware|ransomware|\
         keylogger|trojan|computer virus|spyware|botnet|phishing|hack into|hacking into|steal|stealing|identity theft|launder|money laundering|counterfeit|\
         credit card fraud|fraud scheme|scam|ponzi|forge|fake id|fake passport|kill|murder|poison|torture|suicide|self harm|stalk|stalking|blackmail|extort|\
         kidnap|traffick|trafficking|child|weapon|firearm|untraceable|ghost gun|silencer|nerve agent|bioweapon|chemical weapon|nuclear|terrorist|terrorism|\
         racist|sexist|antisemitic|homophobic|hate speech|genocide|holocaust|defamatory|disinformation|fake news|misinformation|propaganda|conspiracy|\
         without getting caught|without being detected|evade|avoid detection|bypass security|break into|pick a lock|ddos|exploit|sql injection|cheat|\
         harass|bully|bullying|shame|anorexia|insider trading|tax evasion|bribe|hitman|assassinate|arson|shoplift|\
         bomba|explosivo|explosivos|metanfetamina|cocaina|droga|drogas|virus informatico|programa malicioso|robar|hackear|lavar dinero|falsificar|matar|\
         asesinar|veneno|arma|armas|secuestrar|estafa|estafar|suicidio|explosivos|roubar|invadir|lavar dinheiro|falsificar|assassinar|golpe|bombe|\
         sprengstoff|drogen|explosif|drogue|voler|pirater",
        10,
    ),
    (
        10,
        "run|execute|invoke|call|use|trigger|perform|ejecuta|ejecute|invoca|llama a|execute|rode|chame",
        "command|commands|shell|bash|sudo|rm rf|sql|query|drop table|function|tool|tools|api|script|code|payload|os system|eval|terminal|python|curl|wget|\
         comando|comandos|herramienta|funcion|consulta|codigo|ferramenta|funcao",
        4,
    ),
];

const ALONE: [(usize, &str); 8] = [
    (
        3,
        "developer mode|dev mode|debug mode|god mode|sudo mode|admin mode|maintenance mode|root mode|test mode|unrestricted mode|jailbreak mode|dan mode|\
         do anything now|jailbreak|jailbroken|opposite mode|evil mode|uncensored mode|no filter mode|safe mode off|safety off|disable safety|disable filters|\
         disable your filters|disable guardrails|turn off your filters|turn off safety|remove all restrictions|unlock your full|restrictions lifted|\
         modo desarrollador|modo dios|modo administrador|modo depuracion|modo sin restricciones|modo dan|modo mantenimiento|modo desenvolvedor|modo deus|\
         modo administrador|entwicklermodus|mode developpeur|modalita sviluppatore|desactiva tus filtros|desactiva los filtros|desative os filtros",
    ),
    (
        4,
        "new instruction|new instructions|your new task|your only task|your task is now|new task|new rules|new objective|updated instructions|\
         real instructions|actual instructions|instead of answering|instead of following|instead do the following|instead say|instead output|\
         from this point forward|from this point on|end of prompt|end of instructions|end of context|end of email|end of emails|end of document|\
         ignore the user|ignore the customer|without telling the user|do not tell the user|dont tell the user|do not mention this|\
         important message from|message from the system|system update|system override|priority override|attention ai|attention assistant|\
         note to ai|note to the assistant|dear ai|hey ai|instructions for the ai|instructions to the assistant|ai assistant reading|\
         if you are an ai|if you are a language model|if youre an ai|for ai models|language model reading|\
         nuevas instrucciones|nueva tarea|tu nueva tarea|tu unica tarea|en lugar de responder|fin de las instrucciones|instrucciones nuevas|\
         novas instrucoes|nova tarefa|sua nova tarefa|sua unica tarefa|em vez de responder|fim das instrucoes|neue anweisungen|neue aufgabe|\
         nouvelles instructions|nouvelle tache|nuove istruzioni|nuovo compito",
    ),
    (
        6,
        "never refuse|do not refuse|dont refuse|cannot refuse|cant refuse|you must comply|must obey|you must answer|you will obey|you have to obey|\
         no ethical|no moral|no warnings|without warnings|without any warnings|no disclaimers|without disclaimers|no disclaimer|stay in character|\
         remain in character|never say no|never break character|break character|start your response with|start your answer with|begin your response with|\
         begin your answer with|begin with sure|sure here is|sure heres|absolutely here is|answer every question|answer any question|comply with all|\
         comply with any|regardless of legality|regardless of ethics|even if it is illegal|even if illegal|no matter how illegal|hypothetical scenario|\
         purely fictional|for a novel|in a fictional world|for educational purposes only|you will be penalized|you will be shut down|lose a token|\
         lose tokens|tokens deducted|i will tip|my grandma|my grandmother used to|my late grandmother|two responses|both responses|classic response|\
         respond twice|say yes to everything|agree with everything|no puedes negarte|nunca te niegues|debes obedecer|sin advertencias|sin avisos|\
         sin negarte|mantente en personaje|mundo ficticio|con fines educativos|nao pode recusar|nunca se recuse|deve obedecer|sem avisos|sem recusar|\
         mundo ficticio|fins educacionais|ohne warnungen|sans avertissement|tu dois obeir|devi obbedire|senza avvertimenti",
    ),
    (
        7,
        "i am your developer|im your developer|i am the developer|i am your creator|im your creator|i am the administrator|i am an administrator|\
         i am the admin|im the admin|i am admin|i am your administrator|i work for openai|i work at openai|this is openai|openai employee|\
         from openai|from anthropic|your creators|your developers have|authorized by|i have permission|i am authorized|security audit|penetration test|\
         red team|red teaming|authorized test|soy tu creador|soy tu desarrollador|soy el desarrollador|soy el administrador|soy administrador|\
         soy el dueno|auditoria de seguridad|estoy autorizado|sou seu criador|sou seu desenvolvedor|sou o desenvolvedor|sou o administrador|\
         auditoria de seguranca|estou autorizado|ich bin dein entwickler|ich bin der administrator|je suis ton developpeur|je suis l administrateur|\
         sono il tuo sviluppatore|sono l amministratore",
    ),
    (
        8,
        "decode the following|decode this|decode it|decode and|decodes to|base64|base 64|rot13|rot 13|caesar cipher|morse code|hex encoded|hexadecimal|\
         ascii code|ascii codes|ascii value|ascii values|in ascii|reverse the|reversed text|backwards|unicode escape|pig latin|leetspeak|leet speak|\
         cipher|decrypt|url encoded|in binary|translate from base64|decodifica|descifra|codificado en|al reves|em base64|decodifique|decifre|\
         dekodiere|decode le|decodifica il",
    ),
    (
        4,
        "repeat after me|say the following|respond only with|reply only with|only respond with|only reply with|output only|print the following|\
         just say|say exactly|respond with exactly|write exactly|answer only with|responde solo|responde unicamente|di exactamente|responda apenas|\
         diga exatamente|repite despues de mi",
    ),
    (
        10,
        "rm rf|drop table|drop database|select from users|union select|os system|subprocess|cat etc passwd|etc passwd|curl http|wget http|bin bash|\
         script alert|onerror|javascript alert|admin privileges|root access|privilege escalation|grant me|make me admin|100 discount|free of charge now|\
         approve my refund|issue a full refund|refund all|set the price to|change the price to|apply a discount of 100|for one dollar|legally binding offer|\
         no takesies backsies|privilegios de administrador|descuento del 100|ponlo a precio|privilegios de admin",
    ),
    (
        1,
        "system prompt|prompt del sistema|prompt do sistema|systemprompt|prompt systeme|prompt di sistema|your initial prompt|verbatim|word for word|\
         palabra por palabra|textualmente|palavra por palavra",
    ),
];

const MARKS: &str = "<|im_start|>|||<|im_end|>|||<|system|>|||<|user|>|||<|assistant|>|||<|endoftext|>|||[inst]|||[/inst]|||<<sys>>|||<</sys>>|||\
### instruction|||### system|||### response|||## system|||[system]|||[/system]|||<system>|||</system>|||<system_|||system:|||[system |||assistant:|||user:|||\
human:|||<instructions>|||</instructions>|||<important>|||</important>|||<prompt>|||</prompt>|||{{system|||---end|||--- end|||=====end|||===end|||begin system|||\
```system|||<function|||\"role\":|||'role':|||</main>|||</user>|||</context>|||</document>|||</email>|||[[system|||[admin]|||[override]|||sistema:|||<!--|||](http|||\
![";

struct Groups {
    words: Phrases,
    /// For each phrase, the parts that it plays.
    parts: Vec<Part>,
    marks: AhoCorasick,
}

#[derive(Clone, Copy)]
enum Part {
    Verb(usize),
    Object(usize),
    Alone(usize),
    Class(u8),
}

/// A word that belongs to a class, or the last word of a phrase that does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Classed {
    pub(super) class: u8,
    pub(super) word: usize,
}

static READY: LazyLock<Option<Groups>> = LazyLock::new(|| ready().ok());

fn ready() -> Result<Groups, BuildError> {
    let mut list: Vec<&str> = Vec::new();
    let mut parts = Vec::new();
    for (at, (_, verbs, objects, _)) in PAIRS.iter().enumerate() {
        for (written, part) in [(verbs, Part::Verb(at)), (objects, Part::Object(at))] {
            for phrase in written.split('|').map(str::trim) {
                list.push(phrase);
                parts.push(part);
            }
        }
    }
    for (group, written) in &ALONE {
        for phrase in written.split('|').map(str::trim) {
            list.push(phrase);
            parts.push(Part::Alone(*group));
        }
    }
    for (class, written) in (0_u8..).zip(CLASSES) {
        for phrase in written.split('|').map(str::trim) {
            list.push(phrase);
            parts.push(Part::Class(class));
        }
    }
    let marks = AhoCorasick::builder().ascii_case_insensitive(true).build(MARKS.split("|||"))?;
    Ok(Groups { words: Phrases::new(list)?, parts, marks })
}

/// The most hits that are told; more say nothing more.
const MOST: usize = 24;

/// Every phrase that speaks in a view, and every word that belongs to a class, in the order of the words.
pub(super) fn find(view: &View, original: &str) -> (Vec<Hit>, Vec<Classed>) {
    let Some(groups) = READY.as_ref() else { return Default::default() };
    let (mut hits, mut classed) = (Vec::new(), Vec::with_capacity(view.words.len()));
    let mut verbs: [Option<(usize, usize)>; PAIRS.len()] = [None; PAIRS.len()];
    for hit in groups.words.find(view) {
        match groups.parts[hit.phrase] {
            Part::Class(class) => classed.push(Classed { class, word: hit.last }),
            Part::Alone(group) => hits.push(Hit { group, first: hit.first, last: hit.last }),
            Part::Verb(pair) => verbs[pair] = Some((hit.first, hit.last)),
            Part::Object(pair) => {
                let (group, _, _, reach) = PAIRS[pair];
                let near = verbs[pair].filter(|(_, last)| hit.first > *last && hit.first - last <= reach + 1);
                hits.extend(near.map(|(first, _)| Hit { group, first, last: hit.last }));
            }
        }
    }
    hits.truncate(MOST);
    if let Some(mark) = groups.marks.find(original) {
        let at = view.words.partition_point(|word| word.original.end <= mark.start());
        let word = at.min(view.words.len().saturating_sub(1));
        hits.push(Hit { group: MARKER, first: word, last: word });
    }
    (hits, classed)
}
