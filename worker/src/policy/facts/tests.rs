//! The table: what is refused, what is held, and what of it a model is given.

use super::super::Policy;
use super::*;

const SEWING: &str = include_str!("../../../../policies/sewing.toml");

fn with(facts: &str) -> Result<Policy, String> {
    let source = include_str!("../../../../policies/shop.toml");
    let (before, after) = (source.find("[facts]").unwrap(), source.find("# When the shop is open").unwrap());
    let source = format!("{}{facts}\n\n{}", &source[..before], &source[after..]);
    Policy::parse(&source, "test.toml").map_err(|error| error.to_string())
}

fn fact(body: &str) -> String {
    format!("[[fact]]\nname = \"one\"\n{body}")
}

#[test]
fn a_price_is_written_as_people_of_the_locale_write_it() {
    for (price, locale, written) in [
        ("890000", "es", "890.000 COP"),
        ("1150000", "en", "1,150,000 COP"),
        ("\"89.90\"", "es", "89,90 COP"),
        ("\"1250.5\"", "en", "1,250.5 COP"),
        ("7", "pt", "7 COP"),
    ] {
        let text = format!("name = \"one\"\nkind = \"product\"\ntitle = \"One\"\nprice = {price}\ncurrency = \"COP\"");
        let written_fact: Written = toml::from_str(&text).unwrap();
        assert_eq!(amount(&written_fact, locale).unwrap(), written);
    }
}

#[test]
fn a_fact_that_cannot_be_one_is_refused_with_line_and_reason() {
    let product = "kind = \"product\"\ntitle = \"One\"\nprice = 5\ncurrency = \"USD\"";
    assert!(with(&fact(product)).is_ok());
    for (body, reason) in [
        (product.replace("USD", "dollars"), "three capital letters"),
        (product.replace("price = 5", "price = \"cheap\""), "has a 'price' that is none"),
        (product.replace("price = 5\n", ""), "needs 'price'"),
        (product.replace("title = \"One\"\n", ""), "needs 'title'"),
        (format!("{product}\nnumber = \"+1 555 0101\""), "'number', which is of another kind"),
        ("kind = \"phone\"\nnumber = \"123\"".to_owned(), "7 to 15 digits"),
        ("kind = \"link\"\nurl = \"puntada\"".to_owned(), "'url' that is none"),
        ("kind = \"hours\"".to_owned(), "needs 'text'"),
        ("kind = \"note\"\ntext = \"a\"\nprise = 3".to_owned(), "unknown field `prise`"),
        (format!("{product}\n\n{}", fact(product)), "two facts are named 'one'"),
    ] {
        let told = with(&fact(&body)).unwrap_err();
        assert!(told.contains(reason) && told.contains("test.toml:"), "{body}\n{told}");
    }
    assert!(with("[facts]").unwrap_err().contains("the fact table is empty"));
    assert!(with("[facts]\nhours = \" \"").unwrap_err().contains("the fact 'hours' says nothing"));
    assert!(with("[facts]\nfile = \"facts/none.toml\"").unwrap_err().contains("there is no 'facts/none.toml'"));
}

#[test]
fn a_mistake_in_the_facts_file_is_told_by_its_own_line_and_an_edit_changes_the_version() {
    let folder = tempfile::tempdir().unwrap();
    let (policy, facts) = (folder.path().join("policy.toml"), folder.path().join("facts/sewing.toml"));
    std::fs::write(&policy, SEWING).unwrap();
    let shipped = Policy::load(&policy).unwrap();
    std::fs::create_dir(folder.path().join("facts")).unwrap();
    let text = include_str!("../../../../policies/facts/sewing.toml");
    std::fs::write(&facts, text).unwrap();
    assert_eq!(Policy::load(&policy).unwrap().version(), shipped.version());
    std::fs::write(&facts, text.replace("price = 890000", "price = 891000")).unwrap();
    let dearer = Policy::load(&policy).unwrap();
    assert_ne!(dearer.version(), shipped.version());
    assert!(dearer.facts()["alba-50"].contains("891.000 COP"));
    std::fs::write(&facts, text.replace("price = 890000", "price = -3")).unwrap();
    let line = 1 + text[..text.find("name = \"alba-50\"").unwrap()].matches('\n').count();
    let told = Policy::load(&policy).unwrap_err().to_string();
    assert!(told.contains("facts/sewing.toml:"), "{told}");
    let at: usize = told.split("facts/sewing.toml:").nth(1).unwrap().split(':').next().unwrap().parse().unwrap();
    assert!(at.abs_diff(line) <= 4, "{told}");
    std::fs::write(&facts, "").unwrap();
    assert!(Policy::load(&policy).unwrap_err().to_string().contains("facts/sewing.toml:1: the fact table is empty"));
}

#[test]
fn of_a_product_only_its_price_is_a_price_and_of_a_telephone_only_its_number() {
    let claims = Policy::parse(SEWING, "test.toml").unwrap().fact_table().claims();
    let held = |text: &str| lens::claims::find(text).iter().all(|claim| claims.hold(claim));
    for text in ["890.000 pesos", "a las 8:30", "Calle 12 # 8-40", "25.000 pesos de envío", "cierra a las 18:00"] {
        assert!(held(text), "{text}");
    }
    for text in ["50 pesos", "12 pesos", "891.000 pesos", "a las 10:00", "Calle 13 # 8-40"] {
        assert!(!held(text), "{text}");
    }
}

#[test]
fn products_are_chosen_by_words_within_the_budget_and_always_alike() {
    let policy = Policy::parse(SEWING, "test.toml").unwrap();
    let table = policy.fact_table();
    assert!(table.is_large());
    let (text, left_out) = table.fitting("¿tienen prensatelas de teflón?").unwrap();
    assert!(text.starts_with("\n- prensatela-teflon:"), "{text}");
    assert!(left_out > 0 && tokens(&text) + tokens(&table.steady()) <= 1_200);
    assert_eq!(table.fitting("¿tienen prensatelas de teflón?").unwrap(), (text, left_out));
    assert!(table.fitting("").unwrap().0.starts_with("\n- alba-20:"), "where no word helps, the file's order does");
    assert!(Policy::starter().unwrap().fact_table().fitting("anything").is_none());
}
