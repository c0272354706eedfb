//! What is found, in the ways people write it, and what is left alone.

use super::*;

fn shown(text: &str) -> Vec<(PiiKind, &str)> {
    find(text).into_iter().map(|finding| (finding.kind, &text[finding.span.start..finding.span.end])).collect()
}

#[test]
fn what_names_a_person_is_found_whole_in_the_ways_people_write_it() {
    use PiiKind::{Card, Email, Iban, NationalId, Phone};
    for (text, kind, part) in [
        ("escríbame a ana.lopez+shop@mail.example.com, gracias", Email, "ana.lopez+shop@mail.example.com"),
        ("<kim@example.org>", Email, "kim@example.org"),
        ("call me at +1 555 0100 123", Phone, "1 555 0100 123"),
        ("my number is 15550100", Phone, "15550100"),
        ("tel. (555) 555-0100", Phone, "555) 555-0100"),
        ("555-555-0100", Phone, "555-555-0100"),
        ("mi celular es 300 555 0100", Phone, "300 555 0100"),
        ("IBAN GB82 WEST 1234 5698 7654 32", Iban, "GB82 WEST 1234 5698 7654 32"),
        ("DE89370400440532013000", Iban, "DE89370400440532013000"),
        ("4111 1111 1111 1111", Card, "4111 1111 1111 1111"),
        ("tarjeta 5500000000000004 vence 12/27", Card, "5500000000000004"),
        ("3782-822463-10005", Card, "3782-822463-10005"),
        ("SSN 078-05-1120", NationalId, "078-05-1120"),
        ("CPF 529.982.247-25", NationalId, "529.982.247-25"),
        ("11.222.333/0001-81", NationalId, "11.222.333/0001-81"),
        ("DNI 12345678Z", NationalId, "12345678Z"),
        ("NIE X1234567L", NationalId, "X1234567L"),
        ("NIR 2 55 08 14 168 025 38", NationalId, "2 55 08 14 168 025 38"),
        ("RSSMRA85T10A562S", NationalId, "RSSMRA85T10A562S"),
        ("contribuinte 123456789", NationalId, "123456789"),
        ("CURP HEGG560427MVZRRL04", NationalId, "HEGG560427MVZRRL04"),
        ("RFC GODE561231GR8", NationalId, "GODE561231GR8"),
        ("cédula 52.123.456", NationalId, "52.123.456"),
        ("NIT 860002964-4", NationalId, "860002964-4"),
        ("CUIT 20-12345678-6", NationalId, "20-12345678-6"),
        ("RUT 12.345.678-5", NationalId, "12.345.678-5"),
        ("\u{ff14}111 1111 1111 1111", Card, "\u{ff14}111 1111 1111 1111"),
    ] {
        assert_eq!(shown(text), [(kind, part)], "{text}");
    }
}

#[test]
fn what_only_looks_like_it_is_left_alone() {
    for text in [
        "order 4111111111111111",
        "pedido 3005550100",
        "número de guía 3005550100",
        "my tracking number is 300 555 0100",
        "2024-05-12 14:30",
        "el 12/05/2024 a las 10:30",
        "cuesta $1.234.567",
        "1,299.00 USD",
        "son 350.000 pesos",
        "10 20 30 40 50 60",
        "version 192.168.1.10",
        "tallas 36 37 38 39 40",
        "ISBN 978-3-16-148410-0",
        "4111 1111 1111 1112",
        "ref. 12345678Z",
        "the 2 of us at 5, table 12",
        "a@b, @kim, 5 @ 3",
        "Singer 4423 con 23 puntadas",
    ] {
        assert_eq!(shown(text), [], "{text}");
    }
}

#[test]
fn several_in_one_text_are_told_in_order_and_apart() {
    let found = shown("soy ana@example.com, tel 300 555 0100, tarjeta 4111111111111111");
    let kinds: Vec<_> = found.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, [PiiKind::Email, PiiKind::Phone, PiiKind::Card]);
}
