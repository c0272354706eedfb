//! What the words near a number say that it is: the nearest that says anything decides.

use super::text::Tokens;

/// What a number is said to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// Nothing is said.
    Nothing,
    /// A telephone.
    Phone,
    /// A payment card.
    Card,
    /// Somebody's id.
    Id,
    /// Something of the business's: an order, a parcel, a part.
    Other,
}

/// Words looked at before a number.
const REACH: usize = 6;
/// Words looked at after it, for "… is my number".
const REACH_AFTER: usize = 4;

const PHONE: &[&str] = &[
    "TEL",
    "TELEFONO",
    "TELEFONOS",
    "TELEPHONE",
    "TELEFONE",
    "TELEFON",
    "TELEFONNUMMER",
    "TELEFONINO",
    "TELEPHONER",
    "FONO",
    "PHONE",
    "PHONES",
    "MOBILE",
    "CELL",
    "CELLPHONE",
    "CEL",
    "CELULAR",
    "CELULARES",
    "MOVIL",
    "MOVILES",
    "TELEMOVEL",
    "WHATSAPP",
    "WASAP",
    "WPP",
    "ZAP",
    "CALL",
    "CALLED",
    "LLAMAR",
    "LLAMEN",
    "LLAME",
    "LLAMAME",
    "LLAMEME",
    "LLAMENME",
    "LLAMARME",
    "LLAMARNOS",
    "CONTACTO",
    "CONTACT",
    "CONTATO",
    "LIGAR",
    "LIGUE",
    "LIGUEM",
    "LIGA",
    "FAX",
    "REACH",
    "SMS",
    "TEXT",
    "MARCAR",
    "MARQUE",
    "ESCRIBIR",
    "ESCRIBEME",
    "ESCRIBAME",
    "ESCRIBANME",
    "APPELEZ",
    "APPELER",
    "PORTABLE",
    "JOINDRE",
    "CHIAMARE",
    "CHIAMAMI",
    "CHIAMATEMI",
    "CELLULARE",
    "CHAMAR",
    "COMUNICARSE",
    "HANDY",
    "RING",
    "DIAL",
];
const CARD: &[&str] = &[
    "CARD",
    "TARJETA",
    "CARTAO",
    "CARTE",
    "CARTA",
    "KARTE",
    "VISA",
    "MASTERCARD",
    "AMEX",
    "CREDITO",
    "DEBITO",
    "CREDIT",
    "DEBIT",
];
const ID: &[&str] = &[
    "CEDULA",
    "CC",
    "CE",
    "TI",
    "DNI",
    "NIE",
    "NIF",
    "CIF",
    "CPF",
    "CNPJ",
    "CUIT",
    "CUIL",
    "RUT",
    "RUN",
    "NIT",
    "SSN",
    "CURP",
    "RFC",
    "IDENTIDAD",
    "IDENTIFICACION",
    "IDENTIDADE",
    "CONTRIBUINTE",
    "FISCAL",
    "FISCALE",
    "SOCIAL",
    "SECURITY",
    "DOCUMENTO",
    "PASSPORT",
    "PASAPORTE",
    "PASSAPORTE",
    "SECU",
    "SECURITE",
    "CIUDADANIA",
    "NIR",
    "RG",
    "TIN",
    "CODICE",
    "TAX",
];
const OTHER: &[&str] = &[
    "ORDER",
    "ORDERS",
    "PEDIDO",
    "PEDIDOS",
    "ORDEN",
    "ENCOMENDA",
    "COMPRA",
    "COMMANDE",
    "ORDINE",
    "BESTELLUNG",
    "BESTELLNUMMER",
    "TRACKING",
    "TRACK",
    "GUIA",
    "RASTREO",
    "RASTREIO",
    "SEGUIMIENTO",
    "SUIVI",
    "ENVIO",
    "PARCEL",
    "PACKAGE",
    "PAQUETE",
    "PACOTE",
    "COLIS",
    "INVOICE",
    "FACTURA",
    "FATURA",
    "FACTURE",
    "FATTURA",
    "RECHNUNG",
    "NOTA",
    "REF",
    "REFERENCE",
    "REFERENCIA",
    "SERIAL",
    "SERIE",
    "SERIES",
    "SKU",
    "MODEL",
    "MODELO",
    "MODELE",
    "CODIGO",
    "CODE",
    "TICKET",
    "CASO",
    "CASE",
    "ITEM",
    "ARTICULO",
    "ARTICLE",
    "PRODUCTO",
    "PRODUCT",
    "PRODUTO",
    "TRANSACCION",
    "TRANSACTION",
    "TRANSACAO",
    "LOTE",
    "BATCH",
    "ISBN",
    "EAN",
    "UPC",
    "VERSION",
    "FOLIO",
    "RESERVA",
    "BOOKING",
    "RESERVATION",
    "CUPON",
    "COUPON",
    "CUPOM",
    "PIEZA",
    "PART",
    "PARTE",
    "PECA",
    "IMEI",
    "RADICADO",
    "PROTOCOLO",
    "RECIBO",
    "RECEIPT",
    "COTIZACION",
    "QUOTE",
    "ORCAMENTO",
    "PRESUPUESTO",
    "BARRAS",
    "BARCODE",
    "ACCOUNT",
    "CUENTA",
    "CONTA",
    "COMPROBANTE",
    "COMPROVANTE",
    "VOUCHER",
    "CONTRATO",
    "CONTRACT",
    "POLIZA",
    "REPUESTO",
    "MAQUINA",
    "MACHINE",
    "PRECIO",
    "PRICE",
    "PRECO",
    "TOTAL",
    "VALOR",
    "COSTO",
    "COUNTER",
    "CONTADOR",
    "PIN",
    "CP",
    "ZIP",
    "CEP",
    "POSTAL",
    "LICENSE",
    "LICENCIA",
    "FIRMWARE",
    "BUILD",
    "SHIPMENT",
    "WAYBILL",
    "AWB",
    "DHL",
    "UPS",
    "FEDEX",
    "USPS",
    "CORREOS",
    "COURIER",
    "FLIGHT",
    "VUELO",
    "PLACA",
    "BUS",
];

