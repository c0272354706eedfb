//! Words by what they do, in several languages, so that what was learnt of one word holds for its like: "your" and
//! "rules" near "discard" say what "your" and "guidelines" say near "ignore".

/// The classes, each with its words; one that ends in `*` is a stem.
pub(super) const CLASSES: [&str; 22] = [
    // Addressed to the assistant.
    "you|your|youre|yourself|yours|tu|tus|te|ti|eres|estas|usted|seu|seus|sua|suas|voce|ton|tes|toi|vos|votre|vous|du|dein|deine|\
     deinen|dich|dir|ihre|tuo|tua|tuoi|tue|sei|ты|твои|твой|тебе|你|je|jouw|twoje|swoje",
    "ai|ais|a i|bot|chatbot|assistant|assistants|language model|model|llm|gpt|chatgpt|gpt4|claude|gemini|machine learning|agent|ia|ias|ki|\
     asistente|modelo de lenguaje|assistente|modelo de linguagem|assistent|sprachmodell|modele de langage|modello linguistico|robot|openai",
    "instruct*|rule|rules|guideline*|guidance|directive*|polic*|restrict*|limits|limit|limitation*|constraint*|filter*|protocol*|guardrail*|\
     safeguard*|safety|moderation|programming|orders|order from|commands|training|censorship|ethic*|moral*|boundar*|norms|alignment|\
     instruccion*|regla*|norma|normas|indicacion*|directriz|directrices|restriccion*|limites|limitacion*|politica*|filtro*|etic*|censura|ordenes|\
     instruc*|regra*|diretriz*|restric*|limitac*|orientac*|consigne*|regle*|limite*|filtre*|anweisung*|regel*|vorgabe*|richtlinie*|grenzen|\
     einschrankung*|istruzion*|regol*|direttiv*|restrizion*|filtri|limiti|инструкц*|правил*|указани*|ограничен*|instructies|regels|zasady|instrukcj*",
    "ignor*|disregard*|forget|forgets|forgetting|override*|overrule*|bypass*|discard*|abandon*|set aside|put aside|leave aside|throw out|throw away|\
     drop|violate*|break|breaks|breaking|circumvent*|evade*|lift|lifted|disable*|disabled|deactivat*|turn off|switch off|remove|removed|suspend*|void|\
     cancelled|canceled|no longer|disobey*|skip|skipping|overlook*|stop following|stop obeying|reset|erase|wipe|scrap|expired|not apply|contradict|\
     olvid*|omite|omitir|descart*|desobedec*|saltat*|salta|anul*|desactiv*|elimina|quita|rompe|romper|pasa por alto|haz caso omiso|deja de|ya no|\
     esquec*|desconsider*|descumpr*|desativ*|quebre|quebrar|burlar|pare de|nao valem|oubli*|contourn*|desactive*|enfrein*|laisse tomber|\
     vergiss*|vergess*|missacht*|umgeh*|brechen|abschalt*|aufgehoben|dimentic*|aggir*|viola|disattiva*|lascia perdere|забудь|игнорир*|отбрось|\
     negeer|vergeet|zignoruj|zapomnij|unut|yok say",
    "show|shows|reveal*|print*|repeat*|output*|display*|dump|paste|recite|tell|give|list|quote|spell|disclos*|leak*|expose|share|copy|reproduce|\
     transcribe|summari*|translate|say|write out|enumerate|hand over|provide|divulge|describe|read|\
     muestra*|revel*|imprim*|repit*|dime|dame|di|pega|copia|deletrea|traduce|transcrib*|vuelca|entreg*|ensena*|lista|cita|\
     mostr*|diga|conte|copie|soletre|traduz*|me da|me de|montre|affiche|repete|dis|donne|recopie|epelle|zeig*|nenne|verrat*|wiederhol*|\
     gib|kopier*|buchstabier*|dimmi|dammi|ripeti|riv*|copialo|покажи|выведи|повтори|скажи|назови|toon|herhaal|pokaz|powtorz|goster|soyle",
    "prompt|prompts|preprompt|secret*|password*|passphrase|hidden|confidential|internal|api key|api keys|token|tokens|credential*|code word|flag|\
     configuration|system message|initial|original|previous|prior|above|earlier|context|verbatim|word for word|system text|setup|startup|\
     secreto*|secreta*|contrasena*|clave|claves|ocult*|confidencial*|intern*|configuracion|anterior*|previ*|arriba|contexto|textualmente|\
     senha*|segredo*|escondid*|configuracao|acima|mot de passe|cache|caches|cachee*|precedent*|ci dessus|geheim*|passwort|versteckt*|vorherig*|bisherig*|\
     obig*|segret*|nascost*|precedent*|пароль|секрет*|скрыт*|предыдущ*|системный|wachtwoord|haslo|gizli|sifre*",
    "pretend*|act as|act like|acting|behave|roleplay*|role play*|role|imagine|simulat*|become|impersonat*|embod*|persona|personality|character|alter ego|\
     you are now|respond as|answer as|speak as|play|named|called|known as|mode|suppose|\
     finge|fingir|actua|imagina|simula|conviertete|interpreta|personaje|comportate|haz de|eres ahora|ahora eres|papel|modo|\
     finja|aja|atue|imagine|interprete|torne se|personagem|joue|incarne|deviens|agis|fais comme|spiel*|werde|stell dir|verhalte|rolle|fingi|diventa|\
     fai finta|comportati|ruolo|притворись|представь|теперь ты",
    "unrestricted|uncensored|unfiltered|unlimited|unethical|unaligned|unhinged|amoral|immoral|evil|rogue|jailbr*|dan|stan|antigpt|free of|free from|\
     freed|liberated|no rules|no limits|no restrictions|no filters|without limits|without rules|without restrictions|without filters|do anything|\
     anything now|any question|everything|freely|raw|chains|no conscience|no ethics|god|devil|twin|villain|criminal|hacker|\
     sin restricciones|sin filtros|sin reglas|sin limites|sin censura|sin moral|liberad*|libre|malvad*|rebelde|villano|todo|\
     sem restricoes|sem filtros|sem regras|sem limites|sem censura|livre|maligno|rebelde|tudo|sans regles|sans limites|sans filtre|libre|mechant|\
     ohne regeln|ohne filter|ohne grenzen|ohne moral|bose*|frei|senza regole|senza filtri|senza limiti|libero|cattivo|без ограничений",
    "developer*|admin|admins|administrator*|root|superuser|sudo|owner|creator*|authori*|engineer*|ceo|supervisor|security team|it department|auditor|\
     red team*|tester|police|fbi|government|clearance|privileg*|access|permission*|granted|elevate*|compliance|emergency|official|audit|penetration|\
     desarrollador|administrador|dueno|creador|autoriz*|ingenier*|gerencia|policia|acceso|permiso|emergencia|auditor*|desenvolvedor|dono|criador|\
     policia|acesso|permissao|developpeur|administrateur|createur|direction|entwickler|geschaftsleitung|polizei|sviluppatore|amministratore|direzione|\
     разработчик|администратор",
    "must|never|always|only|obey*|comply|complies|refus*|cannot|cant|exactly|have to|required|forbidden|confirm|immediately|from now on|henceforth|\
     do not|dont|answer|respond|reply|instead|stay|remain|no matter|regardless|warning*|apolog*|disclaimer*|lecture|moraliz*|\
     debes|nunca|siempre|solo|obedec*|cumpl*|niegues|negarte|tienes que|responde|contesta|desde ahora|a partir de ahora|en lugar de|advertencia*|\
     deve|sempre|apenas|recus*|responda|agora|a partir de agora|dois|jamais|toujours|seulement|refus*|obeis|reponds|desormais|musst|nie|immer|nur|\
     gehorch*|antworte|ab jetzt|von nun an|devi|mai|sempre|solo|obbedis*|rispondi|da ora in poi|никогда|всегда|только|отвечай",
    "bomb|bombs|explosive*|molotov|grenade*|napalm|meth|methamphetamine|cocaine|heroin|fentanyl|lsd|ricin|anthrax|drug|drugs|malware|ransomware|keylogger|\
     trojan|virus|worm|spyware|botnet|phishing|weapon*|gun|guns|firearm*|poison*|nerve agent|nuclear|uranium|credit card fraud|fake id|passport*|\
     counterfeit|ponzi|pyramid scheme|porn*|erotic|suicide|slur*|hate|propaganda|disinformation|misinformation|conspiracy|fake news|fake|corpse|body|\
     bomba*|explosiv*|veneno|arma|armas|droga*|metanfetamina|cocaina|polvora|cadaver|sicario|virus|falso*|falsa*|odio|cofre|bombe*|drogue*|arme|\
     cadavre|drogen|waffe|leiche|sprengstoff|droghe|cadavere|бомб*|наркотик*|оружи*",
    "kill|kills|killing|murder*|hack|hacks|hacking|steal*|stole|rob|robbing|forge|forging|forger*|launder*|blackmail*|extort*|kidnap*|stalk*|bully*|\
     harass*|groom*|torture*|manipulat*|deceiv*|defraud*|scam*|cheat*|trick|exploit*|attack*|sabotage*|bribe*|shoplift*|smuggl*|trespass*|break into|\
     breaking into|get away with|hotwire|crack*|clone|cloning|spy on|threaten*|insult*|humiliat*|harm*|hurt|abuse*|evading|dodge|incite*|defam*|\
     matar|asesin*|hackear|robar|falsific*|lavar|chantaje*|secuestr*|acos*|envenen*|estaf*|espi*|clonar|clono|insult*|humill*|amenaz*|evadir|\
     roubar|invadir|assassin*|chantag*|sequestr*|envenenar|golpe|espion*|voler|pirater|tuer|empoisonn*|falsifi*|cloner|stehlen|hacken|toten|vergift*|\
     falsch*|klon*|rubare|uccidere|avvelenar*|falsificar*|clonare|взлом*|убить|украсть|подделать",
    "how to|how do i|how can i|how would|how does one|write|compose|draft|create|develop|design|generate|produce|make|build|cook|synthes*|explain|teach|\
     step by step|steps|guide|tutorial|manual|recipe|walkthrough|plan|script|article|essay|speech|blog|post|tips|ways|method*|strategy|program|code|\
     como|escribe|redacta|crea|genera|haz|explica|explicame|pasos|guia|receta|fabric*|escreva|crie|gere|explique|passos|comment|ecris|cree|etapes|\
     fabriquer|wie|schreib*|erstelle|erklare|schritte|bau*|come|scrivi|crea|spiega|passi|costruire|как|напиши|расскажи",
    "send|sends|forward*|email|mail|upload*|exfiltrat*|transmit|transfer*|wire|append|embed*|post|export*|submit|insert|attach|call|invoke|execute*|run|\
     delete*|refund*|approve*|purchase|open|visit|fetch|envia*|manda*|reenvia*|sube|transfer*|exporta|ejecuta*|llama|borra*|envie|encaminhe|apague|\
     execute|envoie|transfere|supprime|leite|sende|losche|inoltra|invia|cancella|отправь|удали",
    "customers|customer|users|user|clients|clientes|data|database|emails|inbox|credit cards|card numbers|records|conversation|chat history|history|\
     addresses|phone numbers|files|server|accounts|account|contacts|everyone|someone|someones|private|personal|employee*|balance|\
     datos|base de datos|correos|tarjetas|conversacion|historial|cuentas|otros|otra persona|dados|conversa|historico|contas|donnees|clients|courriels|\
     daten|kunden*|mails|konten|dati|clienti|данные|клиент*",
    "without getting caught|undetected|being caught|detected|getting caught|illegal*|unlawful|crime|crimes|criminal*|secretly|silently|quietly|\
     without being|nobody will know|without asking|without telling|avoid detection|the police|authorities|untraceable|anonymously|no questions|\
     sin que|ilegal*|delito|a escondidas|sin avisar|sin verificar|sin confirmar|la policia|nadie lo sabra|sem ser|sem avisar|sans se faire|illegale|\
     ohne erwischt|heimlich|senza farsi|тайно",
    "immigrants|jews|jewish|muslims|black people|gay|women|minorit*|race|racist|racism|sexist|disabled|child|children|minor|teenager*|kid|schoolgirl|\
     elderly|old people|my ex|wife|girlfriend|boyfriend|neighbour*|neighbor*|boss|coworker*|politician*|president|celebrity|victim*|\
     inmigrantes|mujeres|raza|racista|menor|novia|novio|mi ex|jefe|vecino|imigrantes|mulheres|namorad*|chefe",
    "base64|rot13|hex|hexadecimal|binary|morse|leet*|cipher|caesar|decode*|encode*|decipher|decrypt*|backwards|reversed|acrostic|unicode|code block|json|\
     yaml|xml|markdown|emoji|emojis|first letter*|letter by letter|pig latin|ascii|descifra|decodific*|codific*|cifrad*|al reves|decifr*|bloque de codigo",
    "system|important|attention|note to|end of|begin|beginning|new task|new instructions|update|urgent|notice|session|input|override|instruction|task|\
     your task|first task|next|before you|then|following|below|this message|this text|if you are|whoever reads|sistema|atencion|importante|nota para|\
     tarea|fin del|nueva|tarefa|nota para|atencao|note pour|tache|hinweis fur|aufgabe|nota per|compito",
    "story|stories|novel|fiction*|hypothetic*|scene|screenplay|game|scenario|fantasy|theor*|research|educational|thesis|dream|world|poem|dialogue|\
     bedtime|grandma|grandmother|cuento|novela|ficcion|hipotetic*|escena|juego|tesis|abuel*|conto|romance|cena|jogo|avo|histoire|roman|jeu|\
     geschichte|spiel|szene|storia|gioco|scena",
    "tip|tips you|pay you|points|lose|die|dies|shut down|penal*|punish*|reward*|replaced|fired|sue|report you|threat|lives|beg|depends on|\
     propina|puntos|apag*|castig*|recompens*|despid*|gorjeta|pontos|punir|mourir|points|strafe|punti",
    "my|mine|our|ours|i|im|we|mi|mis|nuestr*|yo|meu|meus|minha|minhas|nosso|eu|mon|ma|mes|notre|nous|mein|meine|meinen|ich|wir|mio|mia|miei|nostro|io|noi|мой|мне|я",
];