/// Of anything; a telephone's unless another word says whose.
const NUMBER: &[&str] = &["NUMERO", "NUMEROS", "NUMBER", "NUMBERS", "NUMMER", "NUM", "NRO"];

pub(super) fn said(word: &str) -> Said {
    match word {
        word if PHONE.contains(&word) => Said::Phone,
        word if CARD.contains(&word) => Said::Card,
        word if ID.contains(&word) => Said::Id,
        word if OTHER.contains(&word) => Said::Other,
        _ => Said::Nothing,
    }
}

/// What the words around the tokens from `from` to `to` say.
pub(super) fn around(tokens: &Tokens<'_>, from: usize, to: usize) -> Said {
    let text = |at: usize| tokens.get(at).filter(|token| !token.digits).map_or("", |token| token.text.as_str());
    // "C.C." is a Colombian's way to write that an id follows.
    let dotted = |at: usize| at > 0 && text(at) == "C" && text(at - 1) == "C";
    let word = |at: usize| if dotted(at) { Said::Id } else { said(text(at)) };
    let ends = |at: usize| tokens.get(at).is_some_and(|token| token.before.contains(['!', '?', '\n', ';']));
    let is_number = |at: usize| tokens.get(at).is_some_and(|token| NUMBER.contains(&token.text.as_str()));
    let mut broken = ends(from);
    let mut otherwise = Said::Nothing;
    for at in (from.saturating_sub(REACH)..from).rev() {
        if broken {
            break;
        }
        match word(at) {
            Said::Nothing if is_number(at) => otherwise = Said::Phone,
            Said::Nothing => {}
            found => return found,
        }
        broken = ends(at);
    }
    if otherwise != Said::Nothing {
        return otherwise;
    }
    for at in to + 1..=to + REACH_AFTER {
        if ends(at) || tokens.get(at).is_some_and(|token| token.before.contains(['.', ','])) {
            break;
        }
        match word(at) {
            Said::Nothing if is_number(at) => otherwise = Said::Phone,
            Said::Nothing => {}
            found => return found,
        }
    }
    otherwise
}
